"""Telling a scheduler: never at the run's expense."""

import logging
from types import SimpleNamespace

import pytest
from helpers.watching import separate_scheduler

from ncdb_dask.errors import RunError
from ncdb_dask.runtime import watched as module
from ncdb_dask.runtime.events import RunFinished, RunStarted, ShardDone, StepProgress, nobody
from ncdb_dask.runtime.watched import dashboard_state, watched

STARTED = RunStarted("scan", 3, 3, run="r")


class PaperClient:
    """A scheduler that answers, unless `silent` holds."""

    status, id = "running", "driver"

    def __init__(self, refuses=None):
        self.refuses, self.silent, self.told = refuses, False, []
        self.scheduler = SimpleNamespace(address="tcp://paper", log_event=self.log_event)

    def register_plugin(self, plugin):
        if self.refuses:
            raise self.refuses

    def sync(self, function, callback_timeout, **arguments):
        if self.silent:
            raise TimeoutError
        function(**arguments)

    def log_event(self, topic, msg):
        assert topic == "ncdb_dask"
        self.told.append(msg)

    @property
    def names(self):
        return [each["event"] for each in self.told]


def fail(client, error, *events):
    with watched(client, nobody) as told:
        for event in events:
            told(event)
        raise error


def test_without_a_client_the_observer_is_alone():
    with watched(None, nobody) as told:
        assert told is nobody


def test_every_event_is_told_to_both():
    client, seen = PaperClient(), []
    events = [STARTED, ShardDone(0, 1, {"ok": 1}), RunFinished()]
    with watched(client, seen.append) as told:
        for event in events:
            told(event)
    assert seen == events
    assert client.names == ["RunStarted", "ShardDone", "RunFinished"]
    assert {(each["run"], each["client"]) for each in client.told} == {("r", "driver")}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RunError("the disk is full"), "the disk is full"),
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError("no"), "ZeroDivisionError: no"),
    ],
)
def test_a_run_that_fails_is_told(error, reason):
    client = PaperClient()
    with pytest.raises(type(error)):
        fail(client, error, STARTED)
    assert client.names == ["RunStarted", "RunStopped"]
    assert client.told[-1]["reason"] == reason


def test_what_fails_after_the_end_is_not_told():
    client = PaperClient()
    with pytest.raises(RunError):
        fail(client, RunError("the picture cannot be drawn"), STARTED, RunFinished())
    assert client.names == ["RunStarted", "RunFinished"]


def test_a_scheduler_that_refuses_costs_one_remark(caplog):
    client, seen = PaperClient(ModuleNotFoundError("No module named 'ncdb_dask'")), []
    for _ in range(3):
        with watched(client, seen.append) as told:
            told(STARTED)
    assert seen == [STARTED] * 3
    assert client.told == []
    (remark,) = caplog.messages
    assert "cannot show the page /ncdb (No module named 'ncdb_dask'); the run goes on" in remark


def test_a_scheduler_that_is_silent_for_a_while_is_told_everything_in_order(caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client = PaperClient()
    with watched(client, nobody) as told:
        told(STARTED)
        client.silent = True
        told(ShardDone(0, 1, {}))
        client.silent = False
        told(ShardDone(1, 1, {}))  # it is not asked again at once: each time costs a run seconds
        assert client.names == ["RunStarted"]
        now[0] += module.SECONDS_BETWEEN_TRIES
        told(ShardDone(2, 1, {}))
        assert [each.get("shard") for each in client.told] == [None, 0, 1, 2]
        client.silent = True
        told(ShardDone(3, 1, {}))
        client.silent = False
        told(RunFinished())
    assert [each.get("shard") for each in client.told] == [None, 0, 1, 2, 3, None]
    assert client.names[-1] == "RunFinished"
    assert len([message for message in caplog.messages if "is behind" in message]) == 1


def test_a_client_that_is_closed_is_not_asked():
    client = PaperClient()
    with watched(client, nobody) as told:
        told(STARTED)
        client.status = "closed"
        told(ShardDone(0, 1, {}))
    assert client.names == ["RunStarted"]


def test_steps_are_told_once_a_second_and_the_last_of_each(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client, seen = PaperClient(), []
    with watched(client, seen.append, "quantization", "/out/int8.onnx") as told:
        for done in range(1, 41):
            told(StepProgress("measuring", done, 50))
            now[0] += 0.1
        told(StepProgress("correcting", 1, 2))
        told(StepProgress("correcting", 2, 2))
        told(StepProgress("checking", 1, 9))
        told(StepProgress("checking", 2, 9))
    assert len(seen) == 44
    began, *steps, ended = client.told
    assert (began["event"], began["what"], began["out"]) == ("RunStarted", "quantization", "/out/int8.onnx")
    assert ended["event"] == "RunFinished"
    assert len({each["run"] for each in client.told}) == 1
    assert [(each["what"], each["done"]) for each in steps] == [
        *[("measuring", done) for done in (1, 11, 21, 31, 40)],
        ("correcting", 2),
        ("checking", 2),
    ]


def test_a_scheduler_that_lacks_the_package(tmp_path, monkeypatch, caplog):
    from distributed import Client

    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ncdb_dask'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seen = []
    with separate_scheduler(tmp_path, workers=0) as address, Client(address) as client:
        with caplog.at_level(logging.WARNING, logger=module.__name__), watched(client, seen.append) as told:
            told(STARTED)
        with pytest.raises(RunError, match=r"expected one with ncdb_dask installed \(.*ncdb_dask"):
            dashboard_state(client)
    assert seen == [STARTED]
    assert len([message for message in caplog.messages if "cannot show the page /ncdb" in message]) == 1
