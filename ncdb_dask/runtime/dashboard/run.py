"""One run as it was told. Whatever is told twice counts once: a run is a set of shards, and each adds once."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ncdb_dask.runtime.dashboard.messages import Begun, RunStopped, Told, bounded
from ncdb_dask.runtime.dashboard.pace import Pace
from ncdb_dask.runtime.events import RunFinished, ShardDone, ShardSetAside, ShardSuspected, StepProgress
from ncdb_dask.store.figures import Chart, Fault, Figure, Figures, add_figures

LATEST_FAULTS = 20
LATEST_REMARKS = 20
LATEST_STEPS = 12
# Shards whose share of the sums is kept by itself: as many as another driver may commit while a second one starts.
RECENT_SHARDS = 256


class Run:
    """What is known of a run.

    Attributes
    ----------
    id : str
        Of its plan, so that a run that is continued is the same one.
    status : str
        ``running``, ``finished``, ``stopped`` for an error that the driver told, or ``gone`` where it left silently.
    updated : float
        When something was told last.
    """

    def __init__(self, run: str, begun: Begun, client: str, now: float) -> None:
        self.id = run
        self.client = client
        self.status = "running"
        self.ended: float | None = None
        self.shards = self.rows = 0
        self.seen = 0  # bit n: shard n is in the sums
        self.counts: dict[str, int] = {}
        self.figures: dict[str, Figure] = {}
        self.charts: tuple[Chart, ...] = ()
        self.faults: deque[Fault] = deque(maxlen=LATEST_FAULTS)
        self.steps: dict[str, tuple[int, int]] = {}
        self._recent: dict[int, ShardDone] = {}
        self._begin_anew(now)
        self._begin(begun)

    def take(self, told: Told, client: str, now: float) -> bool:
        """Take in what was told, and say whether it was a shard that counts."""
        self.updated, self.client = now, client
        if isinstance(told, Begun):
            if self.status != "running":
                self._begin_anew(now)
            self._begin(told)
            return False
        if self.status in ("gone", "stopped") and not isinstance(told, RunFinished | RunStopped):
            # The connection broke and is back, or it was another driver of this run that has stopped.
            self.status, self.reason, self.ended = "running", "", None
        if isinstance(told, ShardDone):
            return self._add(told, now)
        if isinstance(told, StepProgress):
            self.steps.pop(told.what, None)
            _latest(self.steps, told.what, (told.done, told.total), LATEST_STEPS)
        elif isinstance(told, ShardSuspected):
            _latest(self.suspected, told.shard, (told.start, told.stop), LATEST_REMARKS)
        elif isinstance(told, ShardSetAside):
            self.suspected.pop(told.shard, None)
            _latest(self.set_aside, told.shard, told.reason, LATEST_REMARKS)
        elif isinstance(told, RunFinished):
            self.end("finished", now)
        elif isinstance(told, RunStopped) and self.status != "finished":
            self.end("stopped", now, told.reason)
        return False

    def end(self, status: str, now: float, reason: str = "") -> None:
        """Say how it ended."""
        self.status, self.reason = status, reason
        self.ended = now if self.ended is None else self.ended
        self.suspected.clear()
        self._recent.clear()

    def _begin_anew(self, now: float) -> None:
        """Start the clock; what an earlier run has done costs no time now."""
        self.status, self.reason = "running", ""
        self.started = self.updated = now
        self.ended = None
        self.pace = Pace(now)
        self.suspected: dict[int, tuple[int, int]] = {}
        self.set_aside: dict[int, str] = {}

    def _begin(self, begun: Begun) -> None:
        """Take the sums of the shards that are done, unless they are in those that were told."""
        self.what, self.out = begun.what, begun.out
        self.shards, self.rows = max(self.shards, begun.shards), max(self.rows, begun.rows)
        if self.seen and not begun.done & ~self.seen:
            return
        # Another driver may have committed some since this one looked; older ones it will find and tell itself.
        kept = [each for each in self._recent.values() if not begun.done >> each.shard & 1]
        self.seen, self.counts, self.charts = begun.done, dict(begun.counts), begun.charts
        self.figures = dict(_fitting(begun.figures, begun.charts))
        self._recent = {}
        for each in kept:
            self._sum(each)

    def _add(self, done: ShardDone, now: float) -> bool:
        self.suspected.pop(done.shard, None)
        self.set_aside.pop(done.shard, None)
        if self.seen >> done.shard & 1:
            return False
        self._sum(done)
        self.pace.add(done.rows, now)
        self.faults.extend(fault for fault in done.faults if fault not in self.faults)
        return True

    def _sum(self, done: ShardDone) -> None:
        self.seen |= 1 << done.shard
        labels = {**self.counts, **done.counts}
        self.counts = bounded({label: self.counts.get(label, 0) + done.counts.get(label, 0) for label in labels})
        added = add_figures(self.figures, _fitting(done.figures, self.charts))
        self.figures = {name: bounded(each) if isinstance(each, Mapping) else each for name, each in added.items()}
        _latest(self._recent, done.shard, done, RECENT_SHARDS)

    @property
    def rows_done(self) -> int:
        """Rows of the shards that are done."""
        return sum(self.counts.values())

    def as_dict(self, now: float) -> dict[str, Any]:
        """Return all of it as JSON values."""
        at = now if self.ended is None else self.ended
        mean, current = self.pace.mean(at), self.pace.current(at) if self.ended is None else None
        rate, left = current or mean, self.rows - self.rows_done
        return {
            "run": self.id,
            "what": self.what,
            "out": self.out,
            "status": self.status,
            "reason": self.reason,
            "shards": self.shards,
            "shards_done": self.seen.bit_count(),
            "entries": self.rows,
            "entries_done": self.rows_done,
            "entries_now": self.pace.rows,
            "entries_per_second": current,
            "entries_per_second_mean": mean,
            "elapsed_seconds": at - self.started,
            "remaining_seconds": left / rate if self.ended is None and rate and left >= 0 else None,
            "ended_seconds_ago": None if self.ended is None else now - self.ended,
            "counts": dict(self.counts),
            "faults": [asdict(fault) for fault in reversed(self.faults)],
            "suspected": [
                {"shard": shard, "start": start, "stop": stop} for shard, (start, stop) in self.suspected.items()
            ],
            "set_aside": [{"shard": shard, "reason": reason} for shard, reason in self.set_aside.items()],
            "steps": [{"what": what, "done": done, "total": total} for what, (done, total) in self.steps.items()],
            "charts": [{**asdict(chart), "figure": self._figure(chart)} for chart in self.charts],
        }

    def _figure(self, chart: Chart) -> Figure:
        return self.figures.get(chart.name, [0] * (len(chart.edges) - 1) if chart.edges else {})


def _fitting(figures: Figures, charts: tuple[Chart, ...]) -> Figures:
    """Return the figures that the charts draw, which is all that is kept."""
    bins = {chart.name: len(chart.edges) - 1 if chart.edges else None for chart in charts}
    return {
        name: figure
        for name, figure in figures.items()
        if name in bins and bins[name] == (None if isinstance(figure, Mapping) else len(figure))
    }


def _latest(kept: dict[Any, Any], key: object, value: object, limit: int) -> None:
    """Add to a dict that holds the latest few."""
    kept[key] = value
    while len(kept) > limit:
        del kept[next(iter(kept))]
