"""What a worker process does when it starts; Dask imports this module by the setting ``distributed.worker.preload``."""

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker


def dask_setup(worker: "Worker") -> None:
    """Ignore Ctrl-C: a terminal sends it to every process of a command, and only the driver is to act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
