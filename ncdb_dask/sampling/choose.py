"""The strategies: which frames of the pool make the set, and what each stratum gave."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.allocate import quotas, sequence
from ncdb_dask.sampling.coverage import covering_order
from ncdb_dask.sampling.draw import first_by_priority
from ncdb_dask.sampling.pool import UNMEASURED, Pool
from ncdb_dask.sampling.request import SampleRequest
from ncdb_dask.sampling.strata import Grouping, cell_name

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Stratum:
    """What one stratum was to give, could give and gave.

    Attributes
    ----------
    name : str
        A depth range, a cell such as ``near/indoor``, or ``all``.
    share : float or None
        Of the set, 0 to 1, as asked for; None where nothing was asked for.
    requested : int or None
        Frames of the set, if all strata held enough.
    available : int
        Frames that could be chosen.
    granted : int
        Frames that were chosen.
    """

    name: str
    share: float | None
    requested: int | None
    available: int
    granted: int

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def choose(pool: Pool, request: SampleRequest) -> tuple[Rows, tuple[Stratum, ...]]:
    """Choose the frames.

    Returns
    -------
    rows : ndarray of intp, shape (size,)
        Rows of the scan. For all strategies but ``uniform``, the first n are the set of n frames: many tools read only
        the first frames of a list (32, 64, 300).
    strata : tuple of Stratum
        What each gave.

    Raises
    ------
    SampleError
        Where there are not enough frames.
    """
    rows = pool.population
    grouping = Grouping.of(pool.frames.iloc[rows], request.by, request.bins, pool.depth_range[rows])
    cells, weights = _weighted(grouping, request)
    members = dict(zip(grouping.cells, grouping.members(pool.open), strict=True))
    available = [len(members.get(cell, ())) for cell in cells]
    order = np.asarray(sequence(weights, available, request.size), dtype=np.intp)
    if len(order) < request.size:
        raise SampleError(_shortage(pool, request, cells, weights, available))
    granted = np.bincount(order, minlength=len(cells)).tolist()
    requested = quotas(weights, [request.size] * len(cells), request.size)
    whole = sum(weights)
    strata = tuple(
        Stratum(cell_name(cell), float(weight / whole), *numbers)
        for cell, weight, *numbers in zip(cells, weights, requested, available, granted, strict=True)
    )
    if request.strategy in ORDERED:
        return rows[ORDERED[request.strategy](pool, request.size)], strata
    drawn = np.empty(request.size, dtype=np.intp)
    for code, (cell, count) in enumerate(zip(cells, granted, strict=True)):
        if count:
            drawn[order == code] = members[cell][first_by_priority(pool.priority[members[cell]], count)]
    return rows[drawn], strata


def _weighted(grouping: Grouping, request: SampleRequest) -> tuple[list[tuple[str, ...]], list[Fraction]]:
    """Return the cells, those without frames that were asked for too, and the weight of each."""
    if request.ratios is not None:
        return [(name,) for name in request.bins.names], list(request.ratios)
    if request.weights is not None:
        request.weights.check_cells(grouping.cells, grouping.counts)
        return list(request.weights.weights), list(request.weights.weights.values())
    matched = request.strategy == "matched"
    return list(grouping.cells), [Fraction(count if matched else 1) for count in grouping.counts]


def _first(pool: Pool, size: int) -> Rows:
    return np.flatnonzero(pool.open)[:size]


def _every_kth(pool: Pool, size: int) -> Rows:
    """Walk through the recordings, by scene and stem, in equal steps; k need not be a whole number."""
    keys = pool.frames[["dataset_root", "filename"]].iloc[pool.population[pool.open]].reset_index(drop=True)
    order: Rows = keys.sort_values(["dataset_root", "filename"]).index.to_numpy()
    steps = (2 * np.arange(size) + 1) * len(order) // (2 * size)
    return np.asarray(np.flatnonzero(pool.open)[order[steps]])


def _covering(pool: Pool, size: int) -> Rows:
    if pool.cover is None:
        raise SampleError("strategy coverage: found no activations of the pool; expected those of its frames")
    open_ = np.flatnonzero(pool.open)
    return open_[covering_order(pool.cover.worth[pool.cover.place[open_]], pool.priority[open_], size)]


ORDERED = {"first": _first, "uniform": _every_kth, "coverage": _covering}


def _shortage(
    pool: Pool, request: SampleRequest, cells: list[tuple[str, ...]], weights: list[Fraction], available: list[int]
) -> str:
    held = [
        f"{cell_name(cell)} {count}" for cell, weight, count in zip(cells, weights, available, strict=True) if weight
    ]
    usable = sum(count for weight, count in zip(weights, available, strict=True) if weight)
    by_stratum = f" ({', '.join(held[:12])}{', ...' if len(held) > 12 else ''})" if len(held) > 1 else ""
    left = ", ".join(f"{count} {reason}" for reason, count in pool.left_out.items()) or "none"
    ways = [f"ask for at most {usable}"] * bool(usable) + ["leave out fewer"] * bool({*pool.left_out} - {UNMEASURED})
    ways += ["measure more with ncdb_dask.activation_statistics"] * (UNMEASURED in pool.left_out)
    found = f"{request.size} frames are wanted and {usable} can be chosen{by_stratum}; left out: {left}"
    return f"{found}; {' or '.join(ways) or 'scan more'}"
