"""``ncdb-dask slurm-script``."""

import os
from dataclasses import replace

import click

from ncdb_dask.cli.options import RunsOn, cluster_options
from ncdb_dask.cli.submit import OWN_ARGUMENTS, parsed
from ncdb_dask.errors import RunError


@click.command("slurm-script", context_settings=OWN_ARGUMENTS)
@cluster_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND ARGS...")
def slurm_script(command: tuple[str, ...], runs_on: RunsOn) -> None:
    """Print the script of a SLURM job that runs a command.

    COMMAND is scan, evaluate, export or quantize. The job is the driver: it asks for the jobs of its workers itself.
    `ncdb-dask submit --cluster slurm` writes and submits the same script; print it where it has to be changed first.

    \b
    ncdb-dask slurm-script --cluster cluster/slurm.toml -- scan data/ncdb out/scan > driver.sbatch
    sbatch driver.sbatch
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    if parsed(command).params.get("fresh"):
        raise click.UsageError(
            "--fresh would wipe the run each time the script starts, also where it is to go on; start over once, by "
            "`ncdb-dask submit` or by hand"
        )
    from ncdb_dask.runtime.driver_script import driver_script
    from ncdb_dask.runtime.specification import SlurmSpec, read_spec
    from ncdb_dask.store.driver import job_of_a_script

    spec = read_spec(runs_on.cluster, runs_on.workers or None, runs_on.scheduler_file, runs_on.insecure)
    if not isinstance(spec, SlurmSpec) and not (runs_on.cluster or runs_on.scheduler_file):
        runs_on = replace(runs_on, cluster="slurm")
        spec = read_spec(runs_on.cluster, runs_on.workers or None)
    if not isinstance(spec, SlurmSpec):
        found = runs_on.cluster or runs_on.scheduler_file
        raise RunError(f"{found} is no SLURM cluster; expected --cluster slurm, or a file such as cluster/slurm.toml")
    name, *arguments = command
    placed = [name, *runs_on.of_driver(spec), *arguments]
    click.echo(driver_script(spec, placed, name=job_of_a_script(name), cwd=os.getcwd()), nl=False)
