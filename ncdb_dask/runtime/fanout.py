"""Spreading shards over workers: waves, retries, and the hunt for an item that kills its worker.

The graph that Dask sees is a bag over shard descriptors, a partition each, submitted in overlapping waves: the client
holds a few hundred small tasks however large the run is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from ncdb_dask.errors import NcdbError, RunError
from ncdb_dask.runtime.events import Observer, ShardDone, ShardSetAside, ShardSuspected, nobody
from ncdb_dask.runtime.flight import HOPELESS, RETRY_DELAYS, attempt, full_window, reason_of
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt

if TYPE_CHECKING:
    from distributed import Client, Future

Task = Callable[[Assignment], Receipt | None]
Outcome = Receipt | None | OSError | NcdbError

# So many shards may fail for good before the rest of the run is given up: one bad sector should not cost the night,
# a mount that is gone should not be asked for a thousand shards in turn.
MAX_SET_ASIDE = 3
MAX_HUNTS = 3
UNLUCKY = (
    "kills its worker although none of its items does so alone; give the workers more memory, "
    "or start over with a smaller --shard-size"
)
RESUMABLE = "what is complete stays, the same command goes on from it"


def run_shards(
    task: Task,
    assignments: Iterable[Assignment],
    client: "Client | None" = None,
    observer: Observer = nobody,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Iterator[Receipt]:
    """Run every assignment and yield its receipt, in order of completion.

    Parameters
    ----------
    task : callable
        Turns an assignment into a receipt; it may be called several times for one assignment. ``OSError`` means a
        fault of the environment.
    assignments : iterable of Assignment
        One a shard.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events.
    retry_delays : sequence of float
        Seconds to wait before each further try after an ``OSError``.

    Raises
    ------
    RunError
        Where shards are left that could not be done. All others are committed.
    """
    run = _Run(partial(attempt, task, tuple(retry_delays)), deque(assignments), observer)
    yield from run.here() if client is None else run.on(client)
    run.raise_if_incomplete()


def _located(assignment: Assignment, attempt: Callable[[Assignment], Outcome]) -> tuple[Outcome, str]:
    """Run, and say on which worker."""
    from distributed import get_worker

    try:
        address = str(get_worker().address)
    except ValueError:  # another of Dask's schedulers
        address = ""
    return attempt(assignment), address


@dataclass
class _Hunt:
    """The search of one shard for items that kill their worker."""

    whole: Assignment
    rounds: int = 0
    probes: int = 0  # answers that are awaited; the whole shard's own failure counts as one
    crashed: set[int] = field(default_factory=set)

    def assignment(self, probe: tuple[int, int] | None, alone: bool = False) -> Assignment:
        crashed = tuple(sorted(self.crashed))
        return replace(self.whole, probe=probe, alone=alone, crashed=crashed, attempt=self.rounds)


@dataclass
class _Run:
    attempt: Callable[[Assignment], Outcome]
    waiting: deque[Assignment]
    observer: Observer
    set_aside: dict[int, str] = field(default_factory=dict)
    hunts: dict[int, _Hunt] = field(default_factory=dict)
    suspects: deque[Assignment] = field(default_factory=deque)
    hopeless: bool = False

    def here(self) -> Iterator[Receipt]:
        """Run one after another in this process."""
        while self.waiting and not self.hopeless:
            assignment = self.waiting.popleft()
            yield from self._settle(assignment, self.attempt(assignment))

    def on(self, client: "Client") -> Iterator[Receipt]:
        """Run on a cluster in overlapping waves."""
        from distributed import as_completed
        from distributed.client import CancelledError
        from distributed.scheduler import KilledWorker, NoWorkerError

        running: dict[Future, Assignment] = {}
        completed = as_completed(loop=client.loop)
        window = 0
        try:
            while (self.waiting or running or self.suspects) and not self.hopeless:
                if not self.waiting and not running:
                    self.waiting.append(self.suspects.popleft())
                if self.waiting and len(running) <= window // 2:
                    # Workers that died since the last wave may have left no room: one shard keeps the run going.
                    window = full_window(client)
                    wave = self._submit(client, max(1, window - len(running)))
                    running |= wave
                    completed.update(wave)
                future = next(completed)
                if not future.done():  # its result was lost with the worker that held it, and is computed again
                    completed.add(future)
                    continue
                assignment = running.pop(future)
                try:
                    outcome, worker = future.result()[0]
                except KilledWorker:
                    self._hunt(assignment)
                except (CancelledError, NoWorkerError) as error:
                    raise RunError(f"the cluster went away ({error!r}); {RESUMABLE}") from error
                else:
                    yield from self._settle(assignment, outcome, worker)
        finally:
            if running:
                client.cancel(list(running), force=True)

    def _submit(self, client: "Client", room: int) -> "dict[Future, Assignment]":
        from dask import bag

        wave = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
        shards = bag.from_sequence(wave, partition_size=1).map(_located, self.attempt)
        return dict(zip(client.compute(shards.to_delayed()), wave, strict=True))

    def _settle(self, assignment: Assignment, outcome: Outcome, worker: str = "") -> Iterator[Receipt]:
        if isinstance(outcome, OSError):
            self.hopeless |= outcome.errno in HOPELESS
            self._put_aside(assignment, reason_of(outcome))
        elif assignment.shard in self.set_aside:
            return
        elif isinstance(outcome, NcdbError):
            raise outcome
        elif outcome is None:
            self._probed(self.hunts[assignment.shard])
        else:
            self.hunts.pop(assignment.shard, None)
            self.observer(
                ShardDone(outcome.shard, outcome.rows, outcome.counts, outcome.figures, outcome.faults, worker)
            )
            yield outcome

    def _put_aside(self, assignment: Assignment, reason: str) -> None:
        """Give a shard up for this run, with whatever of it is still queued."""
        if assignment.shard not in self.set_aside:
            self.observer(ShardSetAside(assignment.shard, reason))
        self.set_aside[assignment.shard] = reason
        self.hopeless |= len(self.set_aside) >= MAX_SET_ASIDE
        for queue in (self.waiting, self.suspects):
            others = [other for other in queue if other.shard != assignment.shard]
            queue.clear()
            queue.extend(others)

    def _hunt(self, assignment: Assignment) -> None:
        """Cut what killed its workers in halves, down to one item.

        Dask blames every task that a dead worker had before it. So an item is convicted only when it kills its workers
        with nothing else in flight, and its shard is done again in the same way: after all other work.
        """
        if assignment.shard in self.set_aside:
            return
        start, stop = assignment.probe or (0, assignment.rows)
        self.observer(ShardSuspected(assignment.shard, start, stop))
        hunt = self.hunts.setdefault(assignment.shard, _Hunt(assignment))
        if assignment.probe is None:
            hunt.rounds, hunt.probes = hunt.rounds + 1, 1
        if hunt.rounds > MAX_HUNTS:
            self._put_aside(assignment, UNLUCKY)
            return
        if stop - start == 1 and assignment.alone:
            hunt.crashed.add(start)
        elif stop - start == 1:
            hunt.probes += 1
            self.suspects.append(hunt.assignment((start, stop), alone=True))
        else:
            middle = (start + stop) // 2
            halves = [hunt.assignment((start, middle)), hunt.assignment((middle, stop))]
            hunt.probes += len(halves)
            self.waiting.extendleft(halves)
        self._probed(hunt)

    def _probed(self, hunt: _Hunt) -> None:
        """Count an answer; after the last one the whole shard is done without the culprits."""
        hunt.probes -= 1
        if hunt.probes == 0:
            self.suspects.append(hunt.assignment(None, alone=True))

    def raise_if_incomplete(self) -> None:
        if self.set_aside:
            reasons = "; ".join(f"shard {shard}: {reason}" for shard, reason in self.set_aside.items())
            raise RunError(f"shards that could not be done: {len(self.set_aside)} ({reasons}); {RESUMABLE}")
