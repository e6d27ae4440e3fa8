"""The record of a driver, the process that runs a command: who it is, whether it lives, what it said last.

It lies beside what the command writes, so whoever sees the files can tell how the run gets on, and ask it to end.
"""

import os
import socket
import stat
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ncdb_dask.store.processes import begun_at, this_machine

SUBMITTED, STARTING, WAITING, RUNNING = "submitted", "starting", "waiting for workers", "running"
FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
ENDED = (FINISHED, FAILED, STOPPED)
DIED = "died"
# Elsewhere than on its own machine, only its record tells that a driver lives. An NFS client may show an old one for
# 60 s (acdirmax), the clocks of a cluster may differ by seconds, and a storage may hang for a while.
SILENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Driver:
    """What a driver tells of itself.

    Attributes
    ----------
    id : str
        Names its files.
    command : tuple of str
        The command and its arguments.
    cwd : str
        Where it was given.
    state : str
        One of the states above; what is ``submitted`` has not begun yet.
    host, machine, pid, begun : str, str, int, str
        Which process it is, as `ncdb_dask.store.processes` tells.
    job, cluster : str
        The SLURM job that it is, or the scheduler's address that it was submitted to.
    jobs : str
        What the SLURM jobs of its workers are called.
    submitted, started, heartbeat, ended : float
        Unix seconds of its own clock; 0 for what has not come, and ``submitted`` where it was just run.
    said : str
        Its latest line of progress.
    error : str
        Why it failed or stopped.
    log : str
        The file that holds what it says, on its host.
    attempt : int
        How often it was begun: a job that is put back in the queue, a task whose worker died.
    planned : bool
        Whether its run has begun, so that it must not start over when it is begun again.
    """

    id: str
    command: tuple[str, ...]
    cwd: str
    state: str = STARTING
    host: str = ""
    machine: str = ""
    pid: int = 0
    begun: str = ""
    job: str = ""
    cluster: str = ""
    jobs: str = ""
    submitted: float = 0.0
    started: float = 0.0
    heartbeat: float = 0.0
    ended: float = 0.0
    said: str = ""
    error: str = ""
    log: str = ""
    attempt: int = 0
    planned: bool = False

    @property
    def job_name(self) -> str:
        """What its SLURM job is called, and no other one."""
        return f"ncdb-{self.command[0]}-{self.id}"

    @property
    def latest(self) -> float:
        """When it last changed."""
        return max(self.submitted, self.started, self.heartbeat, self.ended)

    def is_alive(self) -> bool:
        """Whether it runs, or waits to begin."""
        if self.state in ENDED:
            return False
        if self.state == SUBMITTED and (self.job or self.cluster):
            return True  # it may wait for days, and nobody speaks for it
        if self.is_here():
            return self.has_process()
        return time.time() - self.heartbeat < SILENCE_SECONDS

    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return bool(self.machine) and self.machine == this_machine()

    def has_process(self) -> bool:
        """Whether its process runs on this machine."""
        return self.is_here() and bool(self.begun) and begun_at(self.pid) == self.begun

    def condition(self) -> str:
        """Return its state, or ``died`` where it lives no more and could not say so."""
        return self.state if self.state in ENDED or self.is_alive() else DIED

    def where(self) -> str:
        """Say where it runs."""
        if not self.pid:
            return f"SLURM job {self.job}" if self.job else self.cluster or self.host
        return f"process {self.pid} on {self.host}" + (f", SLURM job {self.job}" if self.job else "")


def new_driver(command: Sequence[str], **about: Any) -> Driver:
    """Return a driver with an id of its own, for a command that is given here and now."""
    return Driver(uuid.uuid4().hex[:8], tuple(command), os.getcwd(), heartbeat=time.time(), **about)


def begun(driver: Driver) -> Driver:
    """Return a driver as this process, which begins."""
    now = time.time()
    return replace(
        driver,
        state=STARTING,
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        begun=begun_at(os.getpid()),
        job=_job_of_this_process(driver),
        jobs="",
        started=now,
        heartbeat=now,
        ended=0.0,
        said="",
        error="",
        log=_log_of_this_process() or driver.log,
        attempt=driver.attempt + 1,
    )


def job_of_a_script(command: str = "driver") -> str:
    """Name the job of a script that is not submitted by us."""
    return f"ncdb-{command}"


def _job_of_this_process(driver: Driver) -> str:
    """Return the SLURM job that is this driver's, and not a worker's, or one that a user works in (salloc)."""
    own = (driver.job_name, job_of_a_script(driver.command[0]), job_of_a_script())
    return os.environ.get("SLURM_JOB_ID", "") if os.environ.get("SLURM_JOB_NAME") in own else ""


def _log_of_this_process() -> str:
    """Return the file that standard error goes to, or nothing where it is a terminal or a pipe."""
    try:
        path = os.readlink("/proc/self/fd/2")
        return path if stat.S_ISREG(os.stat(path).st_mode) else ""
    except OSError:
        return ""
