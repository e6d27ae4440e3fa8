"""A driver's sign of life: it ends as the driver does, hears a request, and never costs the run."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ncdb_dask.errors import RunError
from ncdb_dask.runtime import heartbeat
from ncdb_dask.runtime.heartbeat import Heartbeat
from ncdb_dask.store.driver import FAILED, FINISHED, RUNNING, STARTING, STOPPED, Driver, begun, new_driver
from ncdb_dask.store.driver_records import ask_to_stop, read_driver, read_drivers, write_driver
from ncdb_dask.store.folder import LocalFolder


class Ended(Exception):
    """Stands for what a command raises on a signal."""


@pytest.fixture
def driver() -> Driver:
    return begun(new_driver(["scan", "data", "out"], submitted=1.0))


@pytest.fixture
def place(tmp_path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "out" / "_driver"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(heartbeat, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)


@pytest.fixture
def on_signal():
    """Have a signal raise `Ended` in the main thread."""

    def end(signum, frame):
        raise Ended(signal.Signals(signum).name)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def held(place: LocalFolder, driver: Driver) -> Driver:
    found = read_driver(place, driver.id)
    assert found is not None
    return found


def blocked(beat: Heartbeat, do: Callable[[], object]) -> None:
    """Do something, and wait for ever."""
    with beat:
        do()
        threading.Event().wait()


def failing(beat: Heartbeat, do: Callable[[], object] = lambda: None) -> None:
    with beat:
        do()
        raise RunError("no worker")


def until(holds) -> None:
    """Wait for what the other thread does; pytest's own limit ends a wait that is in vain."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.01)


def test_the_record_follows_the_driver(place, driver):
    with Heartbeat(place, driver) as beat:
        assert held(place, driver).state == STARTING
        beat.tell(state=RUNNING)
        assert held(place, driver).state == RUNNING
        beat.tell(said="half of it")
        until(lambda: held(place, driver).said == "half of it")
        last = held(place, driver).heartbeat
        until(lambda: held(place, driver).heartbeat > last)
    ended = held(place, driver)
    assert (ended.state, ended.error, ended.said) == (FINISHED, "", "half of it")
    assert ended.ended > 0


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (RunError("no worker"), FAILED, "no worker"),
        (ZeroDivisionError("by zero"), FAILED, "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), STOPPED, "interrupted"),
        (SystemExit(143), STOPPED, "terminated"),
        (SystemExit(129), STOPPED, "the terminal was closed"),
        (OSError(errno.EIO, "Input/output error"), STOPPED, "the terminal was closed"),
        (SystemExit(3), FAILED, "exit code 3"),
        (SystemExit("no module"), FAILED, "exit code no module"),
    ],
)
def test_how_it_ended(error, state, why, place, driver):
    with pytest.raises(type(error)), Heartbeat(place, driver):
        raise error
    assert (held(place, driver).state, held(place, driver).error) == (state, why)
    assert "ncdb-heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_request_ends_the_main_thread_although_it_is_blocked(place, driver, on_signal):
    beat = Heartbeat(place, driver)
    with pytest.raises(Ended, match="SIGTERM"):
        blocked(beat, lambda: ask_to_stop(place, driver, "me on host"))
    assert beat.reason == "stopped by `ncdb-dask stop` (me on host)"


def test_a_pipe_that_ends_does_so_too(place, driver, on_signal):
    read, write = os.pipe()
    os.write(write, b"still here")
    os.close(write)
    beat = Heartbeat(place, driver)
    with pytest.raises(Ended, match="SIGTERM"):
        blocked(beat, lambda: beat.end_with(read, "whoever it was has gone"))
    os.close(read)
    assert beat.reason == "whoever it was has gone"


def test_an_interrupt_reaches_the_main_thread(place, driver, on_signal):
    with pytest.raises(Ended, match="SIGINT"):
        blocked(Heartbeat(place, driver), lambda: os.kill(os.getpid(), signal.SIGINT))


def test_a_request_for_another_driver_is_not_heard(place, driver):
    other = replace(driver, id="other")
    with Heartbeat(place, driver), Heartbeat(place, other) as beat:
        ask_to_stop(place, replace(driver, id="third"), "me")
        last = held(place, other).heartbeat
        until(lambda: held(place, other).heartbeat > last)
    assert beat.reason == ""
    assert [each.state for each in read_drivers(place)[0]] == [FINISHED, FINISHED]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "denied")])
def test_a_storage_that_fails_for_a_while_costs_nothing(error, place, driver, monkeypatch):
    write = LocalFolder.write
    tried = threading.Semaphore(0)

    def fail(self, name, data):
        tried.release()
        raise error

    with Heartbeat(place, driver) as beat:
        monkeypatch.setattr(LocalFolder, "write", fail)
        beat.tell(state=RUNNING, said="a line")
        for _ in range(3):
            assert tried.acquire(timeout=60)
        assert held(place, driver).state == STARTING
        monkeypatch.setattr(LocalFolder, "write", write)
        until(lambda: held(place, driver).said == "a line")


@pytest.fixture
def hung(monkeypatch):
    """A storage whose writes hang from an event on until another one: both are given."""
    write, hangs, free = LocalFolder.write, threading.Event(), threading.Event()

    def hang(self, name, data):
        hangs.set()
        free.wait()
        write(self, name, data)

    yield lambda: monkeypatch.setattr(LocalFolder, "write", hang) or hangs.wait(), free
    free.set()


def test_a_write_that_hangs_holds_up_no_line_of_progress(place, driver, hung):
    hang, free = hung
    with Heartbeat(place, driver) as beat:
        hang()
        beat.tell(said="half of it")  # it would wait here for what comes after it
        free.set()
        until(lambda: held(place, driver).said == "half of it")


def test_a_write_that_hangs_does_not_hold_up_the_end(place, driver, hung, monkeypatch):
    hang, free = hung
    monkeypatch.setattr(heartbeat, "HANG_SECONDS", 0.01)
    with Heartbeat(place, driver) as beat:
        hang()
        beat.tell(state=RUNNING)
    assert not free.is_set()
    assert held(place, driver).state == STARTING
    free.set()
    beat._thread.join()


def test_a_place_that_cannot_be_written_at_all_is_no_error(tmp_path, driver):
    (tmp_path / "out").write_text("a file")
    with Heartbeat(LocalFolder(str(tmp_path / "out" / "_driver")), driver) as beat:
        beat.tell(state=RUNNING)
    assert (tmp_path / "out").read_text() == "a file"


def test_who_was_overtaken_says_no_more(place, driver):
    with Heartbeat(place, driver) as beat:
        later = begun(driver)
        write_driver(place, later)
        beat.tell(state=RUNNING)
    assert held(place, driver) == later


@pytest.mark.parametrize("made", [[], ["out"], ["out", "out/_driver"]])
def test_a_command_that_fails_before_it_writes_leaves_no_trace(made, tmp_path, place, driver):
    for name in made:
        (tmp_path / name).mkdir()
    with pytest.raises(RunError):
        failing(Heartbeat(place, replace(driver, submitted=0.0, log="")))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == made


@pytest.mark.parametrize("about", [{"submitted": 1.0}, {"log": "/somewhere/log"}])
def test_who_works_unattended_leaves_word(about, place, driver):
    with pytest.raises(RunError):
        failing(Heartbeat(place, replace(driver, **{"submitted": 0.0, "log": "", **about})))
    assert held(place, driver).error == "no worker"


def test_a_run_that_has_begun_keeps_the_record_of_its_failure(tmp_path, place, driver):
    with pytest.raises(RunError):
        failing(Heartbeat(place, replace(driver, submitted=0.0, log="")), (tmp_path / "out" / "_plan").mkdir)
    assert held(place, driver).error == "no worker"
