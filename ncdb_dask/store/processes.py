"""Telling processes apart: on which machine one runs, and whether it still does."""

import os
from pathlib import Path


def this_machine() -> str:
    """Return what is the same for all processes that see each other's numbers; empty where the system does not tell.

    A name is not enough: containers share one, and a machine that was started again keeps it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def begun_at(pid: int) -> str:
    """Return when a process of this machine began, as its kernel counts; empty where there is none.

    Numbers are given again, so a process is only the same one if it has also begun at the same time.
    """
    try:
        # The second field is the program's name, which may hold spaces and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    state, begun = fields[0], fields[19]
    return "" if state in "ZX" else begun
