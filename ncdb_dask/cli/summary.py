"""``ncdb-dask summary``."""

import json
from typing import TYPE_CHECKING

import click

from ncdb_dask.cli.options import json_option

if TYPE_CHECKING:
    from ncdb_dask.scanning.summary import Summary


@click.command()
@click.argument("scan")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw the data set to this PNG file.")
@json_option
def summary(scan: str, picture: str | None, as_json: bool) -> None:
    """Print what a finished scan found, and draw it.

    SCAN is the folder that `ncdb-dask scan` wrote.
    """
    from ncdb_dask import api

    found = api.summarize_scan(scan)
    where = api.draw_scan(scan, picture) if picture else None
    print_summary(found, scan, where, as_json)


def print_summary(summary: "Summary", scan: str, picture: str | None, as_json: bool) -> None:
    """Print a summary on standard output, for people or as JSON."""
    if as_json:
        click.echo(json.dumps({**summary.as_dict(), "scan": scan, "picture": picture}))
        return
    click.echo(summary.text())
    click.echo(f"Table         {scan}  (pandas.read_parquet or ncdb_dask.read_scan)")
    if picture:
        click.echo(f"Picture       {picture}")
