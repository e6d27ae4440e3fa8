"""Statistics that are made to die: ``python -m helpers.statistics_driver NET ROOT OUT MOMENT [WORKERS]``, as a process.

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
from ncdb_dask.calibration.job import StatisticsJob


def die_at_frame(strike: Strike) -> None:
    """Kill this process when it begins a frame that `strike` picks by its key."""
    row: Callable[..., Any] = StatisticsJob._row

    def fatal(self: StatisticsJob, item: Any, crashed: bool) -> Any:
        if not crashed and strike(f"{item['dataset_root']}/{item['stem']}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return row(self, item, crashed)

    StatisticsJob._row = fatal


def main(model: str, root: str, out: str, moment: str, workers: str = "0") -> None:
    options: dict[str, Any] = {"root": root, "split": "train_split.json"}
    if moment != "first-shard":
        die_at_rename(moment)
        ncdb_dask.activation_statistics(model, out, **options)
        return
    with ncdb_dask.open_client(workers=int(workers)) as client:
        observer = signal_after_first_shard(signal.SIGKILL)
        ncdb_dask.activation_statistics(model, out, client=client, observer=observer, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
