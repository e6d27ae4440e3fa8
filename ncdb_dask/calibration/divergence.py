"""The divergence of quantized from clipped distributions, and the range for which it is least."""

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.histogram import Cells, Histogram, ordered
from ncdb_dask.calibration.scheme import Scheme

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Numbers in flight while the divergences of many candidates are computed: they fit the cache.
BLOCK = 1 << 15
# The histogram of the search, as in the source, and which of its bins a range may end at.
UNIFORM_BINS = 2048
STRIDE = 4
# How often each end is searched while the other one is held.
SWEEPS = 3
# What a level holds at least, in values, against infinite divergences; as smooth_distribution of ONNX Runtime.
EPSILON = 1e-4
# What share of the values other than 0 a range keeps at least: where nearly all that it holds is in its last bin, P and
# Q are alike, whatever was lost.
KEPT = 0.9
# Divergences that differ by less, in nats, differ by rounding.
TIE = 1e-12


def least_divergence(histogram: Histogram, cells: Cells, scheme: Scheme) -> tuple[float, float]:
    """Return the range of the least divergence of the clipped from the quantized distribution.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017: 2048 bins of the absolute values; for each number of
    bins from the number of levels on, P is what they hold with what lies beyond added to the last, Q is what they hold
    merged into the levels and spread evenly over those bins of a level where P is not 0; the range with the least
    KL(P || Q) wins. Deviations:

    - Zeros are left out: they are exact on every grid, and after a ReLU they would outweigh all that matters.
    - The scheme decides over the number of levels: 128 of the absolute values if symmetric, as there, and all 256
      otherwise. Then the bins run from the least to the greatest value, and each end is searched while the other one
      is held, the lower or the upper one first, whichever ends better.
    - Where bins do not divide evenly into levels, some have one more than others, not the last one all the rest.
    - Every fourth bin is tried as end, and of equals the widest range wins.
    - A range that keeps less than `KEPT` of the values is not tried.
    - A level that P needs and Q has nothing in holds `EPSILON` of a value.
    - 16 bits have no fewer levels than there are bins: a wide range loses nothing, and so nothing is clipped.
    - A power of two is rounded up from the range that was found.
    """
    if scheme.symmetric:
        cells = ordered(histogram.magnitudes())
        reach = _least_divergent(cells, 0.0, float(cells.right[-1]), scheme.steps // 2 + 1)[1]
        return -reach, reach
    return _least_divergent(cells, min(histogram.low, 0.0), max(histogram.high, 0.0), scheme.steps + 1)


def _least_divergent(cells: Cells, low: float, high: float, levels: int) -> tuple[float, float]:
    """Return the range of the least divergence within a range around 0."""
    if levels >= UNIFORM_BINS:
        return low, high
    edges = np.linspace(low, high, UNIFORM_BINS + 1)
    some = (cells.left != 0) | (cells.right != 0)
    values = Cells(cells.left[some], cells.right[some], cells.weight[some]).shared(edges)
    # Zero stays in the range.
    last, first = int(np.searchsorted(edges, 0.0, side="right")) - 1, int(np.searchsorted(edges, 0.0))
    start, stop, divergence = _ends(values, last, first, levels)
    if low < 0 < high:  # the end that is searched first goes farther in; neither may be preferred
        end, begin, other = _ends(values[::-1], UNIFORM_BINS - first, UNIFORM_BINS - last, levels)
        if other < divergence - TIE:
            start, stop = UNIFORM_BINS - begin, UNIFORM_BINS - end
    return float(edges[start]), float(edges[stop])


def _ends(values: Floats, last: int, first: int, levels: int) -> tuple[int, int, float]:
    """Return the best start up to `last`, the best stop from `first` on (searched first), and their divergence."""
    start, stop, divergence = 0, UNIFORM_BINS, np.inf
    for _ in range(SWEEPS):
        before = start, stop
        stop, _ = _best_stop(values, start, max(first, start + levels), levels)
        end = UNIFORM_BINS - stop
        end, divergence = _best_stop(values[::-1], end, max(UNIFORM_BINS - last, end + levels), levels)
        start = UNIFORM_BINS - end
        if (start, stop) == before or start == 0:
            break
    return start, stop, divergence


def _best_stop(values: Floats, start: int, least: int, levels: int) -> tuple[int, float]:
    stops = np.arange(UNIFORM_BINS, min(least, UNIFORM_BINS) - 1, -STRIDE)
    found = divergences(values, start, stops, levels)
    running = np.cumsum(values)
    inside = running[stops - 1] - (running[start - 1] if start else 0.0)
    found[inside < KEPT * running[-1]] = np.inf
    best = int(np.argmax(found <= found.min() + TIE))
    return int(stops[best]), float(found[best])


def divergences(values: Floats, start: int, stops: Integers, levels: int) -> Floats:
    """Return KL(P || Q), as of `least_divergence`, for ranges of bins that start at the same one.

    P sums to the same for every range, so that running sums of ``p log p``, of the values and of the filled bins give
    all divergences without a look at the bins.

    Parameters
    ----------
    values : ndarray of float64, shape (m,)
        How many lie in each bin.
    start : int
        First bin of the ranges.
    stops : ndarray of int64, shape (n,)
        Past the last bin of each; more than `start`.
    levels : int
        How many levels a range has.

    Returns
    -------
    ndarray of float64, shape (n,)
        In nats; inf where a range holds nothing.
    """
    running, filled, entropy = (
        np.concatenate([[0.0], np.cumsum(part)]) for part in (values, values > 0, _xlogx(values))
    )
    below, above = running[start], running[-1] - running[stops]
    inside = running[stops] - running[start]
    # Edge bins hold what lies beyond; they are filled by it, too.
    first, final = values[start], values[stops - 1]
    own = (
        entropy[stops] - entropy[start] - _xlogx(first) + _xlogx(first + below) - _xlogx(final) + _xlogx(final + above)
    )
    shared = np.empty(len(stops))
    rows = max(1, BLOCK // levels)
    for at in range(0, len(stops), rows):
        some = slice(at, at + rows)
        bounds = start - (-np.arange(levels + 1) * (stops[some, None] - start)) // levels
        mass, bins = np.diff(running[bounds]), np.diff(filled[bounds])
        bins[:, 0] += (first == 0) & (below > 0)
        bins[:, -1] += (final[some] == 0) & (above[some] > 0)
        quantized = np.log(np.maximum(mass, EPSILON) / np.maximum(bins, 1))
        mass[:, 0] += below
        mass[:, -1] += above[some]
        shared[some] = (mass * quantized).sum(axis=1)
    with np.errstate(divide="ignore"):
        found = (own - shared) / running[-1] + np.log(inside / running[-1])
    return np.where(inside > 0, found, np.inf)


def _xlogx(values: Floats) -> Floats:
    return np.asarray(values * np.log(np.where(values > 0, values, 1.0)))
