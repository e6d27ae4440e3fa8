"""``ncdb-dask demo``."""

import json
import sys
import webbrowser
from functools import partial
from pathlib import Path
from typing import Any

import click

from ncdb_dask.cli.options import RunsOn, cluster_options, json_option, say


@click.command()
@click.argument("out", default="demo")
@click.option("--root", help="Your data set.  [default: one is rendered into OUT/tree]")
@click.option("--model", metavar="MODEL.onnx", help="Your network.  [default: the one that comes with ncdb_dask]")
@click.option("--model-spec", metavar="model.toml", help="Its model file.  [default: beside MODEL.onnx]")
@click.option(
    "--train-split",
    default="train_split.json",
    show_default=True,
    metavar="SPLIT.json",
    help="Calibration frames are chosen from it; looked for as given and then under ROOT.",
)
@click.option(
    "--val-split",
    default="val_split.json",
    show_default=True,
    metavar="SPLIT.json",
    help="Networks are evaluated on it.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=42,
    show_default=True,
    help="Of the rendered data set, the sets and the intervals.",
)
@click.option("--open/--no-open", "opened", default=False, show_default=True, help="Open the page in a browser.")
@cluster_options
@json_option
def demo(out: str, opened: bool, runs_on: RunsOn, as_json: bool, **options: Any) -> None:
    """Do everything once, from a data set to the page that says what INT8 cost.

    Scans a data set, chooses a random and a stratified calibration set, quantizes a network with each, as ONNX
    Runtime's tool does it and with all that ncdb_dask adds, evaluates all of them and compares. Each step is told with
    the command that does the same by hand. What was interrupted continues when it is started again.

    \b
    ncdb-dask demo
    ncdb-dask demo out/demo --root data/ncdb --model model.onnx
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    _require_fit(options)
    from ncdb_dask.api.demos import plan_demo, run_demo
    from ncdb_dask.cli.running import running
    from ncdb_dask.demonstration.result import untold

    names = {"train_split": "train", "val_split": "val"}
    plan = plan_demo(out, **{names.get(name, name): value for name, value in options.items()})
    # A bar on a terminal takes over what is printed meanwhile, which would keep it from a file.
    told = None if sys.stdout.isatty() else sys.stdout
    tell = untold if as_json else partial(click.echo, file=told)
    if plan.finished:
        made = run_demo(plan, tell=tell)
    else:
        with running(runs_on, "demo", out) as (client, observer):
            made = run_demo(plan, client=client, observer=observer, tell=tell)
    click.echo(json.dumps(made.as_dict()) if as_json else f"\n{made.text()}")
    if opened and not webbrowser.open(Path(made.page).as_uri()):
        say(f"no browser was found; open {made.page} in one")


def _require_fit(options: dict[str, Any]) -> None:
    root, model = options["root"], options["model"]
    if (root is None) != (model is None):
        given, missing = ("--root", "--model") if model is None else ("--model", "--root")
        raise click.UsageError(
            f"{given} without {missing}; give both, `ncdb-dask demo OUT --root ROOT --model MODEL.onnx`, "
            "or neither: a data set is rendered then, and the network that comes with ncdb_dask is taken"
        )
    context = click.get_current_context()
    own = [
        f"--{name.replace('_', '-')}"
        for name in ("model_spec", "train_split", "val_split")
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]
    if root is None and own:
        raise click.UsageError(f"{own[0]} is for your own data; give --root and --model with it")
