"""Covering what activations reach: a greedy choice of frames whose ranges together are those of all frames.

A frame is worth, for each end of each tensor's range, the share of it that it reaches; a set is worth the best of its
frames everywhere. That sum of maxima (facility location) is monotone and submodular, so that taking the frame that adds
most, again and again, is at least 1 - 1/e as good as the best set of that size (Nemhauser, Wolsey, Fisher: *An analysis
of approximations for maximizing submodular set functions*, 1978).
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling.draw import Priorities

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
# Whole numbers, so that neither the order of the rows nor that of a sum decides between frames.
Worths = npt.NDArray[np.int64]
WHOLE = 2**40

Key = tuple[str, str]
Ranges = Sequence[tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Activations:
    """What the activations of a network reach, frame by frame.

    Attributes
    ----------
    keys : tuple of (str, str)
        ``(dataset_root, stem)`` of each frame, each once.
    ranges : sequence of (ndarray, ndarray)
        For each kind of range (extremes, quantiles), its lower and upper ends: float64, shape (frames, tensors).
    statistics : str
        The folder that they come from.
    root : str
        Of the data set whose frames were run.
    """

    keys: tuple[Key, ...]
    ranges: Ranges
    statistics: str = ""
    root: str = ""


@dataclass(frozen=True, eq=False)
class Cover:
    """What the frames of a population are worth.

    Attributes
    ----------
    worth : ndarray of int64, shape (measured, elements)
        As of `worths`, of the frames that have statistics: a population may have a million that have none.
    place : ndarray of intp, shape (population,)
        Row of `worth` of each frame, -1 for none.
    activations : Activations
        What it was made of.
    """

    worth: Worths
    place: Rows
    activations: Activations

    @property
    def tensors(self) -> int:
        """Number of tensors."""
        return int(self.activations.ranges[0][0].shape[1])

    @classmethod
    def of(cls, activations: Activations, keys: Sequence[Key]) -> "Cover":
        """Value the frames of a population; other frames' activations do not count."""
        number = {key: number for number, key in enumerate(activations.keys)}
        rows = np.asarray([number.get(key, -1) for key in keys], dtype=np.intp)
        measured = rows >= 0
        some = worths([(low[rows[measured]], high[rows[measured]]) for low, high in activations.ranges])
        return cls(some, np.where(measured, np.cumsum(measured) - 1, -1), activations)


def worths(ranges: Ranges) -> Worths:
    """Return what each frame reaches of what all frames reach together.

    A range is that of an INT8 tensor: it holds 0, so that its length is ``max(high, 0) + max(-low, 0)``. Each tensor
    counts the same, each of its kinds of range the same, and both ends by their part of the length. The worth of a set
    (the sum over the elements of the largest of its frames) divided by that of all frames is thus the mean share of the
    ranges that it spans.

    Parameters
    ----------
    ranges : sequence of (ndarray, ndarray)
        As of `Activations`; ends that are not finite count as 0.

    Returns
    -------
    ndarray of int64, shape (frames, elements)
        All tensors together have about `WHOLE`. A tensor that is 0 everywhere has nothing.
    """
    ends = [
        tuple(np.where(np.isfinite(end), np.maximum(end, 0.0), 0.0) for end in (-low, high)) for low, high in ranges
    ]
    lengths = [lower.max(axis=0, initial=0.0) + upper.max(axis=0, initial=0.0) for lower, upper in ends]
    kinds = np.sum([length > 0 for length in lengths], axis=0)
    weight = WHOLE / np.maximum(kinds * int((kinds > 0).sum()), 1)
    parts = [
        np.rint(weight * np.divide(end, length, out=np.zeros_like(end), where=length > 0))
        for pair, length in zip(ends, lengths, strict=True)
        for end in pair
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.int64)


def covering_order(worth: Worths, priority: Priorities, size: int) -> Rows:
    """Choose frames one at a time, always the one that adds most; of equals, the one of the lowest priority.

    Once no frame adds anything, all is covered, and a further layer begins over the frames that are left: it covers
    everything again, as far as they can. Frames that reach nothing come last.

    Parameters
    ----------
    worth : ndarray of int64, shape (n, elements)
        Not negative.
    priority : ndarray of uint64, shape (n,)
        See `ncdb_dask.sampling.draw`.
    size : int
        At most n.

    Returns
    -------
    ndarray of intp, shape (size,)
        It begins with the choice of every smaller size.
    """
    left, order = np.argsort(priority, kind="stable"), list[int]()
    while len(order) < size:
        layer = first_layer(worth[left], size - len(order)) or list(range(len(left)))
        order += left[layer].tolist()
        left = np.delete(left, layer)
    return np.asarray(order[:size], dtype=np.intp)


def first_layer(worth: Worths, most: int | None = None) -> list[int]:
    """Choose rows until no other one adds anything, or there are `most`; of equals, the first.

    What a row adds only falls as others are chosen, so an old figure is a bound, and most rows are never looked at
    again (Minoux: *Accelerated greedy algorithms for maximizing submodular set functions*, 1978).
    """
    best, chosen = np.zeros(worth.shape[1], dtype=np.int64), list[int]()
    bounds = [(-gain, row) for row, gain in enumerate(worth.sum(axis=1).tolist())]
    heapq.heapify(bounds)
    while bounds and len(chosen) != most:
        _, row = heapq.heappop(bounds)
        gain = int(np.maximum(worth[row] - best, 0).sum())
        if gain and bounds and (-gain, row) > bounds[0]:
            heapq.heappush(bounds, (-gain, row))
        elif gain:
            np.maximum(best, worth[row], out=best)
            chosen.append(row)
    return chosen


def covered(worth: Worths, rows: Sequence[int] | Rows) -> Floats:
    """Return the share that the first n of some rows cover of what all rows of `worth` do, for n from 1 to all.

    Returns
    -------
    ndarray of float64, shape (len(rows),)
        From 0 to 1; 1 where there is nothing to cover.
    """
    whole = int(worth.max(axis=0, initial=0).sum())
    best, sums = np.zeros(worth.shape[1], dtype=np.int64), []
    for row in rows:
        np.maximum(best, worth[row], out=best)
        sums.append(int(best.sum()))
    return np.asarray(sums, dtype=np.float64) / whole if whole else np.ones(len(sums))
