"""The picture of a quantization: where the noise is, and what equalization did to the ranges of channels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.drawing import BLUE, GREY, LIGHT_GREY, ORANGE, as_png, nothing, plain, two_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 4
LONGEST_NAME = 48  # characters; longer names are cut at the front, where they are alike


def quantization_picture(name: str, made: Mapping[str, Any]) -> bytes:
    """Draw a quantization as a PNG of 1500 x 900 pixels.

    Parameters
    ----------
    name : str
        Of the network.
    made : mapping
        What the backend ``onnxruntime`` reports.
    """
    figure, axes = two_rows()
    balanced = made.get("equalization", {"tensors": (), "used": False})
    _noise(axes[0], [row for row in made["tensors"] if row["signal_to_noise_db"] is not None])
    _spreads(axes[1], balanced["tensors"])
    done = "balanced" if balanced["used"] else "not balanced"
    biases = "biases corrected" if "bias_correction" in made else "biases as they were"
    figure.suptitle(
        f"{plain(name)}: {made['scheme']['name']}, {made['options']['method']}, {done}, {biases}", fontsize=15
    )
    return as_png(figure)


def _noise(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("Signal-to-noise ratio of every tensor that is rounded, against FP32", loc="left")
    if not rows:
        nothing(axes)
        return
    values = np.array([row["signal_to_noise_db"] for row in rows])
    worst = np.argsort(values, kind="stable")[:NAMED]
    colours = [ORANGE if number in set(worst.tolist()) else BLUE for number in range(len(values))]
    axes.bar(np.arange(len(values)), values, width=0.85, color=colours)
    _listed(axes, [f"{values[number]:.1f} dB  {_short(rows[number]['tensor'])}" for number in worst.tolist()])
    axes.set(ylabel="dB", xlabel="tensors, from the input to the output")
    # The input is often nearly exact and would dwarf all others; above the bars there is room for the names.
    axes.set_ylim(min(0.0, float(values.min())), min(float(values.max()), 2 * max(float(np.median(values)), 1)) * 1.4)
    axes.set_xlim(-1, len(values))
    axes.spines[["top", "right"]].set_visible(False)


def _spreads(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("Largest range of a channel over the median one, tensor by tensor", loc="left")
    if not rows:
        nothing(axes)
        return
    places = np.arange(len(rows))
    before, after = (np.array([row[name] for row in rows]) for name in ("spread_before", "spread_after"))
    held = np.array([row["held"] == row["channels"] for row in rows])
    axes.vlines(places, np.minimum(before, after), np.maximum(before, after), color=LIGHT_GREY, linewidth=1)
    axes.plot(places, before, "o", color=GREY, markersize=4, label="as given")
    axes.plot(places[~held], after[~held], "o", color=BLUE, markersize=4, label="balanced")
    axes.plot(places[held], after[held], "x", color=ORANGE, markersize=5, label="held by another node")
    widest = np.argsort(-before, kind="stable")[:NAMED].tolist()
    _listed(axes, [f"{before[number]:.1f}  {_short(rows[number]['tensor'])}" for number in widest], left=True)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(ylabel="ratio, logarithmic", xlabel="tensors with channels, from the input to the output")
    axes.set_xlim(-1, len(rows))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.1, fontsize=9)


def _listed(axes: "Axes", lines: Sequence[str], left: bool = False) -> None:
    """Write lines into an upper corner."""
    place, align = (0.01, "left") if left else (0.99, "right")
    axes.text(place, 0.97, "\n".join(lines), transform=axes.transAxes, ha=align, va="top", fontsize=9, linespacing=1.5)


def _short(name: str) -> str:
    return plain(name if len(name) <= LONGEST_NAME else f"...{name[-LONGEST_NAME:]}")
