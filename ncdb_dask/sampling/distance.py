"""How far a set lies from the population that it was taken from."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wasserstein(first: Floats, second: Floats) -> float | None:
    """Return the Wasserstein-1 (earth mover's) distance of two samples, in their unit; None where one is empty.

    The area between the two cumulative distributions (Vallender, 1974): by how much a value must be moved on average
    to turn one sample into the other.
    """
    if not (len(first) and len(second)):
        return None
    # Stable, because that is quick for what is sorted already: one population meets many samples.
    first, second = np.sort(first, kind="stable"), np.sort(second, kind="stable")
    values = np.sort(np.concatenate([first, second]), kind="stable")
    below = [np.searchsorted(sample, values[:-1], side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]) @ np.diff(values))


def wasserstein_binned(first: npt.ArrayLike, second: npt.ArrayLike, centres: Floats) -> float | None:
    """Return the Wasserstein-1 distance of two histograms over the same bins; None where one is empty."""
    p, q = (np.asarray(counts, dtype=np.float64) for counts in (first, second))
    if not (p.sum() and q.sum()):
        return None
    apart = np.abs(np.cumsum(p / p.sum() - q / q.sum()))[:-1]
    return float(apart @ np.diff(centres))


def total_variation(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Return half the sum of the differences of shares, 0 (equal) to 1 (nothing in common); None where one is empty."""
    n, m = sum(first.values()), sum(second.values())
    if not (n and m):
        return None
    return 0.5 * sum(abs(first.get(name, 0) / n - second.get(name, 0) / m) for name in {*first, *second})
