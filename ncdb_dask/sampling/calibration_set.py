"""A calibration set: chosen from a scan, or made by someone else and measured against one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.split import Entry
from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.choose import Stratum, choose
from ncdb_dask.sampling.coverage import Activations
from ncdb_dask.sampling.excluded import Excluded, require_sound
from ncdb_dask.sampling.measure import measure
from ncdb_dask.sampling.pool import COLUMNS, Pool, keys_of, make_pool
from ncdb_dask.sampling.report import SampleReport
from ncdb_dask.sampling.request import SampleRequest
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import BEYOND, DEPTH_RANGE

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class CalibrationSet:
    """The frames of a set and what they are worth.

    Attributes
    ----------
    keys : tuple of (str, str)
        ``(dataset_root, filename)`` of each frame, in the order of the split.
    report : SampleReport
        Its figures.
    rows : ndarray of intp
        The frames' rows in the scan; of a set that someone else made, only those that the scan knows.
    ranges : tuple of str
        Depth range of each of these rows, `BEYOND` for none.
    mean_depths : tuple of ndarray of float64
        Mean depth in metres of the frames of the population and of the set.
    """

    keys: tuple[tuple[str, str], ...]
    report: SampleReport
    rows: Rows
    ranges: tuple[str, ...]
    mean_depths: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

    def items(self) -> list[dict[str, str]]:
        """Return the split in the guide's form."""
        return [{"dataset_root": root, "new_filename": stem} for root, stem in self.keys]


def sample_set(
    table: ScanTable, request: SampleRequest, name: str, activations: Activations | None = None
) -> CalibrationSet:
    """Choose a set from a scan.

    Strategy ``coverage`` needs `activations`; with them, any strategy chooses among their frames only, and the report
    says what the set covers.

    Raises
    ------
    NcdbError
        A scan that is unfinished, a split that cannot be read, or too few frames.
    """
    excluded, pool = _prepared(table, request, activations=activations)
    rows, strata = choose(pool, request)
    report = measure(table, pool, rows, strata, excluded, split=name, settings=settings(request))
    return _made(pool, rows, report)


def chosen_keys(
    table: ScanTable, request: SampleRequest, activations: Activations | None = None
) -> tuple[tuple[str, str], ...]:
    """Choose a set as `sample_set` does, without measuring it; see there."""
    _, pool = _prepared(table, request, activations=activations)
    rows, _ = choose(pool, request)
    return tuple(keys_of(pool.frames.iloc[rows]))


def measured_set(
    table: ScanTable, entries: Sequence[Entry], repeated: int, request: SampleRequest, name: str
) -> CalibrationSet:
    """Measure the set that a split holds against a scan; of the request, only what describes the data counts.

    `repeated` entries of the split were left out of `entries`; faulty ones are an error.

    Raises
    ------
    NcdbError
        As for `sample_set`; also where no frame of the set is known.
    """
    require_sound(entries, "are in no scan")
    excluded, pool = _prepared(table, request, thin=False)
    keys = keys_of(pool.frames)
    ok = (pool.frames["status"] == "ok").to_numpy(dtype=bool)
    row_of = {key: row for row, key in enumerate(keys) if ok[row]}
    found = [row_of.get(entry.key) for entry in entries]
    rows = np.asarray([row for row in found if row is not None], dtype=np.intp)
    if not len(rows):
        raise SampleError(
            f"none of the {len(found)} frames of {name} is in {table.folder.url} with statistics; "
            "expected a set whose frames were scanned"
        )
    strata = _ranges(pool, rows, request)
    known: dict[str, Any] = {"settings": described(request), "unknown": len(found) - len(rows), "repeated": repeated}
    report = measure(table, pool, rows, strata, excluded, split=name, **known)
    return _made(pool, rows, report)


def _prepared(
    table: ScanTable, request: SampleRequest, thin: bool = True, activations: Activations | None = None
) -> tuple[Excluded, Pool]:
    excluded = Excluded.read(request.exclude, table.root, table.roots, table.options)
    extra = [column for column in request.by if column != DEPTH_RANGE]
    frames = table.columns([*COLUMNS, *extra, *(["phash"] if excluded.keys else [])])
    return excluded, make_pool(frames, request, excluded, thin, activations)


def _ranges(pool: Pool, rows: Rows, request: SampleRequest) -> tuple[Stratum, ...]:
    """Count a set that was not chosen here by depth range."""
    available, granted = pool.depth_range[pool.population], pool.depth_range[rows]
    found = tuple(
        Stratum(name, None, None, int((available == code).sum()), int((granted == code).sum()))
        for code, name in enumerate(request.bins.names)
    )
    beyond = int((granted < 0).sum())
    return (*found, Stratum(BEYOND, None, None, int((available < 0).sum()), beyond)) if beyond else found


def _made(pool: Pool, rows: Rows, report: SampleReport) -> CalibrationSet:
    names = (*report.settings["names"], BEYOND)
    chosen = pool.frames.iloc[rows]
    keys = tuple(keys_of(chosen))
    depth = pool.frames["mean_depth"].to_numpy(dtype=float, na_value=math.nan)
    ranges = tuple(names[code] for code in pool.depth_range[rows])
    return CalibrationSet(keys, report, rows, ranges, (depth[pool.population], depth[rows]))


def described(request: SampleRequest) -> dict[str, Any]:
    """Return how the data set was looked at, as JSON values."""
    return {
        "bins": [edge if math.isfinite(edge) else "inf" for edge in request.bins.edges],
        "names": list(request.bins.names),
        "exclude": list(request.exclude),
        "min_gap": request.min_gap,
        "min_valid": f"{float(100 * request.eligible.min_share):g}%"
        if request.eligible.min_share
        else request.eligible.min_pixels,
        "ambiguous": request.eligible.ambiguous,
        "synthetic": request.eligible.synthetic,
        "beyond": request.eligible.beyond,
    }


def settings(request: SampleRequest) -> dict[str, Any]:
    """Return all options as JSON values."""
    ratios = None if request.ratios is None else [float(ratio) for ratio in request.ratios]
    table = None if request.weights is None else {"/".join(c): float(w) for c, w in request.weights.weights.items()}
    asked = {"strategy": request.strategy, "size": request.size, "seed": request.seed, "by": list(request.by)}
    return {**asked, "ratios": ratios, "weights": table, "statistics": request.statistics, **described(request)}
