"""The picture of a calibration set beside its data set: six panels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.drawing import BLUE, GREY, LIGHT_GREY, ORANGE, as_png, nothing, plain, six_panels
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.sampling.report import SampleReport
from ncdb_dask.sampling.strata import DEPTH_RANGE
from ncdb_dask.scanning.picture import LIGHTING_COLOURS
from ncdb_dask.scanning.schema import SCENE_TYPES
from ncdb_dask.scanning.stats import histogram_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def set_picture(chosen: CalibrationSet) -> bytes:
    """Draw a set as a PNG of 1500 x 900 pixels."""
    figure, axes = six_panels()
    report = chosen.report
    everything, of_set = chosen.mean_depths
    bins = _bins(everything, [float(edge) for edge in report.settings["bins"]])
    _histogram(axes[0, 0], f"Data set: {len(everything)} frames", everything, bins, report, LIGHT_GREY)
    _histogram(axes[0, 1], f"Calibration set: {len(of_set)} frames", of_set, bins, report, BLUE)
    axes[0, 1].set_xlim(axes[0, 0].get_xlim())
    _pixels(axes[0, 2], report)
    if report.settings.get("by") == [DEPTH_RANGE]:
        _strata(axes[1, 0], report)
    else:
        _shares(axes[1, 0], "Depth ranges", dict(reversed(list(report.depth_ranges.items()))))
    _shares(axes[1, 1], "Scene types", _in_order(report.scene_types, [name for name, _ in SCENE_TYPES]))
    _shares(axes[1, 2], "Lighting", _in_order(report.lighting, LIGHTING_COLOURS))
    moved = report.distances["mean_depth"]
    how = f", {report.settings['strategy']}, seed {report.settings['seed']}" if "strategy" in report.settings else ""
    beside = "" if moved.random_median is None else f" (random sets: {moved.random_median:.2f} m)"
    apart = "" if moved.value is None else f": mean depths moved by {moved.value:.2f} m{beside}"
    figure.suptitle(f"{plain(report.split)}{how}{apart}", fontsize=16)
    return as_png(figure)


def _in_order(counts: Mapping[str, tuple[int, int]], names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Put the kinds in the same order in every picture, the first last: bars are drawn from below."""
    ordered = [name for name in dict.fromkeys([*names, *counts]) if name in counts]
    return {name: counts[name] for name in reversed(ordered)}


def _bins(depth: "np.ndarray[Any, np.dtype[np.float64]]", edges: Sequence[float]) -> list[float]:
    """Cut each depth range into bins of about the same width, so that no bar stands across an edge."""
    if not len(depth):
        return [0.0, 1.0]
    low, high = float(depth.min()), max(float(depth.max()), float(depth.min()) + 1e-3)
    width = (high - low) / min(60, max(20, int(2 * len(depth) ** 0.5)))
    cuts = [low, *(edge for edge in edges if low < edge < high), high]
    parts = [np.linspace(a, b, max(1, round((b - a) / width)) + 1)[:-1] for a, b in pairwise(cuts)]
    return [*np.concatenate(parts).tolist(), high]


def _histogram(
    axes: "Axes",
    title: str,
    depth: "np.ndarray[Any, np.dtype[np.float64]]",
    bins: Sequence[float],
    report: SampleReport,
    colour: str,
) -> None:
    axes.set(title=title, xlabel="mean depth (m)", ylabel="frames")
    axes.hist(depth, bins=list(bins), color=colour, edgecolor="white", linewidth=0.5)
    axes.locator_params(axis="y", integer=True)
    across = axes.get_xaxis_transform()  # x in data, y from 0 to 1
    for edge, name in zip(map(float, report.settings["bins"]), [*report.settings["names"], ""], strict=True):
        if math.isfinite(edge) and edge <= bins[-1]:
            axes.axvline(edge, color=GREY, linestyle="--", linewidth=1)
            axes.text(edge, 0.98, f" {plain(name)}", rotation=90, va="top", fontsize=8, color=GREY, transform=across)


def _pixels(axes: "Axes", report: SampleReport) -> None:
    axes.set(title="Depth of all valid pixels", xlabel="depth (m), logarithmic", ylabel="share of pixels a bin (%)")
    edges = histogram_edges()
    everything, of_set = (100 * row / max(row.sum(), 1) for row in np.asarray(report.pixel_histogram, dtype=float))
    axes.stairs(everything, edges, label="data set", fill=True, color=LIGHT_GREY)
    axes.stairs(of_set, edges, label="calibration set", color=BLUE, linewidth=1.6)
    held = np.flatnonzero(np.sum(report.pixel_histogram, axis=0))
    if not len(held):
        nothing(axes)
        return
    axes.set_xscale("log")
    axes.set_xlim(edges[held[0]], edges[held[-1] + 1])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False)


def _strata(axes: "Axes", report: SampleReport) -> None:
    """Show what each depth range was to give and gave."""
    axes.set_title("By depth range", loc="left")
    shown = report.strata[::-1]
    place = np.arange(len(shown))
    wanted = [stratum.requested or 0 for stratum in shown]
    axes.barh(place + 0.2, wanted, 0.38, color="white", edgecolor=BLUE, hatch="///", linewidth=0.8, label="wanted")
    bars = axes.barh(place - 0.2, [stratum.granted for stratum in shown], 0.38, color=BLUE, label="chosen")
    axes.bar_label(bars, [f"{stratum.granted} of {stratum.available}" for stratum in shown], padding=3, fontsize=9)
    _finish_bars(axes, [stratum.name for stratum in shown], "frames")


def _shares(axes: "Axes", title: str, counts: Mapping[str, tuple[int, int]]) -> None:
    axes.set_title(title, loc="left")
    everything, of_set = (sum(pair[side] for pair in counts.values()) for side in (0, 1))
    if not everything and not of_set:
        nothing(axes)
        return
    names = list(counts)
    place = np.arange(len(names))
    for offset, side, total, colour, label in (
        (0.2, 0, everything, LIGHT_GREY, "data set"),
        (-0.2, 1, of_set, ORANGE, "calibration set"),
    ):
        bars = axes.barh(
            place + offset,
            [100 * counts[name][side] / max(total, 1) for name in names],
            0.38,
            color=colour,
            label=label,
        )
        labels = [f"{100 * counts[name][side] / max(total, 1):.0f} % ({counts[name][side]})" for name in names]
        axes.bar_label(bars, labels, padding=3, fontsize=9)
    _finish_bars(axes, names, "share of frames (%), and their number")


def _finish_bars(axes: "Axes", names: list[str], label: str) -> None:
    axes.set_yticks(np.arange(len(names)), [plain(name) for name in names])
    axes.set_ylim(min(-0.6, len(names) - 4.6), len(names) - 0.4)
    axes.margins(x=0.35)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the title, where no bar can be.
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1, fontsize=9)
