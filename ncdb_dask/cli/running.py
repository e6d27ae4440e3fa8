"""What every command that runs long has around its work: a record, a cluster, and progress."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ncdb_dask.cli.main import ARGUMENTS, ENDING
from ncdb_dask.cli.options import STARTED_OVER, say
from ncdb_dask.cli.signals import end_on_signal
from ncdb_dask.errors import RunError
from ncdb_dask.runtime.heartbeat import Heartbeat
from ncdb_dask.runtime.stopping import cancel_left, require_alone
from ncdb_dask.store.driver import RUNNING, WAITING, Driver, begun, new_driver
from ncdb_dask.store.driver_records import read_driver, read_drivers
from ncdb_dask.store.folder import Folder, file_at, reported

if TYPE_CHECKING:
    from distributed import Client

    from ncdb_dask.cli.options import RunsOn
    from ncdb_dask.runtime.events import Event, Observer

HEARTBEAT = "ncdb_dask.heartbeat"


@contextmanager
def running(
    runs_on: "RunsOn", command: str, out: str, tasks: int | None = None
) -> "Iterator[tuple[Client | None, Observer]]":
    """Open the cluster and show progress, and leave a record of it for `status` and `stop`.

    The record stands before the cluster is asked for, because jobs may wait for hours, and ends with the command.

    Parameters
    ----------
    runs_on : RunsOn
        Where.
    command, out : str
        Which command, and what it writes.
    tasks : int, optional
        As in `RunsOn.client`.
    """
    from ncdb_dask.cli.progress import shown_progress

    runs_on.spec()  # options that do not fit leave no record
    heartbeat = _heartbeat(command, out)
    heartbeat.tell(state=WAITING)

    def report(text: str) -> None:
        click.echo(text, err=True)
        heartbeat.tell(said=text)

    with runs_on.client(tasks, report) as client, shown_progress() as shown:
        heartbeat.tell(state=RUNNING, jobs=_jobs_of(client))
        yield client, _also_told(heartbeat, shown)


def begin_as(record: str, until_eof: bool) -> None:
    """Be the driver that `submit` has written a record of, from here to the end of the command.

    Parameters
    ----------
    record : str
        Path or URL.
    until_eof : bool
        End when standard input does.

    Raises
    ------
    RunError
        Where the record is gone: another driver took its place meanwhile.
    """
    place, name = file_at(record)
    with reported(place, "read"):
        driver = read_driver(place, name.removesuffix(".json"))
    if driver is None:
        raise RunError(f"{record} is gone: this driver was withdrawn; submit the command again")
    # The log is that of all drivers of the folder, one after the other.
    click.echo(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} ncdb-dask {shlex.join(driver.command)}", err=True)
    click.get_current_context().meta[STARTED_OVER] = driver.planned
    heartbeat = _begin(place, driver)
    if until_eof:
        heartbeat.end_with(0, "the worker that ran it has gone")


def _heartbeat(command: str, out: str) -> Heartbeat:
    from ncdb_dask.cli.places import place_of

    meta = click.get_current_context().meta
    found: Heartbeat | None = meta.get(HEARTBEAT)
    if found is not None:
        return found
    place = place_of(command, out).driver
    require_alone(place)
    return _begin(place, new_driver(meta[ARGUMENTS]))


def _jobs_of(client: "Client | None") -> str:
    """Name the SLURM jobs of a cluster's workers: their driver may be killed before it can cancel them."""
    name = str(getattr(getattr(client, "cluster", None), "name", ""))
    return name if name.startswith("ncdb-") else ""


def _begin(place: Folder, driver: Driver) -> Heartbeat:
    meta = click.get_current_context().meta
    with suppress(OSError):  # a folder that cannot be read is told of by the command itself
        cancel_left(read_drivers(place)[0], say, again=driver.id)
    ending: ExitStack = meta[ENDING]
    heartbeat = ending.enter_context(Heartbeat(place, begun(driver)))
    end_on_signal(lambda: heartbeat.reason or "terminated")
    meta[HEARTBEAT] = heartbeat
    heartbeat.look()  # it may have been told to stop while it waited to begin
    return heartbeat


def _also_told(heartbeat: Heartbeat, shown: "Observer") -> "Observer":
    from ncdb_dask.cli.progress import Tally
    from ncdb_dask.runtime.events import RunStarted

    tally = Tally()

    def observe(event: "Event") -> None:
        shown(event)
        tally.add(event)
        heartbeat.tell(said=tally.line(), **({"planned": True} if isinstance(event, RunStarted) else {}))

    return observe
