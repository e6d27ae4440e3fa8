"""``ncdb-dask stop``."""

import click

from ncdb_dask.cli.options import say
from ncdb_dask.errors import RunError


@click.command()
@click.argument("out")
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=180,
    show_default=True,
    help="Seconds to wait for it. To close a cluster takes some, to cancel the jobs of a busy SLURM up to a minute.",
)
def stop(out: str, timeout: int) -> None:
    """Ask the driver of a run to end, and wait until it has.

    OUT is what its command writes. It works from any machine that sees these files. What is complete stays, and the
    same command goes on from it.
    """
    from ncdb_dask.cli.places import find_place
    from ncdb_dask.runtime.stopping import as_seen, cancel_left, is_there, stop_driver
    from ncdb_dask.store.driver_records import read_drivers
    from ncdb_dask.store.folder import reported

    place = find_place(out).driver
    with reported(place, "ask a driver to end"):
        drivers, _ = read_drivers(place)
        there = list(filter(is_there, drivers))
        cancel_left(drivers, say)
        if not there:
            last = f"; the last one, {drivers[0].where()}, {as_seen(place, drivers[0]).condition()}" if drivers else ""
            raise RunError(f"{out}: no driver runs{last}")
        for driver in there:
            ended = stop_driver(place, driver, timeout, say)
            click.echo(f"{ended.where()} has ended: {ended.condition()}" + (f", {ended.error}" if ended.error else ""))
