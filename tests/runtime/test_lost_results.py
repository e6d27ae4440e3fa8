"""Results that are lost with their worker, and clusters that go away, played by a client of paper."""

from collections import deque
from concurrent.futures import CancelledError

import distributed
import pytest
from distributed.scheduler import NoWorkerError

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.fanout import run_shards
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt

ASSIGNMENTS = [Assignment(shard, 4, "items", shard) for shard in range(9)]


def receipt(assignment: Assignment) -> Receipt:
    return Receipt("plan", assignment.shard, assignment.rows, 1, "", {"ok": assignment.rows}, 0.0)


class PaperFuture:
    """Has lost its result when it is asked for the first time."""

    def __init__(self, delayed: object) -> None:
        self.delayed, self.asked = delayed, 0

    def done(self) -> bool:
        self.asked += 1
        return self.asked > 1

    def result(self) -> object:
        assert self.asked > 1, "a lost result was asked for"
        return self.delayed.compute(scheduler="sync")


class PaperClient:
    loop = None

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault, self.cancelled = fault, []

    def nthreads(self) -> dict[str, int]:
        return {"a": 1}

    def compute(self, tasks: list[object]) -> list[PaperFuture]:
        futures = [PaperFuture(task) for task in tasks]
        if self.fault is not None:
            futures[0].result = self.fail
        return futures

    def fail(self) -> object:
        raise self.fault

    def cancel(self, futures: list[PaperFuture], force: bool) -> None:
        self.cancelled += futures


class PaperCompleted(deque):
    """Hands futures out in the order in which they were given."""

    def __init__(self, loop: object) -> None:
        super().__init__()

    def __next__(self) -> PaperFuture:
        return self.popleft()

    add, update = deque.append, deque.extend


@pytest.fixture(autouse=True)
def paper(monkeypatch):
    monkeypatch.setattr(distributed, "as_completed", PaperCompleted)


def test_a_result_that_is_lost_is_waited_for_again():
    receipts = list(run_shards(receipt, ASSIGNMENTS, PaperClient()))
    assert sorted(done.shard for done in receipts) == list(range(9))


@pytest.mark.parametrize("fault", [CancelledError("scheduler lost"), NoWorkerError("task", 600.0)])
def test_a_cluster_that_goes_away_is_said_in_words_and_nothing_is_left_running(fault):
    client = PaperClient(fault)
    with pytest.raises(RunError, match=r"the cluster went away .*the same command goes on from it"):
        list(run_shards(receipt, ASSIGNMENTS, client))
    assert len(client.cancelled) == 5  # the first wave of six, but for the one that failed


def test_workers_that_are_lost_between_two_waves_leave_no_room_and_the_run_goes_on(monkeypatch):
    client = PaperClient()
    workers = iter([{"a": 1, "b": 1}, *[{"a": 1}] * len(ASSIGNMENTS)])
    monkeypatch.setattr(client, "nthreads", lambda: next(workers))
    many = [Assignment(shard, 4, "items", shard) for shard in range(18)]
    assert sorted(done.shard for done in run_shards(receipt, many, client)) == list(range(18))


def test_an_unknown_error_of_a_task_comes_through():
    with pytest.raises(ZeroDivisionError):
        list(run_shards(receipt, ASSIGNMENTS, PaperClient(ZeroDivisionError())))
