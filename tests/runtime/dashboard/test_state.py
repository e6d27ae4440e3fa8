"""What is kept of runs: each shard once, whatever is told twice, and never more than a little."""

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.runtime.dashboard.messages import RunStopped, message_of
from ncdb_dask.runtime.dashboard.run import LATEST_FAULTS, LATEST_STEPS, RECENT_SHARDS
from ncdb_dask.runtime.dashboard.state import MAX_RUNS, MAX_WORKERS, State, WorkerNow
from ncdb_dask.runtime.events import (
    Event,
    RunFinished,
    RunStarted,
    ShardDone,
    ShardSetAside,
    ShardSuspected,
    StepProgress,
)
from ncdb_dask.store.figures import Chart, Fault

CHARTS = (Chart("depth", "Depth", "m", (1.0, 2.0, 4.0, 8.0)), Chart("light", "Light", labels=("day",)))
WORKER = "tcp://127.0.0.1:1"


def started(shards: int, done: Iterable[int] = (), rows: int | None = None, what: str = "scan") -> RunStarted:
    """A driver that begins, or goes on from these shards."""
    done, total = frozenset(done), sums(done)
    rows = shards * 10 if rows is None else rows
    return RunStarted(what, shards, rows, done, total["counts"], total["figures"], CHARTS, out="/out")


def shard(number: int, worker: str = WORKER) -> ShardDone:
    """A shard of ten rows, different from every other."""
    bad = number % 4
    counts = {"ok": 10 - bad, **({"bad": bad} if bad else {})}
    figures = {"depth": [number, 1, 10 - bad], "light": {"day" if number % 3 else f"other {number}": 10 - bad}}
    return ShardDone(number, 10, counts, figures, (Fault(f"a/{number}", "bad", "is bad"),) * bool(bad), worker)


def sums(shards: Iterable[int]) -> dict[str, Any]:
    """What these shards add up to, by another way than the product's."""
    each = [shard(number) for number in shards]
    counts, light = Counter[str](), Counter[str]()
    for one in each:
        counts.update(one.counts)
        light.update(one.figures["light"])
    depth = [sum(one.figures["depth"][place] for one in each) for place in range(3)]
    return {"counts": dict(counts), "figures": {"depth": depth, "light": dict(light)}}


def tell(state: State, *events: Event | RunStopped, run: str = "r", client: str = "c", now: float = 0.0) -> None:
    for event in events:
        state.take({**message_of(event), "run": run, "client": client}, now)


def shown(state: State, now: float = 0.0, workers: Sequence[WorkerNow] = ()) -> dict[str, Any]:
    return json.loads(json.dumps(state.as_dict(now, workers), allow_nan=False))


def only(state: State, now: float = 0.0) -> dict[str, Any]:
    (run,) = shown(state, now)["runs"]
    return run


def assert_holds(run: dict[str, Any], shards: Iterable[int]) -> None:
    shards = set(shards)
    total = sums(shards)
    assert run["shards_done"] == len(shards)
    assert run["counts"] == total["counts"]
    assert run["entries_done"] == 10 * len(shards)
    assert {chart["name"]: chart["figure"] for chart in run["charts"]} == total["figures"]


SHARDS = 8
subsets = st.frozensets(st.integers(0, SHARDS - 1))
histories = st.lists(
    st.integers(0, SHARDS - 1).map(shard) | subsets.map(lambda done: started(SHARDS, done)), max_size=30
)


@given(histories, st.permutations(range(SHARDS)))
def test_each_shard_counts_once_in_any_order_of_anything_told_again(history, order):
    state = State()
    tell(state, started(SHARDS))
    for event in history:
        tell(state, event)
        seen = state.runs["r"].seen
        assert_holds(only(state), [number for number in range(SHARDS) if seen >> number & 1])
        told = {event.shard} if isinstance(event, ShardDone) else event.done
        assert all(seen >> number & 1 for number in told)
    tell(state, *map(shard, order))
    assert_holds(only(state), range(SHARDS))
    keys = [fault["key"] for fault in only(state)["faults"]]
    assert len(keys) == len(set(keys))


@given(st.permutations([*map(shard, range(SHARDS)), *map(shard, range(SHARDS)), started(SHARDS), started(SHARDS)]))
def test_two_drivers_that_tell_the_same_count_as_one(history):
    state = State()
    tell(state, started(SHARDS))
    for event in history:
        tell(state, event)
    assert_holds(only(state), range(SHARDS))


def test_a_second_driver_that_looked_a_moment_ago_takes_nothing_away():
    state = State()
    tell(state, started(SHARDS), *map(shard, [0, 1, 2, 3]), started(SHARDS, [0, 1, 7]), client="second")
    assert_holds(only(state), [0, 1, 2, 3, 7])


def test_a_driver_that_looked_long_ago_takes_nothing_away():
    state = State()
    tell(state, started(SHARDS, [5, 6, 7]), started(SHARDS, [5]), started(SHARDS), client="second")
    assert_holds(only(state), [5, 6, 7])


def test_a_fault_is_shown_once_though_its_shard_was_forgotten_and_told_again():
    state = State()
    tell(state, started(SHARDS), shard(1), started(SHARDS, [0, 1]), started(SHARDS, [0, 2]), shard(1))
    assert_holds(only(state), [0, 1, 2])
    assert [fault["key"] for fault in only(state)["faults"]] == ["a/1"]


def test_a_run_that_goes_on_takes_over_what_was_done_elsewhere():
    state = State()
    tell(state, started(SHARDS, [5, 6]), shard(0), now=100.0)
    state.leave("c", 110.0)
    tell(state, started(SHARDS, [0, 1, 5, 6]), client="d", now=500.0)
    tell(state, shard(2), client="d", now=510.0)
    run = only(state, 510.0)
    assert_holds(run, [0, 1, 2, 5, 6])
    assert run["elapsed_seconds"] == 10
    assert run["entries_per_second_mean"] == 1  # what an earlier run has done costs no time


def test_a_figure_that_fits_no_chart_is_left_out():
    state = State()
    tell(state, started(2), ShardDone(0, 10, {"ok": 10}, {"depth": [1, 2], "light": [1, 2, 3], "secret": {"a": 1}}))
    run = only(state)
    assert run["counts"] == {"ok": 10}
    assert [chart["figure"] for chart in run["charts"]] == [[0, 0, 0], {}]


def test_a_million_entries_take_no_more_than_ten_thousand():
    sizes = []
    for shards in (300, 20_000):
        state = State()
        state.join(WORKER, 0.0)
        tell(state, started(shards, rows=50 * shards))
        for number in range(shards):
            done = shard(number)
            figures = {**done.figures, "light": {"day": 50}}
            tell(state, ShardDone(number, 50, {"ok": 50}, figures, done.faults, WORKER), now=number / 10)
        run = only(state, shards / 10)
        assert run["entries_done"] == 50 * shards
        sizes.append(len(pickle.dumps(state)))
        assert len(state.runs["r"]._recent) == RECENT_SHARDS
    assert sizes[1] < sizes[0] + 20_000 // 8 + 600 * 40  # the bits, and the pace of ten minutes


def test_nothing_that_is_told_grows_for_ever():
    state = State()
    for number in range(50):
        tell(state, started(10), run=str(number), now=number)
    assert len(state.runs) == MAX_RUNS
    tell(state, *(StepProgress(f"step {number}", 1, 2) for number in range(100)), run="49")
    tell(state, *(ShardSuspected(number, 0, 1) for number in range(100)), run="49")
    tell(state, *(ShardSetAside(number, "full") for number in range(100)), run="49")
    for number in range(1000):
        labels = {f"label {number}": 1}
        fault = Fault(f"a/{number}", "bad", "is bad")
        tell(state, ShardDone(number, 1, labels, {"light": labels}, (fault,), f"tcp://{number}"), run="49")
    run = next(run for run in shown(state)["runs"] if run["run"] == "49")
    assert len(run["counts"]) <= 201
    assert sum(run["counts"].values()) == 1000
    assert sum(run["charts"][1]["figure"].values()) == 1000
    assert len(run["charts"][1]["figure"]) <= 201
    assert len(run["faults"]) == LATEST_FAULTS
    assert run["faults"][0]["key"] == "a/999"
    assert len(run["steps"]) == LATEST_STEPS
    assert run["steps"][-1]["what"] == "step 99"
    assert len(run["suspected"]) + len(run["set_aside"]) <= 40
    for number in range(2 * MAX_WORKERS):
        state.join(str(number), 0.0)
    assert len(state.workers) == MAX_WORKERS


def test_the_run_that_finished_last_is_kept_and_running_ones_come_first():
    state = State()
    for number in range(3):
        tell(state, started(1, what=f"finished {number}"), run=f"f{number}", now=number)
        tell(state, RunFinished(), run=f"f{number}", now=number + 0.5)
    for number in range(MAX_RUNS + 4):
        tell(state, started(1, what=f"running {number}"), run=str(number), now=10.0 + number)
    runs = shown(state)["runs"]
    assert [run["what"] for run in runs if run["status"] == "finished"] == ["finished 2"]
    assert runs[-1]["what"] == "finished 2"
    assert [run["what"] for run in runs[:2]] == [f"running {MAX_RUNS + 3}", f"running {MAX_RUNS + 2}"]


def test_a_run_goes_on_when_one_of_two_drivers_has_stopped():
    state = State()
    tell(state, started(4))
    tell(state, started(4), shard(0), RunStopped("interrupted"), client="d", now=3.0)
    run = only(state, 9.0)
    assert (run["status"], run["elapsed_seconds"]) == ("stopped", 3.0)
    tell(state, shard(1), now=60.0)
    run = only(state, 90.0)
    assert (run["status"], run["reason"], run["elapsed_seconds"]) == ("running", "", 90.0)
    assert run["entries_per_second"] is not None


def test_a_driver_that_leaves_is_gone_unless_its_run_is_finished():
    state = State()
    tell(state, started(2), run="finished", client="c")
    tell(state, RunFinished(), run="finished", client="c")
    tell(state, started(2), run="cut off", client="c")
    tell(state, started(2), run="other", client="d")
    state.leave("c", 7.0)
    assert {run["run"]: run["status"] for run in shown(state)["runs"]} == {
        "finished": "finished",
        "cut off": "gone",
        "other": "running",
    }
    tell(state, shard(0), run="cut off", client="c")  # its connection broke, and is back
    assert state.runs["cut off"].status == "running"


def test_a_run_that_stops_says_why_and_begins_anew():
    state = State()
    tell(state, started(2), ShardSuspected(0, 0, 5), ShardSetAside(1, "disk full"))
    tell(state, RunStopped("shards that could not be done: 1"), now=5.0)
    run = only(state, 9.0)
    assert (run["status"], run["reason"]) == ("stopped", "shards that could not be done: 1")
    assert run["set_aside"] == [{"shard": 1, "reason": "disk full"}]
    assert run["suspected"] == []  # nobody searches any more
    assert run["ended_seconds_ago"] == 4
    assert run["entries_per_second"] is run["remaining_seconds"] is None
    tell(state, started(2), now=20.0)
    run = only(state, 21.0)
    assert (run["status"], run["reason"], run["set_aside"]) == ("running", "", [])


def test_what_fails_after_the_end_does_not_undo_it():
    state = State()
    tell(state, started(1), shard(0), RunFinished(), RunStopped("another run has this folder"))
    assert only(state)["status"] == "finished"


def test_a_suspect_that_is_done_after_all_is_none_any_more():
    state = State()
    tell(state, started(2), ShardSuspected(0, 2, 4), ShardSuspected(1, 0, 2))
    assert only(state)["suspected"][0] == {"shard": 0, "start": 2, "stop": 4}
    tell(state, shard(0), ShardSetAside(1, "unlucky"))
    assert only(state)["suspected"] == []


def test_the_rate_now_follows_and_the_mean_stays():
    state = State()
    tell(state, started(1000), now=0.0)
    assert only(state, 5.0)["entries_per_second"] is None
    assert only(state, 5.0)["remaining_seconds"] is None
    for second in range(1, 201):
        tell(state, shard(second), now=float(second))
    run = only(state, 200.0)
    assert run["entries_per_second"] == pytest.approx(10, rel=0.03)
    assert run["entries_per_second_mean"] == pytest.approx(10)
    assert run["remaining_seconds"] == pytest.approx(800, rel=0.03)
    for step in range(200):
        tell(state, shard(201 + step), now=200 + (step + 1) * 0.25)
    assert only(state, 250.0)["entries_per_second"] == pytest.approx((10 * 10 + 40 * 50) / 60, rel=0.03)
    assert only(state, 250.0)["entries_per_second_mean"] == pytest.approx(4000 / 250)
    assert only(state, 400.0)["entries_per_second"] == 0  # it has stalled


def test_a_shard_that_takes_minutes_does_not_make_the_rate_zero():
    state = State()
    tell(state, started(100), now=0.0)
    for number in range(1, 11):
        tell(state, shard(number), now=300.0 * number)
    for later in (0.0, 120.0, 290.0):
        assert only(state, 3000 + later)["entries_per_second"] == pytest.approx(10 / 300, rel=0.35)


def test_workers_are_those_that_are_there():
    state = State()
    state.join(WORKER, 0.0)
    state.join("tcp://gone", 0.0)
    tell(state, started(10), now=50.0)
    tell(state, shard(0), shard(1), shard(2, "tcp://gone"), shard(3, "tcp://stranger"), now=60.0)
    tell(state, shard(0), now=60.0)  # told again
    state.part("tcp://gone")
    tell(state, shard(4, "tcp://gone"), now=60.0)
    assert set(state.workers) == {WORKER}
    now = WorkerNow(WORKER, "0", "running", 1, 2, 300, 0)
    (worker,) = shown(state, 60.0, [now])["workers"]
    assert (worker["entries_done"], worker["entries_per_second"]) == (20, 2)
    assert (worker["memory"], worker["memory_limit"], worker["tasks"]) == (300, 0, 2)
    tell(state, RunFinished(), now=70.0)
    assert shown(state, 70.0, [now])["workers"][0]["entries_per_second"] is None
    tell(state, started(10), run="next", now=1000.0)
    assert shown(state, 1000.0, [now])["workers"][0]["entries_done"] == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = [
    {**message_of(event), "run": "r", "client": "c"}
    for event in (started(4, [1]), shard(0), ShardSuspected(0, 1, 2), ShardSetAside(0, ""), StepProgress("a", 1, 2))
]


@given(st.lists(st.tuples(st.sampled_from(MESSAGES), st.sampled_from([*MESSAGES[0], *MESSAGES[1]]), json_values)))
def test_a_broken_message_changes_nothing_and_what_is_shown_stays_valid(attacks):
    state = State()
    tell(state, started(4), shard(3))
    for message, field, value in attacks:
        before = pickle.dumps(shown(state))
        try:
            state.take({**message, field: value}, 1.0)
        except ValueError:
            assert pickle.dumps(shown(state)) == before
        shown(state, 2.0)
