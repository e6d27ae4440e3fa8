"""SLURM's own commands, and its way to write times."""

import math
import os
import threading
from pathlib import Path

import psutil
import pytest
from helpers.fake_slurm import ACCEPTED, UNUSABLE, Answer, write_fake_slurm
from helpers.watching import until

from ncdb_dask.errors import RunError
from ncdb_dask.runtime import slurm_tools
from ncdb_dask.runtime.slurm_tools import Job, called, number_of, queued, require_slurm, said, seconds_of


@pytest.fixture
def program(tmp_path):
    """Write a program and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("01:00:00", 3600),
        (" 12:00:01 ", 43201),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("2-00:00:10", 172810),
    ],
)
def test_times_as_sbatch_reads_them(walltime, seconds):
    assert seconds_of(walltime) == seconds


@pytest.mark.parametrize("walltime", ["", "1h", "1:2:3:4", "1-", "-1", "1.5", "UNLIMITED"])
def test_what_is_no_time(walltime):
    with pytest.raises(RunError, match=r"expected HH:MM:SS or D-HH:MM:SS"):
        seconds_of(walltime)


def test_what_a_command_prints(program):
    assert called(program("echo $1; echo warning >&2"), "yes") == "yes\n"


def test_what_a_command_says_when_it_fails(program):
    with pytest.raises(RunError, match=r"program failed \(no partition; try again\)$"):
        called(program("echo 'sbatch: error: no partition' >&2; echo 'sbatch: error: try again' >&2; exit 1"))
    with pytest.raises(RunError, match=r"program failed \(exit code 3\)$"):
        called(program("exit 3"))


def test_what_cannot_be_read_as_text(program):
    assert called(program("printf '\\377'")) == "\ufffd"


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(program, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_tools, "COMMAND_SECONDS", 0.5)
    hanging = program(f"sleep 1000 & echo $! > {tmp_path / 'number'}; wait")
    with pytest.raises(RunError, match=r"did not answer within 0 s; is SLURM's controller up\?"):
        called(hanging)
    number = int((tmp_path / "number").read_text())
    until(lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE)


def test_a_command_is_given_up_when_it_is_told(program, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_tools, "COMMAND_SECONDS", math.inf)
    sign, given_up = tmp_path / "sign", threading.Event()

    def give_up() -> None:
        until(sign.exists)
        given_up.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    with pytest.raises(RunError):
        called(program(f"touch {sign}; exec sleep 1000"), given_up=given_up)
    thread.join()


def test_no_command_begins_after_it_was_given_up(program, tmp_path):
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(RunError, match=r"program was not called: the cluster is closing"):
        called(program(f"touch {tmp_path / 'sign'}"), given_up=given_up)
    # A command that has begun may take its time to do so: it must not even begin.
    with pytest.raises(RunError, match="was not called"):
        called(str(tmp_path / "nothing"), given_up=given_up)


def test_ctrl_c_does_not_reach_a_command(program):
    assert int(called(program("ps -o pgid= -p $$"))) != os.getpgrp()


def test_a_command_that_cannot_be_run(tmp_path):
    with pytest.raises(RunError, match=r"cannot be run \(No such file or directory\)"):
        called(str(tmp_path / "nothing"))
    (tmp_path / "nothing").touch()
    with pytest.raises(RunError, match=r"cannot be run \(Permission denied\)"):
        called(str(tmp_path / "nothing"))


def test_one_line_of_what_was_said():
    assert said("sbatch: error: a\n\nsbatch: error: b\nc\nsbatch: error: a\n") == "a; b; c"
    assert said("") == ""


@pytest.mark.parametrize("told", ["Submitted batch job 12\n", "wait for 3 s\nSubmitted batch job 12 on cluster foo\n"])
def test_the_number_of_a_job(told):
    assert number_of(told) == "12"


def test_no_number_of_a_job():
    with pytest.raises(RunError, match=r"told no job number; expected 'Submitted batch job 123', found 'queued 12'"):
        number_of("queued 12\n")


def test_the_queue(tmp_path, monkeypatch):
    fake = write_fake_slurm(tmp_path / "bin", Answer(ACCEPTED, state="PENDING", reason="Resources"))
    monkeypatch.setenv("PATH", fake.path)
    script = Path(tmp_path, "job.sh")
    script.write_text("#!/bin/sh\n#SBATCH -J mine\n")
    require_slurm()
    number = number_of(called("sbatch", str(script)))
    assert queued("mine") == [Job(number, "PENDING", "Resources")]
    assert queued("another") == []


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_no_machine_for_slurm(answer, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", write_fake_slurm(tmp_path / "bin", answer).path)
    with pytest.raises(RunError, match=r"sbatch was not found: .* load the site's module for SLURM, or use --cluster"):
        require_slurm()
