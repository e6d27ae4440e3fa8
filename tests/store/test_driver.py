"""Records of drivers: who lives, what is cleared away, and what a damaged one costs."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.store.driver import (
    DIED,
    ENDED,
    FAILED,
    RUNNING,
    SILENCE_SECONDS,
    STARTING,
    STOPPED,
    SUBMITTED,
    WAITING,
    Driver,
    begun,
    new_driver,
)
from ncdb_dask.store.driver_records import (
    ask_to_stop,
    asked_to_stop,
    forget_ended,
    read_driver,
    read_drivers,
    tail,
    write_driver,
)
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.processes import begun_at

WORKING = (STARTING, WAITING, RUNNING)


@pytest.fixture
def place(tmp_path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "_driver"))


@pytest.fixture
def this() -> Driver:
    return begun(new_driver(["scan", "data", "out"]))


def elsewhere(driver: Driver, silent: float = 0.0) -> Driver:
    return replace(driver, machine="another one", heartbeat=time.time() - silent)


texts = st.text(max_size=20)


@given(
    command=st.lists(texts, min_size=1), cwd=texts, said=texts, started=st.floats(0, 1e10), attempt=st.integers(0, 9)
)
def test_a_record_is_read_as_it_was_written(tmp_path_factory, command, cwd, said, started, attempt):
    place = LocalFolder(str(tmp_path_factory.getbasetemp() / "records"))
    driver = replace(new_driver(command), cwd=cwd, said=said, started=started, attempt=attempt)
    write_driver(place, driver)
    assert read_driver(place, driver.id) == driver


@pytest.mark.parametrize("state", WORKING)
def test_on_its_machine_a_driver_lives_as_long_as_its_process(state, this):
    assert replace(this, state=state, heartbeat=0.0).is_alive()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        other = replace(this, state=state, pid=process.pid, begun=begun_at(process.pid))
        assert other.is_alive()
        process.kill()
        process.poll()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has collected it
        assert not other.is_alive()
        assert other.condition() == DIED


def test_another_process_of_the_same_number_is_not_the_driver(this):
    assert not replace(this, begun="1").is_alive()
    assert not replace(this, begun="").is_alive()


@pytest.mark.parametrize(("silent", "alive"), [(0, True), (SILENCE_SECONDS / 2, True), (SILENCE_SECONDS * 2, False)])
def test_elsewhere_a_driver_lives_as_long_as_it_speaks(silent, alive, this):
    assert elsewhere(this, silent).is_alive() is alive


def test_a_clock_that_is_ahead_makes_nobody_die(this):
    assert elsewhere(this, -3600.0).is_alive()


@pytest.mark.parametrize("state", ENDED)
def test_who_has_ended_lives_no_more(state, this):
    assert not replace(this, state=state).is_alive()
    assert replace(this, state=state).condition() == state


@pytest.mark.parametrize("waits_for", [{"job": "4711"}, {"cluster": "tls://somewhere:8786"}])
def test_who_waits_in_a_queue_may_wait_for_days(waits_for):
    submitted = replace(new_driver(["scan"], state=SUBMITTED), heartbeat=0.0)
    assert replace(submitted, **waits_for).is_alive()
    assert not submitted.is_alive()


def test_two_drivers_of_a_folder_keep_their_own_records(place, this):
    other = replace(this, id="other", state=STOPPED)
    for driver in (other, this):
        write_driver(place, driver)
    assert read_drivers(place) == ([this, other], [])


def test_the_next_driver_clears_away_what_lives_no_more(place, this):
    gone = [replace(this, id="ended", state=FAILED), replace(elsewhere(this, 1e6), id="silent")]
    kept = [this, replace(elsewhere(this), id="speaks")]
    for driver in (*gone, *kept):
        write_driver(place, driver)
        ask_to_stop(place, driver, "me")
    place.write("driver.log", b"said")
    place.write(f".ended.json.{'0' * 32}.tmp", b"half a rec")
    forget_ended(place, keep=this.id)
    assert set(place.list().sizes) == {
        "driver.log",
        *(f"{driver.id}.{what}" for driver in kept for what in ("json", "stop")),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"id": "bad"}',
        b'{"id": "bad", "command": ["scan"], "cwd": "/", "pid": "12"}',
        b'{"id": "bad", "command": [], "cwd": "/"}',
        b'{"id": "other", "command": ["scan"], "cwd": "/"}',
        b'{"id": "bad", "command": ["scan"], "cwd": "/", "of_a_later_version": 1}',
    ],
)
def test_a_damaged_record_is_named_and_hides_no_other(data, place, this):
    write_driver(place, this)
    place.write("bad.json", data)
    assert read_drivers(place) == ([this], ["bad.json"])
    forget_ended(place, keep=this.id)
    assert read_drivers(place) == ([this], [])


def test_the_least_record_can_be_read(place):
    place.write("least.json", json.dumps({"id": "least", "command": ["scan"], "cwd": "/"}).encode())
    assert read_drivers(place)[1] == []


def test_a_request_is_found_by_whom_it_is_for(place, this):
    assert asked_to_stop(place, this) == ""
    ask_to_stop(place, this, "me on host")
    assert asked_to_stop(place, this) == "me on host"
    assert asked_to_stop(place, replace(this, id="other")) == ""


def test_a_driver_that_begins_again_is_the_same_one_once_more(this):
    again = begun(replace(this, state=STOPPED, error="terminated", said="half", ended=1.0))
    assert (again.id, again.attempt, again.state, again.error, again.said) == (this.id, 2, STARTING, "", "")
    assert asdict(again).keys() == asdict(this).keys()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("ncdb-driver", True),
        ("ncdb-scan", True),
        ("ncdb-scan-0123abcd", True),
        ("ncdb-0123abcd", False),  # of workers
        ("ncdb-export", False),
        ("interactive", False),
        ("", False),
    ],
)
def test_only_a_job_of_its_own_is_the_drivers_job(name, own, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_NAME", name)
    driver = replace(new_driver(["scan", "data", "out"]), id="0123abcd")
    assert begun(driver).job == ("4711" if own else "")


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(5000)))
    assert tail(str(log), 2) == ["line 4998", "line 4999"]
    assert tail(str(tmp_path / "none"), 2) == []
