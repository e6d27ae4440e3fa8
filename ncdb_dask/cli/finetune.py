"""``ncdb-dask finetune``."""

import json

import click

from ncdb_dask.cli.options import RunsOn, cluster_options, fresh_option, json_option


@click.command()
@click.argument("recipe", metavar="RECIPE.toml")
@click.argument("out")
@fresh_option("fine-tuning")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@cluster_options
@json_option
def finetune(recipe: str, out: str, fresh: bool, dry_run: bool, runs_on: RunsOn, as_json: bool) -> None:
    """Fine-tune a network so that INT8 costs less, and measure whether it does.

    Trains with a penalty on the weights, exports to ONNX, quantizes and evaluates before and after, and prints one
    table. Training runs in this process, the rest on the cluster. What was interrupted goes on when it is started
    again. Needs the extra `train`.

    \b
    ncdb-dask finetune recipe.toml out/tuned
    ncdb-dask submit --cluster slurm -- finetune recipe.toml out/tuned
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    plan = api.plan_finetune(recipe, out, fresh=fresh)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    with running(runs_on, "finetune", out) as (client, observer):
        done = api.run_finetune(plan, client=client, observer=observer)
    click.echo(json.dumps(done.as_dict()) if as_json else done.text())
