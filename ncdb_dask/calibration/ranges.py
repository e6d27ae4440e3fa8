"""Ranges of activations from their histograms: the whole range, percentiles, least squared error, least divergence."""

from dataclasses import dataclass

from ncdb_dask.calibration.divergence import least_divergence
from ncdb_dask.calibration.histogram import Cells, Histogram, ordered, quantile
from ncdb_dask.calibration.scheme import Grid, Scheme
from ncdb_dask.calibration.squared_error import least_error
from ncdb_dask.errors import CalibrationError

METHODS = ("minmax", "percentile", "entropy", "mse")
PERCENTILE = 99.999


@dataclass(frozen=True, slots=True)
class Range:
    """The range of a tensor, and what it means.

    Attributes
    ----------
    method : str
        One of `METHODS`: what was asked for.
    low, high : float
        To hand to ONNX Runtime; they contain 0. As of `ncdb_dask.calibration.scheme.Grid`.
    scale, zero_point : float, int
        What ONNX Runtime derives from them.
    clipped : float
        Share of the finite values that lie outside.
    """

    method: str
    low: float
    high: float
    scale: float
    zero_point: int
    clipped: float


def find_range(histogram: Histogram, method: str, scheme: Scheme, percentile: float = PERCENTILE) -> Range:
    """Find the range of a tensor.

    It is made of the finite values only; that there were others is the caller's to report. A tensor without finite
    values, or of zeros alone, gets the range (0, 0), which has the scale 1. One of a single value, and one whose
    percentile would leave nothing but zero, gets its whole range.

    Parameters
    ----------
    histogram : Histogram
        Of all values of the tensor.
    method : str
        ``minmax``: the exact range. ``percentile``: see below. ``mse``: the range of the least expected squared error.
        ``entropy``: the range of the least divergence.
    scheme : Scheme
        What the values will be quantized to.
    percentile : float
        Above 0, up to 100: for a symmetric scheme, so much of the absolute values lies inside; for others half of the
        rest is cut off on each side, as ONNX Runtime does.

    Raises
    ------
    CalibrationError
        For another method or percentile.
    """
    if method not in METHODS:
        raise CalibrationError(f"calibration method {method!r}; expected one of {', '.join(METHODS)}")
    if not 0 < percentile <= 100:
        raise CalibrationError(f"percentile {percentile:g}; expected more than 0 and at most 100, such as 99.999")
    cells = ordered(histogram)
    if not cells.weight.size:
        grid = scheme.grid(0.0, 0.0)
        return Range(method, grid.low, grid.high, grid.scale, grid.zero_point, 0.0)
    grid = _grid(histogram, cells, method, scheme, percentile)
    outside = cells.below(grid.low) + cells.mirrored().below(-grid.high)
    return Range(method, grid.low, grid.high, grid.scale, grid.zero_point, outside / cells.total)


def _grid(histogram: Histogram, cells: Cells, method: str, scheme: Scheme, percentile: float) -> Grid:
    whole = scheme.grid(histogram.low, histogram.high)
    if method == "minmax" or histogram.low == histogram.high or not scheme.resolves(histogram.low, histogram.high):
        return whole
    if method == "mse":
        return least_error(cells, scheme, whole)
    if method == "entropy":
        return scheme.grid(*least_divergence(histogram, cells, scheme))
    low, high = _percentile(histogram, cells, scheme, percentile)
    return scheme.grid(low, high) if scheme.resolves(low, high) else whole


def _percentile(histogram: Histogram, cells: Cells, scheme: Scheme, percentile: float) -> tuple[float, float]:
    if scheme.symmetric:
        reach = quantile(ordered(histogram.magnitudes()), percentile / 100)
        return -reach, reach
    cut = (100 - percentile) / 200
    return quantile(cells, cut), quantile(cells, 1 - cut)
