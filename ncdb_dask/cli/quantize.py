"""``ncdb-dask quantize``."""

import json
from typing import Any

import click
from click.core import ParameterSource

from ncdb_dask.cli.network_options import npu_options
from ncdb_dask.cli.options import RunsOn, cluster_options, json_option
from ncdb_dask.errors import NcdbError


@click.command()
@click.argument("model", metavar="MODEL.onnx")
@click.argument("out", metavar="OUT.onnx", required=False)
@click.option("--root", help="The data set.")
@click.option("--split", multiple=True, metavar="SPLIT.json", help="The calibration set; may be repeated.")
@click.option("--model-spec", metavar="model.toml", help="The model file.  [default: beside MODEL.onnx]")
@click.option(
    "--backend",
    default="onnxruntime",
    show_default=True,
    help="onnxruntime, nncf, quark, command, or another package's.",
)
@npu_options
@click.option("--equalize/--no-equalize", default=None, help="Balance the network's channels before.  [default: on]")
@click.option("--bias-correction/--no-bias-correction", default=None, help="Correct biases after.  [default: on]")
@click.option("--wide", multiple=True, metavar="TENSOR", help="Give this tensor 16 bits; may be repeated.")
@click.option("--keep", multiple=True, metavar="TENSOR", help="Do not round this tensor; may be repeated.")
@click.option("--template", metavar="FILE.toml", help="For --backend command: how the tool is called.")
@click.option("--preset", help="For --backend nncf: performance or mixed.  [default: performance]")
@click.option("--device", help="For --backend nncf: npu or any.  [default: npu]")
@click.option(
    "--transformer/--no-transformer",
    default=None,
    help="For --backend nncf: as for networks with attention.  [default: where there is some]",
)
@click.option(
    "--fast-bias-correction/--no-fast-bias-correction",
    default=None,
    help="For --backend nncf: from means of single layers.  [default: on]",
)
@click.option("--config", help="For --backend quark: A8W8 or XINT8.  [default: A8W8]")
@click.option("--cle", is_flag=True, default=None, help="For --backend quark: balance neighbouring layers before.")
@click.option("--adaround", is_flag=True, default=None, help="For --backend quark: learn how weights are rounded.")
@click.option("--iterations", type=int, help="Of --adaround, a layer.  [default: 1000]")
@click.option("--python", metavar="FILE", help="For nncf and quark: the interpreter that has it.  [default: this one]")
@click.option("--statistics", metavar="DIR", help="Where statistics are kept.  [default: statistics beside OUT]")
@click.option("--skip-bad", is_flag=True, help="Leave out frames that cannot be read, instead of stopping.")
@click.option("--provider", default="cpu", show_default=True, help="ONNX Runtime's execution provider, such as cuda.")
@click.option("--threads", type=int, default=1, show_default=True, help="Of one call of the network.")
@click.option("--allow-root", multiple=True, help="Further folder in which frames may lie; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--verify", is_flag=True, help="`quantize --verify OUT.onnx`: derive the ranges again, and compare.")
@cluster_options
@json_option
def quantize(
    model: str,
    out: str | None,
    dry_run: bool,
    verify: bool,
    runs_on: RunsOn,
    as_json: bool,
    **options: Any,
) -> None:
    """Quantize a network with a calibration set.

    Writes OUT.onnx, its model file, and a report of everything that was done. Options of a backend are refused by
    others.

    \b
    ncdb-dask quantize net.onnx out/int8.onnx --root data/ncdb --split calibration.json
    ncdb-dask quantize net.onnx out/npu.onnx --root data/ncdb --split calibration.json --profile vitis-dpu
    ncdb-dask quantize net.onnx out/net.bin --root data/ncdb --split calibration.json \\
        --backend command --template npu.toml
    ncdb-dask quantize net.onnx out/nncf.onnx --root data/ncdb --split calibration.json --backend nncf
    ncdb-dask quantize --verify out/int8.onnx
    """  # noqa: D301 - click reads the \b as "do not rewrap"
    if verify:
        _verify(model, out, as_json)
        return
    missing = [
        name
        for name, value in (("OUT.onnx", out), ("--root", options["root"]), ("--split", options["split"]))
        if not value
    ]
    if missing:
        raise click.UsageError(
            f"{missing[0]} is missing: ncdb-dask quantize MODEL.onnx OUT.onnx --root ROOT --split SPLIT.json"
        )
    from ncdb_dask import api
    from ncdb_dask.cli.running import running

    given: dict[str, Any] = {
        name: value or None if name in ("wide", "keep") else value for name, value in options.items()
    }
    plan = api.plan_quantization(model, str(out), **given)
    if dry_run:
        click.echo(json.dumps(plan.as_dict()) if as_json else plan.text())
        return
    with running(runs_on, "quantize", str(out)) as (client, observer):
        made = api.run_quantization(plan, client=client, observer=observer)
    click.echo(json.dumps(made.as_dict()) if as_json else made.text())


def _verify(path: str, other: str | None, as_json: bool) -> None:
    context = click.get_current_context()
    written = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    beside = [name for name in written if name not in ("model", "out", "verify", "as_json")]
    if other is not None or beside:
        what = f"--{beside[0].replace('_', '-')}" if beside else "a second argument"
        raise click.UsageError(f"--verify takes one quantized network; found {what}")
    from ncdb_dask import api

    found = api.verify_quantization(path)
    click.echo(json.dumps({"differences": found}) if as_json else "\n".join(found) or f"{path}: as reported")
    if found:
        raise NcdbError(f"{path}: differences: {len(found)}; the same quantization again mends them")
