"""Statistics of the channels of one tensor, and sums of them that do not depend on their order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
# Values that are brought to float64 at once: 2 MB, which a core's cache holds.
BLOCK = 2**18
# A float64 is a whole number of these: the least positive one is 2^-1074.
UNIT = 1074
MANTISSA = 53


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """What is known of each channel of a tensor, over one frame or several. Values that are not finite do not count.

    Attributes
    ----------
    axis : int or None
        Of the channels, counted from 0; None for a tensor without channels, which counts as one.
    low, high : ndarray of float32, shape (C,)
        Least and greatest value, 0.0 for -0.0; inf and -inf where there is none.
    mean, square : ndarray of float64, shape (C,)
        Mean of the values and of their squares, 0 where there is none; of several frames, the mean over those that have
        values in the channel.
    """

    axis: int | None
    low: Floats
    high: Floats
    mean: Doubles
    square: Doubles

    @classmethod
    def of(cls, values: Floats, axis: int | None, *, finite: bool = True) -> "ChannelStatistics":
        """Measure a tensor.

        Parameters
        ----------
        values : ndarray of float32
            Of any shape; one that is not contiguous is copied.
        axis : int or None
            Of the channels.
        finite : bool
            Whether all values are; then it is quicker.
        """
        channels = 1 if axis is None else values.shape[axis]
        low = np.full(channels, np.inf, dtype=np.float32)
        high, count, total, square = -low, np.zeros(channels), np.zeros(channels), np.zeros(channels)
        for part, block in _blocks(values, axis):
            least = greatest = some = block
            if finite:
                count[part] += block.shape[1]
            else:
                there = np.isfinite(block)
                count[part] += there.sum(axis=1)
                least, greatest, some = (np.where(there, block, np.float32(other)) for other in (np.inf, -np.inf, 0))
            low[part] = np.minimum(low[part], least.min(axis=1))
            high[part] = np.maximum(high[part], greatest.max(axis=1))
            exact = some.astype(np.float64)
            total[part] += exact.sum(axis=1)
            square[part] += np.einsum("ij,ij->i", exact, exact)
        count = np.maximum(count, 1)
        # Which of 0.0 and -0.0 is the least depends on their order; adding 0.0 makes them one.
        return cls(axis, low + np.float32(0), high + np.float32(0), total / count, square / count)


class ChannelSum:
    """Channels of one tensor, added up frame by frame: bit for bit the same in any order.

    Sums of floating-point numbers depend on their order, so they are taken in whole numbers of 2^-1074, of which every
    float64 is a multiple, and rounded once at the end.

    Parameters
    ----------
    axis : int or None
        Of the channels.
    """

    def __init__(self, axis: int | None) -> None:
        self._axis = axis
        self._frames = np.array(0)
        self._low, self._high = np.array(np.inf, dtype=np.float32), np.array(-np.inf, dtype=np.float32)
        self._mean, self._square = (np.array(0, dtype=object) for _ in range(2))

    def add(self, low: Floats, high: Floats, mean: Doubles, square: Doubles) -> None:
        """Add a frame: the attributes of its `ChannelStatistics`; all frames have as many channels."""
        self._frames = self._frames + (low <= high)  # a channel without values says nothing of its mean
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._mean, self._square = self._mean + _whole(mean), self._square + _whole(square)

    def statistics(self) -> ChannelStatistics:
        """Return what was added up; at least one frame was."""
        wholes = [max(frames, 1) << UNIT for frames in self._frames.tolist()]
        # Python divides whole numbers of any size with a single rounding.
        mean, square = (
            np.array([each / whole for each, whole in zip(total, wholes, strict=True)], dtype=np.float64)
            for total in (self._mean, self._square)
        )
        return ChannelStatistics(self._axis, self._low, self._high, mean, square)


def _blocks(values: Floats, axis: int | None) -> Iterator[tuple[slice, Floats]]:
    """Cut a tensor into blocks that a cache holds.

    Yields
    ------
    part : slice
        Which channels are in the block.
    block : ndarray of float32, shape (C, n)
        Values of each of them.
    """
    outer, channels, inner = shape = (1, 1, values.size) if axis is None else _around(values.shape, axis)
    cut = values.reshape(shape)
    if inner == 1:  # values of a channel lie apart: brought together block by block, in the cache
        step = max(1, BLOCK // max(channels, 1))
        for start in range(0, outer, step):
            yield slice(None), np.ascontiguousarray(cut[start : start + step, :, 0].T)
        return
    step = max(1, BLOCK // max(inner, 1))
    for rows in cut:
        for first in range(0, channels, step):
            part = slice(first, first + step)
            for left in range(0, inner, BLOCK):
                yield part, rows[part, left : left + BLOCK]


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Return how many values lie before, along and after an axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _whole(values: Doubles) -> "npt.NDArray[np.object_]":
    """Return numbers as multiples of 2^-1074, exactly."""
    mantissa, exponent = np.frexp(values)
    digits = np.ldexp(mantissa, MANTISSA).astype(np.int64).astype(object)
    shift = exponent.astype(np.int64) - MANTISSA + UNIT
    # A subnormal number has fewer digits than its mantissa has room for: the last ones are zeros.
    shifted = np.where(
        shift >= 0, digits << np.maximum(shift, 0).astype(object), digits >> np.maximum(-shift, 0).astype(object)
    )
    return np.asarray(shifted, dtype=object)
