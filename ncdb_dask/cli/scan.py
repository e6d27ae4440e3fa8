"""``ncdb-dask scan``."""

import json

import click

from ncdb_dask.cli.options import COMPLETE, RunsOn, cluster_options, fresh_option, json_option, say
from ncdb_dask.errors import NcdbError


@click.command()
@click.argument("root")
@click.argument("out")
@click.option(
    "--split",
    multiple=True,
    default=["train_split.json"],
    show_default=True,
    help="Split file, looked for as given and then under ROOT; may be repeated.",
)
@click.option("--variants", help="Depth folders in the order tried, A,B,...; outranks NCDB_DEPTH_VARIANT.")
@click.option(
    "--depth-scale",
    help="Raw units a metre (256, 1000, ...), which also admits 8-bit maps; or auto, the guide's rule map by map.  "
    "[default: 256, 16-bit maps only]",
)
@click.option(
    "--image-stats/--no-image-stats",
    default=True,
    show_default=True,
    help="Decode the images: brightness, lighting, perceptual hash.",
)
@click.option("--allow-root", multiple=True, help="Further folder in which frames may lie; may be repeated.")
@click.option(
    "--shard-size", type=click.IntRange(min=1), help="Entries a shard.  [default: 32 to 512, by their number]"
)
@fresh_option("scan")
@click.option("--update", is_flag=True, help="Scan only the entries that the splits have gained.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--picture/--no-picture", default=True, show_default=True, help="Draw OUT/_overview.png at the end.")
@cluster_options
@json_option
def scan(
    root: str,
    out: str,
    split: tuple[str, ...],
    variants: str | None,
    depth_scale: str | None,
    image_stats: bool,
    allow_root: tuple[str, ...],
    shard_size: int | None,
    fresh: bool,
    update: bool,
    dry_run: bool,
    picture: bool,
    runs_on: RunsOn,
    as_json: bool,
) -> None:
    """Turn every entry of a split into one row of depth statistics.

    ROOT is the data set (NCDB layout), OUT the folder of the Parquet table; both may be URLs such as
    s3://bucket/prefix. Whatever is broken in an entry becomes the status of its row. A scan that was interrupted
    continues when it is started again.

    \b
    ncdb-dask scan data/ncdb out/scan
    ncdb-dask scan data/ncdb out/scan --split train_split.json --split val_split.json
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.cli.running import running
    from ncdb_dask.cli.summary import print_summary

    plan = api.plan_scan(
        root,
        out,
        split=split,
        variants=variants,
        depth_scale=depth_scale,
        image_stats=image_stats,
        allow_root=allow_root,
        shard_size=shard_size,
        fresh=fresh,
        update=update,
    )
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    if plan.finished:
        say(COMPLETE.format(out))
        summary = api.run_scan(plan)
    else:
        with running(runs_on, "scan", out, len(plan.left)) as (client, observer):
            summary = api.run_scan(plan, client=client, observer=observer)
    where = api.draw_scan(out) if picture and not plan.finished else None
    print_summary(summary, out, where, as_json)
    if not summary.samples:
        raise NcdbError("no entry could be measured; do ROOT, the splits and the variants belong together?")
