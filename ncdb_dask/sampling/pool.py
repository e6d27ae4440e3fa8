"""The frames that may be chosen, and why the others may not: each is counted under the first reason that applies."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling import neighbours
from ncdb_dask.sampling.coverage import Activations, Cover
from ncdb_dask.sampling.draw import Priorities, priorities
from ncdb_dask.sampling.excluded import Excluded
from ncdb_dask.sampling.request import KEEP, NEAREST, Eligibility, SampleRequest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "dataset_root",
    "filename",
    "status",
    "mean_depth",
    "scene_type",
    "lighting",
    "depth_variant",
    "scale_ambiguous",
    "valid_pixels",
    "total_pixels",
)
UNMEASURED = "without activation statistics"
# Frames next to one that is kept out are reported without a gap, too.
NEXT = 2

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pool:
    """The rows of a scan, as far as a calibration set is concerned.

    Attributes
    ----------
    frames : DataFrame
        All rows of the scan.
    depth_range : ndarray of int64, shape (rows,)
        Depth range of each row, -1 for none.
    population : ndarray of intp
        Rows that may be chosen by their own data, and are not kept out by name: what a set is to represent.
    open : ndarray of bool, shape (len(population),)
        Those of them that are left when neighbours and copies are taken out: what a set is drawn from.
    priority : ndarray of uint64, shape (len(population),)
        Of the population.
    left_out : mapping of str to int
        Rows by reason.
    excluded, same_picture, near : ndarray of bool, shape (rows,)
        Rows that are kept out by name; other rows that are the same picture as one of them, or too near to one.
    cover : Cover or None
        What the population's activations are worth; without them, None.
    """

    frames: "pd.DataFrame"
    depth_range: npt.NDArray[np.int64]
    population: Rows
    open: Mask
    priority: Priorities
    left_out: Mapping[str, int]
    excluded: Mask
    same_picture: Mask
    near: Mask
    cover: Cover | None = None


def make_pool(
    frames: "pd.DataFrame",
    request: SampleRequest,
    excluded: Excluded,
    thin: bool = True,
    activations: Activations | None = None,
) -> Pool:
    """Sort the rows of a scan into those that may be chosen and the others.

    Parameters
    ----------
    frames : DataFrame
        `COLUMNS`; and ``phash`` where frames are excluded.
    request : SampleRequest
        What is asked for.
    excluded : Excluded
        Frames that are kept out.
    thin : bool
        Apply the request's gap; a set that is there already is only measured by it.
    activations : Activations, optional
        Frames that are not among these are represented, but cannot be chosen.
    """
    left = _Left(np.ones(len(frames), dtype=bool), {})
    left.out("without statistics", frames["status"] != "ok")
    named = excluded.among(frames)
    left.out("excluded", named)
    same, near = _leaking(frames, np.flatnonzero(left.open), request, excluded)
    for reason, mask in _ineligible(frames, request.eligible).items():
        left.out(reason, mask)
    depth = frames["mean_depth"].to_numpy(dtype=float, na_value=np.nan)
    place = request.bins.nearest if request.eligible.beyond == NEAREST else request.bins.place
    depth_range = place(depth)
    left.out("beyond all depth ranges", depth_range < 0)
    population = np.flatnonzero(left.open)
    keys = keys_of(frames.iloc[population])
    priority = priorities(request.seed, keys)
    cover = None if activations is None else Cover.of(activations, keys)
    if cover is not None:
        left.out(UNMEASURED, np.isin(np.arange(len(frames)), population[cover.place < 0]))
    if thin and request.min_gap:
        left.out("same picture as an excluded frame", same)
        left.out("too near to an excluded frame", near)
        crowded = np.zeros(len(frames), dtype=bool)
        rows = np.flatnonzero(left.open)
        crowded[rows] = crowded_out(frames.iloc[rows], priority[left.open[population]], request.min_gap)
        left.out("too near to a frame of higher priority", crowded)
    drawn_from = left.open[population]
    return Pool(frames, depth_range, population, drawn_from, priority, left.counts, named, same, near, cover)


def _leaking(frames: "pd.DataFrame", rows: Rows, request: SampleRequest, excluded: Excluded) -> tuple[Mask, Mask]:
    """Say which rows are the same picture as an excluded frame, and which are too near to one."""
    same, near = np.zeros(len(frames), dtype=bool), np.zeros(len(frames), dtype=bool)
    if excluded.keys and len(rows):
        some = frames.iloc[rows]
        same[rows] = excluded.pictured(some)
        near[rows] = excluded.near(keys_of(some), request.min_gap or NEXT)
    return same, near


def keys_of(frames: "pd.DataFrame") -> list[tuple[str, str]]:
    """Return the key of each frame."""
    return list(zip(frames["dataset_root"].tolist(), frames["filename"].tolist(), strict=True))


@dataclass
class _Left:
    open: Mask
    counts: dict[str, int]

    def out(self, reason: str, mask: "npt.ArrayLike | pd.Series[bool]") -> None:
        wrong = self.open & np.asarray(mask, dtype=bool)
        if wrong.any():
            self.counts[reason] = int(wrong.sum())
        self.open &= ~wrong


def _ineligible(frames: "pd.DataFrame", rules: Eligibility) -> dict[str, "pd.Series[bool]"]:
    valid, total = frames["valid_pixels"].fillna(0), frames["total_pixels"].fillna(0)
    found = {"too few valid pixels": (valid < rules.min_pixels) | _below(valid, rules.min_share, total)}
    if rules.ambiguous != KEEP:
        found["unit of depth in doubt"] = frames["scale_ambiguous"].fillna(False)
    if rules.synthetic != KEEP:
        found["synthetic depth only"] = synthetic_only(frames["depth_variant"])
    return found


def _below(valid: "pd.Series[int]", share: Fraction, total: "pd.Series[int]") -> "pd.Series[bool]":
    """Compare in integers: 7 of 100 pixels are 7 %, and 0.07 * 100 is more than 7."""
    return valid * share.denominator < total * share.numerator


def synthetic_only(variant: "pd.Series[str]") -> "pd.Series[bool]":
    """Say which depth variants hold no measured depth: NCDB has the word in the folder's name."""
    return variant.fillna("").str.contains("synthetic", regex=False)


def crowded_out(frames: "pd.DataFrame", priority: Priorities, gap: int) -> Mask:
    """Say which frames must go so that no two of a recording are nearer than the gap."""
    recordings, _ = frames["dataset_root"].factorize()
    numbers = neighbours.frame_numbers(frames["filename"].tolist())
    return ~neighbours.thinned(recordings.astype(np.int64), numbers, priority, gap)


def ambiguous_numbers(frames: "pd.DataFrame") -> int:
    """Count the frames whose number another frame of their recording has, too: a gap keeps one of each such group."""
    numbers = neighbours.frame_numbers(frames["filename"].tolist())
    shared = frames[["dataset_root"]].assign(number=numbers).duplicated(keep=False).to_numpy()
    return int((shared & (numbers >= 0)).sum())
