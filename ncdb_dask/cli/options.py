"""Options that several commands share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from distributed import Client

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(command: F) -> F:
    """Add ``--cluster`` and ``--workers``."""
    workers = click.option(
        "--workers",
        type=click.IntRange(min=0),
        help="Worker processes; 0 runs in this process.  [default: one a core]",
    )
    cluster = click.option(
        "--cluster",
        default="local",
        show_default=True,
        metavar="local|SPEC.toml",
        help="Where to run: on this machine, or as a file such as cluster/local.toml says.",
    )
    return cluster(workers(command))


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)


@contextmanager
def opened_client(cluster: str, workers: int | None, tasks: int | None = None) -> "Iterator[Client | None]":
    """Open the cluster that the options ask for, with no more workers than tasks, and say where to watch it."""
    if workers == 0:
        yield None
        return
    from ncdb_dask.runtime.cluster import cores, local_cluster, read_spec

    spec = read_spec(cluster)
    wanted = workers or spec.workers or cores()
    if tasks is not None:
        wanted = min(wanted, max(1, tasks))
    with local_cluster(wanted, spec.memory, spec.dashboard_port) as client:
        click.echo(f"dashboard: {client.dashboard_link}", err=True)
        yield client
