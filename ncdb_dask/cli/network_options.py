"""Options of commands that round networks or judge them."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]
NPU = (
    click.option(
        "--profile", metavar="NAME|FILE.toml", help="What the NPU can do: per-tensor, litert, qnn-htp, vitis-dpu."
    ),
    click.option("--method", help="How ranges are found: minmax, percentile, entropy or mse.  [default: minmax]"),
    click.option("--percentile", type=float, help="For --method percentile, in percent.  [default: 99.999]"),
    click.option("--activations", help="uint8, int8, uint16 or int16.  [default: the profile's, else uint8]"),
    click.option(
        "--symmetric/--asymmetric",
        default=None,
        help="Where zero lies.  [default: the profile's, else symmetric if signed]",
    ),
    click.option("--power-of-two", is_flag=True, default=None, help="Scales that are powers of two."),
    click.option("--per-channel", is_flag=True, default=None, help="A scale for each output channel of weights."),
)
RULES = (
    click.option(
        "--protocol",
        metavar="NAME",
        help="Rules of a published evaluation: ncdb, kitti-eigen, kitti-devkit, nyu, packnet, monodepth2 or "
        "depth-anything.  [default: the model file's]",
    ),
    click.option("--min-depth", type=float, metavar="METRES", help="Least true depth that counts; see --bounds."),
    click.option("--max-depth", type=float, metavar="METRES", help="Greatest true depth that counts."),
    click.option(
        "--bounds", type=click.Choice(["strict", "inclusive"]), help="strict: depths equal to these do not count."
    ),
    click.option("--crop", type=click.Choice(["none", "garg", "eigen", "nyu"]), help="Which part counts."),
    click.option("--scaling", type=click.Choice(["none", "median"]), help="Scale predictions to the truth's median."),
    click.option("--clamp/--no-clamp", default=None, help="Limit predictions to the two depths."),
    click.option(
        "--resize", type=click.Choice(["bilinear", "nearest"]), help="How a prediction comes to the truth's size."
    ),
    click.option("--align-corners/--no-align-corners", default=None, help="Where its corner pixels come to lie."),
    click.option("--resize-of", type=click.Choice(["depth", "inverse"]), help="What is resized: depth, or 1 / depth."),
    click.option(
        "--flip", type=click.Choice(["none", "mean", "fuse"]), help="Average with the mirrored picture's prediction."
    ),
    click.option("--min-pixels", type=int, help="Frames with fewer pixels that count are not judged."),
)


def npu_options(command: Command) -> Command:
    """Add the options that say how a network is rounded."""
    return _with(NPU, command)


def rule_options(command: Command) -> Command:
    """Add the options that say how frames are judged."""
    return _with(RULES, command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
