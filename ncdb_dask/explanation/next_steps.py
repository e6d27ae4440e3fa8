"""What to do next, as commands that can be pasted."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ncdb_dask.comparison.commands import command, flags
from ncdb_dask.explanation.budget import CURED
from ncdb_dask.explanation.cures import CORRECTED, EQUALIZE, Cure
from ncdb_dask.explanation.explain import Findings
from ncdb_dask.explanation.heads import DECODED
from ncdb_dask.explanation.plan import ExplanationPlan
from ncdb_dask.explanation.verdict import (
    CALIBRATION,
    NOTHING,
    OUTPUT_GRID,
    PREPROCESSING,
    UNDECIDED,
    WEIGHT,
    Verdict,
)
from ncdb_dask.model.values import quoted

# What `quantize` leaves away to round a network as it was rounded here.
PLAIN = "--no-equalize --no-bias-correction"
MADE, OTHER = "int8.onnx", "other_calibration.json"
# Of the options of an evaluation: those that `_data` writes, and those that say how to run, not what.
ELSEWHERE = ("root", "split", "allow_root", "provider", "threads", "storage_options")


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something to do.

    Attributes
    ----------
    text : str
        What, and why.
    command : str
        What to type; empty where nothing is.
    keys : str
        Lines for section [input] of the model file; empty where it stays as it is.
    """

    text: str
    command: str = ""
    keys: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return JSON values."""
        return {"text": self.text, "command": self.command, "keys": self.keys}


def next_steps(plan: ExplanationPlan, found: Findings, said: Verdict) -> list[NextStep]:
    """Return what to do, the first thing first."""
    if said.cause == PREPROCESSING:
        return [_preprocessing(plan, found)]
    if said.cause == UNDECIDED:
        return [
            NextStep(
                "Judge more frames, from more recordings: with these, the loss cannot be told from chance, so that no "
                "cause of it can be told either."
            )
        ]
    if said.cause == NOTHING:
        return list(_nothing(plan, found))
    return list(_mended(plan, found, said))


def _preprocessing(plan: ExplanationPlan, found: Findings) -> NextStep:
    best = found.preprocessing[0]
    changed = best.keys(plan.reference.spec.input)
    return NextStep(
        "If this is how the network was trained, set these keys in section [input] of the model file, and give the "
        "same command again: all other figures here are of a network that sees wrong pictures.",
        keys="\n".join(f"{name} = {_toml(value)}" for name, value in changed.items()),
    )


def _nothing(plan: ExplanationPlan, found: Findings) -> Iterator[NextStep]:
    if plan.calibration is None:
        yield _calibrated(plan)
    else:
        yield NextStep("Quantize with this calibration set. Nothing else is needed.", _quantize(plan, found, PLAIN))
        yield _judged(plan)


def _calibrated(plan: ExplanationPlan) -> NextStep:
    return NextStep(
        "Choose a calibration set of other frames, and give it with --calibration: here, ranges came from the frames "
        "that were judged.",
        _sampled(plan),
    )


def _mended(plan: ExplanationPlan, found: Findings, said: Verdict) -> Iterator[NextStep]:
    if plan.calibration is None:
        yield _calibrated(plan)
    if said.cause == CALIBRATION:
        yield NextStep(
            "Choose another calibration set, of more frames: this one does not reach what the network meets in the "
            "frames that were judged. Then give the same command again with it.",
            _sampled(plan),
        )
        yield NextStep(
            "Or let a study measure which strategy, and from how many frames on nothing is gained.",
            command("study", "RECIPE.toml", "OUT"),
        )
    if said.cause == OUTPUT_GRID and found.floors:
        decoded = (floor for floor in found.floors if floor.title in DECODED)
        least = min(decoded, key=lambda floor: floor.abs_rel)
        yield NextStep(
            f"The 8 bits of the output are too few for these depths. Of the heads, {quoted(least.title)} loses least "
            f"by them (abs_rel {least.abs_rel:.4f}). Another head is another training."
        )
    if said.cure is not None:
        yield _of_cure(plan, found, said.cure)
        yield _judged(plan)
    if said.cure is None or said.cure.ratio > CURED:
        yield _trained(said)


def _of_cure(plan: ExplanationPlan, found: Findings, cure: Cure) -> NextStep:
    reach = f"abs_rel {cure.cost.other:.4f}, {cure.ratio:.2f} times that of FP32"
    if cure.name in (EQUALIZE, CORRECTED):
        return NextStep(
            f"Balance the channels ({reach}). This changes the weights of the FP32 network, not what it computes, so "
            f"any vendor's tool gains by it: 'network' in {MADE.removesuffix('.onnx')}.report.json is the file to give "
            "to yours.",
            _quantize(plan, found, cure.options),
        )
    return NextStep(f"Quantize with {cure.name} ({reach}).", _quantize(plan, found, cure.options))


def _judged(plan: ExplanationPlan) -> NextStep:
    """Return what to do with the network that was made."""
    rules = {name: _joined(value) for name, value in plan.judging.items() if name not in ELSEWHERE}
    return NextStep(
        "Evaluate what came out; better still, on a split of recordings that had no part in this. In the end, only the "
        "board's own predictions count.",
        command("evaluate", MADE, "int8", *_data(plan, plan.splits["evaluation"]), *flags(rules)),
    )


def _trained(said: Verdict) -> NextStep:
    if said.cause == WEIGHT:
        how = "kind = 'channel-range' in [penalty] of the recipe keeps the weights of a layer's channels together"
    else:
        how = (
            "kind = 'branch-range' in [penalty] of the recipe, with the report of a quantization, keeps together what "
            "a Concat or a sum joins"
        )
    return NextStep(f"What is left asks for training: {how}.", command("finetune", "RECIPE.toml", "OUT"))


def _sampled(plan: ExplanationPlan) -> str:
    scan = "SCAN" if plan.scan is None else plan.scan.folder.url
    size = 300 if plan.calibration is None else 2 * len(plan.calibration.frames)
    return command("sample", scan, OTHER, *flags({"size": size, "exclude": plan.splits["evaluation"]}))


def _quantize(plan: ExplanationPlan, found: Findings, options: str = "") -> str:
    npu, given = plan.npu, shlex.split(options)
    names = ("profile", "activations", "symmetric")
    asked = {"model_spec": plan.model_spec, **{name: getattr(npu, name) for name in names}}
    if "--method" not in given:
        asked |= {"method": npu.method if npu.method != "minmax" else None, "percentile": npu.percentile}
    bad = found.skipped.get("evaluation" if plan.calibration is None else "calibration")
    asked |= {
        "skip_bad": bool(bad),
        "power_of_two": npu.power_of_two,
        "per_channel": npu.per_channel and "--per-channel" not in given,
    }
    data = _data(plan, plan.splits["calibration"] or plan.splits["evaluation"])
    return command("quantize", plan.reference.path, MADE, *data, *flags(asked), *given)


def _data(plan: ExplanationPlan, splits: tuple[str, ...]) -> tuple[str, ...]:
    """Return which frames, and where they lie."""
    roots: Any = plan.judging.get("allow_root") or ()
    several = [roots] if isinstance(roots, (str, os.PathLike)) else roots
    return flags({"root": plan.reader.root.url, "split": splits, "allow_root": list(map(os.fspath, several))})


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return quoted(value) if isinstance(value, str) else repr(value)
