"""Options that several commands share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from distributed import Client

F = TypeVar("F", bound=Callable[..., Any])


def workers_option(command: F) -> F:
    """Add ``--workers``."""
    return click.option(
        "--workers",
        type=click.IntRange(min=0),
        help="Worker processes on this machine; 0 runs in this process.  [default: one a core]",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)


@contextmanager
def opened_client(workers: int | None) -> "Iterator[Client | None]":
    """Open the cluster that the options ask for, and say where to watch it."""
    if workers == 0:
        yield None
        return
    from ncdb_dask.runtime.cluster import local_cluster

    with local_cluster(workers) as client:
        click.echo(f"dashboard: {client.dashboard_link}", err=True)
        yield client
