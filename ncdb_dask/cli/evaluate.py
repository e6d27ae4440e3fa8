"""``ncdb-dask evaluate``."""

import json
from typing import Any

import click

from ncdb_dask.cli.network_options import rule_options
from ncdb_dask.cli.options import COMPLETE, RunsOn, cluster_options, fresh_option, json_option, say


@click.command()
@click.argument("model", metavar="MODEL.onnx|PREDICTIONS/")
@click.argument("out")
@click.option("--root", help="The data set; with --scan only where it has moved.")
@click.option("--split", multiple=True, metavar="SPLIT.json", help="Frames to evaluate; may be repeated.")
@click.option("--scan", metavar="SCAN", help="Evaluate the ok rows of a finished scan instead of a split.")
@click.option("--where", metavar="EXPR", help="Which rows of the scan, such as \"depth_range == 'far'\".")
@click.option("--model-spec", metavar="model.toml", help="The model file.  [default: beside MODEL.onnx]")
@rule_options
@click.option("--provider", default="cpu", show_default=True, help="ONNX Runtime's execution provider, such as cuda.")
@click.option("--threads", type=int, default=1, show_default=True, help="Of one call of the network.")
@click.option(
    "--values",
    type=click.Choice(["metres", "output"]),
    default="metres",
    show_default=True,
    help="What predictions from files hold: metres, or what the network put out.",
)
@click.option("--manifest", metavar="EXPORT", help="Match predictions by the file names of this export.")
@click.option("--variants", help="Depth folders in the order in which they are tried, as for scan.")
@click.option("--depth-scale", type=float, help="Raw units a metre of the truth.  [default: 256]")
@click.option("--stretch", is_flag=True, help="Accept picture, prediction and truth of different aspect.")
@click.option("--save-predictions", type=click.Choice(["npy", "png"]), help="Keep the predictions, in metres.")
@click.option("--panels", type=click.IntRange(min=0), default=0, help="Draw so many worst, median and best frames.")
@click.option("--allow-root", multiple=True, help="Further folder in which frames may lie; may be repeated.")
@click.option("--shard-size", type=click.IntRange(min=1), help="Frames a shard.  [default: by their number]")
@fresh_option("evaluation")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@cluster_options
@json_option
def evaluate(
    model: str,
    out: str,
    panels: int,
    dry_run: bool,
    runs_on: RunsOn,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a network, or predictions from a board, in metres.

    Every frame of a split, or of a scan, becomes one row of metrics in OUT. An evaluation that was interrupted
    continues when it is started again.

    \b
    ncdb-dask evaluate net.onnx out/fp32 --root data/ncdb --split val_split.json
    ncdb-dask evaluate net.onnx out/far --scan out/scan --where "depth_range == 'far'"
    ncdb-dask evaluate from_board/ out/int8 --root data/ncdb --split val_split.json --protocol ncdb
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    plan = api.plan_evaluation(model, out, **options)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    if plan.finished and plan.drawn and not panels:
        say(COMPLETE.format(out))
        found, drawn = api.run_evaluation(plan), None
    else:
        with running(runs_on, "evaluate", out, len(plan.left)) as (client, observer):
            found = api.run_evaluation(plan, client=client, observer=observer)
            drawn = api.draw_evaluation(plan, panels=panels, client=client)
    if as_json:
        click.echo(json.dumps({**found.as_dict(), "pictures": drawn}))
        return
    click.echo(found.text())
    click.echo(f"\nTable         {plan.request.out.url}")
    if drawn:
        click.echo(f"Pictures      {', '.join(drawn[:1])}" + (f" and {len(drawn) - 1} more" if len(drawn) > 1 else ""))
