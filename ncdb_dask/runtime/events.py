"""What a run tells those who watch it; every display is an observer of these."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ncdb_dask.store.figures import Chart, Fault, Figures, add_figures
from ncdb_dask.store.plan import Plan
from ncdb_dask.store.shards import Receipt


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins or continues.

    Attributes
    ----------
    what : str
        Name of the run for a heading, for instance ``scan``.
    shards, rows : int
        The whole plan.
    done : frozenset of int
        The shards that an earlier run has finished.
    counts : mapping
        Their rows by status.
    figures : mapping
        Of those shards.
    charts : tuple of Chart
        How figures are drawn.
    run : str
        Tells runs apart; one that is continued keeps its own.
    out : str
        Where it writes.
    """

    what: str
    shards: int
    rows: int
    done: frozenset[int] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    run: str = ""
    out: str = ""

    @property
    def rows_done(self) -> int:
        """Rows of the shards that are done."""
        return sum(self.counts.values())

    @classmethod
    def of(
        cls, what: str, plan: Plan, done: Iterable[Receipt], out: str, charts: tuple[Chart, ...] = ()
    ) -> "RunStarted":
        """Say that a plan is begun, or continued where receipts say so."""
        counts, shards = Counter[str](), set[int]()
        figures: Figures = {}
        for receipt in done:
            shards.add(receipt.shard)
            counts.update(receipt.counts)
            figures = add_figures(figures, receipt.figures)
        return cls(what, plan.shards, plan.entries, frozenset(shards), dict(counts), figures, charts, plan.id, out)


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard is committed; told once a shard, however often it was tried.

    Attributes
    ----------
    shard, rows, counts, figures, faults
        As in its receipt.
    worker : str
        Address of the worker that did it; empty in this process.
    """

    shard: int
    rows: int
    counts: Mapping[str, int]
    figures: Figures = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    worker: str = ""


@dataclass(frozen=True, slots=True)
class ShardSuspected:
    """A shard or a part of it killed its workers and is being cut in halves to find the culprit."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ShardSetAside:
    """A shard failed by a fault of the environment after all retries; the others go on."""

    shard: int
    reason: str


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A step of work that is no run of shards has come so far.

    Attributes
    ----------
    what : str
        Name of the step, for instance ``correcting biases``.
    done, total : int
        Of whatever it goes through.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """All shards are committed and the table is published."""


Event = RunStarted | ShardDone | ShardSuspected | ShardSetAside | StepProgress | RunFinished
Observer = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Observe nothing."""
