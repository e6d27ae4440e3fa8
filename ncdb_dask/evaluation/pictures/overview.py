"""The picture of an evaluation: how large the errors are, and where they come from."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, as_png, nothing, plain, six_panels
from ncdb_dask.evaluation.schema import RANGES, of_range

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Values = npt.NDArray[np.float64]

# Recordings that are shown one by one, and the letters that their names have room for.
MOST_RECORDINGS, MOST_LETTERS = 12, 26
MOST_POINTS = 400
# Steps of the golden section spread points evenly, however many they are, and the same way each time.
GOLDEN = 0.6180339887
# As in the pictures of single frames.
TOO_NEAR, TOO_FAR = "#1a4fff", "#e8101c"
INK = "#1f2937"
# A range with a smaller share of the pixels is drawn pale: its figures are those of few pixels.
FEW = 0.01
# Within a factor of 1.25, 1.25 squared, 1.25 cubed, and beyond.
THRESHOLD_COLOURS = (GREEN, "#8fd3b6", "#f3cf80", ORANGE)
THRESHOLD_NAMES = ("< 1.25", "< 1.56", "< 1.95", "more")


def overview(frame: "pd.DataFrame", title: str) -> bytes:
    """Draw an evaluation as a PNG of six panels.

    Parameters
    ----------
    frame : DataFrame
        Columns of `schema.SCHEMA`; rows that are not ok are counted and not drawn.
    title : str
        What was evaluated.

    Returns
    -------
    bytes
        PNG, 1500 x 900 pixels.
    """
    figure, axes = six_panels()
    ok = frame[frame["status"] == "ok"]
    panels = {
        "Error of frames": _histogram,
        "Error by depth of the pixel": _by_range,
        "Bias by depth of the pixel": _bias,
        "Error by recording": _by_recording,
        "Pixels by their factor off the truth": _thresholds,
        "Scale of frames": _one_factor,
    }
    for axis, (name, draw) in zip(axes.flat, panels.items(), strict=True):
        axis.set_title(name)
        if len(ok):
            draw(axis, ok)
        else:
            nothing(axis)
    figure.suptitle(f"{plain(_shortened(title, 120))}\n{_outcome(frame)}", fontsize=14)
    return as_png(figure)


def _outcome(frame: "pd.DataFrame") -> str:
    counts = frame["status"].value_counts()
    others = [f"{count:,} {plain(str(name))}" for name, count in counts.items() if name != "ok"]
    return ", ".join([f"{counts.get('ok', 0):,} of {len(frame):,} frames judged", *others])


def _values(frame: "pd.DataFrame", column: str) -> Values:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _histogram(axes: "Axes", frame: "pd.DataFrame") -> None:
    values = _values(frame, "abs_rel")
    axes.set(xlabel="abs_rel", ylabel="frames")
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6 * high:
        low, high = 0.5 * low, 1.5 * high
    bins = min(60, max(12, int(2 * len(values) ** 0.5)))
    axes.hist(values, bins=bins, range=(low, high), color=BLUE, edgecolor="white", linewidth=0.5)
    axes.locator_params(axis="y", integer=True)
    mean, median = float(values.mean()), float(np.median(values))
    axes.axvline(mean, color=ORANGE, linewidth=2, label=f"mean {mean:.4f}")
    axes.axvline(median, color=INK, linewidth=2, linestyle="--", label=f"median {median:.4f}")
    axes.legend(frameon=False, loc="upper right")
    axes.margins(y=0.2)


def _range_shares(frame: "pd.DataFrame") -> Values:
    counts = np.asarray([_values(frame, of_range("valid_pixels", name)).sum() for name in RANGES.names])
    return np.asarray(counts / max(counts.sum(), 1))


def _range_text(name: str, low: float, high: float, share: float) -> str:
    reach = f"{low:g}-{high:g} m" if math.isfinite(high) else f"from {low:g} m"
    part = "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
    return f"{name}\n{reach}\n{part}"


def _range_means(frame: "pd.DataFrame", metric: str) -> Values:
    """Return the mean over the frames that have pixels in each range, NaN where none has."""
    columns = (_values(frame, of_range(metric, name)) for name in RANGES.names)
    return np.asarray([values[~np.isnan(values)].mean() if (~np.isnan(values)).any() else np.nan for values in columns])


def _by_range(axes: "Axes", frame: "pd.DataFrame") -> None:
    axes.set(ylabel="abs_rel, mean over frames")
    _columns(axes, _range_means(frame, "abs_rel"), "{:.3f}", [BLUE] * len(RANGES.names), frame)


def _bias(axes: "Axes", frame: "pd.DataFrame") -> None:
    axes.set(ylabel="bias (m), mean over frames: below 0 is too near")
    means = _range_means(frame, "bias")
    _columns(axes, means, "{:+.2f} m", [TOO_FAR if value > 0 else TOO_NEAR for value in means], frame)
    axes.axhline(0, color=INK, linewidth=1)


def _columns(axes: "Axes", heights: Values, text: str, colours: list[str], frame: "pd.DataFrame") -> None:
    place = np.arange(len(heights))
    known = ~np.isnan(heights)
    shares = _range_shares(frame)
    bars = axes.bar(place, np.where(known, heights, 0.0), 0.7, color=colours)
    for bar, share in zip(bars, shares, strict=True):
        bar.set_alpha(0.3 if share < FEW else 1.0)
    texts = [text.format(value) if there else "no pixel" for value, there in zip(heights, known, strict=True)]
    axes.bar_label(bars, texts, padding=3, fontsize=9)
    axes.set_xticks(place, list(map(_range_text, RANGES.names, RANGES.edges, RANGES.edges[1:], shares)), fontsize=9)
    few = f"; pale: under {100 * FEW:g} %" if (shares[known] < FEW).any() else ""
    axes.set_xlabel(f"true depth, and its share of the pixels{few}", fontsize=9)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _by_recording(axes: "Axes", frame: "pd.DataFrame") -> None:
    """Show each frame as a point, and the mean of each recording as a line: the worst above."""
    errors = frame["abs_rel"].astype("float64").groupby(frame["dataset_root"].astype(str))
    means = errors.mean().sort_index().sort_values(ascending=False, kind="stable")
    shown = list(means.index[:MOST_RECORDINGS])
    others = f", worst {len(shown)} of {len(means)}" if len(means) > len(shown) else ""
    axes.set(title=f"Error by recording{others}", xlabel="abs_rel of frames, and their mean")
    groups = {name: values.to_numpy() for name, values in errors if name in set(shown)}
    for place, name in enumerate(shown):
        values = groups[name]
        if len(values) > MOST_POINTS:  # of so many, those at equal steps of their ranks show the same spread
            values = np.sort(values)[np.linspace(0, len(values) - 1, MOST_POINTS).astype(int)]
        height = place + 0.5 * (np.arange(len(values)) * GOLDEN % 1 - 0.5)
        axes.scatter(values, height, 14, BLUE, alpha=0.5, linewidths=0, zorder=3)
        # Few points are seen above the line of their mean; many would hide it.
        above = 2 if len(values) < 30 else 4
        axes.plot([means[name]] * 2, [place - 0.36, place + 0.36], color=ORANGE, linewidth=3, zorder=above)
    texts = [
        f"{plain(_shortened(name, MOST_LETTERS))}\n{means[name]:.3f}, {_frames(len(groups[name]))}" for name in shown
    ]
    axes.set_yticks(range(len(shown)), texts, fontsize=8)
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _frames(count: int) -> str:
    return f"{count:,} frame{'s' * (count != 1)}"


def _shortened(text: str, most: int) -> str:
    """Cut a text from the front: recordings differ in the end of their path."""
    return text if len(text) <= most else f"...{text[3 - most :]}"


def _thresholds(axes: "Axes", frame: "pd.DataFrame") -> None:
    """Show a1, a2, a3 and the rest as parts of a bar: outliers beside small errors, and at which depth they are."""
    names = ("all", *RANGES.names)
    inside = np.asarray([[_values(frame, k).mean(), *_range_means(frame, k)] for k in ("a1", "a2", "a3")])
    parts = 100 * np.diff(np.vstack([np.zeros(len(names)), inside, np.ones(len(names))]), axis=0)
    place = np.arange(len(names), dtype=float)
    place[1:] += 0.7  # room for the legend
    left = np.zeros(len(names))
    for part, colour, label in zip(np.nan_to_num(parts), THRESHOLD_COLOURS, THRESHOLD_NAMES, strict=True):
        bars = axes.barh(place, part, 0.7, left=left, color=colour, label=label)
        texts = [f"{value:.1f}" if value >= 6 else "" for value in part]
        axes.bar_label(bars, texts, label_type="center", fontsize=9)
        left += part
    for spot in place[np.isnan(inside[0])]:
        axes.text(1, spot, "no pixel", va="center", fontsize=9, color=GREY)
    axes.set_yticks(place, names)
    axes.set_ylim(place[-1] + 0.5, -0.5)
    axes.set(xlim=(0, 100), xlabel="share of pixels (%), mean over frames")
    axes.spines[["top", "right"]].set_visible(False)
    spot = {"bbox_to_anchor": (0.5, 0.85), "bbox_transform": axes.get_yaxis_transform()}
    axes.legend(frameon=False, loc="center", ncols=4, borderaxespad=0, fontsize=9, **spot)


def _one_factor(axes: "Axes", frame: "pd.DataFrame") -> None:
    """Show what one factor a frame would mend, beside what it would not."""
    silog, log_bias = _values(frame, "silog"), 100 * _values(frame, "log_bias")
    total = float((silog**2 + log_bias**2).sum())
    share = 100 * float((log_bias**2).sum()) / total if total > 0 else 0.0
    axes.set(
        title=f"Scale of frames: {share:.0f} % of squared log error",
        xlabel="spread within the frame: silog (%)",
        ylabel="scale of the frame: 100 x log_bias",
    )
    most = 1.1 * max(float(np.abs(log_bias).max()), float(silog.max()) / 2, 1e-9)
    axes.axhspan(0, most, color=TOO_FAR, alpha=0.05, linewidth=0)
    axes.axhspan(-most, 0, color=TOO_NEAR, alpha=0.05, linewidth=0)
    axes.axhline(0, color=INK, linewidth=1)
    axes.scatter(silog, log_bias, 24 if len(silog) < 1000 else 8, PURPLE, alpha=0.7, linewidths=0)
    axes.set(xlim=(0, 1.1 * max(float(silog.max()), 1e-9)), ylim=(-most, most))
    for place, text, colour in ((0.98, "frames too far", TOO_FAR), (0.02, "frames too near", TOO_NEAR)):
        axes.text(0.01, place, text, transform=axes.transAxes, color=colour, va="top" if place > 0.5 else "bottom")
