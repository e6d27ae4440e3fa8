"""The cells of a study that are done, with their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncdb_dask.calibration.ranges import PERCENTILE
from ncdb_dask.comparison.beside import Intervals
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.studies.cells import Cell
from ncdb_dask.studies.plan import StudyPlan
from ncdb_dask.studies.run import METRICS, Studied, evaluations


@dataclass(frozen=True)
class Row:
    """A cell that is done.

    Attributes
    ----------
    cell : Cell
        Which.
    evaluated : Evaluated
        Its evaluation.
    against_fp32 : Figure
        Its difference to FP32 in abs_rel.
    against_baseline : Figure or None
        To the first cell of the recipe; None of itself, and where that has failed.
    allowed : bool or None
        Whether the NPU can run it.
    figures : mapping of str to float
        Its means.
    evaluation : str
        Folder of its evaluation, below that of the study.
    seconds : float
        That it took.
    notes : sequence of str
        What a person should know.
    """

    cell: Cell
    evaluated: Evaluated
    against_fp32: Figure
    against_baseline: Figure | None
    allowed: bool | None
    figures: Mapping[str, float]
    evaluation: str
    seconds: float
    notes: Sequence[str] = ()


def table_row(row: Row, fp32: float) -> dict[str, Any]:
    """Return the columns of a cell."""
    asked, way, made = row.cell.set, row.cell.quantizer, row.cell.quantizer.built_in
    return {
        "name": asked.name,
        "strategy": asked.strategy,
        "size": asked.size,
        "seed": asked.seed,
        "quantizer": way.label,
        "backend": way.backend,
        "method": None if made is None else made.method,
        "percentile": (made.percentile or PERCENTILE) if made is not None and made.method == "percentile" else None,
        "scheme": None if made is None else made.target().scheme.name,
        "options": way.written,
        "abs_rel": row.figures["abs_rel"],
        "rmse": row.figures["rmse"],
        "delta1": row.figures["a1"],
        "ratio_to_fp32": row.figures["abs_rel"] / fp32,
        **_columns("to_fp32", row.against_fp32),
        **_columns("to_baseline", row.against_baseline),
        "npu_allowed": row.allowed,
        "evaluation": row.evaluation,
        "seconds": row.seconds,
    }


def _columns(name: str, figure: Figure | None) -> dict[str, float | None]:
    parts = {"": "difference", "_low": "low", "_high": "high"}
    return {f"{name}{end}": None if figure is None else getattr(figure, part) for end, part in parts.items()}


def rows_of(plan: StudyPlan, studied: Studied, intervals: Intervals) -> list[Row]:
    """Set the cells that are done beside FP32 and the first one; `NcdbError` where an evaluation is gone."""
    evaluated = evaluations(plan.out, studied)
    baseline = evaluated.get(plan.cells[0].label)
    rows = []
    against = dict[tuple[str, str], Figure]()  # equal networks have equal figures
    for cell in plan.cells:
        kept = studied.kept.get(cell.label)
        if kept is None:
            continue
        others = (studied.fp32, baseline if cell is not plan.cells[0] else None)
        for other in others:
            if other is not None and (other.place, kept.evaluation) not in against:
                against[other.place, kept.evaluation] = intervals.beside(other, evaluated[cell.label])
        to_fp32, to_baseline = (None if other is None else against[other.place, kept.evaluation] for other in others)
        assert to_fp32 is not None
        allowed = plan.allowed(cell.quantizer)
        figures = {name: kept.figures[name] for name in METRICS}
        told = (figures, kept.evaluation, kept.seconds, kept.notes)
        rows.append(Row(cell, evaluated[cell.label], to_fp32, to_baseline, allowed, *told))
    return rows
