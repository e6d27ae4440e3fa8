"""The picture of a study: abs_rel against the size of the set, a panel for each of the best ways to quantize."""

from typing import TYPE_CHECKING

from ncdb_dask.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, as_png, nothing, one_panel, panels, plain
from ncdb_dask.studies.groups import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ncdb_dask.studies.findings import Study

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#D55E00", "#000000")  # more of Okabe and Ito's palette
MOST = 6  # panels
DODGE = 0.012  # between kinds of sets at the same size, in parts of the axis


def shown_quantizers(done: "Study") -> list[str]:
    """Return the ways to quantize that are drawn: the best ones, the best first."""
    best = dict[str, float]()
    for group in done.groups:
        best[group.quantizer] = min(group.abs_rel, best.get(group.quantizer, group.abs_rel))
    return sorted(best, key=best.__getitem__)[:MOST]


def study_picture(done: "Study") -> bytes:
    """Draw a study as a PNG; every panel has the same scale."""
    ways = shown_quantizers(done)
    figure, axes = panels(max(1, len(ways)))
    if not ways:
        nothing(axes[0])
    for one, way in zip(axes, ways, strict=False):
        _panel(one, done, way)
        one.set_title(plain(way), loc="left", fontsize=11)
    if ways:
        found = dict(pair[::-1] for one in axes for pair in zip(*one.get_legend_handles_labels(), strict=True))
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=min(5, len(found)),
            frameon=False,
            fontsize=10,
        )
    return as_png(figure)


def quantizer_picture(done: "Study", way: str) -> bytes:
    """Draw one way to quantize as a PNG, on a scale of its own."""
    axes = one_panel(6, 4)
    _panel(axes, done, way)
    axes.legend(frameon=False, fontsize=10, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure = axes.get_figure(root=True)
    assert figure is not None
    return as_png(figure)


def _panel(axes: "Axes", done: "Study", way: str) -> None:
    names = list(dict.fromkeys(curve.name for curve in done.curves))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    curves = [curve for curve in done.curves if curve.quantizer == way]
    axes.axhline(done.fp32.abs_rel, color=GREY, linewidth=1.2, linestyle="--", label="FP32")
    sizes = sorted({size for curve in done.curves for size in curve.sizes})
    places = {size: place for place, size in enumerate(sizes)}
    width = max(1, len(sizes) - 1)
    for number, curve in enumerate(curves):
        shift = (number - (len(curves) - 1) / 2) * DODGE * width * 2
        _curve(axes, curve, {size: place + shift for size, place in places.items()}, done.fp32.abs_rel, colours)
        seeds = [row for row in done.rows if (row.cell.quantizer.label, row.cell.set.name) == (way, curve.name)]
        at = [places[row.cell.set.size] + shift for row in seeds]
        axes.plot(
            at, [row.figures["abs_rel"] for row in seeds], "o", color=colours[curve.name], markersize=4, alpha=0.5
        )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlim(-0.35, len(sizes) - 0.65)
    axes.set_xlabel("frames of the calibration set")
    axes.set_ylabel("abs_rel")
    axes.grid(axis="y", color="#eceff3", linewidth=0.8)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)


def _curve(axes: "Axes", curve: Curve, places: dict[int, float], fp32: float, colours: dict[str, str]) -> None:
    """Draw the means over seeds, and as a band the interval of their difference to FP32."""
    colour, at = colours[curve.name], [places[size] for size in curve.sizes]
    means = [group.abs_rel for group in curve.groups]
    axes.plot(at, means, "-", color=colour, linewidth=1.6)
    axes.plot(at, means, "s", color=colour, markersize=7, label=curve.name)
    bounded = [
        (place, fp32 + group.against_fp32.low, fp32 + group.against_fp32.high)
        for place, group in zip(at, curve.groups, strict=True)
        if group.against_fp32 is not None and group.against_fp32.low is not None and group.against_fp32.high is not None
    ]
    if len(bounded) > 1:
        inner, lows, highs = (list(part) for part in zip(*bounded, strict=True))
        axes.fill_between(inner, lows, highs, color=colour, alpha=0.13, linewidth=0)
    for place, low, high in bounded:
        axes.plot([place, place], [low, high], color=colour, linewidth=1.2, alpha=0.8)
