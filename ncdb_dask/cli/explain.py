"""``ncdb-dask explain``."""

import json
from typing import Any

import click

from ncdb_dask.cli.network_options import npu_options, rule_options
from ncdb_dask.cli.options import RunsOn, cluster_options, fresh_option, json_option


@click.command()
@click.argument("model", metavar="MODEL.onnx")
@click.argument("out")
@click.option("--root", required=True, help="The data set.")
@click.option("--split", multiple=True, required=True, metavar="SPLIT.json", help="Frames to judge; may be repeated.")
@click.option(
    "--calibration",
    multiple=True,
    metavar="CAL.json",
    help="The calibration set; may be repeated.  [default: the frames that are judged]",
)
@click.option("--scan", metavar="SCAN", help="A finished scan that holds the frames, for their true depths.")
@click.option("--model-spec", metavar="model.toml", help="The model file.  [default: beside MODEL.onnx]")
@npu_options
@click.option(
    "--suspects", type=click.IntRange(min=1), default=12, show_default=True, help="Tensors to measure one by one."
)
@rule_options
@click.option("--variants", help="Depth folders in the order in which they are tried, as for scan.")
@click.option("--depth-scale", type=float, help="Raw units a metre of the truth.  [default: 256]")
@click.option("--stretch", is_flag=True, help="Accept picture, prediction and truth of different aspect.")
@click.option("--resamples", type=int, default=10_000, show_default=True, help="Draws of blocks for an interval.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of these draws.")
@click.option("--block", metavar="N|recording", help="Frames a block.  [default: as long as neighbours are alike]")
@click.option("--provider", default="cpu", show_default=True, help="ONNX Runtime's execution provider, such as cuda.")
@click.option("--threads", type=int, default=1, show_default=True, help="Of one call of the network.")
@fresh_option("explanation")
@click.option("--allow-root", multiple=True, help="Further folder in which frames may lie; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@cluster_options
@json_option
def explain(model: str, out: str, dry_run: bool, runs_on: RunsOn, as_json: bool, **options: Any) -> None:
    """Say where the error of INT8 comes from, and what cures it.

    Measures what each part of the rounding costs alone, what a perfect calibration set would gain, which tensors carry
    the loss, and what cures it; writes one page into OUT. What was interrupted goes on when it is started again.

    \b
    ncdb-dask explain net.onnx out/why --root data/ncdb --split val_split.json --calibration calibration.json
    ncdb-dask explain net.onnx out/why --root data/ncdb --split val_split.json --profile vitis-dpu
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    plan = api.plan_explanation(model, out, **options)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    with running(runs_on, "explain", out) as (client, observer):
        done = api.run_explanation(plan, client=client, observer=observer)
    click.echo(json.dumps(done.as_dict()) if as_json else done.text())
