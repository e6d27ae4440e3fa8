"""Events as messages of plain JSON values, and back: what comes from outside is checked here, and only here."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from ncdb_dask.runtime.events import (
    Event,
    RunFinished,
    RunStarted,
    ShardDone,
    ShardSetAside,
    ShardSuspected,
    StepProgress,
)
from ncdb_dask.store.figures import Chart, Fault, Figure

# Anyone who reaches the scheduler may send it a message, and the scheduler must live: no message makes it hold more.
MAX_SHARDS = 2**24  # 2 MB as bits, ten times as many as a plan of a shard an entry would have
MAX_COUNT = 2**53  # whole numbers that JavaScript knows exactly
MAX_CHARTS = 16
MAX_BINS = 4096
MAX_LABELS = 200
MAX_FAULTS = 100
MAX_TEXT = 500
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Begun:
    """A `RunStarted` as it arrives; `done` has bit n set for shard n."""

    what: str
    shards: int
    rows: int
    done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    out: str = ""


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A run ended before it was finished."""

    reason: str


Told = Begun | ShardDone | ShardSuspected | ShardSetAside | StepProgress | RunFinished | RunStopped


def message_of(event: Event | RunStopped) -> dict[str, Any]:
    """Return what `told_by` reads; every value can be sent as JSON and as msgpack."""
    values = asdict(event)
    if isinstance(event, RunStarted):
        values["done"] = _bits(event.done)
    sendable: dict[str, Any] = _sendable(values)
    return {"event": type(event).__name__, **sendable}


def _bits(shards: Collection[int]) -> str:
    """Return a set as hexadecimal bits: a list of a million shards would take the scheduler seconds."""
    bits = bytearray(max(shards, default=-1) // 8 + 1)
    for shard in shards:
        bits[shard // 8] |= 1 << shard % 8
    return bits.hex()


def told_by(message: Mapping[str, Any]) -> Told:
    """Return what a message tells.

    Raises
    ------
    ValueError
        Where it is none of `message_of`, or larger than any run needs.
    """
    name = message.get("event") if isinstance(message, Mapping) else None
    if not isinstance(name, str) or name not in _READERS:
        raise ValueError(f"event {name!r:.100}: expected one of {', '.join(_READERS)}")
    try:
        return _READERS[name](message)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: {error!r:.200}") from error


def clean(value: object, limit: int = MAX_TEXT) -> str:
    """Return text that can be sent: names of files may hold bytes that are no text."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__}: expected text")
    cut = value if len(value) <= limit else f"{value[: limit - 3]}..."
    return cut.encode("utf-8", "replace").decode()


def bounded(counts: Mapping[str, int]) -> dict[str, int]:
    """Return at most `MAX_LABELS` labels; what is beyond them is added up."""
    labels = list(counts.items())
    kept = dict(labels[:MAX_LABELS])
    if len(labels) > MAX_LABELS:
        kept[OTHERS] = kept.get(OTHERS, 0) + sum(count for _, count in labels[MAX_LABELS:])
    return kept


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_sendable(name): _sendable(each) for name, each in value.items()}
    return [_sendable(each) for each in value] if isinstance(value, tuple | list) else value


def _count(value: object, limit: int = MAX_COUNT) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"{value!r:.100}: expected a whole number below {limit}")
    return value


def _counts(value: Mapping[str, object]) -> dict[str, int]:
    return bounded({clean(label): _count(count) for label, count in value.items()})


def _figure(value: object) -> Figure:
    if isinstance(value, Mapping):
        return _counts(value)
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MAX_BINS:
        raise ValueError(f"{value!r:.100}: expected counts by label, or at most {MAX_BINS} of them")
    return [_count(count) for count in value]


def _figures(value: Mapping[str, object]) -> dict[str, Figure]:
    if len(value) > MAX_CHARTS:
        raise ValueError(f"{len(value)} figures: expected at most {MAX_CHARTS}")
    return {clean(name): _figure(figure) for name, figure in value.items()}


def _edge(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.100}: expected a number")
    return float(value)


def _chart(value: Mapping[str, Any]) -> Chart:
    if len(value["edges"]) > MAX_BINS + 1 or len(value["labels"]) > MAX_LABELS:
        raise ValueError(f"a chart of more than {MAX_BINS} bins or {MAX_LABELS} labels")
    edges = tuple(map(_edge, value["edges"]))
    if any(low >= high for low, high in pairwise(edges)) or len(edges) == 1:
        raise ValueError("edges of a histogram: expected at least two, rising")
    return Chart(
        clean(value["name"]),
        clean(value["title"]),
        clean(value["unit"]),
        edges,
        _counts(value["wanted"]),
        tuple(map(clean, value["labels"])),
    )


def _charts(value: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    if len(value) > MAX_CHARTS:
        raise ValueError(f"{len(value)} charts: expected at most {MAX_CHARTS}")
    return tuple(map(_chart, value))


def _done(value: object) -> int:
    if not isinstance(value, str) or len(value) > MAX_SHARDS // 4:
        raise ValueError(f"{value!r:.100}: expected at most {MAX_SHARDS} shards as bits")
    return int.from_bytes(bytes.fromhex(value), "little")


def _begun(message: Mapping[str, Any]) -> Begun:
    return Begun(
        clean(message["what"]),
        _count(message["shards"]),
        _count(message["rows"]),
        _done(message["done"]),
        _counts(message["counts"]),
        _figures(message["figures"]),
        _charts(message["charts"]),
        clean(message["out"], 2 * MAX_TEXT),
    )


def _shard_done(message: Mapping[str, Any]) -> ShardDone:
    faults = tuple(
        Fault(clean(each["key"]), clean(each["status"]), clean(each["sentence"]))
        for each in message["faults"][:MAX_FAULTS]
    )
    return ShardDone(
        _count(message["shard"], MAX_SHARDS),
        _count(message["rows"]),
        _counts(message["counts"]),
        _figures(message["figures"]),
        faults,
        clean(message["worker"]),
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Told]] = {
    "RunStarted": _begun,
    "ShardDone": _shard_done,
    "ShardSuspected": lambda each: ShardSuspected(
        _count(each["shard"], MAX_SHARDS), _count(each["start"]), _count(each["stop"])
    ),
    "ShardSetAside": lambda each: ShardSetAside(_count(each["shard"], MAX_SHARDS), clean(each["reason"])),
    "StepProgress": lambda each: StepProgress(clean(each["what"]), _count(each["done"]), _count(each["total"])),
    "RunFinished": lambda _: RunFinished(),
    "RunStopped": lambda each: RunStopped(clean(each["reason"])),
}
