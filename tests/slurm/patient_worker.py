"""Loaded by workers in jobs: before each frame from a stem on, they leave a sign and wait for one.

A worker that ends because its life does goes on with what it holds, as one does that works.
"""

import os
from pathlib import Path
from typing import Any

from distributed import Worker
from distributed.core import Status
from helpers.watching import until

from ncdb_dask.scanning import job

SIGNS, SINCE = Path(os.environ["TEST_SIGNS"]), os.environ["TEST_SINCE"]


def dask_setup(worker: Worker) -> None:
    scan_frame, mine = job.scan_frame, SIGNS / f"{os.environ['SLURM_JOB_ID']}-{os.getpid()}"

    def may_go_on() -> bool:
        return (SIGNS / "go").exists() or (worker.lifetime is not None and worker.status is not Status.running)

    def patient(entry: Any, tree: Any, options: Any) -> Any:
        if entry.stem >= SINCE:
            mine.touch()
            until(may_go_on, 120)
        return scan_frame(entry, tree, options)

    job.scan_frame = patient
