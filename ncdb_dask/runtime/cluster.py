"""Opening a cluster: one context manager that yields a client and closes behind it what it has opened."""

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ncdb_dask.runtime.settings import LOOPBACK
from ncdb_dask.runtime.specification import AddressSpec, LocalSpec, SlurmSpec, Spec, read_spec

if TYPE_CHECKING:
    from distributed import Client

Report = Callable[[str], None]


def silent(text: str) -> None:
    """Report nothing."""


@contextmanager
def open_client(
    cluster: str | Spec | None = None,
    workers: int | None = None,
    *,
    scheduler_file: str | None = None,
    insecure: bool = False,
    report: Report = silent,
) -> "Iterator[Client]":
    """Open a cluster, or connect to one.

    Everything listens on 127.0.0.1, or asks for a certificate (TLS).

    Parameters
    ----------
    cluster : str or LocalSpec or SlurmSpec or AddressSpec, optional
        ``local``: processes on this machine; ``slurm``: jobs of a SLURM cluster; the address of a scheduler that runs
        already, such as ``tls://host:8786``; or a TOML file that says more, such as cluster/slurm.toml. Left out: what
        ``ncdb.cluster`` in Dask's configuration says, else ``local``.
    workers : int, optional
        How many processes of one thread; what file or configuration say, or one a core, if left out.
    scheduler_file : str, optional
        What ``dask scheduler --scheduler-file`` has written, instead of an address.
    insecure : bool
        Connect to a ``tcp://`` address beyond this machine.
    report : callable
        Gets sentences for people: jobs that wait, and where the dashboard is.

    Yields
    ------
    distributed.Client
        Connected. At the end the workers that were opened are closed, those of a scheduler that was there are not.

    Raises
    ------
    RunError
        Where the cluster cannot be opened; the message says what to do.

    Examples
    --------
    >>> with ncdb_dask.open_client(workers=2) as client:  # doctest: +SKIP
    ...     ncdb_dask.scan("data/ncdb", "out/scan", client=client)
    """
    spec = read_spec(cluster, workers, scheduler_file, insecure)
    with _opened(spec, report) as client:
        report(where_to_watch(client, spec))
        yield client


@contextmanager
def _opened(spec: Spec, report: Report) -> "Iterator[Client]":
    if isinstance(spec, LocalSpec):
        from ncdb_dask.runtime.local import local_cluster

        with local_cluster(spec) as client:
            yield client
    elif isinstance(spec, SlurmSpec):
        from ncdb_dask.runtime.slurm import slurm_cluster

        with slurm_cluster(spec, report) as client:
            yield client
    else:
        from ncdb_dask.runtime.address import connected

        with connected(spec, report) as client:
            yield client


def where_to_watch(client: "Client", spec: Spec) -> str:
    """Say where the page of the runs is, and how to reach it from another machine."""
    if isinstance(spec, AddressSpec):
        return f"dashboard: {client.dashboard_link.removesuffix('/status')}/ncdb"
    port = client.scheduler_info()["services"]["dashboard"]
    here = f"dashboard: http://{LOOPBACK}:{port}/ncdb"
    if isinstance(spec, LocalSpec) and "SSH_CONNECTION" not in os.environ:
        return here
    tunnel = f"ssh -L {port}:{LOOPBACK}:{port} {getpass.getuser()}@{socket.gethostname()}"
    return f"{here}; from your own machine after: {tunnel}"
