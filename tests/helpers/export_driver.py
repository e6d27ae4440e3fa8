"""An export that is made to die: ``python -m helpers.export_driver ROOT OUT FORM MOMENT [WORKERS]``, as a process.

MOMENT is a part of the path that a file is just about to take, or ``first-shard``.
"""

import os
import signal
import sys
from pathlib import Path

import ncdb_dask
from helpers.driver import signal_after_first_shard
from helpers.exports import export


def die_at_rename(part: str) -> None:
    """Kill this process before a file takes a name that holds `part`: its temporary file stays behind."""
    replace = os.replace

    def fatal(temporary: str, target: str) -> None:
        if part in target:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(temporary, target)

    os.replace = fatal


def main(root: str, out: str, form: str, moment: str, workers: str = "0") -> None:
    if moment != "first-shard":
        die_at_rename(moment)
        export(Path(root), Path(out), form)
        return
    observer = signal_after_first_shard(signal.SIGKILL)
    with ncdb_dask.open_client(workers=int(workers)) as client:
        export(Path(root), Path(out), form, observer=observer, client=client)


if __name__ == "__main__":
    main(*sys.argv[1:])
