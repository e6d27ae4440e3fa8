"""Opening a cluster: one context manager that yields a client and closes everything behind it."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError

if TYPE_CHECKING:
    from distributed import Client

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787  # where Dask's users look for it
SETTINGS = {
    # Tasks leave nothing behind in a worker, so there is nothing to spill; a worker whose memory runs away is paused,
    # then ended, and its shard goes to another.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.80,
    "distributed.worker.memory.terminate": 0.95,
    # A task whose worker died four times is suspected of killing it.
    "distributed.scheduler.allowed-failures": 3,
    # Dask waits for ever by default when every worker is gone.
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    "distributed.worker.preload": ["ncdb_dask.runtime.worker"],
}


@contextmanager
def local_cluster(workers: int | None = None) -> "Iterator[Client]":
    """Run worker processes of one thread each on this machine, listening on the loopback interface only.

    Parameters
    ----------
    workers : int, optional
        How many; as many as the cores that this process may use if left out.

    Yields
    ------
    distributed.Client
        Connected; closed with the workers at the end.

    Raises
    ------
    RunError
        Where the workers do not come up.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    with dask.config.set(SETTINGS):
        try:
            cluster = LocalCluster(
                n_workers=workers or CPU_COUNT,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:{_dashboard_port()}",
                silence_logs=logging.ERROR,  # the run's own events tell of workers that died
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise RunError(f"the local cluster did not start ({error}); --workers 0 runs in one process") from error
        with cluster, Client(cluster) as client:
            yield client


def _dashboard_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, DASHBOARD_PORT))
        except OSError:  # another dashboard has it: any free port
            return 0
    return DASHBOARD_PORT
