"""Ways to die: patches that strike a process at a chosen moment."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin

from ncdb_dask.exporting import job as exporting
from ncdb_dask.scanning import job
from ncdb_dask.store.folder import LocalFolder

Strike = Callable[[str], bool]


def nth(part: str, number: int = 1) -> Strike:
    """Strike at the n-th name that contains `part`."""
    seen = 0

    def strike(name: str) -> bool:
        nonlocal seen
        seen += part in name
        return part in name and seen == number

    return strike


def once(flag: Path, part: str) -> Strike:
    """Strike at the first name that contains `part`, once among all processes that share the flag."""

    def strike(name: str) -> bool:
        if part not in name or flag.exists():
            return False
        flag.touch()
        return True

    return strike


def always(part: str) -> Strike:
    """Strike whenever a name contains `part`."""
    return lambda name: part in name


def die_at_write(strike: Strike, signum: int = signal.SIGKILL) -> None:
    """Signal this process just before a write that `strike` picks by its name."""
    write = LocalFolder.write

    def fatal(self: LocalFolder, name: str, data: bytes) -> None:
        if strike(name):
            os.kill(os.getpid(), signum)
        write(self, name, data)

    LocalFolder.write = fatal


def die_at_frame(strike: Strike) -> None:
    """Kill this process when it begins a frame that `strike` picks by its stem."""
    scan_frame = job.scan_frame

    def fatal(entry: Any, tree: Any, options: Any) -> Any:
        if strike(entry.stem):
            os.kill(os.getpid(), signal.SIGKILL)
        return scan_frame(entry, tree, options)

    job.scan_frame = fatal


def die_at_payload(strike: Strike) -> None:
    """Kill this process when it begins to export a picture that `strike` picks by its path."""
    blaming = exporting.blaming

    def fatal(path: str, measure: Callable[[], Any]) -> Any:
        if strike(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return blaming(path, measure)

    exporting.blaming = fatal


class Deadly(WorkerPlugin):
    """Applies `patch(make_strike())` in every worker, also in those that replace dead ones."""

    def __init__(self, patch: Callable[[Strike], None], make_strike: Callable[..., Strike], *arguments: Any) -> None:
        self.patch, self.make_strike, self.arguments = patch, make_strike, arguments

    def setup(self, worker: Worker) -> None:
        self.patch(self.make_strike(*self.arguments))
