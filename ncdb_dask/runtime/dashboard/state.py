"""What runs and ran on a scheduler, and how its workers get on. Bounded, whatever is told; knows nothing of Dask."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.runtime.dashboard.messages import Begun, clean, told_by
from ncdb_dask.runtime.dashboard.pace import Pace
from ncdb_dask.runtime.dashboard.run import Run
from ncdb_dask.runtime.events import ShardDone

MAX_RUNS = 16
MAX_WORKERS = 4096  # whose rate is known; a scheduler carries about a thousand


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """A worker as the scheduler knows it.

    Attributes
    ----------
    address, name, status : str
        As Dask has them.
    threads, tasks : int
        How many it has, and how many tasks it is working on.
    memory, memory_limit : int
        Bytes; no limit is 0.
    """

    address: str
    name: str
    status: str
    threads: int
    tasks: int
    memory: int
    memory_limit: int


class State:
    """Everything that the page shows."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.workers: dict[str, Pace] = {}

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take in a message of `messages.message_of` with the ids of its run and of the driver's client beside.

        Raises
        ------
        ValueError
            Where it is none; nothing has changed then.
        """
        told = told_by(message)
        run, client = clean(message.get("run")), clean(message.get("client"))
        if isinstance(told, Begun) and not self._running():
            self.workers = {address: Pace(now) for address in self.workers}
        known = self.runs.get(run)
        if known is None and isinstance(told, Begun):
            self.runs[run] = Run(run, told, client, now)
            self._forget_runs()
        elif known is not None and known.take(told, client, now) and isinstance(told, ShardDone):
            worker = self.workers.get(told.worker)
            if worker is not None:
                worker.add(told.rows, now)

    def leave(self, client: str, now: float) -> None:
        """Say that a client has left: where its run is not finished, the driver is gone."""
        for run in self.runs.values():
            if run.client == client and run.status == "running":
                run.end("gone", now)

    def join(self, address: str, now: float) -> None:
        """Say that a worker is there; the shards of others are nobody's."""
        if len(self.workers) < MAX_WORKERS:
            self.workers[address] = Pace(now)

    def part(self, address: str) -> None:
        """Say that a worker has left."""
        self.workers.pop(address, None)

    def _running(self) -> bool:
        return any(run.status == "running" for run in self.runs.values())

    def _forget_runs(self) -> None:
        """Forget the run that has been silent for longest, but for the one that finished last."""
        while len(self.runs) > MAX_RUNS:
            finished = [run for run in self.runs.values() if run.status == "finished"]
            kept = max(finished, key=lambda run: run.updated, default=None)
            others = [run for run in self.runs.values() if run is not kept]
            del self.runs[min(others, key=lambda run: (run.status == "running", run.updated)).id]

    def ordered_runs(self) -> list[Run]:
        """Return the runs, those that are running and the latest first."""
        return sorted(self.runs.copy().values(), key=lambda run: (run.status != "running", -run.started))

    def as_dict(self, now: float, workers: Iterable[WorkerNow] = ()) -> dict[str, Any]:
        """Return what ``/ncdb/status.json`` holds: JSON values, every number finite."""
        return {
            "runs": [run.as_dict(now) for run in self.ordered_runs()],
            "workers": [self._worker(worker, now) for worker in workers],
        }

    def _worker(self, worker: WorkerNow, now: float) -> dict[str, Any]:
        pace = self.workers.get(worker.address)
        return {
            **asdict(worker),
            "entries_done": pace.rows if pace else 0,
            "entries_per_second": pace.current(now) if pace and self._running() else None,
        }
