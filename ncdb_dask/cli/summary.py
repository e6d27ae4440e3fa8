"""``ncdb-dask summary``."""

import json
from typing import TYPE_CHECKING

import click

from ncdb_dask.cli.options import json_option

if TYPE_CHECKING:
    from ncdb_dask.scanning.summary import Summary


@click.command()
@click.argument("folder")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw a scan's data set to this PNG file.")
@json_option
def summary(folder: str, picture: str | None, as_json: bool) -> None:
    """Print what a finished scan or evaluation found.

    FOLDER is what `ncdb-dask scan` or `ncdb-dask evaluate` wrote.
    """
    from ncdb_dask import api
    from ncdb_dask.api.locations import kind_of

    if kind_of(folder) == "evaluation":
        if picture:
            raise click.UsageError("--picture draws a scan; `ncdb-dask evaluate` draws an evaluation")
        evaluation = api.summarize_evaluation(folder)
        click.echo(json.dumps(evaluation.as_dict()) if as_json else evaluation.text())
        return
    found = api.summarize_scan(folder)
    where = api.draw_scan(folder, picture) if picture else None
    print_summary(found, folder, where, as_json)


def print_summary(summary: "Summary", scan: str, picture: str | None, as_json: bool) -> None:
    """Print a summary on standard output, for people or as JSON."""
    if as_json:
        click.echo(json.dumps({**summary.as_dict(), "scan": scan, "picture": picture}))
        return
    click.echo(summary.text())
    click.echo(f"Table         {scan}  (pandas.read_parquet or ncdb_dask.read_scan)")
    if picture:
        click.echo(f"Picture       {picture}")
