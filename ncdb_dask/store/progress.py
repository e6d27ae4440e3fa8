"""How far a run has come, from its folder alone: plan, receipts, manifest."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ncdb_dask.store.figures import Fault
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import MANIFEST_FILE, damaged
from ncdb_dask.store.plan import Plan, read_plan
from ncdb_dask.store.shards import RECEIPT_FOLDER

LATEST_FAULTS = 5
WINDOW_SECONDS = 300.0  # five minutes smooth what several workers do
WINDOW_SHARDS = 3
# A GET of an object store takes some 20 ms, so that 20,000 receipts one by one take minutes. Local files are read
# sooner by one thread: 20,000 in 0.9 s.
REQUESTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Seen:
    """A receipt, as far as progress goes by it."""

    rows: int
    counts: dict[str, int]
    seconds: float
    at: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Progress:
    """What a run's folder tells.

    Attributes
    ----------
    what, run : str
        Kind and id of the plan.
    shards, entries, shards_done, entries_done : int
        Of the plan, and those that receipts speak for.
    finished : float
        When the table was published, in Unix seconds; 0 where it is not.
    latest : float
        When the latest shard was committed; 0 where none is, or nothing tells.
    entries_per_second : float or None
        Of the last minutes, where the run is under way.
    entries_per_second_mean : float or None
        From the beginning of the driver's first shard to now, or to its last one where none runs.
    counts : mapping
        Entries by status.
    faults : tuple of Fault
        Of the latest shards.
    """

    what: str
    run: str
    shards: int
    entries: int
    shards_done: int
    entries_done: int
    finished: float
    latest: float
    entries_per_second: float | None
    entries_per_second_mean: float | None
    counts: dict[str, int]
    faults: tuple[Fault, ...]

    @property
    def remaining_seconds(self) -> float | None:
        """How long the rest takes at the present rate, where the run is under way."""
        return (self.entries - self.entries_done) / self.entries_per_second if self.entries_per_second else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, named as those of the dashboard."""
        return {**asdict(self), "remaining_seconds": self.remaining_seconds}


def read_progress(folder: Folder, since: float = 0.0, running: bool = False) -> Progress | None:
    """Return how far the folder's run has come, or None where none is planned.

    Parameters
    ----------
    folder : Folder
        The run's own files.
    since : float
        When its driver began, in Unix seconds; what was done before counts for no rate.
    running : bool
        Whether it still works.

    Raises
    ------
    PlanError
        Where the plan is damaged.
    """
    plan = read_plan(folder)
    if plan is None:
        return None
    finished, documents = _published(folder, plan)
    seen = list(_seen(plan, documents if finished else _receipts(folder)))
    counts = Counter[str]()
    for each in seen:
        counts.update(each.counts)
    seen.sort(key=lambda each: each.at)
    latest = seen[-1].at if seen else 0.0
    timed = [each for each in seen if each.at > since]
    until = time.time() if running else latest
    elapsed = until - (timed[0].at - timed[0].seconds) if timed else 0.0
    return Progress(
        what=plan.kind,
        run=plan.id,
        shards=plan.shards,
        entries=plan.entries,
        shards_done=len(seen),
        entries_done=sum(each.rows for each in seen),
        finished=finished,
        latest=latest,
        entries_per_second=_now(timed, until, elapsed) if running and not finished else None,
        entries_per_second_mean=_rows(timed) / elapsed if elapsed > 0 else None,
        counts=dict(counts),
        faults=tuple(_latest_faults(seen)),
    )


def rate_window(elapsed: float, shards: int, least: float) -> float:
    """Return over how many of the last seconds a present rate is taken.

    Where a single shard takes long, the window spans three, or the rate would be zero between two of them.

    Parameters
    ----------
    elapsed : float
        Seconds since the beginning.
    shards : int
        How many were done in them.
    least : float
        Seconds that smooth what several workers do.
    """
    return min(elapsed, max(least, WINDOW_SHARDS * elapsed / shards))


def _now(timed: list[Seen], until: float, elapsed: float) -> float | None:
    if elapsed <= 0:
        return None
    window = rate_window(elapsed, len(timed), WINDOW_SECONDS)
    return _rows(each for each in timed if each.at >= until - window) / window


def _rows(seen: Iterable[Seen]) -> int:
    return sum(each.rows for each in seen)


def _latest_faults(seen: list[Seen]) -> list[Fault]:
    faults = [fault for each in reversed(seen[-1000:]) for fault in each.faults]
    return faults[:LATEST_FAULTS]


def _published(folder: Folder, plan: Plan) -> tuple[float, list[Any]]:
    """Return when the folder's plan was published, and the receipts that its manifest repeats."""
    try:
        document = json.loads(folder.read(MANIFEST_FILE))
        ended = datetime.fromisoformat(document["finished"]).timestamp()
        mine = document["plan"]["id"] == plan.id and document["rows"] == plan.entries
        return (ended, list(document["shards"])) if mine else (0.0, [])
    except FileNotFoundError:
        return 0.0, []
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(folder, error) from error


def _receipts(folder: Folder) -> list[Any]:
    names = [name for name in folder.list(RECEIPT_FOLDER).sizes if name.endswith(".json")]
    if isinstance(folder, LocalFolder):
        return [_read(folder, name) for name in names]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        return list(pool.map(lambda name: _read(folder, name), names))


def _read(folder: Folder, name: str) -> Any:
    try:
        return json.loads(folder.read(f"{RECEIPT_FOLDER}/{name}"))
    except (FileNotFoundError, ValueError):  # removed since, or damaged: the command does this shard again
        return None


def _seen(plan: Plan, documents: Iterable[Any]) -> Iterator[Seen]:
    """Yield the receipts that speak for a shard of the plan."""
    wanted = {assignment.shard: assignment.rows for assignment in plan.assignments()}
    for document in documents:
        try:
            faults = tuple(Fault(**fault) for fault in document.get("faults", ()))
            if document["plan"] == plan.id and wanted.get(document["shard"]) == document["rows"]:
                yield Seen(
                    document["rows"], dict(document["counts"]), document["seconds"], document.get("at", 0.0), faults
                )
        except (AttributeError, KeyError, TypeError):
            continue
