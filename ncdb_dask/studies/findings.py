"""What a study comes to: a row a cell, and what the rows say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ncdb_dask.comparison.beside import FEWEST, Intervals, averaged
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.evaluation.bootstrap import LEVEL
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.studies import sentences
from ncdb_dask.studies.advice import Advice, advice
from ncdb_dask.studies.cells import FIXED
from ncdb_dask.studies.groups import Choice, Comparer, Curve, Group, curves, effects, runnable
from ncdb_dask.studies.guide import BeforeAfter, before_after
from ncdb_dask.studies.plan import PAGE_FILE, PICTURE_FILE, TABLE_FILE, StudyPlan
from ncdb_dask.studies.recipe_keys import MOST_RESAMPLES
from ncdb_dask.studies.rows import Row, rows_of, table_row
from ncdb_dask.studies.run import Studied

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "ncdb_dask study 1"


@dataclass(frozen=True)
class Study:
    """A study that is done.

    Attributes
    ----------
    plan : StudyPlan
        What was asked for.
    fp32 : Evaluated
        The network as it was given.
    rows : tuple of Row
        The cells that are done, in the order of the recipe.
    groups : tuple of Group
        By seeds together.
    curves : tuple of Curve
        By size.
    choice : Choice or None
        What to take; None where no cell is done, or none that the NPU can run.
    guide : tuple of BeforeAfter
        The guide's table, a row a way to quantize; empty where its sets are not there.
    failed : mapping of str to str
        Cells that could not be made or judged, and why.
    few : str
        Says so where the intervals rest on too few resamples; else empty.
    """

    plan: StudyPlan
    fp32: Evaluated
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    curves: tuple[Curve, ...]
    choice: Choice | None
    guide: tuple[BeforeAfter, ...]
    failed: Mapping[str, str]
    few: str = ""

    @classmethod
    def of(cls, plan: StudyPlan, studied: Studied) -> "Study":
        """Compute the figures.

        Raises
        ------
        NcdbError
            Evaluations that are gone, or cannot be compared.
        """
        rules = plan.recipe.evaluation
        intervals = Intervals(rules.resamples, rules.seed, rules.block)
        rows = tuple(rows_of(plan, studied, intervals))
        groups = tuple(_groups(rows, studied.fp32, intervals))

        def beside(baseline: Group, other: Group, asked: int) -> Figure:
            assert baseline.evaluated is not None
            assert other.evaluated is not None
            level = 1 - (1 - LEVEL) / max(1, asked)
            return intervals.beside(baseline.evaluated, other.evaluated, level=level)

        comparer = Comparer.of(groups, beside)
        may = runnable(groups, plan.recipe.npu.profile)
        return cls(
            plan,
            studied.fp32,
            rows,
            groups,
            curves(groups, comparer),
            Choice.of(may, comparer) if may else None,
            before_after(groups, *plan.guide, comparer),
            studied.failed,
            _few(groups, len(may) - 1, studied.fp32, intervals),
        )

    @property
    def effects(self) -> dict[str, float | None]:
        """By how much each choice moves abs_rel at most; see `ncdb_dask.studies.groups.effects`."""
        return effects(self.groups)

    @cached_property
    def sentence(self) -> str:
        """The verdict."""
        return sentences.verdict(self.fp32.abs_rel, self.groups, self.choice, self.plan.recipe.npu.profile)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Further sentences: what moves abs_rel, how many frames are enough."""
        found = [sentences.moves(self.effects), *map(sentences.enough, self.curves)]
        return tuple(each for each in found if each)

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """What to do next."""
        return advice(self.plan, self.choice)

    @property
    def protocol(self) -> Protocol:
        """The rules that networks were judged by."""
        return Protocol.from_dict(self.fp32.settings["protocol"])

    @property
    def request(self) -> CompareRequest:
        """The thresholds of the guide's verdicts."""
        return CompareRequest()

    @property
    def page(self) -> str:
        """Path of the page, what to read first."""
        return f"{self.plan.out.path}/{PAGE_FILE}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know; what several cells say is said once."""
        cells = dict.fromkeys(note for row in self.rows for note in row.notes)
        missing = [f"{label}: {reason}" for label, reason in self.failed.items()]
        return (*missing, *cells, *([self.few] if self.few else []))

    def table(self) -> "pd.DataFrame":
        """Return a row a cell, as ``results.parquet`` has them."""
        import pandas as pd

        return pd.DataFrame(table_row(row, self.fp32.abs_rel) for row in self.rows)

    def text(self) -> str:
        """Return the verdict, the groups and what to do next, as lines for people."""
        lines = [self.sentence, "", *sentences.groups_table(self.fp32.abs_rel, self.groups), "", *self.sentences]
        for each in self.advice:
            lines += ["", each.text, *(f"  {command}" for command in each.commands)]
        lines += ["", *(f"Note: {note}" for note in self.notes)] if self.notes else []
        names = {"Page": PAGE_FILE, "Picture": PICTURE_FILE, "Table": TABLE_FILE}
        return "\n".join([*lines, "", *(f"{name:<10}{self.plan.out.path}/{file}" for name, file in names.items())])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        choice = self.choice
        return {
            "format": FORMAT,
            "out": self.plan.out.url,
            "sentence": self.sentence,
            "sentences": list(self.sentences),
            "fp32": {"abs_rel": self.fp32.abs_rel, "frames": len(self.fp32.measured), "evaluation": self.fp32.place},
            "cells": [{"label": row.cell.label, **table_row(row, self.fp32.abs_rel)} for row in self.rows],
            "groups": [group.as_dict() for group in self.groups],
            "enough": [
                {"name": curve.name, "quantizer": curve.quantizer, "sizes": curve.sizes, "enough": curve.enough}
                for curve in self.curves
                if curve.enough is not None
            ],
            "effects": self.effects,
            "best": None if choice is None else choice.best.as_dict(),
            "chosen": None if choice is None else choice.chosen.as_dict(),
            "guide": [each.as_dict() for each in self.guide],
            "next": [{"text": each.text, "commands": list(each.commands)} for each in self.advice],
            "failed": dict(self.failed),
            "notes": list(self.notes),
            "protocol": self.protocol.as_dict(),
            "recipe": self.plan.recipe.as_dict(),
        }


def _few(groups: Sequence[Group], asked: int, fp32: Evaluated, intervals: Intervals) -> str:
    """Say so where too few resamples lie beyond the ends of intervals of which `asked` hold together."""
    if not groups or groups[0].evaluated is None:
        return ""
    least = intervals.least_resamples(fp32, groups[0].evaluated, 1 - (1 - LEVEL) / max(1, asked))
    if intervals.resamples >= least:
        return ""
    more = f"give [evaluation] resamples = {least}" if least <= MOST_RESAMPLES else "judge on more frames"
    return (
        f"{intervals.resamples} resamples are few for these intervals (comparisons that hold together: "
        f"{max(1, asked)}): fewer than {FEWEST} lie beyond each end, so that the ends are chance; {more}"
    )


def _groups(rows: Sequence[Row], fp32: Evaluated, intervals: Intervals) -> "list[Group]":
    parts = dict[tuple[str, int, str], list[Row]]()
    for row in rows:
        asked = row.cell.set
        parts.setdefault((asked.name, asked.size, row.cell.quantizer.label), []).append(row)
    groups = []
    for (name, size, quantizer), some in parts.items():
        different = {row.evaluation: row.evaluated for row in some}
        alone = len(different) == 1
        mean = some[0].evaluated if alone else averaged([row.evaluated for row in some], f"{name} {size}, {quantizer}")
        against = some[0].against_fp32 if alone else intervals.beside(fp32, mean)
        draws = tuple(row.figures["abs_rel"] for row in some)
        fixed = some[0].cell.set.strategy in FIXED
        told = (draws, fixed, some[0].allowed, against, mean)
        groups.append(Group(name, size, quantizer, against.other, *told))
    return groups
