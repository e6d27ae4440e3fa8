"""Opening a cluster: one context manager that yields a client and closes everything behind it."""

import logging
import socket
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    # Dask has glibc hand freed memory back at once, so every frame's arrays are mapped and zeroed anew (840 page faults
    # a frame of 640 x 384, a quarter of its time). A worker may keep what the next frame needs again.
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,  # glibc's largest
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**26,
    # A worker holds no task but the one that it runs: those that wait on a worker that dies are blamed with it.
    "distributed.scheduler.worker-saturation": 1.0,
    # A task whose worker died four times is suspected of killing it.
    "distributed.scheduler.allowed-failures": 3,
    # A worker that died comes back by its nanny. Dask looks 15 s later, and gives it up for good if it is just then on
    # its way: on a busy machine, or while a frame is hunted that kills one worker after the other.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    # Dask waits for ever by default when every worker is gone.
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    "distributed.worker.preload": ["ncdb_dask.runtime.worker"],
}


@dataclass(frozen=True)
class LocalSpec:
    """A cluster on this machine, as `local_cluster` takes it."""

    workers: int | None = None
    memory: str | None = None
    dashboard_port: int = DASHBOARD_PORT


def cores() -> int:
    """Return how many cores this process may use (affinity and control groups count)."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def read_spec(given: str) -> LocalSpec:
    """Return the cluster that a command's ``--cluster`` names: ``local``, or a TOML file such as cluster/local.toml.

    Raises
    ------
    RunError
        Where it is neither, or the file holds something else.
    """
    if given == "local":
        return LocalSpec()
    try:
        with open(given, "rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError as error:
        raise RunError(f"cluster {given!r}: expected 'local' or a TOML file such as cluster/local.toml") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{given}: is no TOML file that can be read ({error})") from error
    kinds = {"workers": int, "memory": str, "dashboard_port": int}
    if values.pop("kind", None) != "local":
        raise RunError(f'{given}: expected kind = "local"')
    for name, value in values.items():
        if name not in kinds or type(value) is not kinds[name]:
            expected = ", ".join(f"{key} ({kind.__name__})" for key, kind in kinds.items())
            raise RunError(f"{given}: found {name} = {value!r}; expected kind, {expected}")
    return LocalSpec(**values)


@contextmanager
def local_cluster(
    workers: int | None = None, memory: str | None = None, dashboard_port: int = DASHBOARD_PORT
) -> "Iterator[Client]":
    """Run worker processes of one thread each on this machine, listening on the loopback interface only.

    Parameters
    ----------
    workers : int, optional
        How many; as many as the cores that this process may use if left out.
    memory : str, optional
        Limit of each worker, such as ``2 GiB``; the machine's memory shared evenly if left out.
    dashboard_port : int
        Where Dask's dashboard listens; another free port where this one is taken.

    Yields
    ------
    distributed.Client
        Connected; closed with the workers at the end.

    Raises
    ------
    RunError
        Where the workers do not come up.
    """
    if workers is not None and workers < 1:
        raise RunError(f"{workers} workers: expected at least 1")
    import dask
    from distributed import Client, LocalCluster

    with dask.config.set(SETTINGS):
        try:
            cluster = LocalCluster(
                n_workers=cores() if workers is None else workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=memory or "auto",
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:{_free_or_any(dashboard_port)}",
                silence_logs=logging.CRITICAL,  # the run tells of workers that died; closing ones complain
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(
                f"the local cluster did not start ({error}); a script must open it under "
                "`if __name__ == '__main__':`, and one process alone (--workers 0, or no client) always works"
            ) from error
        with cluster, Client(cluster) as client:
            yield client


def _free_or_any(port: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):  # another dashboard has it: 0 lets the system choose
            return 0
    return port
