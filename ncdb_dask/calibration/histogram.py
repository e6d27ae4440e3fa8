"""Histograms of activations over the bit patterns of float32: they add up exactly, in any order."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# A bin is the sign, the 8 bits of the exponent and the first 6 of the mantissa: edges that no tensor can change.
SHIFT = 17
BINS = 1 << (32 - SHIFT)
# Negative numbers have their bins from here on, in falling order.
NEGATIVE = BINS // 2
# The first bin of NaN and infinity among numbers of one sign: exponent 255.
NOT_FINITE = 255 << 6
# The shifted bits of a chunk and their copy as numpy's own integers stay in the cache: 3 MB, and 6 to 10 ms for 5
# million floats, where all at once take half as long again and 12 bytes for each.
CHUNK = 1 << 18


def count(values: npt.NDArray[np.float32]) -> Integers:
    """Count values by their first 15 bits.

    Parameters
    ----------
    values : ndarray of float32, any shape
        An array that is not contiguous is copied.

    Returns
    -------
    ndarray of int64, shape (BINS,)
        NaN and infinity are in the bins of exponent 255.

    Raises
    ------
    CalibrationError
        For another type: a conversion would be a decision of its own.
    """
    if values.dtype != np.float32:
        raise CalibrationError(
            f"activations are {values.dtype}; expected float32, convert them with astype(np.float32)"
        )
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    counts = np.zeros(BINS, dtype=np.int64)
    for start in range(0, bits.size, CHUNK):
        counts += np.bincount(bits[start : start + CHUNK] >> SHIFT, minlength=BINS)
    return counts


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often each bit pattern came up in a tensor.

    Attributes
    ----------
    counts : ndarray of int64, shape (BINS,)
        As of `count`, all values.
    low, high : float
        The least and the greatest finite value, exactly; inf and -inf where there is none.
    nan, infinite : int
        How many values are no numbers, and infinite of either sign.
    """

    counts: Integers
    low: float
    high: float
    nan: int = 0
    infinite: int = 0

    @classmethod
    def of(cls, values: npt.NDArray[np.float32]) -> Self:
        """Count the values of a tensor of any shape; see `count` for errors."""
        counts = count(values)
        nan = infinite = 0
        finite = values
        # A NaN whose payload begins with six zeros shares the bin of infinity: only the values tell them apart.
        if counts[NOT_FINITE:NEGATIVE].any() or counts[NEGATIVE + NOT_FINITE :].any():
            nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
            finite = values[np.isfinite(values)]
        if not finite.size:
            return cls(counts, np.inf, -np.inf, nan, infinite)
        # Which of 0.0 and -0.0 is the least depends on their order; adding 0.0 makes them one.
        return cls(counts, float(finite.min()) + 0.0, float(finite.max()) + 0.0, nan, infinite)

    def merged(self, *others: "Histogram") -> "Histogram":
        """Add histograms: the same bits for any order and any grouping."""
        parts = (self, *others)
        return Histogram(
            np.sum([part.counts for part in parts], axis=0, dtype=np.int64),
            min(part.low for part in parts),
            max(part.high for part in parts),
            sum(part.nan for part in parts),
            sum(part.infinite for part in parts),
        )

    def __add__(self, other: "Histogram") -> "Histogram":
        return self.merged(other)

    @property
    def total(self) -> int:
        """Number of finite values."""
        return int(self.counts.sum()) - self.nan - self.infinite

    def magnitudes(self) -> "Histogram":
        """Return the histogram of the absolute values; its `low` is a bound, 0 wherever both signs occur."""
        counts = np.zeros_like(self.counts)
        counts[:NEGATIVE] = self.counts[:NEGATIVE] + self.counts[NEGATIVE:]
        return Histogram(
            counts, max(self.low, -self.high, 0.0), max(abs(self.low), abs(self.high)), self.nan, self.infinite
        )


@dataclass(frozen=True, eq=False)
class Cells:
    """The finite values of a histogram as a piecewise uniform density.

    Attributes
    ----------
    left, right : ndarray of float64, shape (n,)
        Edges of the bins that hold anything, rising; cells do not overlap. Where both are the same, the cell is one
        value: exact zeros are.
    weight : ndarray of float64, shape (n,)
        Number of values.
    """

    left: Floats
    right: Floats
    weight: Floats

    @property
    def total(self) -> float:
        """Number of values."""
        return float(self.weight.sum())

    def mirrored(self) -> "Cells":
        """Return the cells of the values times -1."""
        return Cells(-self.right[::-1], -self.left[::-1], self.weight[::-1])

    def below(self, value: float) -> float:
        """Return the number of values that are less than `value`."""
        width = self.right - self.left
        inside = np.clip((value - self.left) / np.where(width > 0, width, 1.0), 0.0, 1.0)
        return float(self.weight @ np.where(width > 0, inside, self.right < value))

    def shared(self, edges: Floats) -> Floats:
        """Share the cells out onto other bins, in proportion to how much of a cell lies in each.

        Parameters
        ----------
        edges : ndarray of float64, shape (m + 1,)
            Rising; they span all cells.

        Returns
        -------
        ndarray of float64, shape (m,)
            A cell of one value that lies on an edge is in the bin below, or the first.
        """
        ends = np.cumsum(self.weight)
        knots = np.stack([self.left, self.right], axis=1).reshape(-1)
        sums = np.stack([ends - self.weight, ends], axis=1).reshape(-1)
        below = np.interp(edges, knots, sums)
        below[0], below[-1] = 0.0, ends[-1]
        # Rounding alone can make a bin negative where nothing lies.
        return np.asarray(np.maximum(np.diff(below), 0.0), dtype=np.float64)


def ordered(histogram: Histogram) -> Cells:
    """Return the finite bins that hold anything, from the least to the greatest value.

    Edges are the float32 numbers whose last 17 bits are 0, so that a cell is 1/64 to 1/128 of its value wide (2**-132
    among denormal numbers), cut to the exact range of the tensor. Zeros of both signs, and what is nearer to 0 than
    2**-132, count as the value 0, or the nearest value that the range holds.
    """
    counts = histogram.counts[:NEGATIVE].copy(), histogram.counts[NEGATIVE:].copy()
    zeros = counts[0][0] + counts[1][0]
    positive, negative = (np.flatnonzero(part[1:NOT_FINITE]) + 1 for part in counts)
    negative = negative[::-1]
    zero = np.zeros(int(zeros > 0))
    left = np.concatenate([-lower_edge(negative + 1), zero, lower_edge(positive)])
    right = np.concatenate([-lower_edge(negative), zero, lower_edge(positive + 1)])
    weight = np.concatenate([counts[1][negative], zero + zeros, counts[0][positive]]).astype(np.float64)
    if not weight.size:
        return Cells(left, right, weight)
    return Cells(np.clip(left, histogram.low, histogram.high), np.clip(right, histogram.low, histogram.high), weight)


def lower_edge(bins: npt.NDArray[np.integer[Any]]) -> Floats:
    """Return the lower edge of bins of positive numbers; past the last finite bin it is 2**128, no float32."""
    edges = (bins.astype(np.uint32) << np.uint32(SHIFT)).view(np.float32).astype(np.float64)
    return np.where(bins == NOT_FINITE, 2.0**128, edges)


def quantile(cells: Cells, q: float) -> float:
    """Return the value that a share of all values does not exceed, interpolated within its cell.

    The exact quantile (the inverse of the empirical distribution) lies in the same cell, so the two differ by at most
    1/64 of it, or by 2**-132.

    Parameters
    ----------
    cells : Cells
        At least one.
    q : float
        From 0, the least value, to 1, the greatest.

    Raises
    ------
    CalibrationError
        Where there is no value.
    """
    if not cells.weight.size:
        raise CalibrationError("a quantile of no values; expected a tensor that holds at least one finite value")
    ends = np.cumsum(cells.weight)
    wanted = q * ends[-1]
    cell = min(int(np.searchsorted(ends, wanted)), len(ends) - 1)
    within = 1 - (ends[cell] - wanted) / cells.weight[cell]
    return float(cells.left[cell] + (cells.right[cell] - cells.left[cell]) * within)
