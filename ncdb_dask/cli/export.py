"""``ncdb-dask export``."""

import json
from typing import Any

import click

from ncdb_dask.cli.options import COMPLETE, RunsOn, cluster_options, fresh_option, json_option, say
from ncdb_dask.errors import NcdbError


@click.command()
@click.argument("split", metavar="SPLIT.json")
@click.argument("out", required=False)
@click.option("--root", help="The data set.")
@click.option("--format", metavar="NAME", help="images, split, npy, raw, rknn, hailo, ncnn or pulsar2.")
@click.option("--model-spec", metavar="model.toml", help="The model file: what the network takes.")
@click.option(
    "--model", metavar="model.onnx", help="The network: checks the model file, which is looked for beside it."
)
@click.option("--link", is_flag=True, help="images: symbolic links instead of copies.")
@click.option("--resized", is_flag=True, help="images: PNGs of the network's size.")
@click.option("--stack", is_flag=True, help="npy: one array of all frames.")
@click.option("--layout", help="nchw or nhwc, where the tool wants another than the format's own.")
@click.option("--skip-bad", is_flag=True, help="Leave out frames that cannot be read, instead of stopping.")
@click.option("--allow-root", multiple=True, help="Further folder in which frames may lie; may be repeated.")
@click.option("--shard-size", type=click.IntRange(min=1), help="Frames a shard.  [default: by their number and size]")
@fresh_option("export")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--verify", is_flag=True, help="`export --verify OUT`: read an export again and name what differs.")
@cluster_options
@json_option
def export(
    split: str,
    out: str | None,
    dry_run: bool,
    verify: bool,
    runs_on: RunsOn,
    as_json: bool,
    **options: Any,
) -> None:
    """Hand a calibration set over in the form that a quantizer reads.

    SPLIT.json is the set, looked for as given and then under ROOT; OUT is the folder to write. An export that was
    interrupted continues when it is started again.

    \b
    ncdb-dask export calibration.json out/images --root data/ncdb --format images
    ncdb-dask export calibration.json out/raw --root data/ncdb --format raw --model model.onnx
    ncdb-dask export --verify out/raw
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    if verify:
        _verify(split, out, runs_on, as_json, options | {"dry_run": dry_run})
        return
    missing = [
        name
        for name, value in (("OUT", out), ("--root", options["root"]), ("--format", options["format"]))
        if not value
    ]
    if missing:
        raise click.UsageError(f"{missing[0]} is missing: ncdb-dask export SPLIT.json OUT --root ROOT --format NAME")
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    plan = api.plan_export(split, str(out), **options)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    if plan.finished:
        say(COMPLETE.format(out))
        exported = api.run_export(plan)
    else:
        with running(runs_on, "export", str(out), len(plan.left)) as (client, observer):
            exported = api.run_export(plan, client=client, observer=observer)
    click.echo(json.dumps(exported.as_dict()) if as_json else exported.text())


def _verify(folder: str, other: str | None, runs_on: RunsOn, as_json: bool, options: dict[str, Any]) -> None:
    used = {name: options[name] for name in ("root", "model_spec", "model")}
    given = [name for name, value in options.items() if value and name not in used]
    if other is not None or given:
        what = f"--{given[0].replace('_', '-')}" if given else "a second argument"
        raise click.UsageError(f"--verify takes one folder, --root, --model-spec and --model; found {what}")
    from ncdb_dask import api
    from ncdb_dask.exporting.compare import FRAMES_A_TASK

    exported = api.read_export(folder)
    with runs_on.client(len(exported.manifest.frames) // FRAMES_A_TASK) as client:
        found = api.verify_export(exported, client=client, **used)
    click.echo(json.dumps(found.as_dict()) if as_json else found.text())
    if found.differences:
        raise NcdbError(
            f"{folder}: differences: {len(found.differences)}; the same export again mends what is missing or of "
            "another size, with --fresh everything"
        )
