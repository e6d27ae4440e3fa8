"""The metrics of depth estimation over paired pixels; docs/reference/metrics.md has every formula and its source.

Truth g and prediction p in metres, e = p - g, d = ln p - ln g. Everything is float64, and variances take two passes:
mean(d^2) - mean(d)^2 turns negative for a constant error of scale, and its root is no number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure is.

    Attributes
    ----------
    unit : str
        Empty for a ratio.
    best : str
        ``low``, ``high``, or ``zero`` for signed figures.
    pooled : str
        How figures of several frames become that of all their pixels: ``mean`` and ``square`` (root of the mean
        square), weighted by pixels; the others are made from these.
    """

    unit: str = ""
    best: str = "low"
    pooled: str = "mean"


METRICS: Mapping[str, Metric] = {
    "abs_rel": Metric(),
    "sq_rel": Metric("m"),
    "kitti_sq_rel": Metric(),
    "rmse": Metric("m", pooled="square"),
    "rmse_log": Metric(pooled="square"),
    "mae": Metric("m"),
    "log10": Metric(),
    "silog": Metric("%", pooled="variance"),
    "silog_half": Metric(pooled="half"),
    "irmse": Metric("1/km", pooled="square"),
    "imae": Metric("1/km"),
    "a1": Metric(best="high"),
    "a2": Metric(best="high"),
    "a3": Metric(best="high"),
    "bias": Metric("m", "zero"),
    "log_bias": Metric("", "zero"),
}
THRESHOLD = 1.25


def measure(truth: Values, prediction: Values) -> dict[str, float]:
    """Compute every metric over the pixels given.

    Parameters
    ----------
    truth, prediction : ndarray of float64, shape (n,)
        Metres, finite and above 0; n is at least 1.

    Returns
    -------
    dict of str to float
        The names of `METRICS`.

    Examples
    --------
    >>> found = measure(np.array([4.0]), np.array([5.0]))
    >>> found["abs_rel"], found["a1"], found["a2"]
    (0.25, 0.0, 1.0)
    """
    return _figures(_sums(truth, prediction))


def measure_with_ranges(
    truth: Values, prediction: Values, ranges: npt.NDArray[np.int64], count: int
) -> tuple[dict[str, float], list[tuple[int, dict[str, float]]]]:
    """Compute the metrics of all pixels, and of each depth range.

    Parameters
    ----------
    truth, prediction : ndarray of float64, shape (n,)
        As for `measure`.
    ranges : ndarray of int64, shape (n,)
        The range of each pixel, from 0 to `count` - 1.
    count : int
        How many ranges there are, at most 256.

    Returns
    -------
    dict, list of (int, dict)
        Of all pixels; and for each range its pixels and metrics, which are empty where it has no pixel.
    """
    order = np.argsort(ranges.astype(np.uint8), kind="stable")  # a radix sort, for so small a type
    truth, prediction = truth[order], prediction[order]
    ends = np.cumsum(np.bincount(ranges, minlength=count)).tolist()
    parts = [_sums(truth[start:stop], prediction[start:stop]) for start, stop in pairwise([0, *ends])]
    return _figures(_added(parts)), [(part.pixels, _figures(part)) if part.pixels else (0, {}) for part in parts]


# What is added up of each pixel; the last is the logarithmic error d.
_TERMS = ("abs_rel", "sq_rel", "kitti_sq_rel", "rmse", "mae", "log10", "irmse", "imae", "a1", "a2", "a3", "bias", "d")
_BLOCK = 2**15  # pixels at a time, whose terms fit into a core's cache


@dataclass(frozen=True, slots=True)
class _Sums:
    """What adds up over pixels.

    Attributes
    ----------
    pixels : int
        How many there are.
    terms : ndarray of float64, shape (len(_TERMS),)
        Sums over them.
    squares : float
        Of d, from its mean over these pixels.
    """

    pixels: int
    terms: Values
    squares: float

    @property
    def bias(self) -> float:
        """Mean d."""
        return float(self.terms[-1]) / self.pixels


def _sums(truth: Values, prediction: Values) -> _Sums:
    places = range(0, len(truth), _BLOCK)
    return _added([_block(truth[start : start + _BLOCK], prediction[start : start + _BLOCK]) for start in places])


def _added(parts: Sequence[_Sums]) -> _Sums:
    """Add parts up: squares from the common mean are those within the parts and those between (Chan et al., 1979)."""
    some = [part for part in parts if part.pixels]
    terms = np.zeros(len(_TERMS)) + sum(part.terms for part in some)
    whole = _Sums(sum(part.pixels for part in some), terms, 0.0)
    squares = (part.squares + part.pixels * (part.bias - whole.bias) ** 2 for part in some)
    return replace(whole, squares=math.fsum(squares))


def _block(truth: Values, prediction: Values) -> _Sums:
    error, ratio = prediction - truth, prediction / truth
    size, log, inverse = np.abs(error), np.log(ratio), np.abs(1 / prediction - 1 / truth)
    relative = size / truth
    factor = np.maximum(ratio, truth / prediction)
    within = [factor < THRESHOLD**power for power in (1, 2, 3)]
    squared = (relative * size, relative * relative, size * size)
    terms = (relative, *squared, size, np.abs(log), inverse * inverse, inverse, *within, error, log)
    # Not dot products: BLAS adds in an order that depends on its threads.
    sums = np.array([np.add.reduce(term) for term in terms], dtype=np.float64)
    away = log - sums[-1] / len(truth)
    return _Sums(len(truth), sums, float(np.add.reduce(away * away)))


def _figures(sums: _Sums) -> dict[str, float]:
    mean = dict(zip(_TERMS, (sums.terms / sums.pixels).tolist(), strict=True))
    variance, log_bias = sums.squares / sums.pixels, mean.pop("d")
    mean["rmse"] = math.sqrt(mean["rmse"])
    mean["log10"] /= math.log(10)
    mean["irmse"] = 1000 * math.sqrt(mean["irmse"])
    mean["imae"] *= 1000
    mean |= {"rmse_log": math.sqrt(variance + log_bias**2), "silog": 100 * math.sqrt(variance)}
    mean |= {"silog_half": math.sqrt(variance + 0.5 * log_bias**2), "log_bias": log_bias}
    return {name: mean[name] for name in METRICS}
