"""The expected squared error of quantization, and the range for which it is least."""

import math

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.histogram import Cells
from ncdb_dask.calibration.scheme import LEAST_EXPONENT, Grid, Scheme

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Numbers in flight while the errors of many candidates are computed: they fit the cache.
BLOCK = 1 << 15
# A cell that is narrower than this, relative to its values, counts as one value: differences of integrals cancel.
NARROW = 1e-7
# Candidates for an end: so many an octave, and at most; then, twice, between those beside the best.
PER_OCTAVE = 12
AT_MOST = 97
REFINED = 17
# How often each end is searched while the other one is held.
SWEEPS = 3
# By what the whole range must be beaten: where values pile up in a part of a cell, cells cannot tell less.
GAIN = 0.02
# Each exponent quarters the error of rounding: where three in a row are worse, what a further one could gain is a 64th.
WORSE_IN_A_ROW = 3


def squared_error(cells: Cells, scheme: Scheme, scale: Floats, zero_point: Integers) -> Floats:
    r"""Return the expected squared error of quantization to each of several grids.

    Values are uniformly distributed within their cell. In units of steps, a value t becomes
    ``q(t) = clip(rint(t), quantized_min - zero_point, quantized_max - zero_point)``, and the integral of its squared
    error from 0 is ``G(t) = q / 12 + (t - q)**3 / 3``: within the grid, each whole step adds 1/12, and from the middle
    of two steps to t it is ``((t - q)**3 + 1/8) / 3``; beyond the grid q stays, and the derivative of G is still
    ``(t - q)**2``. So the mean over a cell is ``(G(right) - G(left)) / (right - left)``, exactly, however many steps it
    spans.

    Parameters
    ----------
    cells : Cells
        At least one.
    scheme : Scheme
        Which integers there are.
    scale, zero_point : ndarray of float64 and of int64, shape (n,)
        The grids.

    Returns
    -------
    ndarray of float64, shape (n,)
        In squared units of the tensor.
    """
    least, greatest = scheme.quantized_min - zero_point, scheme.quantized_max - zero_point
    reach = np.maximum(np.abs(cells.left), np.abs(cells.right))
    # What every grid rounds to 0 has the same error for all of them, its square.
    near = reach <= scale.min() / 2
    narrow = ~near & (cells.right - cells.left <= NARROW * reach)
    wide = ~near & ~narrow
    left, right, weight = (part[near] for part in (cells.left, cells.right, cells.weight))
    total = np.full(scale.shape, weight @ (left * left + left * right + right * right) / 3)
    edges, place = np.unique(np.concatenate([cells.left[wide], cells.right[wide]]), return_inverse=True)
    left_edge, right_edge = np.split(place, 2)
    density = cells.weight[wide] / (cells.right[wide] - cells.left[wide])
    centre = (cells.left[narrow] + cells.right[narrow]) / 2
    # Summing over edges, not cells: an edge between two cells counts with the difference of their densities.
    factors = np.bincount(right_edge, density, edges.size) - np.bincount(left_edge, density, edges.size)
    rows = max(1, BLOCK // max(edges.size, 1))
    for start in range(0, scale.size, rows):
        some = slice(start, start + rows)
        step, bounds = scale[some, None], (least[some, None], greatest[some, None])
        t = edges / step
        q = np.clip(np.rint(t), *bounds)
        t -= q
        total[some] += scale[some] ** 3 * ((q / 12 + t * t * t / 3) @ factors)
        t = centre / step
        t -= np.clip(np.rint(t), *bounds)
        total[some] += scale[some] ** 2 * ((t * t) @ cells.weight[narrow])
    return np.asarray(total / cells.total, dtype=np.float64)


def least_error(cells: Cells, scheme: Scheme, whole: Grid) -> Grid:
    """Return the grid of the least `squared_error`; the whole range unless another one is better by `GAIN`."""
    best = (_least_error_of_powers if scheme.power_of_two else _least_error_of_ends)(cells, scheme, whole)
    scale, zero_point = np.array([whole.scale, best.scale]), np.array([whole.zero_point, best.zero_point])
    before, after = squared_error(cells, scheme, scale, zero_point)
    return best if after < (1 - GAIN) * before else whole


def _least_error_of_ends(cells: Cells, scheme: Scheme, whole: Grid) -> Grid:
    """Return the grid of the least `squared_error` among ranges within the whole one."""
    ends = best = np.array([whole.low, whole.high])

    def errors(candidates: Floats) -> Floats:
        low, high = candidates.astype(np.float32).astype(np.float64).T
        return squared_error(cells, scheme, *scheme.derived(low, high))

    least = float(errors(best[None])[0])
    # Both ends at once first: alone, an end gains little while the other one keeps the step wide.
    moves = [np.array([True, True])]
    if not scheme.symmetric and whole.low < 0 < whole.high:
        moves += [np.array([False, True]), np.array([True, False])] * SWEEPS
    for moved in moves:
        factor = _least_factor(cells, ends, moved, least)
        size = min(AT_MOST, 5 + int(-np.log2(factor) * PER_OCTAVE))
        factors = np.geomspace(factor, 1.0, size)
        for _ in range(3):
            candidates = np.where(moved, factors[:, None] * ends, best)
            found = errors(candidates)
            at = int(found.argmin())
            if found[at] < least:
                best, least = candidates[at], float(found[at])
            factors = np.linspace(factors[max(at - 1, 0)], factors[min(at + 1, len(factors) - 1)], REFINED)
    return scheme.grid(*best)


def _least_factor(cells: Cells, ends: Floats, moved: npt.NDArray[np.bool_], error: float) -> float:
    """Return the factor of the ends below which what is clipped costs more than an error that is known already."""
    factors = [2.0**-20]
    for side, end, moves in zip((cells.mirrored(), cells), (-ends[0], ends[1]), moved, strict=True):
        if moves and end > 0:
            factors.append(_clipped_least(side, error) / end)
    return min(max(factors), 1.0)


def _clipped_least(cells: Cells, error: float) -> float:
    """Return an end, at most a cell too low: to clip what lies above it costs no more than `error`."""
    left, right, weight = cells.left, cells.right, cells.weight
    zeroth, first, second = (
        np.cumsum(moment[::-1])[::-1]
        for moment in (weight, weight * (left + right) / 2, weight * (left * left + left * right + right * right) / 3)
    )
    clipping = (second - 2 * left * first + left * left * zeroth) / cells.total
    affordable = int(np.argmax(clipping <= error))
    return float(left[max(affordable - 1, 0)])


def _least_error_of_powers(cells: Cells, scheme: Scheme, whole: Grid) -> Grid:
    """Return the grid of the least `squared_error` among all exponents and zero points."""
    best, least = whole, np.inf
    exponent, worse = math.frexp(whole.scale)[1] - 1, 0
    while worse < WORSE_IN_A_ROW and exponent >= LEAST_EXPONENT:
        zero_point, error = _least_error_of_zero_points(cells, scheme, exponent, whole)
        worse = worse + 1 if error >= least else 0
        if error < least:
            best, least = scheme.aligned(exponent, zero_point), error
        exponent -= 1
    return best


def _least_error_of_zero_points(cells: Cells, scheme: Scheme, exponent: int, whole: Grid) -> tuple[int, float]:
    """Return the best zero point for a scale of ``2**exponent``, and its error."""
    scale = 2.0**exponent
    # From the one that reaches down to the least value to the one that reaches up to the greatest.
    reach = scheme.quantized_min - cells.left[0] / scale, scheme.quantized_max - cells.right[-1] / scale
    first, last = np.clip(np.rint(sorted(reach)), scheme.quantized_min, scheme.quantized_max)
    if scheme.symmetric:
        first = last = whole.zero_point
    candidates = np.unique(np.r_[np.rint(np.linspace(first, last, 2 * REFINED)), whole.zero_point]).astype(np.int64)
    while True:
        errors = squared_error(cells, scheme, np.full(candidates.size, scale), candidates)
        at = int(errors.argmin())
        first, last = candidates[max(at - 1, 0)], candidates[min(at + 1, candidates.size - 1)]
        if last - first <= 2:
            return int(candidates[at]), float(errors[at])
        candidates = np.unique(np.r_[np.rint(np.linspace(first, last, REFINED)), candidates[at]]).astype(np.int64)
