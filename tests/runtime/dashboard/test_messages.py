"""What travels to the scheduler: as it was told, or refused."""

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.runtime.dashboard.messages import (
    MAX_LABELS,
    MAX_SHARDS,
    OTHERS,
    Begun,
    RunStopped,
    bounded,
    message_of,
    told_by,
)
from ncdb_dask.runtime.events import (
    RunFinished,
    RunStarted,
    ShardDone,
    ShardSetAside,
    ShardSuspected,
    StepProgress,
)
from ncdb_dask.store.figures import Chart, Fault

CHARTS = (
    Chart("depth", "Depth", "m", (0.5, 1.0, 2.0), labels=()),
    Chart("light", "Light", wanted={"day": 3}, labels=("day", "night")),
)
STARTED = RunStarted("scan", 9, 90, frozenset({0, 8}), {"ok": 20}, {"depth": [5, 15]}, CHARTS, "abc", "/out")
DONE = ShardDone(3, 10, {"ok": 9, "bad": 1}, {"light": {"day": 9}}, (Fault("a/1", "bad", "is bad"),), "tcp://w")
EVENTS = [
    DONE,
    ShardSuspected(1, 2, 3),
    ShardSetAside(1, "no space"),
    StepProgress("correcting biases", 1, 2),
    RunFinished(),
    RunStopped("interrupted"),
]


def travelled(message: object) -> Any:
    return json.loads(json.dumps(msgpack.unpackb(msgpack.packb(message), use_list=False)))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_arrive_as_they_were(event):
    assert told_by(travelled(message_of(event))) == event


def test_a_start_arrives_with_its_shards_as_bits():
    begun = told_by(travelled(message_of(STARTED)))
    assert begun == Begun("scan", 9, 90, 0b100000001, {"ok": 20}, {"depth": [5, 15]}, CHARTS, "/out")


@given(st.frozensets(st.integers(0, 5000)))
def test_any_set_of_shards_arrives(shards):
    begun = told_by(message_of(replace(STARTED, done=shards)))
    assert {shard for shard in range(5001) if begun.done >> shard & 1} == shards


def test_a_name_that_is_no_text_can_be_sent():
    fault = Fault("a/\udcff1", "bad", "caf\udce9")
    message = travelled(message_of(replace(DONE, faults=(fault,), counts={"\udc80": 1})))
    assert told_by(message).faults == (Fault("a/?1", "bad", "caf?"),)
    assert told_by(message).counts == {"?": 1}


def test_labels_beyond_the_limit_are_added_up():
    many = {str(number): number for number in range(MAX_LABELS + 50)}
    assert sum(bounded(many).values()) == sum(many.values())
    assert len(bounded(many)) == MAX_LABELS + 1
    assert bounded({**bounded(many), "new": 7})[OTHERS] == bounded(many)[OTHERS] + 7


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (DONE, {"event": "Launch"}),
        (DONE, {"event": ["ShardDone"]}),
        (DONE, {"shard": -1}),
        (DONE, {"shard": MAX_SHARDS}),
        (DONE, {"shard": 1.0}),
        (DONE, {"shard": True}),
        (DONE, {"rows": 10**400}),
        (DONE, {"rows": None}),
        (DONE, {"counts": {"ok": -1}}),
        (DONE, {"counts": [1, 2]}),
        (DONE, {"figures": {"depth": [1, float("nan")]}}),
        (DONE, {"figures": {"depth": [0] * 5000}}),
        (DONE, {"figures": {"depth": "0123"}}),
        (DONE, {"figures": {str(number): [] for number in range(100)}}),
        (DONE, {"faults": [{"key": "a"}]}),
        (DONE, {"faults": 7}),
        (DONE, {"worker": 7}),
        (STARTED, {"done": "ff" * MAX_SHARDS}),
        (STARTED, {"done": "no"}),
        (STARTED, {"charts": [{"name": "a"}] * 100}),
        (STARTED, {"charts": [{**message_of(STARTED)["charts"][0], "edges": [1, float("inf")]}]}),
        (STARTED, {"charts": [{**message_of(STARTED)["charts"][0], "edges": [2, 1]}]}),
        (STARTED, {"charts": [{**message_of(STARTED)["charts"][0], "edges": [2]}]}),
    ],
)
def test_what_is_no_event_is_refused(event, changes):
    with pytest.raises(ValueError, match=r"."):
        told_by({**message_of(event), **changes})


@pytest.mark.parametrize("message", [None, 17, "RunFinished", [], {}, {"event": None}])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(ValueError, match="expected one of RunStarted"):
        told_by(message)


def test_long_text_is_cut():
    assert len(told_by(message_of(ShardSetAside(0, "x" * 10_000))).reason) == 500
