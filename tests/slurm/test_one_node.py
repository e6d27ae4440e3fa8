"""The SLURM of one node that all tests here use."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from helpers.real_slurm import one_node, queue, told
from helpers.watching import until

# It ignores SIGTERM, and its child leaves the session and the tree of processes.
STUBBORN = """\
trap '' TERM
(setsid sleep 1000 & echo $! > child)
echo $$ > job
sleep 1000
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a second instance, stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    yield folder
    one_node("stop", folder)
    shutil.rmtree(folder)


@pytest.fixture
def second(folder, monkeypatch) -> Path:
    """The folder of a second instance that runs, and whose jobs the test submits."""
    assert one_node("start", folder).returncode == 0
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    return folder


def daemons(folder: Path) -> list[int]:
    return [int((folder / f"{name}.pid").read_text()) for name in ("munged", "slurmctld", "slurmd")]


def alive(pids: list[int]) -> list[int]:
    """Those that run; where nobody collects them, dead ones stay as zombies."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def stubborn_job(tmp_path: Path) -> list[int]:
    """Submit a job that does not want to end, and return its processes."""
    told("sbatch", f"--chdir={tmp_path}", "--output=log", "--wrap", STUBBORN)
    return [int(until((tmp_path / name).read_text)) for name in ("child", "job") if until((tmp_path / name).exists)]


def test_a_job_runs(tmp_path):
    told("sbatch", "--wait", f"--chdir={tmp_path}", "--output=log", "--cpus-per-task=8", "--wrap", "nproc; echo ran")
    assert (tmp_path / "log").read_text().splitlines()[-1] == "ran"


def test_a_second_start_changes_nothing(slurm):
    job = told("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap", "true")
    before = daemons(slurm)
    again = one_node("start", slurm)
    assert (again.returncode, again.stdout) == (0, f"export SLURM_CONF={slurm}/slurm.conf\n")
    assert daemons(slurm) == before
    assert queue() == [f"{job}|PENDING|wrap"]
    told("scancel", job)


def test_stop_leaves_nothing_of_it_and_leaves_others_alone(second, slurm, tmp_path):
    processes = stubborn_job(tmp_path)
    of_it = daemons(second)
    assert alive(of_it + processes) == of_it + processes
    assert one_node("stop", second).returncode == 0
    assert alive(of_it + processes) == []
    assert alive(daemons(slurm)) == daemons(slurm)
    assert one_node("stop", second).returncode == 0


@pytest.mark.parametrize("killed", [["slurmctld"], ["slurmctld", "slurmd"]])
def test_stop_and_start_after_daemons_died(killed, second, tmp_path):
    processes = stubborn_job(tmp_path)
    for name in killed:
        os.kill(int((second / f"{name}.pid").read_text()), signal.SIGKILL)
    assert one_node("start", second).returncode == 0
    assert alive(processes) == []
    assert queue() == []


def test_it_listens_on_loopback_alone(slurm):
    if socket.gethostbyname(socket.gethostname()) != "127.0.0.1":
        pytest.skip("this machine's name stands for another address than 127.0.0.1")
    sockets = [place for pid in daemons(slurm) for place in psutil.Process(pid).net_connections("inet")]
    listening = [place.laddr.ip for place in sockets if place.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"] * 2


def test_what_goes_wrong_at_the_start_is_shown_and_stopped(folder, tmp_path):
    broken = tmp_path / "slurmctld"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    failed = one_node("start", folder, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert failed.returncode == 1
    assert "out of order" in failed.stderr
    assert "Starting munge" in failed.stderr
    assert f"SLURM did not start in {folder}" in failed.stderr
    assert not (folder / "munge.sock").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 100, "105 characters long"),
        ("a b", "letters, digits"),
    ],
)
def test_a_path_that_cannot_be(name, message):
    failed = one_node("start", f"/tmp/{name}")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert not Path("/tmp", name).exists()


def test_what_is_not_its_own_is_left_alone(folder):
    mine = folder / "state"
    mine.write_text("mine")
    failed = one_node("start", folder)
    assert (failed.returncode, mine.read_text()) == (1, "mine")
    assert "holds something else" in failed.stderr
