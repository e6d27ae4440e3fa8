"""Which calibration frame stretches the range of a tensor, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncdb_dask.calibration.frame_figures import FrameFigures


@dataclass(frozen=True, slots=True)
class Stretch:
    """The frame without which a tensor's range would be narrowest.

    Attributes
    ----------
    dataset_root, stem : str
        Its key.
    width, without : float
        Of the range, 0 included, with all frames and without this one.
    """

    dataset_root: str
    stem: str
    width: float
    without: float

    @property
    def ratio(self) -> float:
        """How many times as wide the frame makes it."""
        return self.width / self.without if self.without > 0 else float("inf")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        ratio = self.ratio if np.isfinite(self.ratio) else None
        return {
            "dataset_root": self.dataset_root,
            "stem": self.stem,
            "width": self.width,
            "without": self.without,
            "ratio": ratio,
        }


def stretches(figures: FrameFigures, names: Sequence[str]) -> dict[str, Stretch]:
    """Find the frame that stretches each tensor most.

    Parameters
    ----------
    figures : FrameFigures
        Of the calibration frames.
    names : sequence of str
        Of the tensors; those that have no figures are left out.
    """
    places = {name: number for number, name in enumerate(figures.tensors)}
    if len(figures.keys) < 2:
        return {}
    return {name: _stretch(figures, places[name]) for name in names if name in places}


def _stretch(figures: FrameFigures, place: int) -> Stretch:
    low, high = np.minimum(figures.low[:, place], 0.0), np.maximum(figures.high[:, place], 0.0)
    # Without a frame, the ends are the next ones where they were its own.
    lowest, highest = np.sort(low)[:2], np.sort(high)[::-1][:2]
    alone_low = np.where((low == lowest[0]) & (lowest[0] < lowest[1]), lowest[1], lowest[0])
    alone_high = np.where((high == highest[0]) & (highest[0] > highest[1]), highest[1], highest[0])
    without = alone_high - alone_low
    frame = int(np.argmin(without))
    return Stretch(*figures.keys[frame], float(highest[0] - lowest[0]), float(without[frame]))
