"""Worker processes on this machine, listening on the loopback interface only."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.interrupts import held_back, whole_end
from ncdb_dask.runtime.settings import LOCAL_SETTINGS, LOOPBACK, preloads
from ncdb_dask.runtime.specification import LocalSpec

if TYPE_CHECKING:
    from distributed import Client, LocalCluster


def cores() -> int:
    """Return how many cores this process may use (affinity and control groups count)."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def memory_share(workers: int) -> int:
    """Return what a worker may hold, in bytes: a core's share of this process's memory, or less where cores are shared.

    Control groups and resource limits count.
    """
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT) // max(workers, cores())


@contextmanager
def local_cluster(spec: LocalSpec) -> "Iterator[Client]":
    """Run worker processes of one thread each until the end of the block.

    Raises
    ------
    RunError
        Where the workers do not come up.
    """
    import dask
    from distributed import Client

    # Python starts it with the first process, and then lets Ctrl-C through to that one.
    resource_tracker.ensure_running()
    with dask.config.set({**LOCAL_SETTINGS, **preloads()}), whole_end() as stack:
        with held_back():
            cluster = _started(spec)
            stack.callback(cluster.close)
            number = len(cluster.workers)
            cluster.adapt(minimum=number, maximum=number)  # replaces what is lost, which a fixed number does not
            client = Client(cluster)
            stack.callback(client.close)
        yield client


def _started(spec: LocalSpec) -> "LocalCluster":
    from distributed import LocalCluster, Security

    workers = spec.workers or cores()
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=spec.memory or memory_share(workers),
            host=LOOPBACK,
            protocol="tcp://",
            # What the user's configuration demands is meant for networks, and there are no certificates here.
            security=Security(require_encryption=False),
            dashboard_address=f"{LOOPBACK}:{free_or_any(spec.dashboard_port)}",
            silence_logs=logging.CRITICAL,  # the run tells of workers that died; closing ones complain
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"the local cluster did not start ({causes(error)}); a script must open it under "
            "`if __name__ == '__main__':`, and one process alone (--workers 0, or no client) always works"
        ) from error


def causes(error: BaseException | None) -> str:
    """Return what went wrong, down to the first cause: what Dask says itself is only that it failed."""
    told = []
    while error is not None:
        told.append(" ".join(str(error).split()).rstrip("."))
        error = error.__cause__
    return ": ".join(dict.fromkeys(filter(None, told)))


def free_or_any(port: int) -> int:
    """Return the port, or 0, by which the system chooses one, where another dashboard has it."""
    with socket.socket() as probe:
        # As Dask does: connections of a dashboard that has just been closed do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return 0
    return port
