"""Figures of a run while it runs: each shard's receipt carries some, and they add up to those of the whole run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import compute

# Rows of a shard whose faults its receipt tells in words; all are counted.
FAULTS_A_SHARD = 3
# A sentence holds the name of a file, which may be long.
MAX_SENTENCE = 300

Figure = Mapping[str, int] | Sequence[int]
Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Chart:
    """How a figure is drawn.

    Attributes
    ----------
    name : str
        Of the figure in `Figures`.
    title, unit : str
        For people.
    edges : tuple of float
        Of a histogram, whose figure is a list of counts between them; empty where it maps labels to counts.
    wanted : mapping
        How many of a label are needed.
    labels : tuple of str
        In the order in which they are drawn; others follow.
    """

    name: str
    title: str
    unit: str = ""
    edges: tuple[float, ...] = ()
    wanted: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of another status than ``ok``."""

    key: str
    status: str
    sentence: str


def add_figures(total: Figures, more: Figures) -> dict[str, Figure]:
    """Return the sum; a figure that one side lacks is taken from the other."""
    added = dict(total)
    for name, figure in more.items():
        before = added.get(name)
        if before is None:
            added[name] = figure
        elif isinstance(before, Mapping) and isinstance(figure, Mapping):
            added[name] = {label: before.get(label, 0) + figure.get(label, 0) for label in {**before, **figure}}
        elif not isinstance(before, Mapping) and not isinstance(figure, Mapping) and len(before) == len(figure):
            added[name] = [one + other for one, other in zip(before, figure, strict=True)]
        else:
            raise ValueError(f"figure {name!r} has another form than before")
    return added


def label_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Count the values of a column, nulls left out."""
    return {str(pair["values"]): int(pair["counts"]) for pair in column.drop_null().value_counts().to_pylist()}


def faults_of(table: pa.Table) -> tuple[Fault, ...]:
    """Return the first rows that are not ``ok``, of a table with a frame a row."""
    names = ["dataset_root", "filename", "status", "detail"]
    if not set(names) <= set(table.column_names):
        return ()
    bad = table.select(names).filter(compute.not_equal(table["status"], "ok")).slice(0, FAULTS_A_SHARD)
    return tuple(
        Fault("/".join(filter(None, (row["dataset_root"], row["filename"]))), row["status"], _cut(row["detail"] or ""))
        for row in bad.to_pylist()
    )


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= MAX_SENTENCE else f"{sentence[: MAX_SENTENCE - 3]}..."
