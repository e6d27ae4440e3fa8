"""The picture of a fine-tuning: its epochs, the ranges of its layers, and what INT8 costs before and after."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.drawing import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, as_png, nothing, plain, six_panels
from ncdb_dask.training.finetune import Trained
from ncdb_dask.training.result import FP32, INT8, Finetuned, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
LONGEST_LINE = 130  # characters of the heading that fit on the picture


def finetune_picture(done: Finetuned) -> bytes:
    """Draw a fine-tuning as a PNG of 1500 x 900 pixels."""
    figure, axes = six_panels()
    before, *after = done.trained
    _epochs(axes[0, 0], after, "abs_rel", "Validation abs_rel, epoch by epoch; 0 is before")
    _epochs(axes[0, 1], after, "loss", "Loss in training")
    _epochs(axes[0, 2], after, "penalty", "Penalty, before it is multiplied by lambda")
    _layers(axes[1, 0], before, after, "spread", "Largest range of a channel over the median, by layer")
    _layers(axes[1, 1], before, after, "noise_db", "Expected rounding noise of weights, by layer")
    _costs(axes[1, 2], done)
    figure.suptitle(plain("\n".join(textwrap.wrap(done.sentence, LONGEST_LINE))), fontsize=13)
    return as_png(figure)


def _epochs(axes: "Axes", after: Sequence[Trained], name: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    for one, colour in zip(after, _colours(after), strict=True):
        rows = [row for row in one.history if name in row]
        axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], "o-", color=colour, label=_name(one))
        if name == "abs_rel":
            best = next(row for row in rows if row["epoch"] == one.epoch)
            axes.plot(one.epoch, best[name], "o", markersize=12, fillstyle="none", color=colour)
    axes.set(xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _layers(axes: "Axes", before: Trained, after: Sequence[Trained], name: str, title: str) -> None:
    axes.set_title(title, loc="left")
    values = [getattr(one, name) for one in before.layers]
    if not any(value is not None for value in values):
        nothing(axes)
        return
    places = np.arange(len(values))
    for one, colour in zip(after, _colours(after), strict=True):
        found = np.array([getattr(layer, name) for layer in one.layers], dtype=float)
        axes.plot(places, found, "o", color=colour, markersize=4, label=_name(one))
    axes.plot(places, np.array(values, dtype=float), "_", color=GREY, markersize=9, label="before")
    if name == "spread":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="layers, from the input to the output", ylabel="ratio" if name == "spread" else "dB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _costs(axes: "Axes", done: Finetuned) -> None:
    axes.set_title("abs_rel of FP32 and INT8", loc="left")
    figures = {each.label: each.abs_rel for each in done.comparison.evaluations}
    places = np.arange(len(done.trained))
    for shift, what, colour in ((-0.2, FP32, LIGHT_GREY), (0.2, INT8, BLUE)):
        heights = [figures[label(one.name, what)] for one in done.trained]
        bars = axes.bar(places + shift, heights, 0.38, color=colour, label=what.upper())
        axes.bar_label(bars, [f"{height:.4f}" for height in heights], fontsize=8, rotation=90, padding=3)
    axes.set_xticks(places, ["before" if one.factor is None else f"{one.factor:g}" for one in done.trained])
    axes.set(xlabel="lambda")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.3)
    axes.legend(frameon=False, fontsize=9, ncols=2)


def _name(one: Trained) -> str:
    return f"lambda {one.factor:g}"


def _colours(after: Sequence[Trained]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(after))]
