"""Figures of paired frames: the means of both, their difference with its interval, and how many got worse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.comparison.pairs import FIGURES, Pairs
from ncdb_dask.evaluation.blocks import Blocks
from ncdb_dask.evaluation.bootstrap import LEVEL, intervals
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.schema import RANGES, of_range

Values = npt.NDArray[np.float64]
# Of a figure itself: a network against its own saved predictions differs by 1e-8 of abs_rel (float32), or 5e-5 (PNG).
ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric over some frames, in the metric's unit.

    Attributes
    ----------
    baseline, other : float
        Means over the frames.
    difference : float
        Other minus baseline.
    low, high : float or None
        The interval of the difference; None where the frames are too few blocks.
    frames, worse : int
        Frames that have the figure, and those in which the other evaluation is worse.
    """

    baseline: float
    other: float
    difference: float
    low: float | None
    high: float | None
    frames: int
    worse: int

    @property
    def seen(self) -> bool:
        """Whether a difference can be seen: the interval does not hold zero, and it is none of rounding."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return False
        return abs(self.difference) > ROUNDING * max(abs(self.baseline), abs(self.other))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        names = ("baseline", "other", "difference", "low", "high", "frames", "worse")
        return {**{name: getattr(self, name) for name in names}, "seen": self.seen}


Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Draw:
    """Frames, and how intervals are drawn over any part of them."""

    pairs: Pairs
    blocks: Blocks
    resamples: int
    seed: int
    level: float = LEVEL

    def by(self, column: str, values: list[str]) -> dict[str, Figures]:
        """Measure the frames of each value of a column."""
        held = self.pairs.frames[column].to_numpy(dtype=object)
        return {value: self.figures(np.flatnonzero(held == value), tuple(METRICS)) for value in values}

    def figures(self, rows: npt.NDArray[np.intp], names: tuple[str, ...]) -> dict[str, Figure]:
        """Measure some frames, whose blocks are drawn among themselves."""
        columns = [FIGURES.index(name) for name in names]
        first, second = (side[rows][:, columns] for side in (self.pairs.baseline, self.pairs.other))
        differences = second - first
        found = intervals(differences, self.blocks.codes[rows], self.resamples, self.seed, self.level)
        result = {}
        for k, name in enumerate(names):
            held = ~np.isnan(differences[:, k])
            if held.any():
                result[name] = Figure(
                    float(first[held, k].mean()),
                    float(second[held, k].mean()),
                    float(found.mean[k]),
                    _known(found.low[k]),
                    _known(found.high[k]),
                    int(held.sum()),
                    int(_worse(name, first[held, k], second[held, k]).sum()),
                )
        return result


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _worse(name: str, first: Values, second: Values) -> npt.NDArray[np.bool_]:
    best = METRICS[metric_of(name)].best
    if best == "high":
        return second < first
    return np.abs(second) > np.abs(first) if best == "zero" else second > first


def metric_of(figure: str) -> str:
    """Return the metric of a figure, whatever depth range it is of."""
    if figure in METRICS:
        return figure
    return next(metric for metric in METRICS for name in RANGES.names if of_range(metric, name) == figure)
