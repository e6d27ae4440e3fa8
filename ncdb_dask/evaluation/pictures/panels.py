"""The picture of one evaluated frame: RGB, truth, prediction and error side by side; and which frames are shown."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ncdb_dask.drawing import as_png
from ncdb_dask.evaluation.pictures import maps
from ncdb_dask.evaluation.pictures.layout import LINE, Layout, Page, depth_ticks
from ncdb_dask.evaluation.pixels import Indices, Pixels, Values, chosen, crop_window, paired
from ncdb_dask.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def chosen_frames(abs_rel: Sequence[float], keys: Sequence[tuple[str, str]], count: int) -> list[tuple[str, int]]:
    """Choose frames to look at: the worst, those nearest to the median, and the best.

    Parameters
    ----------
    abs_rel : sequence of float
        One a frame; frames whose figure is no number are not chosen.
    keys : sequence of (str, str)
        Of the same frames; equal figures are ordered by key.
    count : int
        How many of each kind. Where there are too few frames, the kinds get one in turn: worst, best, median.

    Returns
    -------
    list of (str, int)
        Place, such as ``worst-1``, and index of the frame; no frame twice.

    Examples
    --------
    >>> chosen_frames([0.1, 0.4, 0.2, 0.3], [("s", "a"), ("s", "b"), ("s", "c"), ("s", "d")], 1)
    [('worst-1', 1), ('median-1', 2), ('best-1', 0)]
    """
    rows = [row for row, value in enumerate(abs_rel) if math.isfinite(value)]
    order = sorted(rows, key=lambda row: (-abs_rel[row], keys[row]))
    shared = min(len(order), 3 * max(count, 0))
    worst, best, median = ((shared + 2 - turn) // 3 for turn in range(3))
    middle = float(np.median([abs_rel[row] for row in rows])) if rows else 0.0
    rest = order[worst : len(order) - best]
    kinds = {
        "worst": order[:worst],
        "median": sorted(rest, key=lambda row: (abs(abs_rel[row] - middle), keys[row]))[:median],
        "best": order[::-1][:best],
    }
    return [(f"{kind}-{place}", row) for kind, found in kinds.items() for place, row in enumerate(found, 1)]


def panel(
    key: tuple[str, str],
    place: str,
    picture: Image.Image,
    truth: Values,
    prediction: Values,
    protocol: Protocol,
    figures: Mapping[str, float],
) -> bytes:
    """Draw a frame as a PNG of four maps: RGB, truth, prediction, relative error.

    Truth and prediction share one logarithmic scale. That of the error ends at 50 % too near and too far in every
    picture. The points of sparse truth are drawn larger, and the heading says so.

    Parameters
    ----------
    key : tuple of str
        Recording and stem of the frame.
    place : str
        Why it is shown, for instance ``worst 1 of 25``.
    picture : Image
        RGB, of the same field of view.
    truth : ndarray of float64, shape (H, W)
        Metres; 0 is invalid.
    prediction : ndarray of float64, shape (h, w)
        Metres, before the protocol resizes, scales and limits it.
    protocol : Protocol
        By which the frame was judged: it chooses the pixels whose error is shown.
    figures : mapping of str to float
        The frame's metrics; the title has some of them.

    Returns
    -------
    bytes
        PNG, at most about 1750 pixels wide.

    Raises
    ------
    DataFault
        As `paired`: no pixel is judged, for instance.
    """
    judged = paired(truth, prediction, protocol)
    span = maps.depth_span(judged.truth)
    page = Page(Layout.of((truth.shape[0], truth.shape[1])))
    page.title(f"{place}: ", f"{key[0]} / {key[1]}", _summary(figures, len(judged.truth)))
    _draw_picture(page, picture)
    _draw_truth(page, truth, span, protocol)
    _draw_prediction(page, truth, prediction, span, protocol, judged)
    _draw_error(page, truth, judged, protocol)
    _draw_scales(page, span)
    return as_png(page.figure)


def _summary(figures: Mapping[str, float], count: int) -> str:
    shown = {"abs_rel": "{:.3f}", "rmse": "{:.2f} m", "a1": "{:.3f}"}
    parts = [f"{name} {text.format(figures[name])}" for name, text in shown.items() if name in figures]
    return "   ".join([*parts, f"{count:,} judged pixel{'s' * (count != 1)}"])


def _draw_picture(page: Page, picture: Image.Image) -> None:
    _, _, width, height = page.layout.maps["rgb"]
    shown = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    page.draw("rgb", "RGB", f"{picture.width} x {picture.height}", np.asarray(shown))


def _draw_truth(page: Page, truth: Values, span: tuple[float, float], protocol: Protocol) -> None:
    rows, columns = np.nonzero(truth > 0)
    depths = truth[rows, columns]
    shown, larger = _drawn(page, "truth", depths, (rows, columns), truth.shape, 0.0)
    crop = [f"framed: crop {protocol.crop}"] if protocol.crop != "none" else []
    detail = [_range(depths), f"{100 * len(rows) / truth.size:.3g} % of pixels", *_enlarged(larger), *crop]
    axes = page.draw("truth", "Truth", "; ".join(detail), maps.depth_colours(shown, span))
    _outline(axes, truth.shape, shown.shape, protocol)


def _drawn(
    page: Page,
    name: str,
    values: Values,
    places: tuple[Indices, Indices],
    shape: tuple[int, ...],
    none: float,
) -> tuple[Values, bool]:
    """Return the values that a map shows, `none` where there is none, and whether points are larger than they are."""
    _, _, width, height = page.layout.maps[name]
    index, larger = maps.drawn_pixels(*places, (shape[0], shape[1]), (height, width))
    return np.append(values, none)[index], larger


def _range(depths: Values) -> str:
    return f"{depths.min():.3g} to {depths.max():.3g} m" if depths.size else "no depth"


def _enlarged(larger: bool) -> list[str]:
    return ["points drawn larger"] if larger else []


def _draw_prediction(
    page: Page,
    truth: Values,
    prediction: Values,
    span: tuple[float, float],
    protocol: Protocol,
    judged: Pixels,
) -> None:
    whole = maps.whole_prediction(prediction, (truth.shape[0], truth.shape[1]), protocol, judged.ratio)
    rows, columns = np.indices(whole.shape).reshape(2, -1)
    shown, _ = _drawn(page, "prediction", whole.ravel(), (rows, columns), whole.shape, 0.0)
    scaled = [] if judged.ratio is None else [f"times {judged.ratio:.3g} (median scaling)"]
    bad = judged.nan + judged.infinite + judged.nonpositive
    missing = [f"no depth (grey) at {bad:,} judged pixels"] if bad else []
    detail = [_range(whole[whole > 0]), "in the colours of the truth", *scaled, *missing]
    page.draw("prediction", "Prediction", "; ".join(detail), maps.depth_colours(shown, span))


def _draw_error(page: Page, truth: Values, judged: Pixels, protocol: Protocol) -> None:
    places = chosen(truth, protocol)
    relative = (judged.prediction - judged.truth) / judged.truth
    shown, larger = _drawn(page, "error", relative, places, truth.shape, np.nan)
    beyond = 100 * float((np.abs(relative) > maps.MOST_ERROR).mean())
    detail = ["blue is too near, red too far", f"{beyond:.0f} % beyond the scale", *_enlarged(larger)]
    axes = page.draw("error", "Relative error", "; ".join(detail), maps.error_colours(shown))
    _outline(axes, truth.shape, shown.shape, protocol)


def _outline(axes: "Axes", shape: tuple[int, ...], size: tuple[int, ...], protocol: Protocol) -> None:
    """Frame the pixels that the crop leaves."""
    from matplotlib.patches import Rectangle

    if protocol.crop == "none":
        return
    rows, columns = crop_window(protocol.crop, shape)
    down, across = size[0] / shape[0], size[1] / shape[1]
    corner = (columns.start * across - 0.5, rows.start * down - 0.5)
    width, height = (columns.stop - columns.start) * across, (rows.stop - rows.start) * down
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=LINE, linewidth=1))


def _draw_scales(page: Page, span: tuple[float, float]) -> None:
    from matplotlib.colors import LogNorm, Normalize

    page.scale(page.layout.depth_bar, LogNorm(*span), maps.depth_scale(), depth_ticks(span))
    most = maps.MOST_ERROR
    ticks = {part * most: f"{100 * part * most:+.0f} %" for part in (-1.0, -0.5, 0.0, 0.5, 1.0)}
    page.scale(page.layout.error_bar, Normalize(-most, most), maps.error_scale(), ticks | {0.0: "0 %"})
