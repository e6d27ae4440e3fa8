"""SLURM's own commands, and its way to write times."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from ncdb_dask.errors import RunError

# A controller that is busy or fails over answers within SLURM's own message timeout of 10 s, and a retry or two.
COMMAND_SECONDS = 60.0
_SUBMITTED = re.compile(r"Submitted batch job (?P<number>\d+)")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


@dataclass(frozen=True, slots=True)
class Job:
    """A job in the queue, as ``squeue`` tells it."""

    id: str
    state: str
    reason: str


def require_slurm() -> None:
    """Check that this machine can submit jobs.

    Raises
    ------
    RunError
        Names the command that is missing.
    """
    for command in ("sbatch", "squeue", "scancel"):
        if shutil.which(command) is None:
            raise RunError(
                f"{command} was not found: this is no machine that submits SLURM jobs; log in to one, load the site's "
                "module for SLURM, or use --cluster local"
            )


def called(*command: str, given_up: threading.Event | None = None) -> str:
    """Run one of SLURM's commands and return what it prints.

    Parameters
    ----------
    *command : str
        The command and its arguments. Ctrl-C does not reach it.
    given_up : threading.Event, optional
        Ends the command when it is set; no command begins after that.

    Raises
    ------
    RunError
        Where it fails or does not answer; what it said is in the message.
    """
    given_up = given_up or threading.Event()
    if given_up.is_set():
        raise RunError(f"{command[0]} was not called: the cluster is closing")
    try:
        running = subprocess.Popen(  # noqa: S603 - SLURM's commands, found by PATH as everybody's are
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", process_group=0
        )
    except OSError as error:
        raise RunError(f"{command[0]} cannot be run ({error.strerror})") from error
    with running:
        try:
            out, err = _answer(running, given_up)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)  # a site's wrapper, and what it has started
            raise
    if running.returncode:
        raise RunError(f"{command[0]} failed ({said(err) or f'exit code {running.returncode}'})")
    return out


def _answer(running: "subprocess.Popen[str]", given_up: threading.Event) -> tuple[str, str]:
    end = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < end and not given_up.is_set():
        with suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=0.2)
    name = str(running.args[0])  # type: ignore[index]
    raise RunError(f"{name} did not answer within {COMMAND_SECONDS:.0f} s; is SLURM's controller up?")


def said(text: str) -> str:
    """Return what a command said, as one line without its own prefix."""
    lines = [line.split("error: ", 1)[-1].strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def queued(name: str, given_up: threading.Event | None = None) -> list[Job]:
    """Return the jobs of this name that wait or run.

    Raises
    ------
    RunError
        Where the queue cannot be asked.
    """
    told = called("squeue", "--noheader", f"--name={name}", "--format=%i|%T|%r", given_up=given_up)
    lines = [line.strip().split("|") for line in told.splitlines()]
    return [Job(*fields) for fields in lines if len(fields) == 3]


def number_of(told: str) -> str:
    """Return the number of the job that sbatch tells of.

    Raises
    ------
    RunError
        Where it tells of none.
    """
    match = _SUBMITTED.search(told)
    if match is None:
        raise RunError(f"sbatch told no job number; expected 'Submitted batch job 123', found {told.strip()!r}")
    return match["number"]


def seconds_of(walltime: str) -> float:
    """Read a wall time as sbatch does: ``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM`` or ``D-HH:MM:SS``.

    Raises
    ------
    RunError
        Where it is none of these.
    """
    match = _TIME.fullmatch(walltime.strip())
    if match is None:
        raise RunError(f"walltime {walltime!r}: expected HH:MM:SS or D-HH:MM:SS")
    parts = [int(part) for part in match["parts"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return float(((int(match["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds)
    hours, minutes, seconds = {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    return float((hours * 60 + minutes) * 60 + seconds)
