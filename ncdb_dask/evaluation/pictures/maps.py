"""The maps in the picture of one frame: what is drawn at each pixel, and in which colour."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.evaluation.pixels import FLOAT32, Indices, Values, sampled
from ncdb_dask.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

Colours = npt.NDArray[np.uint8]

# Of pixels without a value. Dark, so that the points of a sparse map stand out, and in none of the scales.
NO_VALUE = (58, 58, 58)
# The scale of the relative error ends here in every picture, so that pictures can be set beside each other, and the
# threshold of a1 lies about half way.
MOST_ERROR = 0.5
# The colours of the truth's first and last hundredth are those of the scale's ends: one stray point takes no contrast.
TAIL = 0.01
# Depths that differ by less are one distance to the eye, and noise where they fill the whole scale.
LEAST_SPAN = 1.5
# Where points are a smaller part of the picture than this, they are drawn five pixels wide, not three.
VERY_SPARSE = 0.02


def depth_span(truth: Values) -> tuple[float, float]:
    """Return the ends of the scale of depth in metres, from the depths that are judged."""
    low, high = (float(value) for value in np.quantile(truth, (TAIL, 1 - TAIL)))
    if high / low < LEAST_SPAN:
        middle, half = math.sqrt(low * high), math.sqrt(LEAST_SPAN)
        return middle / half, middle * half
    return low, high


def whole_prediction(prediction: Values, shape: tuple[int, int], protocol: Protocol, ratio: float | None) -> Values:
    """Return the prediction at every pixel of the truth, as it is compared with it.

    Parameters
    ----------
    prediction : ndarray of float64, shape (h, w)
        Metres.
    shape : tuple of int
        Of the truth, (H, W).
    protocol : Protocol
        Resizes and limits.
    ratio : float or None
        By which predictions are scaled.

    Returns
    -------
    ndarray of float64, shape (H, W)
        Metres; 0 where the network gave no depth.
    """
    rows, columns = np.indices(shape).reshape(2, -1)
    values = sampled(prediction, rows, columns, shape, protocol).reshape(shape)
    sound = (values >= FLOAT32.tiny) & (values <= FLOAT32.max)
    values = np.where(sound, values, 0.0) * (1.0 if ratio is None else ratio)
    if protocol.clamp:
        values = np.clip(values, protocol.min_depth, protocol.max_depth)
    return np.where(sound, values, 0.0)


def drawn_pixels(
    rows: Indices, columns: Indices, shape: tuple[int, int], size: tuple[int, int]
) -> tuple[Indices, bool]:
    """Choose which of some pixels of a frame is drawn at each pixel of a picture.

    Lone points, as of LiDAR, would be lost or hardly seen: they are drawn three or five pixels wide, each pixel with
    the point nearest to it. Where pixels lie close together nothing is enlarged: a hole stays as large as it is.

    Parameters
    ----------
    rows, columns : ndarray of intp, shape (n,)
        The pixels that have a value.
    shape, size : tuple of int
        Height and width of the frame, and of the picture.

    Returns
    -------
    ndarray of intp, shape `size`; bool
        Index into the pixels given, -1 where none is drawn; and whether pixels are enlarged.
    """
    # A larger picture repeats pixels; a smaller one draws one of those that fall together.
    height, width = (min(pair) for pair in zip(shape, size, strict=True))
    shown = np.full((height, width), -1, dtype=np.intp)
    shown[rows * height // shape[0], columns * width // shape[1]] = np.arange(len(rows))
    radius = _radius(shown >= 0)
    shown = _spread(shown, radius)
    down, across = (np.arange(target) * have // target for target, have in zip(size, shown.shape, strict=True))
    return shown[np.ix_(down, across)], radius > 0


def _radius(valid: npt.NDArray[np.bool_]) -> int:
    """Return by how many pixels points grow: by none where most have most of their neighbours."""
    beside = np.pad(valid, 1).astype(np.int8)
    rows, columns = valid.shape
    around = sum(beside[y : y + rows, x : x + columns] for y in range(3) for x in range(3) if (y, x) != (1, 1))
    # A picture of a few rows or columns has fewer neighbours to give.
    if not valid.any() or min(rows, columns) < 8 or float(np.mean(around[valid])) >= 4:  # type: ignore[index]
        return 0
    return 1 if valid.mean() >= VERY_SPARSE else 2


def _spread(shown: Indices, radius: int) -> Indices:
    """Fill pixels without a point with the nearest one, up to `radius` rows and columns away."""
    reach = range(-radius, radius + 1)
    steps = sorted(((y, x) for y in reach for x in reach), key=lambda step: (step[0] ** 2 + step[1] ** 2, step))
    padded = np.pad(shown, radius, constant_values=-1)
    rows, columns = shown.shape
    found = shown
    for y, x in steps[1:]:
        moved = padded[radius + y : radius + y + rows, radius + x : radius + x + columns]
        found = np.where(found < 0, moved, found)
    return found


def depth_colours(metres: Values, span: tuple[float, float]) -> Colours:
    """Colour depth on a logarithmic scale, near bright and far dark; 0 is `NO_VALUE`. Shape (..., 3)."""
    low, high = (math.log(end) for end in span)
    scaled = (np.log(np.clip(metres, *span)) - low) / (high - low)
    return _coloured(scaled, depth_scale(), metres > 0)


def error_colours(relative: Values) -> Colours:
    """Colour a relative error: blue too near, white right, red too far; NaN is `NO_VALUE`. Shape (..., 3)."""
    known = ~np.isnan(relative)
    scaled = (np.where(known, np.clip(relative, -MOST_ERROR, MOST_ERROR), 0.0) / MOST_ERROR + 1) / 2
    return _coloured(scaled, error_scale(), known)


def _coloured(scaled: Values, scale: "Colormap", known: npt.NDArray[np.bool_]) -> Colours:
    colours = np.asarray(scale(scaled, bytes=True)[..., :3], dtype=np.uint8)
    return np.where(known[..., None], colours, np.asarray(NO_VALUE, dtype=np.uint8))


def depth_scale() -> "Colormap":
    """Return the colours of depth, near to far: the contact sheet's, but for those too dark to tell from `NO_VALUE`."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["magma"](np.linspace(1, 0.22, 256)))


def error_scale() -> "Colormap":
    """Return the colours of the error, from too near to too far: none of them as dark as `NO_VALUE`."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("error", ["#1a4fff", "#8db4ff", "#fafafa", "#ff9d84", "#e8101c"])
