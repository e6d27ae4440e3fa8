"""From a map of true depth and a prediction to the pairs of pixels that are judged, by the rules of a protocol."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.protocol import Protocol

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

# Rows and columns that count, as parts of height and width: Garg et al. (2016) and Eigen et al. (2014), for KITTI.
CROPS = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
# Of Eigen et al. for NYU Depth v2, in pixels of its one size.
NYU_SIZE, NYU_CROP = (480, 640), (slice(45, 471), slice(41, 601))
# What stands for a prediction that is no depth where the protocol sets no limit on that side, in metres: the least
# depth of the usual protocols, and the greatest that a 16-bit depth PNG holds.
LEAST, GREATEST = 0.001, 65535 / 256
# Beyond these a prediction is no depth; squares and inverses of what lies between fit in float64.
FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of one frame that are judged.

    Attributes
    ----------
    truth, prediction : ndarray of float64, shape (n,)
        Metres, finite and above 0.
    nan, infinite, nonpositive : int
        Predictions at these pixels that were no depth.
    ratio : float or None
        By which predictions were scaled.
    """

    truth: Values
    prediction: Values
    nan: int
    infinite: int
    nonpositive: int
    ratio: float | None


def paired(truth: Values, prediction: Values, protocol: Protocol) -> Pixels:
    """Choose the pixels of a frame and make their predictions comparable.

    Parameters
    ----------
    truth : ndarray of float64, shape (H, W)
        Metres; 0 is invalid.
    prediction : ndarray of float64, shape (h, w)
        Metres, of the same field of view.
    protocol : Protocol
        The rules.

    Raises
    ------
    DataFault
        ``no_valid_pixels``, or ``unsupported_depth`` where the crop is not defined for the truth's size.
    """
    rows, columns = chosen(truth, protocol)
    if len(rows) < protocol.min_pixels:
        raise DataFault("no_valid_pixels", _too_few(truth, len(rows), protocol))
    values = sampled(prediction, rows, columns, truth.shape, protocol)
    nan, infinite, nonpositive = np.isnan(values), np.abs(values) > FLOAT32.max, values < FLOAT32.tiny
    sound = ~(nan | infinite | nonpositive)
    true = truth[rows, columns]
    ratio = None
    if protocol.scaling == "median" and sound.any():
        ratio = float(np.median(true[sound]) / np.median(values[sound]))
        values = values * ratio
    values = _bounded(values, sound, protocol)
    return Pixels(true, values, int(nan.sum()), int(infinite.sum()), int((nonpositive & ~infinite).sum()), ratio)


def _bounded(values: Values, sound: npt.NDArray[np.bool_], protocol: Protocol) -> Values:
    """Clamp, and put a depth where there is none, so that every chosen pixel counts in every metric.

    A network that fails on some pixels must not look better for it, so they are not left out: infinite counts as the
    greatest depth; NaN (as in BTS and ZoeDepth), 0 and negative as the least.
    """
    if protocol.clamp:
        values = np.clip(values, protocol.min_depth, protocol.max_depth)
    if sound.all():
        return values
    low = protocol.min_depth or LEAST
    high = protocol.max_depth if np.isfinite(protocol.max_depth) else GREATEST
    return np.where(sound, values, np.where(values > low, high, low))


def chosen(truth: Values, protocol: Protocol) -> tuple[Indices, Indices]:
    """Return rows and columns of the pixels that count."""
    window = crop_window(protocol.crop, truth.shape)
    part = truth[window]
    if protocol.bounds == "strict":
        inside = (part > protocol.min_depth) & (part < protocol.max_depth)
    else:
        inside = (part >= protocol.min_depth) & (part <= protocol.max_depth)
        inside &= part > 0
    rows, columns = np.nonzero(inside)
    return rows + window[0].start, columns + window[1].start


def crop_window(crop: str, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns that a crop leaves of a picture of this shape (H, W).

    Raises
    ------
    DataFault
        ``unsupported_depth`` for ``nyu`` on another size than its own.
    """
    height, width = shape
    if crop == "none":
        return slice(0, height), slice(0, width)
    if crop == "nyu":
        if shape != NYU_SIZE:
            expected = f"the crop nyu is defined for {NYU_SIZE[1]} x {NYU_SIZE[0]}"
            raise DataFault("unsupported_depth", f"the truth is {width} x {height}; {expected}; choose another --crop")
        return NYU_CROP
    top, bottom, left, right = CROPS[crop]
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def sampled(prediction: Values, rows: Indices, columns: Indices, shape: tuple[int, ...], protocol: Protocol) -> Values:
    """Resize a prediction to `shape` (H, W), and return it at some pixels only: sparse truth needs few of them."""
    if prediction.shape == shape:
        return prediction[rows, columns]
    inverse = protocol.resize_of == "inverse"
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 1 / prediction if inverse else prediction
        down, across = (_source(size, target, protocol) for size, target in zip(prediction.shape, shape, strict=True))
        if protocol.resize == "nearest":
            found = _nearest(values, down, across, rows, columns)
        else:
            found = _bilinear(values, down, across, rows, columns)
        return 1 / found if inverse else found


def _source(size: int, target: int, protocol: Protocol) -> Values:
    """Return where the centres of `target` pixels lie among `size` pixels, in pixels."""
    index = np.arange(target)
    if protocol.align_corners:
        return np.asarray(index * ((size - 1) / max(target - 1, 1)))
    return np.clip((index + 0.5) * (size / target) - 0.5, 0, size - 1)


def _nearest(values: Values, down: Values, across: Values, rows: Indices, columns: Indices) -> Values:
    row, column = (np.floor(place + 0.5).astype(np.intp) for place in (down, across))
    return values[row[rows], column[columns]]


def _bilinear(values: Values, down: Values, across: Values, rows: Indices, columns: Indices) -> Values:
    left, right, beside = _neighbours(across, values.shape[1])
    wide = _between(values[:, left], values[:, right], beside)
    upper, lower, below = _neighbours(down, values.shape[0])
    one, other = (wide.take(place[rows] * len(across) + columns) for place in (upper, lower))
    return _between(one, other, below[rows])


def _between(one: Values, other: Values, share: Values) -> Values:
    """Return (1 - share) one + share other, where a neighbour without a share spoils nothing, and inf stays inf."""
    mixed = one + share * (other - one)
    if np.isfinite(mixed).all():
        return mixed
    return np.where(share == 0, one, one * (1 - share) + other * share)


def _neighbours(place: Values, size: int) -> tuple[Indices, Indices, Values]:
    """Return the pixels on both sides of each place, and how far it lies from the first."""
    first = np.minimum(np.floor(place).astype(np.intp), size - 1)
    return first, np.minimum(first + 1, size - 1), place - first


def _too_few(truth: Values, found: int, protocol: Protocol) -> str:
    valid = truth[truth > 0]
    span = f"{valid.size} pixels from {valid.min():.2f} to {valid.max():.2f} m" if valid.size else "no valid pixel"
    upper = "without limit" if np.isinf(protocol.max_depth) else f"to {protocol.max_depth:g} m"
    wanted = f"from {protocol.min_depth:g} m {upper} ({protocol.bounds}), crop {protocol.crop}"
    return f"{found} pixels count, expected at least {protocol.min_pixels} {wanted}; the truth has {span}"
