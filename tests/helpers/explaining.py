"""Findings of an explanation that were made up, so that a test says what was found."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ncdb_dask
from helpers.quantizing import HEIGHT, WIDTH, depth_network, write_model
from helpers.trees import write_tree
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.explanation.budget import (
    ACTIVATIONS,
    ALL,
    CLIPPING,
    ORACLE,
    OUTPUT,
    ROUNDING,
    WEIGHTS,
    Budget,
    Part,
)
from ncdb_dask.explanation.cures import CLIP, EQUALIZE, WIDE, Cure, Remedy
from ncdb_dask.explanation.explain import Findings
from ncdb_dask.explanation.greedy import Step
from ncdb_dask.explanation.heads import Floor
from ncdb_dask.explanation.next_steps import next_steps
from ncdb_dask.explanation.noise import Noise
from ncdb_dask.explanation.plan import ExplanationPlan
from ncdb_dask.explanation.preprocessing import Alternative, alternatives
from ncdb_dask.explanation.result import Explanation
from ncdb_dask.explanation.stretch import Stretch
from ncdb_dask.explanation.suspects import CONSTANT, TENSOR, Suspect
from ncdb_dask.explanation.verdict import verdict
from ncdb_dask.model.spec import InputSpec

FP32, INT8 = 0.1, 0.14
SPEC = InputSpec(width=WIDTH, height=HEIGHT, name="image")
COSTS = {
    ALL: 0.04,
    ORACLE: 0.039,
    WEIGHTS: 0.001,
    ACTIVATIONS: 0.038,
    CLIPPING: -0.00001,  # is written as zero, without a sign
    ROUNDING: 0.038,
    OUTPUT: 0.001,
}


def figure(difference: float, baseline: float = FP32, sure: bool = True, blocks: bool = True) -> Figure:
    """A difference that can be seen or not; without an interval if there are no blocks."""
    half = abs(difference) / 4 if sure else abs(difference) + 0.01
    low, high = (difference - half, difference + half) if blocks else (None, None)
    return Figure(baseline, baseline + difference, difference, low, high, 30, 20)


def budget(blocks: bool = True, **changes: float | None) -> Budget:
    """A budget, with other costs; None for a part that there is not."""
    costs = {name: cost for name, cost in {**COSTS, **changes}.items() if cost is not None}
    parts = {
        name: Part(name, figure(cost, sure=abs(cost) > 0.002, blocks=blocks), 4.0 + cost)
        for name, cost in costs.items()
    }
    gained = costs[ORACLE] - costs[ALL]
    gain = figure(gained, FP32 + costs[ALL], sure=abs(gained) > 0.002, blocks=blocks)
    return Budget(FP32, 4.0, parts, gain)


def suspect(name: str, gain: float, kind: str = TENSOR, maker: str = "Concat", **changes: Any) -> Suspect:
    alone = None if kind == CONSTANT else figure(gain / 2, sure=gain > 0.002)
    spared = figure(-gain, INT8, sure=gain > 0.002)
    made = Suspect(name, kind, maker, Noise(1.0, 0.01, 0.0, 0.4), alone, spared, 70.0, {"a": 600.0, "b": 13.0})
    return replace(made, **changes)


def step(name: str, left: float) -> Step:
    """A list that leaves so much above FP32."""
    return Step(name, figure(left, sure=left > 0.002), figure(FP32 + left - INT8, INT8))


def cure(name: str = EQUALIZE, left: float = 0.0005, options: str = "--equalize --no-bias-correction") -> Cure:
    return Cure(name, options, figure(left, sure=left > 0.002), figure(FP32 + left - INT8, INT8))


def remedy(name: str = EQUALIZE) -> Remedy:
    return Remedy(name, {"now": 0.4, EQUALIZE: 0.01, CLIP: 0.3, WIDE: 0.0}, "widest channel 70 times the median one")


def checked(better: str | None = None) -> list[Alternative]:
    """All alternatives, one of which is better."""
    found = [Alternative(title, spec, figure(-0.05 if title == better else 0.05)) for title, spec in alternatives(SPEC)]
    return sorted(found, key=lambda one: one.change.other)


def findings(**changes: Any) -> Findings:
    """Two Concats that carry it, which equalization cures; or as is said."""
    suspects = [suspect("/up/Concat_0", 0.035), suspect("/up/Concat_1", 0.02), suspect("/enc/Relu", 0.0001)]
    made = Findings(
        budget(),
        checked(),
        suspects,
        [step("/up/Concat_0", 0.012), step("/up/Concat_1", 0.004)],
        [step("/up/Concat_0", 0.012), step("/up/Concat_1", 0.001)],
        [cure(), cure(WIDE, 0.001, "--wide /up/Concat_0 --wide /up/Concat_1 --no-equalize --no-bias-correction")],
        {one.name: remedy() for one in suspects},
        ("depth",),
        stretches={one.name: Stretch("scene_1", "0000000007", 12.0, 10.0) for one in suspects},
        floors=[Floor("linear", 0.007, 0.08), Floor("log", 0.003, 0.07)],
        floor_frames=30,
        span=(0.5, 80.0),
    )
    return replace(made, **changes)


def plan_of(folder: Path, name: str = "net", frames: int = 12, **options: Any) -> ExplanationPlan:
    """Plan an explanation of a small network on a small tree; its files have names with a blank."""
    write_tree(folder / "my data", frames)
    network = write_model(folder / f"{name}.onnx", depth_network())
    split = folder / "my data" / "train_split.json"
    given: Mapping[str, Any] = {"root": folder / "my data", "split": split, "calibration": split, **options}
    return ncdb_dask.plan_explanation(network, folder / "why", **given)


def explanation(plan: ExplanationPlan, found: Findings | None = None, **changes: Any) -> Explanation:
    """What an explanation with these findings tells."""
    found = findings() if found is None else found
    if "stretches" in changes:
        found = replace(found, stretches=changes.pop("stretches"))
    said = verdict(found, calibrated=plan.calibration is not None)
    made = Explanation(plan, found, said, next_steps(plan, found, said), 30, ())
    return replace(made, **changes)
