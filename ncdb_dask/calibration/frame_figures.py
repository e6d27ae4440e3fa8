"""What every activation reaches on every frame, from stored statistics: no inference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.activations import Row
from ncdb_dask.calibration.histogram import NEGATIVE, NOT_FINITE, lower_edge
from ncdb_dask.calibration.statistics import stored_plan, stored_tensors
from ncdb_dask.calibration.stored_rows import Key, rows_of_frames
from ncdb_dask.errors import CalibrationError
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.shards import read_receipts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# One value in a thousand of a frame's own. The smallest tensors of depth networks hold some thousand values a frame, so
# that this leaves out a handful of them; what ranges of many frames use, 99.999 %, would be the extreme itself.
QUANTILES = (0.001, 0.999)


@dataclass(frozen=True, eq=False)
class FrameFigures:
    """What activations reach, frame by frame.

    Attributes
    ----------
    tensors : tuple of str
        The network's input, then its activations in topological order.
    keys : tuple of (str, str)
        ``(dataset_root, stem)`` of each frame.
    low, high : ndarray of float64, shape (frames, tensors)
        The least and the greatest finite value, exactly; inf and -inf where a tensor holds none on a frame.
    low_quantile, high_quantile : ndarray of float64, shape (frames, tensors)
        Quantiles of the frame's own values, to within 1/64 of the value (`ncdb_dask.calibration.histogram.quantile`);
        inf and -inf as above.
    """

    tensors: tuple[str, ...]
    keys: tuple[Key, ...]
    low: Floats
    high: Floats
    low_quantile: Floats
    high_quantile: Floats

    @property
    def ranges(self) -> tuple[tuple[Floats, Floats], ...]:
        """Both pairs of lower and upper figures, each of shape (frames, tensors)."""
        return (self.low, self.high), (self.low_quantile, self.high_quantile)


def frame_figures(folder: LocalFolder, keys: Sequence[Key], quantiles: tuple[float, float] = QUANTILES) -> FrameFigures:
    """Read what a folder of statistics holds of some frames; a shard at a time is in memory.

    Parameters
    ----------
    folder : LocalFolder
        Of one network, see `ncdb_dask.calibration.kept.find_statistics`.
    keys : sequence of (str, str)
        Of the frames; one that is named again counts once.
    quantiles : tuple of (float, float)
        The lower and the upper one, from 0 to 1.

    Returns
    -------
    FrameFigures
        Of those frames, in their order, that have statistics: others were never run, or could not be.

    Raises
    ------
    CalibrationError
        Where the folder holds no statistics, or quantiles are out of range.
    PlanError
        Where the statistics are damaged.
    OSError
        Where the storage fails.
    """
    if not 0 <= quantiles[0] <= quantiles[1] <= 1:
        raise CalibrationError(f"quantiles {quantiles}: expected two shares from 0 to 1 that do not fall")
    plan = stored_plan(folder)
    tensors = stored_tensors(folder, plan)
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    figures, measured = np.empty((4, len(place), len(tensors))), np.zeros(len(place), dtype=bool)
    for row in rows_of_frames(folder, read_receipts(folder, plan).values(), place):
        if row["status"] == "ok":
            number = place[row["dataset_root"], row["filename"]]
            figures[:, number], measured[number] = _reached(row, quantiles), True
    kept = tuple(key for key, number in place.items() if measured[number])
    return FrameFigures(tensors, kept, *figures[:, measured])


def _reached(row: Row, quantiles: tuple[float, float]) -> Floats:
    """Return the figures of all tensors on one frame, shape (4, tensors)."""
    channels = row["channels"].astype(np.int64)
    firsts = np.cumsum(channels) - channels
    low, high = np.minimum.reduceat(row["low"], firsts), np.maximum.reduceat(row["high"], firsts)
    exact = np.stack([low, high]).astype(np.float64)
    return np.concatenate([exact, _quantiles(row, exact, quantiles)])


def _quantiles(row: Row, exact: Floats, quantiles: tuple[float, float]) -> Floats:
    """Return quantiles of all tensors, shape (2, tensors): what `histogram.quantile` gives for each, but at once."""
    tensor, rank, counts = _in_order(row)
    ends = np.concatenate([[0], np.cumsum(counts)])
    first, last = (np.searchsorted(tensor, np.arange(exact.shape[1]), side=side) for side in ("left", "right"))
    found = np.stack([np.full(len(first), np.inf), np.full(len(first), -np.inf)])
    some = last > first
    if not some.any():
        return found
    first, last, (low, high) = first[some], last[some], exact[:, some]
    for values, q in zip(found, quantiles, strict=True):
        wanted = q * (ends[last] - ends[first])
        cell = np.clip(np.searchsorted(ends, ends[first] + np.ceil(wanted).astype(np.int64)) - 1, first, last - 1)
        size = lower_edge(np.abs(rank[cell])), lower_edge(np.abs(rank[cell]) + (rank[cell] != 0))
        left = np.clip(np.where(rank[cell] < 0, -size[1], size[0]), low, high)
        right = np.clip(np.where(rank[cell] < 0, -size[0], size[1]), low, high)
        values[some] = left + (right - left) * (1 - (ends[cell + 1] - ends[first] - wanted) / counts[cell])
    return found


def _in_order(row: Row) -> tuple[Integers, Integers, Integers]:
    """Return tensor, signed bin and number of values of all finite bins, rising within each tensor."""
    bins = row["bins"].astype(np.int64)
    rank = np.where(bins < NEGATIVE, bins, NEGATIVE - bins)
    tensor = np.repeat(np.arange(len(row["filled"])), row["filled"])
    finite = np.abs(rank) < NOT_FINITE
    counts = row["counts"].astype(np.int64)
    if not finite.all():
        tensor, rank, counts = tensor[finite], rank[finite], counts[finite]
    # Runs that rise and fall by turns, which this sort merges; no bin leaves its tensor.
    order = np.argsort((tensor << 16) + rank, kind="stable")
    return tensor, rank[order], counts[order]
