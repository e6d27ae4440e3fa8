"""What a study will do and cost, as values and in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ncdb_dask.studies.cells import AskedSet

if TYPE_CHECKING:
    from ncdb_dask.studies.plan import StudyPlan


def plan_values(plan: "StudyPlan") -> dict[str, Any]:
    """Return the plan and its cost as JSON values."""
    kept = plan.kept()
    left = [cell for cell in plan.cells if cell.label not in kept]
    return {
        "recipe": plan.recipe.as_dict(),
        "out": plan.out.url,
        "sets": [asked.label for asked in plan.sets],
        "quantizers": [way.label for way in plan.quantizers],
        "cells": len(plan.cells),
        "cells_done": len(kept),
        "notes": [plan.nothing_runs] if plan.nothing_runs else [],
        "cost": {
            "frames": len(plan.union),
            "frames_measured": plan.measured,
            "passes": (1 + len(plan.schemes)) if plan.merged else 0,
            "networks": len(left),
            "quantizations": sum(not cell.quantizer.merged for cell in left),
            "evaluations": len(left) + 1,
            "evaluation_frames": plan.frames,
        },
    }


def plan_text(plan: "StudyPlan") -> str:
    """Return the plan and its cost as lines for people."""
    values = plan_values(plan)
    cost, done = values["cost"], values["cells_done"]
    rows = {
        "Network": plan.reference.path,
        "Scan": f"{plan.table.folder.url}, without the frames of {', '.join(plan.recipe.excluded)}",
        "Sets": f"{len(plan.sets)}: {_sets_text(plan.sets)}",
        "Quantizers": f"{len(plan.quantizers)}: {', '.join(values['quantizers'])}",
        "Cells": f"{len(plan.cells)}, of which {done} are done",
        "Into": plan.out.url,
    }
    if any(plan.on_union(cell) for cell in plan.cells):
        rows["Rest on all"] = "cells of equalize or coverage; other sets in the recipe make them anew"
    if plan.nothing_runs:
        rows["NPU"] = plan.nothing_runs
    return "\n".join(f"{name:<14}{value}" for name, value in [*rows.items(), *_costs(plan, cost).items()])


def _costs(plan: "StudyPlan", cost: Mapping[str, int]) -> dict[str, str]:
    rows = {}
    if plan.merged and cost["networks"]:
        there = f"{cost['frames_measured']} are measured already"
        rows["Inference"] = f"{cost['frames']} frames once ({there}){passes_text(cost['passes'] - 1)}"
    if cost["quantizations"]:
        rows["By itself"] = f"{cost['quantizations']} cells are quantized with passes of their own"
    judged = f"at most {cost['evaluations']} networks on {cost['evaluation_frames']} frames each; equal ones once"
    return rows | {"Evaluation": judged if cost["networks"] else "nothing is left to judge"}


def passes_text(balanced: int) -> str:
    """Say how often frames are run besides the once."""
    if not balanced:
        return ""
    return f", and once more for {f'each of {balanced} balanced networks' if balanced > 1 else 'the balanced network'}"


def _sets_text(sets: Sequence[AskedSet]) -> str:
    """Say which sets there are, by kind."""
    kinds = dict[str, list[AskedSet]]()
    for asked in sets:
        kinds.setdefault(asked.name, []).append(asked)
    parts = []
    for name, some in kinds.items():
        sizes = ", ".join(str(size) for size in dict.fromkeys(asked.size for asked in some))
        seeds = len(dict.fromkeys(asked.seed for asked in some))
        parts.append(f"{name} of {sizes} frames" + (f" ({seeds} seeds)" if seeds > 1 else ""))
    return "; ".join(parts)
