"""Running a tool: no shell, a process group of its own, its output straight into a log, and a time-out that ends all.

The log is the tool's standard output itself. So it grows while the tool works, nothing of it is kept in memory, and no
child that outlives the tool can block anybody.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ncdb_dask.errors import QuantizationError

# From being asked to end until being ended: time to remove temporary files.
GRACE_S = 5.0
POLL_S = 0.02
# Of the log, what messages and reports repeat.
TAIL_BYTES, TAIL_LINES, LINE_LENGTH = 8192, 5, 200
# Colours and other commands to a terminal, and characters that are none.
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tool ended.

    Attributes
    ----------
    code : int
        Exit code; below zero, the signal that ended it.
    seconds : float
        How long it ran.
    timed_out : bool
        Whether it was ended because it took too long.
    lines : tuple of str
        The last lines that it wrote, without those that are empty, shortened.
    """

    code: int
    seconds: float
    timed_out: bool
    lines: tuple[str, ...]

    def text(self) -> str:
        """Say how it ended, to stand behind the name of the tool."""
        if self.timed_out:
            return f"was ended after {self.seconds:.1f} s, because it had not ended by itself"
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:  # a real-time signal
            name = "no name"
        killed = ", as the system does where memory runs out" if -self.code == signal.SIGKILL else ""
        return f"was ended by signal {-self.code} ({name}){killed}"

    def last(self) -> str:
        """Repeat its last lines, to stand behind `text`; empty where there are none."""
        return f" (last lines: {' | '.join(self.lines)})" if self.lines else ""


def run_tool(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: BinaryIO, timeout: float
) -> Ended:
    """Run a tool to its end.

    Nothing of its process group is left when this returns or raises, whatever it raises.

    Parameters
    ----------
    arguments : sequence of str
        The program's path first; they reach it as they are.
    folder : Path
        Its current folder.
    environment : mapping of str to str
        All of its variables.
    log : file
        Open for writing and reading, without a buffer; gets what the tool writes to standard output and standard error,
        and a line before and after it.
    timeout : float
        Seconds.

    Raises
    ------
    QuantizationError
        Where the program cannot be started.
    OSError
        Where the log cannot be written.
    """
    log.write(f"$ {shlex.join(arguments)}\n".encode("utf-8", "surrogateescape"))
    begin, started = log.tell(), time.monotonic()
    process = _started(arguments, folder, environment, log)
    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        _end_group(process)
    ended = Ended(process.returncode, time.monotonic() - started, timed_out, _last_lines(log, begin))
    log.seek(0, os.SEEK_END)
    log.write(f"\n[the tool {ended.text()}; {ended.seconds:.1f} s]\n".encode())
    return ended


def _started(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: BinaryIO
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            list(arguments),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise QuantizationError(
            f"{arguments[0]}: cannot be started ({error.strerror or error}); expected a program for this machine, or a "
            "script that begins with #! and an interpreter that is there"
        ) from error


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End whatever is left of the process group, children of children too: first by asking, then by force."""
    try:
        if _signalled(process.pid, signal.SIGTERM):
            deadline = time.monotonic() + GRACE_S
            while _signalled(process.pid, 0) and time.monotonic() < deadline:
                process.poll()  # or it would stay in the group as a zombie
                time.sleep(POLL_S)
    finally:  # also where somebody who waits interrupts for a second time
        _signalled(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # it hangs in the system; there is nothing more to be done
            process.wait(GRACE_S)


def _signalled(group: int, number: int) -> bool:
    """Send a signal to a process group, and return whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # what is left, if anything, belongs to another user
        return False
    return True


def _last_lines(log: BinaryIO, begin: int) -> tuple[str, ...]:
    size = os.fstat(log.fileno()).st_size
    text = os.pread(log.fileno(), TAIL_BYTES, max(begin, size - TAIL_BYTES)).decode("utf-8", "replace")
    # Of a line that was written over and over, such as a progress bar, the last state counts.
    lines = (_CONTROLS.sub("", line.rstrip("\r").rpartition("\r")[2]).strip() for line in text.split("\n"))
    kept = [line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]}..." for line in lines if line]
    return tuple(kept[-TAIL_LINES:])
