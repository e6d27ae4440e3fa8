"""``ncdb-dask compare``."""

import json
from typing import Any

import click

from ncdb_dask.cli.options import json_option


@click.command()
@click.argument("evaluations", metavar="EVAL EVAL...", nargs=-1, required=True)
@click.option(
    "--out", metavar="REPORT.html", type=click.Path(dir_okay=False), help="Write one page that needs no network."
)
@click.option(
    "--label", "labels", multiple=True, help="Name of an evaluation, in their order; else that of its folder."
)
@click.option("--resamples", type=int, default=10_000, show_default=True, help="How often blocks of frames are drawn.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the draw.")
@click.option(
    "--block",
    metavar="N|recording",
    help="Frames a block, or whole recordings.  "
    "[default: recordings where there are 20, else as long as neighbouring frames resemble each other]",
)
@click.option("--good", type=float, default=0.090, show_default=True, help="Verdict: success below this abs_rel.")
@click.option(
    "--poor", type=float, default=0.100, show_default=True, help="Verdict: not good enough above this abs_rel."
)
@json_option
def compare(evaluations: tuple[str, ...], out: str | None, as_json: bool, **options: Any) -> None:
    """Set evaluations beside each other, with error bars; the first is the baseline.

    EVAL are the folders that `ncdb-dask evaluate` wrote, at least two, of the same protocol.
    """
    from ncdb_dask import api

    found = api.compare(*evaluations, out=out, **options)
    if as_json:
        click.echo(json.dumps({**found.as_dict(), "page": out}, allow_nan=False))
        return
    click.echo(found.text())
    if out:
        click.echo(f"Page  {out}")
