"""A quantization that is made to die: ``python -m helpers.quantize_driver NET ROOT OUT MOMENT [WORKERS]``.

MOMENT is a part of the path that a file is just about to take, or ``first-shard``.
"""

import os
import signal
import sys
from typing import Any

import ncdb_dask
from helpers.driver import signal_after_first_shard
from helpers.export_driver import die_at_rename
from helpers.faults import Strike
from ncdb_dask.quantization.observe import ChannelMeans, Difference, Distortion

TASKS = {task.__name__: task for task in (Difference, ChannelMeans, Distortion)}


def die_in_task(strike: Strike) -> None:
    """Kill this process when it begins a task that `strike` picks by its kind and its frames."""
    for kind, task in TASKS.items():
        _let_die(task, kind, strike)


def _let_die(task: Any, kind: str, strike: Strike) -> None:
    call = task.__call__

    def fatal(self: Any, what: Any) -> Any:
        frames = what if isinstance(what, list | tuple) else [what]
        if any(strike(f"{kind} {frame}") for frame in frames):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(self, what)

    task.__call__ = fatal


def main(model: str, root: str, out: str, moment: str, workers: str = "0") -> None:
    options: dict[str, Any] = {"root": root, "split": "train_split.json"}
    if moment != "first-shard":
        die_at_rename(moment)
        ncdb_dask.quantize(model, out, **options)
        return
    with ncdb_dask.open_client(workers=int(workers)) as client:
        ncdb_dask.quantize(model, out, client=client, observer=signal_after_first_shard(signal.SIGKILL), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
