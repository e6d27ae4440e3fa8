"""The fan-out without depth and without a cluster: retries, and what happens to shards that fail for good."""

import errno
from collections import Counter, deque
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.errors import PlanError, RunError
from ncdb_dask.runtime.events import Event, ShardDone, ShardSetAside
from ncdb_dask.runtime.fanout import MAX_HUNTS, MAX_SET_ASIDE, _Run, run_shards
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
    with pytest.raises(RunError, match=r"could not be done: 1 \(shard 3: x.png: Input/output error\).*goes on"):
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


def test_lack_of_memory_is_tried_again():
    task = failing(lambda a, attempt: MemoryError() if a.shard == 3 and attempt == 1 else None)
    assert len(list(run_shards(task, ASSIGNMENTS, retry_delays=(0,)))) == 10


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


# Items that kill their worker: the hunt, without the cluster.


def hunt(killers: set[tuple[int, int]], shards: int = 3, rows: int = 8, bystander=lambda assignment: False):
    """Run assignments as a cluster would; those with a killer, or picked as `bystander`, die with their worker.

    Returns the items that each shard was finished without, the shards set aside, and all assignments in order.
    """
    events: list[Event] = []
    run = _Run(receipt, deque(Assignment(shard, rows, "items", shard) for shard in range(shards)), events.append)
    finished: dict[int, tuple[int, ...]] = {}
    seen = []
    while run.waiting or run.suspects:
        assignment = run.waiting.popleft() if run.waiting else run.suspects.popleft()
        assert assignment not in seen  # an equal task would get the result of the one before
        seen.append(assignment)
        touched = set(range(*(assignment.probe or (0, rows)))) - set(assignment.crashed)
        if any((assignment.shard, row) in killers for row in touched) or bystander(assignment):
            run._hunt(assignment)
        else:
            for done in run._settle(assignment, None if assignment.probe else receipt(assignment)):
                assert done.shard not in finished
                finished[done.shard] = assignment.crashed
    return finished, run.set_aside, seen


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 7))), st.integers(1, 8))
def test_exactly_the_killers_are_left_out_and_every_shard_is_finished(killers, rows):
    killers = {(shard, row) for shard, row in killers if row < rows}
    finished, set_aside, _ = hunt(killers, rows=rows)
    assert not set_aside
    assert finished == {shard: tuple(sorted(row for s, row in killers if s == shard)) for shard in range(3)}


@given(st.sets(st.integers(0, 7), max_size=2), st.integers(0, 2**32))
def test_bystanders_that_die_with_a_worker_are_never_left_out(culprits, seed):
    random = Random(seed)
    killers = {(0, row) for row in culprits}
    finished, set_aside, _ = hunt(killers, bystander=lambda a: not a.alone and random.random() < 0.3)
    assert not set_aside
    assert finished == {0: tuple(sorted(culprits)), 1: (), 2: ()}


def test_a_shard_that_dies_only_as_a_whole_is_set_aside_and_the_others_are_done():
    finished, set_aside, seen = hunt(set(), bystander=lambda a: a.shard == 1 and a.probe is None)
    assert finished == {0: (), 2: ()}
    assert list(set_aside) == [1]
    assert "more memory" in set_aside[1]
    assert sum(a.shard == 1 and a.probe is None for a in seen) == MAX_HUNTS + 1


def test_a_shard_that_is_set_aside_is_left_alone():
    run = _Run(receipt, deque([Assignment(0, 8, "items", 0)]), lambda event: None)
    run._hunt(run.waiting.popleft())
    first, second = run.waiting
    run.waiting.popleft()
    assert list(run._settle(first, OSError(errno.EIO, "I/O error"))) == []
    assert not run.waiting
    run._hunt(second)  # it was under way already
    assert not run.waiting
    assert not run.suspects
    assert list(run.set_aside) == [0]
