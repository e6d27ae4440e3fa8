"""How sure a mean is: intervals from blocks of frames that are drawn again and again."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.evaluation.blocks import LEAST, Codes, Values

LEVEL = 0.95
_EXACT = 30  # degrees of freedom up to which Student's quantile is computed from the distribution itself
_HALVINGS = 60
_AT_ONCE = 2**21  # blocks drawn at a time: arrays of 16 MiB


@dataclass(frozen=True)
class Intervals:
    """Means of columns, and between what they lie for most other blocks of the same kind.

    Attributes
    ----------
    mean, low, high : ndarray of float64, shape (K,)
        NaN for the mean of a column without figures, and for an interval of fewer than `LEAST` blocks.
    """

    mean: Values
    low: Values
    high: Values


def intervals(differences: Values, codes: Codes, resamples: int, seed: int, level: float = LEVEL) -> Intervals:
    """Compute means of columns with percentile intervals (Efron, 1979), drawing blocks with replacement.

    As many blocks are drawn as there are. Blocks differ in size, so the mean of a resample is the sum of its figures
    over their number. Few blocks make percentile intervals too narrow, as the normal distribution does in place of
    Student's; so their ranks lie farther out (`tail`).

    Parameters
    ----------
    differences : ndarray of float64, shape (n, K)
        NaN where a frame has no figure.
    codes : ndarray of int64, shape (n,)
        The block of each frame.
    resamples, seed : int
        How often blocks are drawn, and the seed of the draw.
    level : float
        Share of the resamples that lies inside.
    """
    _, index = np.unique(codes, return_inverse=True)
    held = ~np.isnan(differences)
    filled = np.where(held, differences, 0.0)
    sums = np.stack([np.bincount(index, column) for column in filled.T], axis=1)
    counts = np.stack([np.bincount(index, column) for column in held.T], axis=1)
    total = counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = sums.sum(axis=0) / total
    low, high = np.full_like(mean, math.nan), np.full_like(mean, math.nan)
    known = (counts > 0).sum(axis=0) >= LEAST
    if known.any():
        drawn = _resampled(sums[:, known], counts[:, known], resamples, seed)
        for column, place in enumerate(np.flatnonzero(known)):
            means = drawn[:, column]
            means = means[~np.isnan(means)]  # a resample may miss the few blocks that have a figure at all
            least = tail(int((counts[:, place] > 0).sum()), level)
            low[place], high[place] = np.quantile(means, [least, 1 - least])
    return Intervals(mean, low, high)


def tail(blocks: int, level: float = LEVEL) -> float:
    """Return the share of resampled means that an interval from so many blocks leaves out on each side.

    The expanded percentile interval of Hesterberg (2015): the normal distribution's share beyond
    sqrt(n / (n - 1)) t, where t is Student's quantile with n - 1 degrees of freedom. For 9 blocks it is 0.7 % instead
    of 2.5 %.
    """
    wide = math.sqrt(blocks / (blocks - 1)) * student(0.5 + level / 2, blocks - 1)
    return NormalDist().cdf(-wide)


def student(share: float, freedom: int) -> float:
    """Return a quantile of Student's distribution.

    Up to `_EXACT` degrees by bisection of the distribution itself, beyond by an expansion that is good to 1e-5 there
    (Abramowitz and Stegun, 26.7.5).
    """
    if share < 0.5:
        return -student(1 - share, freedom)
    if freedom <= _EXACT:
        low, high = 0.0, math.pi / 2
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if _within(middle, freedom) < 2 * share - 1 else (low, middle)
        return math.sqrt(freedom) * math.tan(low)
    x: float = NormalDist().inv_cdf(share)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return math.fsum((x, *(term / freedom**power for power, term in enumerate(terms, 1))))


def _within(angle: float, freedom: int) -> float:
    """Return the share of Student's distribution within +-sqrt(freedom) tan(angle) (ibid., 26.7.3 and 26.7.4)."""
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term, total = 1.0, 0.0
    for place in range(freedom // 2):
        total += term
        term *= square * (2 * place + 1 + odd) / (2 * place + 2 + odd)
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)


def _resampled(sums: npt.NDArray[Any], counts: npt.NDArray[Any], resamples: int, seed: int) -> Values:
    """Return the means of all resamples, shape (resamples, K)."""
    generator = np.random.default_rng(seed)
    blocks, means = len(sums), np.empty((resamples, sums.shape[1]))
    both = np.hstack([sums, counts])
    step = max(1, _AT_ONCE // blocks)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        chosen = generator.integers(0, blocks, (rows, blocks))
        chosen += blocks * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * blocks).reshape(rows, blocks).astype(np.float64)
        added = times @ both
        with np.errstate(invalid="ignore"):
            means[start : start + rows] = added[:, : sums.shape[1]] / added[:, sums.shape[1] :]
    return means
