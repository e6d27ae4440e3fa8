"""An evaluation that is made to die: ``python -m helpers.evaluate_driver NET ROOT OUT MOMENT [WORKERS]``, as a process.

MOMENT is a part of the path that a file is just about to take, or ``first-shard``.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import ncdb_dask
from helpers.driver import signal_after_first_shard
from helpers.export_driver import die_at_rename
from helpers.faults import Strike
from ncdb_dask.evaluation import job


def die_at_evaluated_frame(strike: Strike) -> None:
    """Kill this process when it begins a frame that `strike` picks by its key."""
    evaluate_frame: Callable[..., Any] = job.evaluate_frame

    def fatal(frame: Any, *arguments: Any) -> Any:
        if strike(f"{frame.dataset_root}/{frame.stem}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate_frame(frame, *arguments)

    job.evaluate_frame = fatal


def main(model: str, root: str, out: str, moment: str, workers: str = "0") -> None:
    options: dict[str, Any] = {
        "root": root,
        "split": "train_split.json",
        "shard_size": 3,
        "save_predictions": "npy",
    }
    if moment != "first-shard":
        die_at_rename(moment)
        ncdb_dask.evaluate(model, out, **options)
        return
    with ncdb_dask.open_client(workers=int(workers)) as client:
        ncdb_dask.evaluate(model, out, client=client, observer=signal_after_first_shard(signal.SIGKILL), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
