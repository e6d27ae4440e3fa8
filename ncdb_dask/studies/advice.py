"""What to do after a study, with the commands that do it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ncdb_dask.comparison.commands import command, flags
from ncdb_dask.evaluation.blocks import LEAST
from ncdb_dask.studies.cells import SEEDLESS, AskedQuantizer, AskedSet
from ncdb_dask.studies.groups import Choice, is_worse
from ncdb_dask.studies.plan import StudyPlan
from ncdb_dask.studies.planning import allowed
from ncdb_dask.studies.recipe_sections import DEFAULT_BACKEND

CALIBRATION, NETWORK = "calibration.json", "int8.onnx"


@dataclass(frozen=True, slots=True)
class Advice:
    """A step, and its commands."""

    text: str
    commands: tuple[str, ...] = ()


def advice(plan: StudyPlan, choice: Choice | None) -> tuple[Advice, ...]:
    """Return the next steps, the first one first."""
    if choice is None:
        return (Advice(f"{plan.nothing_runs[0].upper()}{plan.nothing_runs[1:]}."),) if plan.nothing_runs else ()
    chosen = choice.chosen
    asked = next(one for one in plan.sets if one.group == chosen.set)
    way = next(one for one in plan.quantizers if one.label == chosen.quantizer)
    making = tuple(_making(plan, asked, way))
    if not choice.known:
        few = "Judge on more frames, in at least {} blocks: fewer give no intervals, and nothing can be advised then."
        least = f"What had the least abs_rel, {chosen.set} with {chosen.quantizer}, was made so"
        return Advice(few.format(LEAST)), Advice(f"{least}{_other_scales(way)}:", making)
    steps = [Advice(f"Take {chosen.set}, and quantize with {chosen.quantizer}{_other_scales(way)}:", making)]
    if chosen.against_fp32 is not None and is_worse(chosen.against_fp32):
        steps.append(Advice(_why(choice), (_explain(plan, asked),)))
        steps += _untried(plan)
    if (
        choice.worse
        and all(group.seeds == 1 for group in choice.same_way)
        and any(one.strategy not in SEEDLESS for one in plan.sets)
    ):
        steps.append(
            Advice(
                "Each set was drawn once, and another draw may turn the order round: add seeds = [0, 1, 2] to "
                "[[sets]], and give the same command again; what is there is kept, but for what rests on the frames of "
                "all sets (equalize, coverage)."
            )
        )
    return tuple(steps)


def _why(choice: Choice) -> str:
    if choice.worse:
        return "Find out where the rest of the loss comes from, which no set here takes away:"
    return "Other sets will not win back what INT8 costs. Find out which tensors lose it:"


def _untried(plan: StudyPlan) -> Iterator[Advice]:
    made = [one for one in (way.built_in for way in plan.quantizers) if one is not None]
    if made and not any(one.equalize for one in made):
        yield Advice(
            "No quantizer here balances channels, which can gain more than any set: add equalize = [false, true] to "
            "[[quantizers]], and give the same command again; what is there is kept."
        )


def _other_scales(way: AskedQuantizer) -> str:
    """Say so where the command makes another network than the judged one."""
    if not (way.merged and way.built_in is not None and way.built_in.equalize):
        return ""
    return (
        " (the command balances channels by this set alone, the study did by all its frames: its network is another "
        "one than the judged one; judge it, too)"
    )


def _making(plan: StudyPlan, asked: AskedSet, way: AskedQuantizer) -> Iterator[str]:
    if asked.late:  # the sampler would choose among other frames
        split = plan.set_file(asked)
    else:
        split = CALIBRATION
        yield _sample(plan, asked)
    yield command(
        "quantize",
        plan.reference.path,
        NETWORK,
        *_data(plan, split),
        *flags({"model_spec": plan.recipe.network.model_spec or None}),
        *flags({"backend": None if way.backend == DEFAULT_BACKEND else way.backend, **way.options}),
    )


def _sample(plan: StudyPlan, asked: AskedSet) -> str:
    data = plan.recipe.data
    usual = type(data)()
    rules = {name: value for name, value in data.eligible.items() if value != getattr(usual, name)}
    options = {
        "size": asked.size,
        "strategy": asked.strategy,
        "seed": asked.seed,
        "exclude": plan.recipe.excluded,
        "root": data.root or None,
        **rules,
        **{name: _joined(value) for name, value in asked.options.items()},
    }
    return command("sample", data.scan, CALIBRATION, *flags(options))


def _explain(plan: StudyPlan, asked: AskedSet) -> str:
    split = [word for name in plan.recipe.evaluation.split for word in ("--split", name)]
    out = os.path.join(plan.out.path, "explain")
    at = ("--root", plan.reader.root.url, *split, "--calibration", plan.set_file(asked))
    return command("explain", plan.reference.path, out, *at)


def _data(plan: StudyPlan, split: str) -> tuple[str, ...]:
    return "--root", plan.reader.root.url, "--split", split, *flags({"allow_root": allowed(plan.recipe, plan.table)})


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
