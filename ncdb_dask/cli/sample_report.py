"""``ncdb-dask sample-report``."""

from typing import Any

import click

from ncdb_dask.cli.options import json_option
from ncdb_dask.cli.progress import counted
from ncdb_dask.cli.sample import print_set


@click.command("sample-report")
@click.argument("split", metavar="SPLIT.json")
@click.argument("scan")
@click.option("--bins", help="Edges of the depth ranges in metres.  [default: 0,3,8,15,inf]")
@click.option("--names", help="Names of the depth ranges.  [default: near,mid,far,very_far]")
@click.option("--exclude", multiple=True, metavar="SPLIT.json", help="Count frames that are in it or look like it.")
@click.option("--min-gap", type=int, default=0, show_default=True, help="Frame numbers nearer than this are too near.")
@click.option(
    "--min-valid", default="0", show_default=True, help="Least valid pixels of a depth map: 1000, or 1% of all."
)
@click.option("--ambiguous", default="leave-out", show_default=True, help="Unit in doubt: keep or leave-out.")
@click.option("--synthetic", default="keep", show_default=True, help="Synthetic depth only: keep or leave-out.")
@click.option("--beyond", default="leave-out", show_default=True, help="Beyond all depth ranges: nearest or leave-out.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw six panels to this PNG file.")
@click.option("--contact-sheet", type=click.Path(dir_okay=False), help="Draw thumbnails to this PNG file.")
@click.option("--root", help="Where the data set is now, if not where it was scanned.")
@json_option
def sample_report(split: str, scan: str, as_json: bool, **options: Any) -> None:
    """Measure a calibration set that someone else made against a scan.

    SPLIT.json is the set, looked for as given and then under the data set; SCAN is the folder that `ncdb-dask scan`
    wrote.
    """
    from ncdb_dask import api

    with counted("thumbnails") as on_frame:
        measured = api.sample_report(split, scan, on_frame=on_frame, **options)
    files = {"split": split, "picture": options["picture"], "contact_sheet": options["contact_sheet"]}
    print_set(measured, {name: path for name, path in files.items() if path}, as_json)
