"""The SLURM of one node that the tests start, what it says, and what runs in its jobs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from helpers.watching import until

TESTS = Path(__file__).parents[1]
SCRIPT = TESTS.parent / "cluster" / "testing" / "one-node-slurm"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
DAEMONS = "/usr/sbin"  # where Debian has them, and not every user looks
COMMAND = (sys.executable, "-m", "ncdb_dask.cli")
IMPATIENT = (sys.executable, TESTS / "slurm" / "impatient_driver.py")


def missing_programs() -> list[str]:
    path = os.pathsep.join([os.environ["PATH"], DAEMONS])
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


def one_node(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call the script that starts and stops it."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


def told(*command: str | Path) -> str:
    """Return what a command of SLURM prints, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def queue() -> list[str]:
    """Return the jobs in the queue: number, state and name of each."""
    return told("squeue", "--noheader", "--format=%i|%T|%j").splitlines()


def processes(job: str | None = None) -> list[psutil.Process]:
    """Return the processes of a job, or of all jobs; also those that left the job's own tree."""
    conf = Path(os.environ["SLURM_CONF"]).read_text()
    wanted = {"SLURM_CLUSTER_NAME": re.search(r"^ClusterName=(.+)$", conf, re.MULTILINE)[1]}
    if job is not None:
        wanted["SLURM_JOB_ID"] = job
    return [process for process in psutil.process_iter() if wanted.items() <= _environment(process).items()]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:  # it has ended, or is another user's
        return {}


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=200)


@dataclass(frozen=True)
class Running:
    """A command of ours that runs."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def says(self, text: str) -> None:
        """Wait until it says so."""
        until(lambda: self.process.poll() is not None or text in self.said())
        assert text in self.said(), self.said()

    def ends(self, code: int = 0) -> str:
        """Wait until it ends, and return what it has said."""
        assert self.process.wait(120) == code, self.said()
        assert "Traceback" not in self.said(), self.said()
        return self.said()


@contextmanager
def running(log: Path, *arguments: object, command: Sequence[str | Path] = COMMAND) -> Iterator[Running]:
    """Run a command of ours in the background, in a session as a terminal makes one."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Site:
    """A folder that holds everything of one test: the specification of a cluster, and the hold of its workers.

    Every worker waits before its first frame of a stem from `since` on, until `go` is called, so that a test knows what
    is done and what is not. `held` tells which workers wait.
    """

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "slurm.toml"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def write(self, *, since: str = "", **changes: Any) -> Path:
        """Write the specification; workers wait from a stem on, or not at all."""
        values: dict[str, Any] = {
            "kind": "slurm",
            "workers": 2,
            "memory": "500 MiB",
            "walltime": "00:20:00",
            "lifetime_margin": "0",
            "shared": str(self.shared),
            "dashboard_port": 0,
            "prologue": self._held_from(since) if since else [],
            **changes,
        }
        # A string, a number and a list of strings are written alike in both.
        self.spec.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
        return self.spec

    def _held_from(self, stem: str) -> list[str]:
        self._signs.mkdir()
        preload = json.dumps(["ncdb_dask.runtime.worker", str(TESTS / "slurm" / "patient_worker.py")])
        return [
            f"export PYTHONPATH={TESTS}",
            f"export DASK_DISTRIBUTED__WORKER__PRELOAD='{preload}'",
            f"export TEST_SIGNS={self._signs}",
            f"export TEST_SINCE={stem}",
        ]

    @property
    def _signs(self) -> Path:
        return self.folder / "signs"

    def held(self) -> list[tuple[str, int]]:
        """Return job and process of the workers that have waited so far."""
        names = sorted(path.name.split("-") for path in self._signs.glob("*-*"))
        return [(job, int(process)) for job, process in names]

    def jobs_held(self, number: int) -> set[str]:
        """Wait until workers of so many jobs have begun to wait, and return the jobs."""
        until(lambda: len({job for job, _ in self.held()}) >= number, 60)
        return {job for job, _ in self.held()}

    def go(self) -> None:
        """Let all workers go on."""
        self._signs.mkdir(exist_ok=True)
        (self._signs / "go").touch()

    def certificates(self) -> list[Path]:
        """Return the folders of certificates that are there."""
        return list(self.shared.glob("tls-*"))
