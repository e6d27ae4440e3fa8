"""Blocks of neighbouring frames: what a bootstrap draws, because single frames are no independent evidence.

Frames of one recording resemble their neighbours, so intervals from frames drawn one by one come out too narrow. Blocks
are whole recordings where there are enough of them (a cluster bootstrap), else runs of consecutive frames that do not
overlap (Carlstein, 1986).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling.neighbours import frame_numbers

Values = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

# With few clusters (5 to 30) intervals are too narrow: Cameron, Gelbach and Miller (2008).
ENOUGH = 20
# With fewer blocks no interval can be given: even if all five of five moved the same way, chance alone does that in
# 2 / 2^5 = 6 % of all cases (the sign test), more than the 5 % that an interval leaves.
LEAST = 6
# So many stay where neighbours are alike for long: in simulations of 210 frames whose neighbours correlate by 0.9, ten
# long blocks held the truth in 90 % of all cases, twenty shorter ones in 77 %.
KEPT = 10
WHOLE = "recording"


@dataclass(frozen=True)
class Blocks:
    """Frames cut into blocks.

    Attributes
    ----------
    codes : ndarray of int64, shape (n,)
        The block of each frame, from 0, in the order of recordings and of frames within them.
    recordings : int
        From how many recordings.
    longest : int
        Frames in the largest block.
    whole : bool
        Whether each block is a whole recording.
    """

    codes: Codes
    recordings: int
    longest: int
    whole: bool

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.codes.max()) + 1

    @classmethod
    def of(
        cls, recordings: Sequence[str], stems: Sequence[str], values: Values, block: int | str | None = None
    ) -> "Blocks":
        """Cut frames into blocks; the order of the frames does not matter.

        Parameters
        ----------
        recordings, stems : sequence of str, length n
            The keys of the frames, n at least 1.
        values : ndarray of float64, shape (n,)
            Finite; what the intervals are for, so that blocks are as long as its neighbours are alike.
        block : int or "recording", optional
            Frames a block at most, or whole recordings. Left out: whole recordings where there are `ENOUGH`, else runs
            of as many frames as `lasting` says, but at least n^(1/3) and at most n / `KEPT`.
        """
        recording = _numbered(recordings)
        sizes = np.bincount(recording)
        whole = block == WHOLE or (block is None and len(sizes) >= ENOUGH)
        if whole:
            return cls(recording, len(sizes), int(sizes.max()), True)
        places = _places(recording, stems, sizes)
        if block is None:
            order = np.lexsort((places, recording))
            length = _length(values[order], recording[order])
        else:
            length = int(block)
        codes = _runs(recording, places, sizes, length)
        return cls(codes, len(sizes), int(np.bincount(codes).max()), False)

    def text(self) -> str:
        """Say what the blocks are."""
        recordings = f"{self.recordings} recording{'s' * (self.recordings != 1)}"
        if self.whole:
            return f"{self.count} whole recording{'s' * (self.count != 1)}"
        blocks = f"{self.count} block{'s' * (self.count != 1)}"
        size = "single frames" if self.longest == 1 else f"up to {self.longest} neighbouring frames"
        return f"{blocks} of {size} from {recordings}"

    @property
    def caution(self) -> str:
        """What the interval does not tell; empty where recordings are many."""
        if self.whole and self.recordings >= ENOUGH:
            return ""
        those = "this recording" if self.recordings == 1 else f"these {self.recordings} recordings"
        return f"the interval speaks for {those}; how far others would lie from them it does not tell"

    def too_few(self) -> str:
        """Say why there is no interval."""
        return f"too few blocks for an interval ({self.text()}; at least {LEAST} are needed)"


def _numbered(names: Sequence[str]) -> Codes:
    """Return the place of each name among the different ones, sorted."""
    return np.unique(np.asarray(names, dtype=object), return_inverse=True)[1].astype(np.int64)


def _places(recording: Codes, stems: Sequence[str], sizes: Codes) -> Codes:
    """Return the place of each frame in its recording: by number, then by name."""
    order = np.lexsort((_numbered(stems), frame_numbers(stems), recording))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def _runs(recording: Codes, places: Codes, sizes: Codes, length: int) -> Codes:
    """Cut each recording into runs of about the same size, none longer than `length`."""
    runs = -(-sizes // length)
    first = np.cumsum(runs) - runs
    codes: Codes = first[recording] + places * runs[recording] // sizes[recording]
    return codes


def _length(values: Values, recording: Codes) -> int:
    frames = len(values)
    least = max(1, round(frames ** (1 / 3)))
    return int(np.clip(math.ceil(lasting(values, recording)), least, max(least, frames // KEPT)))


def lasting(values: Values, recording: Codes) -> float:
    """Return how many frames a block should have, by how long neighbours stay alike.

    The length that makes the variance of a mean most exact (Politis and White, 2004, for the circular bootstrap, with
    the correction of Patton, Politis and White, 2009): (2 G^2 n / D)^(1/3), where G is the sum of |k| w_k g_k, D is 4/3
    times the square of the sum of w_k g_k, g_k is the autocovariance at lag k and w their flat-top window.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        By recording, in the order of frames.
    recording : ndarray of int64, shape (n,)
        Pairs of frames of two recordings tell nothing.
    """
    count = len(values)
    if count < 3:
        return 1.0
    after = max(5, math.ceil(math.sqrt(math.log10(count))))
    lags = min(math.ceil(math.sqrt(count)) + after, count - 1)
    away = values - values.mean()
    covariance = np.array([_products(away, recording, lag) for lag in range(lags + 1)]) / count
    if covariance[0] <= 0:
        return 1.0
    small = np.abs(covariance[1:]) < 2 * math.sqrt(math.log10(count) / count) * covariance[0]
    last = next((lag for lag in range(lags) if small[lag : lag + after].all()), lags)
    reach = min(2 * max(last, 1), lags)
    lag = np.arange(reach + 1)
    weighted = covariance[: reach + 1] * np.clip(2 * (1 - lag / reach), 0, 1)
    spread = weighted[0] + 2 * weighted[1:].sum()
    if spread <= 0:
        return 1.0
    return float((1.5 * (2 * (lag * weighted).sum() / spread) ** 2 * count) ** (1 / 3))


def _products(away: Values, recording: Codes, lag: int) -> float:
    same = recording[lag:] == recording[: len(recording) - lag]
    return float((away[lag:] * away[: len(away) - lag])[same].sum())


def resemblance(differences: Values, blocks: Blocks, recordings: Sequence[str]) -> float:
    """Return how much the means of successive blocks of a recording correlate; 0 where that cannot be told.

    Blocks that are long enough hardly do; where they do, the intervals are too narrow. What chance alone may show
    (two standard errors, 2 / sqrt(pairs)) counts as 0.

    Parameters
    ----------
    differences : ndarray of float64, shape (n,)
        Finite.
    blocks, recordings
        Of the same frames.
    """
    counts = np.bincount(blocks.codes)
    means = np.bincount(blocks.codes, differences) / counts - differences.mean()
    recording = np.empty(len(counts), dtype=np.int64)
    recording[blocks.codes] = _numbered(recordings)
    follows = recording[1:] == recording[:-1]
    spread = float((means * means).mean())
    if not follows.any() or spread == 0:
        return 0.0
    found = float((means[1:] * means[:-1])[follows].mean()) / spread
    return found if found > 2 / math.sqrt(follows.sum()) else 0.0
