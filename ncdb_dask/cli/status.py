"""``ncdb-dask status``."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ncdb_dask.cli.options import json_option, say
from ncdb_dask.errors import RunError
from ncdb_dask.store.driver import DIED, FAILED, FINISHED, Driver
from ncdb_dask.store.driver_records import latest_first, read_drivers, tail

if TYPE_CHECKING:
    from ncdb_dask.store.progress import Progress

LOG_LINES = 10
UNFINISHED = "unfinished"  # and no record says why


@click.command()
@click.argument("where", metavar="OUT|ADDRESS", required=False)
@click.option("--scheduler-file", help="What `dask scheduler --scheduler-file` wrote, instead of an address.")
@click.option("--insecure", is_flag=True, help="Connect to a tcp:// address beyond this machine.")
@json_option
def status(where: str | None, scheduler_file: str | None, insecure: bool, as_json: bool) -> None:
    """Tell how a run gets on, from its folder alone.

    OUT is what its command writes: on any machine that sees these files, this tells what is done, how quickly, what
    was found, and whether its driver lives. Of an ADDRESS (tls://host:8786, or a file of kind address), it tells what
    the page /ncdb of that scheduler shows.
    """
    from ncdb_dask.cli import status_text

    if (where is None) == (scheduler_file is None):
        raise click.UsageError("expected one of OUT, an address, and --scheduler-file")
    if where is not None and not where.startswith(("tls://", "tcp://")) and not where.endswith(".toml"):
        found = read_status(where)
        click.echo(json.dumps(found.as_dict()) if as_json else status_text.of_folder(found))
        return
    from ncdb_dask.runtime.address import connected
    from ncdb_dask.runtime.specification import AddressSpec, read_spec
    from ncdb_dask.runtime.watched import dashboard_state

    spec = read_spec(where, None, scheduler_file, insecure)
    if not isinstance(spec, AddressSpec):
        raise RunError(f"{where}: expected a file of kind address, or the OUT of a run")
    with connected(spec, say, to_work=False) as client:
        state = dashboard_state(client)
    click.echo(json.dumps(state) if as_json else status_text.of_scheduler(state))


@dataclass(frozen=True)
class Status:
    """What a run's folder tells.

    Attributes
    ----------
    out : str
        The folder or file.
    progress : Progress or None
        Of its plan, where there is one.
    drivers : tuple of Driver
        Those that live and the latest first.
    damaged : tuple of str
        Records that cannot be read.
    """

    out: str
    progress: "Progress | None"
    drivers: tuple[Driver, ...]
    damaged: tuple[str, ...]

    @property
    def condition(self) -> str:
        """Whether it works, and how it ended."""
        finished = self.progress is not None and self.progress.finished
        alive = any(driver.is_alive() for driver in self.drivers)
        if not self.drivers or (finished and not alive):
            return FINISHED if finished else UNFINISHED
        return self.drivers[0].condition()

    def runs(self) -> list[dict[str, Any]]:
        """Return the run as the dashboard tells of runs."""
        if self.progress is None:
            return []
        return [{**self.progress.as_dict(), "out": self.out, "status": self.condition}]

    def log(self) -> list[str]:
        """Return the last lines of a driver that did not end as it should."""
        wanted = self.drivers and self.condition in (FAILED, DIED)
        return tail(self.drivers[0].log, LOG_LINES) if wanted else []

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        drivers = [{**asdict(driver), "condition": driver.condition()} for driver in self.drivers]
        return {
            "out": self.out,
            "status": self.condition,
            "runs": self.runs(),
            "drivers": drivers,
            "damaged": list(self.damaged),
            "log": self.log(),
        }


def read_status(out: str) -> Status:
    """Read a run's folder.

    Raises
    ------
    NcdbError
        Where it holds nothing of ours, or cannot be read.
    """
    from ncdb_dask.cli.places import find_place
    from ncdb_dask.runtime.stopping import as_seen
    from ncdb_dask.store.folder import reported
    from ncdb_dask.store.progress import read_progress

    place = find_place(out)
    with reported(place.driver, "read"):
        drivers, damaged = read_drivers(place.driver)
        drivers = latest_first(as_seen(place.driver, driver) for driver in drivers)
        latest = drivers[0] if drivers else None
        progress = None
        if place.run is not None:
            alive = latest is not None and latest.is_alive()
            progress = read_progress(place.run, latest.started if latest else 0.0, alive)
    return Status(out, progress, tuple(drivers), tuple(damaged))
