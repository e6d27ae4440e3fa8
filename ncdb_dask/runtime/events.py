"""What a run tells those who watch it; every display is an observer of these."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins or continues.

    Attributes
    ----------
    what : str
        Name of the run for a heading, for instance ``scan``.
    shards, rows : int
        The whole plan.
    shards_done, rows_done : int
        What an earlier run has finished.
    counts : mapping
        Its rows by status.
    """

    what: str
    shards: int
    rows: int
    shards_done: int = 0
    rows_done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard is committed; told once a shard, however often it was tried."""

    shard: int
    rows: int
    counts: Mapping[str, int]


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
