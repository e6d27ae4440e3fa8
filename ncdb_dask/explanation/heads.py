"""The floor that an 8-bit output sets by itself, for the usual depth heads: expected over the true depths."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.scanning.stats import histogram_edges

Values = Any  # arrays of float64
Form = Callable[[Values, float, float], Values]
# Depths at which a bin of the histogram is sampled: steps of a head may be narrower than a bin.
SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Head:
    """A depth head whose output, 0 to 1, is rounded.

    Attributes
    ----------
    title : str
        What it is called.
    encode, decode : callable
        ``encode(depth, low, high)`` and back; metres, and one row of outputs each, shape (outputs, n).
    """

    title: str
    encode: Form
    decode: Form

    def rounded(self, depth: Values, low: float, high: float, scheme: Scheme) -> Values:
        """Return depths as they come out of the head if all that is wrong with it is the grid of its output."""
        grid = scheme.grid(0.0, 1.0)
        steps = np.rint(np.clip(self.encode(depth, low, high), 0, 1) / grid.scale)
        outputs = np.minimum(steps, scheme.quantized_max - grid.zero_point) * grid.scale
        return self.decode(outputs, low, high)


@dataclass(frozen=True, slots=True)
class Floor:
    """What rounding its output costs a head that is right otherwise.

    Attributes
    ----------
    title : str
        Of the head.
    abs_rel, rmse : float
        Means over the frames; metres.
    """

    title: str
    abs_rel: float
    rmse: float

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"head": self.title, "abs_rel": self.abs_rel, "rmse": self.rmse}


def _linear(depth: Values, low: float, high: float) -> Values:
    return (depth[None] - low) / (high - low)


def _from_linear(output: Values, low: float, high: float) -> Values:
    return low + (high - low) * output[0]


def _inverse(depth: Values, low: float, high: float) -> Values:
    return (1 / depth[None] - 1 / high) / (1 / low - 1 / high)


def _from_inverse(output: Values, low: float, high: float) -> Values:
    return 1 / (1 / high + (1 / low - 1 / high) * output[0])


def _log(depth: Values, low: float, high: float) -> Values:
    return np.log(depth[None] / low) / np.log(high / low)


def _from_log(output: Values, low: float, high: float) -> Values:
    return low * (high / low) ** output[0]


def _parts(depth: Values, low: float, high: float) -> Values:
    return np.stack([np.floor(depth) / high, depth - np.floor(depth)])


def _from_parts(output: Values, low: float, high: float) -> Values:
    return output[0] * high + output[1]


def _from_exact_integer(output: Values, low: float, high: float) -> Values:
    return np.rint(output[0] * high) + output[1]


# The forms of `ncdb_dask.model.decode`. Of the last one, two: as it is decoded, where a step of the integer is
# high / 255 metres, and as it could be if whoever decodes rounded the integer.
HEADS = (
    Head("linear", _linear, _from_linear),
    Head("inverse", _inverse, _from_inverse),
    Head("log", _log, _from_log),
    Head("integer and fraction", _parts, _from_parts),
    Head("integer, rounded in decoding, and fraction", _parts, _from_exact_integer),
)
DECODED = tuple(head.title for head in HEADS[:-1])  # those that a model file can name


def floors(histograms: npt.NDArray[np.int64], low: float, high: float, scheme: Scheme | None = None) -> list[Floor]:
    """Return the floor of each head.

    Parameters
    ----------
    histograms : ndarray of int64, shape (frames, HIST_BINS)
        Of the true depths of each frame, as `ncdb_dask.scanning.stats.histogram_edges` cuts them.
    low, high : float
        What the head spans, metres; depths beyond are those nearest to it.
    scheme : Scheme, optional
        What its output is rounded to; uint8 if left out.
    """
    depth, share = _sampled(histograms, low, high)
    found = []
    for head in HEADS:
        error = head.rounded(depth, low, high, scheme or Scheme()) - depth
        relative = share @ (np.abs(error) / depth)
        found.append(Floor(head.title, float(relative.mean()), float(np.sqrt(share @ np.square(error)).mean())))
    return found


def span(histograms: npt.NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Return what of a range of depths occurs, metres, to the bins of the histogram."""
    edges, used = histogram_edges(), np.flatnonzero(histograms.sum(axis=0))
    return max(low, float(edges[used[0]])), min(high, float(edges[used[-1] + 1]))


def _sampled(histograms: npt.NDArray[np.int64], low: float, high: float) -> tuple[Values, Values]:
    """Return depths, shape (n,), and the share of the pixels of each frame that they stand for, shape (frames, n)."""
    edges = histogram_edges()
    used = np.flatnonzero(histograms.sum(axis=0))
    within = (np.arange(SAMPLES) + 0.5) / SAMPLES
    depth = (edges[used, None] + within * np.diff(edges)[used, None]).ravel()
    counts = histograms[:, used].astype(np.float64)
    share = counts / counts.sum(axis=1, keepdims=True)
    return np.clip(depth, low, high), np.repeat(share, SAMPLES, axis=1) / SAMPLES
