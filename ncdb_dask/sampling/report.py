"""The figures of a calibration set, for people and for programs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ncdb_dask.sampling.choose import Stratum

# Random sets that a distance is set beside: the largest of twenty is the usual 5 % bound.
RANDOM_SETS = 20
# Shares of the activations' ranges whose sizes are told.
GOALS = (0.9, 0.99)
UNITS = {
    "mean_depth": ("Mean depth", " m"),
    "pixel_depth": ("Pixel depth", " m"),
    "scene_type": ("Scene types", ""),
    "lighting": ("Lighting", ""),
}


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the set lies from the population.

    Attributes
    ----------
    value : float or None
        Of the set; None where there is nothing to compare.
    random_median, random_worst : float or None
        Of `RANDOM_SETS` random sets of the same size, drawn from the population.
    """

    value: float | None
    random_median: float | None
    random_worst: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a set covers of the ranges that activations reach on all measured frames of the population.

    Shares are means over the tensors, 0 to 1; see `ncdb_dask.sampling.coverage.worths`.

    Attributes
    ----------
    statistics : str
        Folder of the activation statistics.
    tensors, frames : int
        Activations, and frames of the population that have statistics.
    share : float
        Of the set.
    by_size : tuple of float
        Of its first frame, its first two, and so on.
    most, enough : float, int
        What all frames that can be chosen cover, and how many of them the strategy takes for it.
    random_median, random_worst : float
        Of `RANDOM_SETS` random sets of the same size, drawn from the measured frames.
    """

    statistics: str
    tensors: int
    frames: int
    share: float
    by_size: tuple[float, ...] = field(repr=False)
    most: float
    enough: int
    random_median: float
    random_worst: float

    def lines(self) -> list[str]:
        """Return what a person should know."""
        steps = [(goal, next((n for n, share in enumerate(self.by_size, 1) if share >= goal), None)) for goal in GOALS]
        reached = "".join(f"{goal:.0%} with its first {size}, " for goal, size in steps if size is not None)
        return [
            f"Covers        {_percent(self.share)} of the ranges of {self.tensors} activations on {self.frames} frames"
            f"  (random {_percent(self.random_median)}, {_percent(self.random_worst)})",
            f"              {reached}at most {_percent(self.most)}, which {self.enough} chosen by coverage reach",
        ]


@dataclass(frozen=True)
class SampleReport:
    """Figures of a calibration set; depths in metres.

    Attributes
    ----------
    split, scan : str
        Name of the set, and the scan that it is compared with.
    settings : mapping
        How it was chosen.
    size : int
        Frames of the set that the scan knows.
    unknown : int
        Frames of the set that are not in the scan, or have no statistics there.
    repeated : int
        Entries of the set that repeat an earlier one and are counted once.
    population : int
        Frames of the data set that it is to represent.
    left_out : mapping of str to int
        Rows of the scan that could not be chosen, by reason.
    strata : tuple of Stratum
        Wanted, available and granted.
    distances : mapping of str to Distance
        ``mean_depth`` (Wasserstein, metres), ``pixel_depth`` (Wasserstein of the pooled pixels, metres),
        ``scene_type`` and ``lighting`` (total variation, 0 to 1).
    effective_frames, compared_frames : float or None, int
        Distinct pictures that the set is worth, and of how many of its frames the scan knows the picture; None where it
        knows none, or more than 20,000.
    leaks : mapping of str to int
        Chosen frames that are ``excluded``, the ``same_picture`` as an excluded frame, or ``near`` one.
    crowded : int
        Frames that would have to leave the set so that no two are nearer than the gap.
    uncompared : int
        Excluded frames whose picture the scan does not know.
    notes : tuple of str
        What a person should know.
    depth_ranges, scene_types, lighting : mapping of str to (int, int)
        Frames of the population and of the set.
    pixel_histogram : tuple of (tuple of int, tuple of int)
        Pixels of the population and of the set by depth (`ncdb_dask.scanning.stats.histogram_edges`).
    coverage : Coverage or None
        Of a set that was chosen by activation statistics.
    """

    split: str
    scan: str
    settings: Mapping[str, Any]
    size: int
    unknown: int
    repeated: int
    population: int
    left_out: Mapping[str, int]
    strata: tuple[Stratum, ...]
    distances: Mapping[str, Distance]
    effective_frames: float | None
    compared_frames: int
    leaks: Mapping[str, int]
    crowded: int
    uncompared: int
    notes: tuple[str, ...]
    depth_ranges: Mapping[str, tuple[int, int]]
    scene_types: Mapping[str, tuple[int, int]]
    lighting: Mapping[str, tuple[int, int]]
    pixel_histogram: tuple[tuple[int, ...], tuple[int, ...]] = field(repr=False)
    coverage: Coverage | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"format": "ncdb_dask calibration report 1", **asdict(self)}

    def text(self) -> str:
        """Return the report as lines for people."""
        how = ", ".join(f"{name} {self.settings[name]}" for name in ("strategy", "seed") if name in self.settings)
        lines = [f"Frames        {self.size} of {self.population}{f'  ({how})' if how else ''}"]
        if self.left_out:
            lines.append(f"Left out      {', '.join(f'{count} {reason}' for reason, count in self.left_out.items())}")
        lines += ["", *self._table(), ""]
        lines.append("Distance from the data set, beside the median and the worst of 20 random sets of this size")
        lines += [_distance(name, distance) for name, distance in self.distances.items() if distance.value is not None]
        if self.effective_frames is not None:
            lines.append(
                f"Distinct      {self.effective_frames:.1f} of {self.compared_frames} (near-duplicates count once)"
            )
        if self.coverage is not None:
            lines += self.coverage.lines()
        return "\n".join([*lines, *(f"Note          {note}" for note in self.notes)])

    def _table(self) -> list[str]:
        width = max(12, *(len(stratum.name) for stratum in self.strata))
        header = f"  {'stratum':<{width}} {'share':>7} {'wanted':>7} {'chosen':>7} {'available':>10}"
        rows = [
            f"  {s.name:<{width}} {'' if s.share is None else f'{s.share:.1%}':>7} "
            f"{'' if s.requested is None else s.requested:>7} {s.granted:>7} {s.available:>10}"
            for s in self.strata
        ]
        return [header, *rows]


def _percent(share: float) -> str:
    """Round down: 100% says that nothing is missing."""
    return f"{math.floor(1000 * share) / 10:.1f}%"


def _distance(name: str, distance: Distance) -> str:
    title, unit = UNITS[name]
    known = distance.random_median is not None  # no random sets of more frames than the data set has
    beside = f"  (random {distance.random_median:.3f}, {distance.random_worst:.3f})" if known else ""
    return f"{title:<13} {distance.value:.3f}{unit}{beside}"
