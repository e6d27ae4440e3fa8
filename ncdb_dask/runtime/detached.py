"""A process that goes on after the command that started it."""

import os
import sys
from collections.abc import Sequence

from ncdb_dask.runtime.invocation import invoked


def start_detached(arguments: Sequence[str], log: str) -> int:
    """Run ``ncdb-dask`` in the background and return its process.

    It has a session of its own, so that no terminal that is closed, and no Ctrl-C, ends it.

    Parameters
    ----------
    arguments : sequence of str
        Of the command.
    log : str
        The file that what it says is appended to.
    """
    appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        sys.executable,
        [*invoked(), *arguments],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, appended, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def has_ended(pid: int) -> bool:
    """Whether a process that was started here has ended."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid
