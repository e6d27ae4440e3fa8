"""The pictures of a comparison, as PNGs for a page."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.comparison.against import RECORDINGS, Against
from ncdb_dask.comparison.pairs import KEY, RECORDING
from ncdb_dask.comparison.sentences import change, range_words
from ncdb_dask.drawing import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, as_png, one_panel, plain
from ncdb_dask.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"worse": ORANGE, "better": GREEN, "changed": BLUE, "": GREY}
MARKS = {"low": "", "high": " (higher is better)", "zero": " (zero is best)"}
# More points than this are one cloud: their density is drawn instead.
MOST_POINTS = 5_000
# With more recordings than this, frames in a row cannot be told apart.
MOST_ROWS = 8
LONGEST = 28  # characters of a recording's name


def forest(against: Against) -> bytes:
    """Draw the difference of each metric that is a ratio, with its interval."""
    names = [name for name, metric in METRICS.items() if not metric.unit][::-1]
    axes = one_panel(7, 5.6)
    axes.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(names):
        found = against.metrics[name]
        colour = COLOURS[change(found, name)]
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        axes.plot(found.difference, place, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(names)), [f"{name}{MARKS[METRICS[name].best]}" for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(plain(f"{against.other} minus {against.baseline}"))
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.5)
    return _png(axes)


def contributions(against: Against) -> bytes:
    """Draw what each depth range adds to the difference of abs_rel."""
    names = list(against.contributions)[::-1]
    added = [against.contributions[name] for name in names]
    axes = one_panel(12, 2.6)
    bars = axes.barh(range(len(names)), added, 0.6, color=[ORANGE if value > 0 else GREEN for value in added])
    axes.bar_label(bars, [f"{value:+z.4f}" for value in added], padding=4)
    labels = [f"{range_words(name)}\n{100 * against.shares[name]:.0f} % of a frame" for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.margins(x=0.2)
    axes.set_xlabel(f"part of the difference of abs_rel ({against.main.difference:+z.4f})")
    return _png(axes)


def scatter(against: Against) -> bytes:
    """Draw abs_rel of each frame, other against baseline."""
    first, second = against.of_frames()
    axes = one_panel(7, 5.6)
    most = 1.05 * float(max(first.max(), second.max()))
    axes.fill_between([0, most], [0, most], most, color=ORANGE, alpha=0.08, linewidth=0)
    axes.plot([0, most], [0, most], color=GREY, linewidth=1)
    if len(first) > MOST_POINTS:
        cells = axes.hexbin(first, second, gridsize=60, mincnt=1, bins="log", cmap="Blues", extent=(0, most, 0, most))
        axes.figure.colorbar(cells, ax=axes, label="frames", shrink=0.8)
    else:
        axes.scatter(first, second, s=22, color=BLUE, alpha=0.75 if len(first) < 500 else 0.3, linewidths=0)
    equal = int((first == second).sum())
    worse = against.main.worse
    kept = f", equal {equal}" if equal else ""
    axes.text(0.03, 0.96, f"worse: {worse}", transform=axes.transAxes, va="top", color="#8a5a00")
    axes.text(0.97, 0.04, f"better: {len(first) - worse - equal}{kept}", transform=axes.transAxes, ha="right")
    axes.set(xlim=(0, most), ylim=(0, most), aspect="equal")
    axes.set_xlabel(plain(f"abs_rel of a frame, {against.baseline}"))
    axes.set_ylabel(plain(f"abs_rel of the same frame, {against.other}"))
    return _png(axes)


def along(against: Against) -> bytes:
    """Draw the difference of abs_rel along each recording, or of each recording where there are many."""
    return _frames_in_a_row(against) if against.all_recordings <= MOST_ROWS else _recordings(against)


def _frames_in_a_row(against: Against) -> bytes:
    first, second = against.of_frames()
    names = against.pairs.frames[RECORDING].to_numpy(dtype=object)
    axes = one_panel(12, 3.4)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    differences = second - first
    colours = np.where(differences > 0, ORANGE, GREEN)
    if len(names) > MOST_POINTS:
        axes.plot(differences, color=BLUE, linewidth=0.5)
    else:
        axes.vlines(np.arange(len(names)), 0, differences, colors=colours.tolist(), linewidth=_width(len(names)))
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axhline(against.main.difference, color=BLUE, linewidth=1, linestyle="--", label="mean")
    for start in starts[1:-1]:
        axes.axvline(start - 0.5, color=LIGHT_GREY, linewidth=1)
    middles = [(start + stop - 1) / 2 for start, stop in pairwise(starts)]
    axes.set_xticks(middles, [_short(str(names[start])) for start in starts[:-1]], fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="difference of abs_rel", xlabel="frames of each recording, in their order")
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.legend(frameon=False, loc="upper right")
    return _png(axes)


def _recordings(against: Against) -> bytes:
    first, second = against.of_frames()
    frames = against.pairs.frames[[*KEY]].assign(difference=second - first)
    means = frames.groupby(RECORDING)["difference"].mean().sort_values(ascending=False, kind="stable")
    if len(means) > RECORDINGS:
        return _all_recordings(means.to_numpy(dtype=float), against.main.difference)
    axes = one_panel(12, 0.28 * len(means) + 1.2)
    values = means.to_numpy(dtype=float)[::-1]
    axes.barh(range(len(values)), values, 0.7, color=np.where(values > 0, ORANGE, GREEN).tolist())
    axes.set_yticks(range(len(values)), [_short(str(name)) for name in means.index[::-1]], fontsize=8)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.axvline(against.main.difference, color=BLUE, linewidth=1, linestyle="--", label="mean over frames")
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.set_xlabel("mean difference of abs_rel")
    axes.legend(frameon=False, loc="lower right")
    return _png(axes)


def _all_recordings(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", mean: float) -> bytes:
    axes = one_panel(12, 3.4)
    axes.vlines(np.arange(len(values)), 0, values, colors=np.where(values > 0, ORANGE, GREEN).tolist())
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axhline(mean, color=BLUE, linewidth=1, linestyle="--", label="mean over frames")
    axes.set(ylabel="mean difference of abs_rel", xlabel=f"{len(values)} recordings, from the worst to the best")
    axes.legend(frameon=False, loc="upper right")
    return _png(axes)


def _width(frames: int) -> float:
    return float(np.clip(500 / frames, 0.8, 8))


def _short(name: str) -> str:
    """Keep the end of a name, which tells recordings apart."""
    return plain(name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}")


def _png(axes: "Axes") -> bytes:
    axes.spines[["top", "right"]].set_visible(False)
    figure = axes.get_figure(root=True)
    assert figure is not None
    return as_png(figure)
