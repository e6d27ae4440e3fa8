"""Strata: the depth ranges, and cells that cross them with other columns of the scan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import SampleError

if TYPE_CHECKING:
    import pandas as pd

DEPTH_RANGE = "depth_range"
# The guide's ranges of the mean depth in metres, their names, and their shares of the set.
DEFAULT_EDGES = (0.0, 3.0, 8.0, 15.0, math.inf)
DEFAULT_NAMES = ("near", "mid", "far", "very_far")
DEFAULT_RATIOS = (Fraction(1, 4), Fraction(2, 5), Fraction(1, 4), Fraction(1, 10))
# The guide's number of frames; it advises 200 to 500.
DEFAULT_SIZE = 300
# What lies in none of them.
BEYOND = "beyond"
# What a column without a value (no image statistics, for instance) counts as.
NONE = "none"
# A cell needs frames to choose from: a column with more values than this is no grouping but a measurement.
MAX_VALUES = 64
# The frames are shared out one at a time over all cells: 100,000 over so many take five seconds.
MAX_CELLS = 500
# Ratios and weights lie between this and its inverse, or are 0.
LEAST = 1e-18

Cell = tuple[str, ...]


@dataclass(frozen=True)
class DepthBins:
    """Ranges of the mean depth of a frame.

    Attributes
    ----------
    edges : tuple of float
        In metres, rising; range k holds depths d with ``edges[k] <= d < edges[k + 1]``.
    names : tuple of str
        One a range.
    """

    edges: tuple[float, ...] = DEFAULT_EDGES
    names: tuple[str, ...] = DEFAULT_NAMES

    @classmethod
    def of(cls, edges: Sequence[float] | None = None, names: Sequence[str] | None = None) -> "DepthBins":
        """Check edges and names; names that are left out are the guide's, or say the range.

        Raises
        ------
        SampleError
            Edges that do not rise, or names that are not one a range.
        """
        bounds = DEFAULT_EDGES if edges is None else tuple(float(edge) for edge in edges)
        text = ",".join(f"{edge:g}" for edge in bounds)
        if len(bounds) < 2 or any(not a < b for a, b in pairwise(bounds)) or bounds[0] < 0:
            raise SampleError(
                f"bins {text}: expected depths in metres that rise from one to the next, such as 0,3,8,15,inf"
            )
        if names is None:
            given = DEFAULT_NAMES if bounds == DEFAULT_EDGES else tuple(map(_range, bounds, bounds[1:]))
        else:
            given = tuple(names)
        if len(given) != len(bounds) - 1 or len({*given, BEYOND}) != len(given) + 1 or not all(given):
            raise SampleError(
                f"names {','.join(given)}: expected {len(bounds) - 1} different ones, for the bins {text}; "
                f"{BEYOND!r} is what lies in none"
            )
        return cls(bounds, given)

    def place(self, depth: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the range of each depth, or -1 for what lies beyond all."""
        index = np.full(depth.shape, -1, dtype=np.int64)
        for edge in self.edges:  # they are few: a tenth of the time of a binary search for each pixel
            index += depth >= edge
        return np.where(index < len(self.names), index, -1)

    def nearest(self, depth: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the range of each depth; what lies beyond all goes to the first or the last."""
        inner = np.searchsorted(self.edges[1:-1], depth, side="right")
        return np.asarray(inner, dtype=np.int64)


def _range(low: float, high: float) -> str:
    return f"{low:g}-{high:g} m" if math.isfinite(high) else f"{low:g}+ m"


def as_written(value: object) -> Fraction:
    """Take a number as it is written: 0.1 is a tenth, not the nearest binary number.

    Raises
    ------
    ValueError
        For what is no number, or one that no share needs: beyond a billion billion, or nearer to 0 than its inverse.
    """
    text = str(value).strip()
    try:
        size = abs(float(Fraction(text) if "/" in text else text))
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{text} is no number") from error
    # Fraction writes the digits of 1e999999999 out.
    if not LEAST <= size <= 1 / LEAST and text.strip("+-0."):
        raise ValueError(f"{text} is out of range")
    return Fraction(text)


def check_ratios(ratios: Sequence[Fraction] | None, bins: DepthBins) -> tuple[Fraction, ...]:
    """Return the share of each depth range.

    Raises
    ------
    SampleError
        Where they are not one a range, negative, or do not sum to 1 (within a millionth, for thirds).
    """
    if ratios is None and len(bins.names) != len(DEFAULT_RATIOS):
        raise SampleError(
            f"{len(bins.names)} bins ({', '.join(bins.names)}) need as many ratios; give them with --ratios"
        )
    given = DEFAULT_RATIOS if ratios is None else tuple(ratios)
    text = ",".join(f"{float(ratio):g}" for ratio in given)
    if len(given) != len(bins.names):
        raise SampleError(
            f"ratios {text}: found {len(given)}, expected {len(bins.names)}, one for each of {', '.join(bins.names)}"
        )
    if any(ratio < 0 for ratio in given) or abs(sum(given, Fraction()) - 1) > Fraction(1, 10**6):
        raise SampleError(
            f"ratios {text}: sum to {float(sum(given, Fraction())):g}; expected shares from 0 to 1 that sum to 1"
        )
    return given


@dataclass(frozen=True)
class Grouping:
    """Frames by cell.

    Attributes
    ----------
    columns : tuple of str
        What the cells cross.
    cells : tuple of tuple of str
        The value of each column, for each cell that holds frames.
    codes : ndarray of int64, shape (n,)
        The cell of each frame.
    """

    columns: Cell
    cells: tuple[Cell, ...]
    codes: npt.NDArray[np.int64]

    @property
    def counts(self) -> list[int]:
        """Frames in each cell."""
        counts: list[int] = np.bincount(self.codes, minlength=len(self.cells)).tolist()
        return counts

    def members(self, some: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
        """Return the positions of each cell's frames among `some`, rising."""
        positions = np.flatnonzero(some)
        order = positions[np.argsort(self.codes[positions], kind="stable")]
        bounds = np.searchsorted(self.codes[order], np.arange(1, len(self.cells)))
        return np.split(order, bounds) if self.cells else []

    @classmethod
    def of(
        cls, frames: "pd.DataFrame", columns: Sequence[str], bins: DepthBins, depth_range: npt.NDArray[np.int64]
    ) -> "Grouping":
        """Group frames by the values of columns of the scan, and by `DEPTH_RANGE`.

        Raises
        ------
        SampleError
            A column of too many values, or too many cells.
        """
        codes, values = np.zeros(len(frames), dtype=np.int64), []
        for column in columns:
            found, names = (depth_range, list(bins.names)) if column == DEPTH_RANGE else _by_value(frames, column)
            codes = codes * len(names) + found
            values.append(names)
        present, codes = np.unique(codes, return_inverse=True)
        if len(present) > MAX_CELLS:
            raise SampleError(f"{' x '.join(columns)}: {len(present)} cells hold frames; expected at most {MAX_CELLS}")
        shape = [len(names) for names in values]
        index = np.unravel_index(present, shape) if shape else ()
        cells = tuple(
            tuple(names[k] for names, k in zip(values, place, strict=True)) for place in zip(*index, strict=True)
        )
        return cls(tuple(columns), cells or ((),) * len(present), codes.astype(np.int64))


def _by_value(frames: "pd.DataFrame", column: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    codes, values = frames[column].factorize(sort=True)
    if len(values) > MAX_VALUES:
        raise SampleError(
            f"column {column} has {len(values)} different values; expected at most {MAX_VALUES}, such as scene_type has"
        )
    names = [str(value) for value in values]
    if (codes < 0).any() and NONE not in names:
        names.append(NONE)
    return np.where(codes < 0, names.index(NONE) if NONE in names else 0, codes).astype(np.int64), names


def cell_name(cell: Cell) -> str:
    """Name a cell for people."""
    return "/".join(cell) or "all"
