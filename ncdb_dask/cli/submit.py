"""``ncdb-dask submit``."""

import shlex
from typing import Any

import click
from click.core import ParameterSource

from ncdb_dask.cli.options import RunsOn, cluster_options, say

LONG = ("scan", "evaluate", "export", "quantize", "explain", "finetune", "study")
# Everything from the command's name on is the command's own, with or without `--` before it.
OWN_ARGUMENTS = {"allow_interspersed_args": False}


@click.command(context_settings=OWN_ARGUMENTS)
@cluster_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND ARGS...")
def submit(command: tuple[str, ...], runs_on: RunsOn) -> None:
    """Run a command unattended, and return at once.

    COMMAND is scan, evaluate, export, quantize, explain, finetune or study. It is checked here, then a driver runs it:
    a process in the background, a job of its own for `--cluster slurm`, or a task on the scheduler of an address. It
    needs neither this command nor a terminal any more. `ncdb-dask status OUT` tells how it gets on, `ncdb-dask stop
    OUT` ends it.

    \b
    ncdb-dask submit -- scan data/ncdb out/scan
    ncdb-dask submit --cluster cluster/slurm.toml -- scan data/ncdb out/scan --fresh
    ncdb-dask submit --cluster tls://host:8786 -- evaluate net.onnx out/fp32 --root data --split val_split.json
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    with parsed(command) as context:
        from ncdb_dask.cli.places import place_of
        from ncdb_dask.runtime.specification import read_spec
        from ncdb_dask.runtime.stopping import require_alone
        from ncdb_dask.runtime.submission import Submission

        # With --workers 0 the driver does the work itself, in the background or as a job.
        spec = read_spec(runs_on.cluster, runs_on.workers or None, runs_on.scheduler_file, runs_on.insecure)
        out = context.params["out"]
        submission = Submission(command, runs_on.of_driver(spec), place_of(command[0], out).driver)
        require_alone(submission.place)
        # It plans its work, which finds data, files and folders that do not fit, and prints the plan.
        context.params |= {"dry_run": True, "as_json": False}
        context.command.invoke(context)
    driver = submission.submit(spec, say)
    rows = {
        "Driver": f"{driver.where()}: {driver.state}",
        "Log": driver.log,
        "How it is": f"ncdb-dask status {shlex.quote(out)}",
        "End it": f"ncdb-dask stop {shlex.quote(out)}",
    }
    click.echo("\n" + "\n".join(f"{name:<14}{value}" for name, value in rows.items()))


def parsed(command: tuple[str, ...]) -> click.Context:
    """Return a command with its arguments, which are checked.

    Parameters
    ----------
    command : tuple of str
        Its name and its arguments, as they were given.
    """
    from ncdb_dask.cli.main import main

    name, *arguments = command
    parent = click.get_current_context().find_root()
    found = main.get_command(parent, name) if name in LONG else None
    if found is None:
        raise click.UsageError(f"{name!r} does not run long; expected one of {', '.join(LONG)}")
    context = found.make_context(name, arguments, parent=parent)
    _require_fit(context)
    return context


def _require_fit(context: click.Context) -> None:
    given: dict[str, Any] = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name in ("cluster", "workers", "scheduler_file", "insecure"):
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} goes before the command: ncdb-dask submit {option} ... -- {context.info_name} ..."
            )
    for name in ("dry_run", "verify"):
        if given.get(name):
            raise click.UsageError(f"--{name.replace('_', '-')} only prints; give {context.info_name} without submit")
    if not context.params["out"]:
        raise click.UsageError(f"OUT is missing: ncdb-dask {context.info_name} --help")
