"""The picture of a data set: what depths it holds, in which scenes, variants and lighting."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, as_png, nothing, plain, six_panels
from ncdb_dask.scanning.schema import SCENE_TYPES
from ncdb_dask.scanning.stats import histogram_edges
from ncdb_dask.scanning.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LIGHTING_COLOURS = {"day": ORANGE, "dusk": PURPLE, "night": BLUE}


def overview(frames: "pd.DataFrame", summary: Summary) -> bytes:
    """Draw a scan as a PNG.

    Parameters
    ----------
    frames : DataFrame
        Columns ``status`` and ``mean_depth`` (metres).
    summary : Summary
        Of the same scan.

    Returns
    -------
    bytes
        PNG, 1500 x 900 pixels.
    """
    figure, axes = six_panels()
    means = frames.loc[frames["status"] == "ok", "mean_depth"].to_numpy(dtype=float)
    _frame_histogram(axes[0, 0], means)
    _pixel_histogram(axes[0, 1], np.asarray(summary.pixel_histogram, dtype=float))
    _bars(axes[0, 2], "Outcome of the scan", summary.status, {"ok": GREEN}, ORANGE)
    _bars(axes[1, 0], "Scene types", {name: summary.scene_types.get(name, 0) for name, _ in SCENE_TYPES}, {}, BLUE)
    _bars(axes[1, 1], "Depth variants", summary.variants, {}, BLUE)
    _bars(axes[1, 2], "Lighting", summary.lighting, LIGHTING_COLOURS, GREY)
    figure.suptitle(f"{summary.samples} frames, {summary.skipped} entries without statistics", fontsize=16)
    return as_png(figure)


def _frame_histogram(axes: "Axes", means: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    axes.set(title="Mean depth of frames", xlabel="mean depth (m)", ylabel="frames")
    if not len(means):
        nothing(axes)
        return
    axes.hist(means, bins=min(60, max(20, int(2 * len(means) ** 0.5))), color=BLUE, edgecolor="white")
    for (name, _), (_, start) in zip(SCENE_TYPES[1:], SCENE_TYPES, strict=False):
        if means.min() < start < means.max():
            axes.axvline(start, color=GREY, linestyle="--", linewidth=1)
            across = axes.get_xaxis_transform()  # x in data, y from 0 to 1
            axes.text(start, 0.98, f" {name}", rotation=90, va="top", fontsize=8, color=GREY, transform=across)


def _pixel_histogram(axes: "Axes", counts: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    axes.set(title="Depth of all valid pixels", xlabel="depth (m), logarithmic", ylabel="share of pixels a bin (%)")
    if not counts.any():
        nothing(axes)
        return
    held = np.flatnonzero(counts)
    edges = histogram_edges()
    axes.stairs(100 * counts / counts.sum(), edges, fill=True, color=BLUE)
    axes.set_xscale("log")
    axes.set_xlim(edges[held[0]], edges[held[-1] + 1])
    axes.xaxis.set_major_formatter("{x:g}")


def _bars(axes: "Axes", title: str, counts: Mapping[str, int], colours: Mapping[str, str], other: str) -> None:
    axes.set_title(title)
    if not sum(counts.values()):
        nothing(axes)
        return
    names = list(counts)[::-1]
    bars = axes.barh(
        [plain(name) for name in names],
        [counts[name] for name in names],
        color=[colours.get(name, other) for name in names],
    )
    axes.bar_label(bars, padding=3)
    axes.margins(x=0.2)
    axes.set_ylim(min(-0.5, len(names) - 4.5), len(names) - 0.5)  # a single bar is no thicker than one of four
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("entries" if title.startswith("Outcome") else "frames")
