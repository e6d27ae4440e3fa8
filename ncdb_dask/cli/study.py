"""``ncdb-dask study``."""

import json

import click

from ncdb_dask.cli.options import RunsOn, cluster_options, fresh_option, json_option
from ncdb_dask.errors import StudyError


@click.command()
@click.argument("recipe", metavar="RECIPE.toml")
@click.argument("out")
@fresh_option("study")
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it would cost, and write nothing.")
@cluster_options
@json_option
def study(recipe: str, out: str, fresh: bool, dry_run: bool, runs_on: RunsOn, as_json: bool) -> None:
    """Find out which calibration set and which quantizer a network needs.

    Draws sets of several sizes, strategies and seeds from a scan, quantizes with each in every way of the recipe,
    judges all networks, and writes a page that says what to take. Frames are run once, whatever the number of sets.
    What was interrupted goes on when it is started again. What is added to the recipe costs only itself, but for what
    rests on the frames of all sets: where sets are added, cells of equalize and of coverage are made again.

    \b
    ncdb-dask study recipe.toml out/study --dry-run
    ncdb-dask study recipe.toml out/study
    ncdb-dask submit --cluster slurm -- study recipe.toml out/study
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    plan = api.plan_study(recipe, out, fresh=fresh)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    with running(runs_on, "study", out) as (client, observer):
        click.echo(f"{plan.text()}\n", err=True)
        done = api.run_study(plan, client=client, observer=observer)
    click.echo(json.dumps(done.as_dict()) if as_json else done.text())
    if not done.rows:
        raise StudyError(f"{out}: none of the {len(plan.cells)} cells could be made and judged; the notes say why")
