"""The fan-out without depth and without a cluster: retries, and what happens to shards that fail for good."""

import errno
from collections import Counter
from collections.abc import Callable

import pytest

from ncdb_dask.errors import PlanError, RunError
from ncdb_dask.runtime.events import Event, ShardDone, ShardSetAside
from ncdb_dask.runtime.fanout import MAX_SET_ASIDE, run_shards
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt

ASSIGNMENTS = [Assignment(shard, 4, "items", shard) for shard in range(10)]


def receipt(assignment: Assignment) -> Receipt:
    return Receipt("plan", assignment.shard, assignment.rows, 1, "", {"ok": assignment.rows}, 0.0)


def failing(fault: Callable[[Assignment, int], BaseException | None]) -> Callable[[Assignment], Receipt]:
    """A task that fails as `fault(assignment, number of the try)` says."""
    tries = Counter[int]()

    def task(assignment: Assignment) -> Receipt:
        tries[assignment.shard] += 1
        error = fault(assignment, tries[assignment.shard])
        if error is not None:
            raise error
        return receipt(assignment)

    return task


def test_every_shard_gives_its_receipt_and_one_event():
    events: list[Event] = []
    receipts = list(run_shards(receipt, ASSIGNMENTS, observer=events.append))
    assert [r.shard for r in receipts] == list(range(10))
    assert events == [ShardDone(shard, 4, {"ok": 4}) for shard in range(10)]


def test_a_passing_fault_of_the_environment_is_tried_again():
    task = failing(lambda a, attempt: OSError(errno.EIO, "I/O error") if a.shard == 3 and attempt < 4 else None)
    receipts = list(run_shards(task, ASSIGNMENTS, retry_delays=(0, 0, 0)))
    assert sorted(r.shard for r in receipts) == list(range(10))


def test_a_lasting_fault_sets_its_shard_aside_and_the_others_go_on():
    events: list[Event] = []
    receipts = []
    task = failing(lambda a, _: OSError(errno.EIO, "Input/output error", "x.png") if a.shard == 3 else None)
    with pytest.raises(RunError, match=r"1 shards could not be done \(shard 3: x.png: Input/output error\).*goes on"):
        receipts.extend(run_shards(task, ASSIGNMENTS, observer=events.append, retry_delays=(0,)))
    assert [e for e in events if isinstance(e, ShardSetAside)] == [ShardSetAside(3, "x.png: Input/output error")]
    assert sum(isinstance(e, ShardDone) for e in events) == 9


def test_a_mount_that_is_gone_is_not_asked_for_every_shard():
    asked = []

    def task(assignment: Assignment) -> Receipt:
        asked.append(assignment.shard)
        raise OSError(errno.ESTALE, "Stale file handle")

    with pytest.raises(RunError):
        list(run_shards(task, ASSIGNMENTS, retry_delays=(0, 0)))
    assert asked == [shard for shard in range(MAX_SET_ASIDE) for _ in range(3)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing_more_stops_the_run_at_once(number):
    asked = []

    def task(assignment: Assignment) -> Receipt:
        asked.append(assignment.shard)
        raise OSError(number, "no")

    with pytest.raises(RunError):
        list(run_shards(task, ASSIGNMENTS, retry_delays=(0, 0)))
    assert asked == [0]


def test_an_error_of_the_user_comes_through_as_it_is():
    task = failing(lambda a, _: PlanError("another run") if a.shard == 1 else None)
    with pytest.raises(PlanError, match="another run"):
        list(run_shards(task, ASSIGNMENTS, retry_delays=(0,)))
