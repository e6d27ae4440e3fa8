"""``ncdb-dask sample``."""

import json
from typing import TYPE_CHECKING, Any

import click

from ncdb_dask.cli.options import json_option
from ncdb_dask.cli.progress import counted

if TYPE_CHECKING:
    from ncdb_dask.sampling.calibration_set import CalibrationSet


@click.command()
@click.argument("scan")
@click.argument("split", metavar="SPLIT.json")
@click.option("--size", type=int, default=300, show_default=True, help="How many frames; exactly so many are chosen.")
@click.option(
    "--strategy",
    default="stratified",
    show_default=True,
    metavar="NAME",
    help="stratified, balanced, matched, coverage, or a baseline: random, uniform, first.",
)
@click.option(
    "--statistics",
    metavar="DIR",
    help="Activation statistics of one network, for coverage: what quantize --statistics keeps.",
)
@click.option("--bins", help="Edges of the depth ranges in metres.  [default: 0,3,8,15,inf]")
@click.option("--names", help="Names of the depth ranges.  [default: near,mid,far,very_far]")
@click.option("--ratios", help="Share of each depth range, for stratified.  [default: 0.25,0.40,0.25,0.10]")
@click.option(
    "--by",
    help="Columns that balanced and matched cross.  [default: depth_range,scene_type and depth_range]",
)
@click.option("--weights", metavar="FILE", help="Weights of the cells for balanced, TOML or CSV.  [default: all alike]")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the draw.")
@click.option("--exclude", multiple=True, metavar="SPLIT.json", help="Keep these frames out; may be repeated.")
@click.option(
    "--min-gap",
    type=int,
    default=0,
    show_default=True,
    help="Least difference of frame numbers (the last number in the stem) in a recording; 0 for none.",
)
@click.option(
    "--min-valid", default="0", show_default=True, help="Least valid pixels of a depth map: 1000, or 1% of all."
)
@click.option("--ambiguous", default="leave-out", show_default=True, help="Unit in doubt: keep or leave-out.")
@click.option("--synthetic", default="keep", show_default=True, help="Synthetic depth only: keep or leave-out.")
@click.option("--beyond", default="leave-out", show_default=True, help="Beyond all depth ranges: nearest or leave-out.")
@click.option("--picture/--no-picture", default=True, show_default=True, help="Draw SPLIT.png, six panels.")
@click.option("--contact-sheet", is_flag=True, help="Draw SPLIT.sheet.png, a thumbnail of every chosen frame.")
@click.option("--root", help="Where the data set is now, if not where it was scanned.")
@click.option("--overwrite", is_flag=True, help="Replace SPLIT.json even if it is not an earlier set.")
@json_option
def sample(scan: str, split: str, as_json: bool, **options: Any) -> None:
    """Choose the frames of a calibration set from a finished scan.

    SCAN is the folder that `ncdb-dask scan` wrote; SPLIT.json is written, with its report, its picture and (if asked
    for) its contact sheet beside it.

    \b
    ncdb-dask sample out/scan calibration.json --exclude val_split.json --min-gap 10
    ncdb-dask sample out/scan calibration.json --strategy balanced --by depth_range,lighting
    ncdb-dask sample out/scan calibration.json --strategy coverage --statistics out/statistics
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.sampling.files import SetFiles

    with counted("thumbnails") as on_frame:
        chosen = api.sample(scan, split, on_frame=on_frame, **options)
    print_set(chosen, SetFiles.at(split).places(options["picture"], options["contact_sheet"]), as_json)


def print_set(chosen: "CalibrationSet", files: dict[str, str], as_json: bool) -> None:
    """Print the report of a set on standard output, for people or as JSON."""
    if as_json:
        click.echo(json.dumps({**chosen.report.as_dict(), "files": files}))
        return
    click.echo(chosen.report.text())
    for name, path in files.items():
        click.echo(f"{name.replace('_', ' ').capitalize():<13} {path}")
