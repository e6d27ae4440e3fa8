"""Frames that are nearly the same picture: neighbours in a video, copies, and what a set of them is worth.

Thresholds in bits of the 64-bit perceptual hash, measured on 480 synthetic frames of 12 scenes: a picture that is
saved again as JPEG (quality 90 to 50) or halved in size differs by at most 4 bits from itself, consecutive video
frames by 4 (median), frames of different scenes by 10 at least and 30 in the median.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling.draw import Priorities

SAME_PICTURE_BITS = 4
NEAR_DUPLICATE_BITS = 8
# A set that is compared with itself needs n^2 comparisons: one second for so many.
MOST_COMPARED = 20_000
_PAIRS_AT_ONCE = 2**22
_LAST_NUMBER = re.compile(r"([0-9]+)[^0-9]*$")
_NO_NUMBER = -1
_MOST = 2**62

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


def frame_numbers(stems: Iterable[str]) -> Integers:
    """Return the last number in each stem, or -1 where there is none (or none that 63 bits hold)."""
    return np.fromiter(map(_number, stems), dtype=np.int64)


def _number(stem: str) -> int:
    found = _LAST_NUMBER.search(stem)
    digits = found[1].lstrip("0") if found else None
    number = int(digits or 0) if digits is not None and len(digits) < 20 else _NO_NUMBER
    return number if number < _MOST else _NO_NUMBER


def thinned(recordings: Integers, numbers: Integers, priority: Priorities, gap: int) -> Mask:
    """Choose which frames stay so that no two of a recording have numbers that differ by less than `gap`.

    Frames are taken by priority, whatever will be drawn from them later, so the result does not depend on the size of
    the set. Frames without a number all stay.

    Parameters
    ----------
    recordings, numbers : ndarray of int64, shape (n,)
        Recording and frame number of each frame.
    priority : ndarray of uint64, shape (n,)
        See `ncdb_dask.sampling.draw`.
    gap : int
        At least 1.
    """
    order = np.lexsort((numbers, recordings))
    start, stop = _reach(recordings[order], numbers[order], recordings[order], numbers[order], gap)
    free = bytearray(b"\1") * len(order)
    kept = np.zeros(len(order), dtype=bool)
    numbered = numbers[order] != _NO_NUMBER
    for k in np.argsort(priority[order], kind="stable").tolist():
        if not free[k]:
            continue
        kept[order[k]] = True
        if numbered[k]:
            free[start[k] : stop[k]] = bytes(stop[k] - start[k])
    return kept


def near(recordings: Integers, numbers: Integers, others: Integers, other_numbers: Integers, gap: int) -> Mask:
    """Say which frames lie nearer than `gap` to one of the other frames in the same recording."""
    order = np.lexsort((other_numbers, others))
    start, stop = _reach(recordings, numbers, others[order], other_numbers[order], gap)
    return np.asarray((stop > start) & (numbers != _NO_NUMBER))


def _reach(
    recordings: Integers, numbers: Integers, others: Integers, other_numbers: Integers, gap: int
) -> tuple[Integers, Integers]:
    """Return, for each frame, the range of the (sorted) others that are nearer than `gap`."""
    start, stop = np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=np.int64)
    gap = min(gap, _MOST)  # all of a recording, and a sum that 64 bits hold
    frames = np.argsort(recordings, kind="stable")
    for rows in np.split(frames, np.flatnonzero(np.diff(recordings[frames])) + 1):
        if not len(rows):
            continue
        first, last = np.searchsorted(others, [recordings[rows[0]], recordings[rows[0]] + 1])
        within = other_numbers[first:last]
        start[rows] = first + np.searchsorted(within, np.maximum(numbers[rows] - gap + 1, 0), side="left")
        stop[rows] = first + np.searchsorted(within, numbers[rows] + gap - 1, side="right")
    return start, stop


def hash_values(hashes: Sequence[str]) -> Hashes:
    """Turn hashes of 16 hexadecimal digits into integers, shape (n,)."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">u8").astype(np.uint64)


def same_picture(hashes: Hashes, others: Hashes, bits: int = SAME_PICTURE_BITS) -> Mask:
    """Say which hashes differ from one of the others in at most `bits` bits.

    Two such hashes agree in at least one of ``bits + 1`` bands (pigeonholes), so only those are compared.
    """
    found = np.zeros(len(hashes), dtype=bool)
    others = np.unique(others)
    bounds = np.linspace(0, 64, bits + 2).astype(int)
    for low, high in pairwise(bounds):
        shift, mask = np.uint64(low), np.uint64(2 ** int(high - low) - 1)
        left = np.flatnonzero(~found)
        band = (others >> shift) & mask
        order = np.argsort(band, kind="stable")
        wanted = (hashes[left] >> shift) & mask
        start, stop = (np.searchsorted(band[order], wanted, side=side) for side in ("left", "right"))
        for block in _blocks(stop - start):
            counts = (stop - start)[block]
            frames = np.repeat(left[block], counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            partners = others[order[np.repeat(start[block], counts) + within]]
            found[frames[np.bitwise_count(hashes[frames] ^ partners) <= bits]] = True
    return found


def _blocks(counts: Integers) -> Iterable[slice]:
    """Cut frames into runs that have not many more than `_PAIRS_AT_ONCE` pairs together."""
    run = np.cumsum(counts) // _PAIRS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(run)) + 1).tolist(), len(counts)]
    return (slice(a, b) for a, b in pairwise(edges) if b > a)


def effective_number(hashes: Hashes, bits: int = NEAR_DUPLICATE_BITS) -> float | None:
    """Return how many distinct frames a set is worth: the sum over its frames of 1 / (frames like it, itself included).

    n copies of one picture count 1, n different pictures n. The measure is that of protein families (effective number
    of sequences; Morcos et al., PNAS 2011). None for sets of more than `MOST_COMPARED` frames.
    """
    if len(hashes) > MOST_COMPARED:
        return None
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(hashes)))
    alike = [
        (np.bitwise_count(hashes[start : start + rows, None] ^ hashes) <= bits).sum(axis=1)
        for start in range(0, len(hashes), rows)
    ]
    return float((1 / np.concatenate(alike)).sum()) if alike else 0.0
