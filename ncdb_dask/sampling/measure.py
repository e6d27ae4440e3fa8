"""Measuring a calibration set: its distances from the data set, beside those of random sets of its size."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling.choose import Stratum
from ncdb_dask.sampling.distance import total_variation, wasserstein, wasserstein_binned
from ncdb_dask.sampling.draw import reseeded
from ncdb_dask.sampling.excluded import Excluded
from ncdb_dask.sampling.neighbours import effective_number, hash_values
from ncdb_dask.sampling.pool import Pool, crowded_out, synthetic_only
from ncdb_dask.sampling.report import RANDOM_SETS, Distance, SampleReport
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import BEYOND
from ncdb_dask.scanning.stats import histogram_edges

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.intp]


def measure(
    table: ScanTable,
    pool: Pool,
    rows: Rows,
    strata: tuple[Stratum, ...],
    excluded: Excluded,
    *,
    split: str,
    settings: dict[str, Any],
    unknown: int = 0,
) -> SampleReport:
    """Compute the report of a set.

    Parameters
    ----------
    table : ScanTable
        The scan.
    pool : Pool
        Its rows.
    rows : ndarray of intp
        The rows of the set, all of status ``ok``; at least one.
    strata : tuple of Stratum
        What was wanted and granted.
    excluded : Excluded
        What was to be kept out.
    split, settings, unknown
        See `SampleReport`.
    """
    others = _random_sets(pool, len(rows))
    frames = pool.frames
    pixels = table.pooled_depth([pool.population, rows, *others])
    pictures = table.rows(rows, ["phash"])["phash"].dropna()
    scene, light = (_counted(frames[column], [pool.population, rows, *others]) for column in ("scene_type", "lighting"))
    depth = frames["mean_depth"].to_numpy(dtype=float, na_value=np.nan)
    population = np.sort(depth[pool.population])
    edges = histogram_edges()
    centres = np.sqrt(edges[1:] * edges[:-1])
    ranges = _ranges(pool, [pool.population, rows], settings["names"])
    leaks = {"excluded": pool.excluded, "same_picture": pool.same_picture, "near": pool.near} if excluded.keys else {}
    report = SampleReport(
        split=split,
        scan=table.folder.url,
        settings=settings,
        size=len(rows),
        unknown=unknown,
        population=len(pool.population),
        left_out=pool.left_out,
        strata=strata,
        distances={
            "mean_depth": _compared([wasserstein(population, depth[some]) for some in (rows, *others)]),
            "pixel_depth": _compared([wasserstein_binned(pixels[0], some, centres) for some in pixels[1:]]),
            "scene_type": _compared([total_variation(scene[0], some) for some in scene[1:]]),
            "lighting": _compared([total_variation(light[0], some) for some in light[1:]]),
        },
        effective_frames=effective_number(hash_values(pictures.tolist())) if len(pictures) == len(rows) else None,
        leaks={name: int(mask[rows].sum()) for name, mask in leaks.items()},
        crowded=_crowded(pool, rows, settings["min_gap"]),
        uncompared=len(excluded.keys) - (excluded.scanned or 0),
        notes=(),
        depth_ranges=ranges,
        scene_types={name: (scene[0][name], scene[1][name]) for name in scene[0] | scene[1]},
        lighting={name: (light[0][name], light[1][name]) for name in light[0] | light[1]},
        pixel_histogram=(tuple(pixels[0].tolist()), tuple(pixels[1].tolist())),
    )
    synthetic = int(synthetic_only(frames["depth_variant"].iloc[rows]).sum())
    return replace(report, notes=tuple(_notes(report, excluded, synthetic)))


def _random_sets(pool: Pool, size: int) -> list[Rows]:
    """Draw from the population by its keys, so that the order of the rows does not matter."""
    if size > len(pool.population):
        return []
    draws = (reseeded(pool.priority, number) for number in range(1, RANDOM_SETS + 1))
    return [pool.population[np.argpartition(priority, size - 1)[:size]] for priority in draws]


def _crowded(pool: Pool, rows: Rows, gap: int) -> int:
    """Count the frames that would have to leave a set so that all others keep the gap; earlier ones stay first."""
    return int(crowded_out(pool.frames.iloc[rows], np.arange(len(rows), dtype=np.uint64), gap).sum()) if gap else 0


def _ranges(pool: Pool, sets: Sequence[Rows], names: Sequence[str]) -> dict[str, tuple[int, int]]:
    everything, of_set = (np.bincount(pool.depth_range[rows] + 1, minlength=len(names) + 1).tolist() for rows in sets)
    found = {name: (everything[k], of_set[k]) for k, name in enumerate([BEYOND, *names])}
    return {name: pair for name, pair in found.items() if name != BEYOND or any(pair)}


def _counted(column: "pd.Series[str]", sets: Sequence[Rows]) -> list[Counter[str]]:
    return [Counter({str(k): n for k, n in column.iloc[rows].value_counts().items()}) for rows in sets]


def _compared(values: Sequence[float | None]) -> Distance:
    """Set the first value beside the others."""
    own, *others = values
    known = sorted(other for other in others if other is not None)
    return Distance(own, float(np.median(known)) if known else None, known[-1] if known else None)


def _notes(report: SampleReport, excluded: Excluded, synthetic: int) -> list[str]:
    names = " and ".join(excluded.names)
    notes = []
    for s in report.strata:
        if s.requested is not None and s.available < s.requested:
            notes.append(
                f"{s.name} holds {s.available} of {s.requested} frames; others give {s.requested - s.available} more"
            )
    if report.leaks.get("excluded"):
        notes.append(f"{report.leaks['excluded']} frames of the set are in {names}")
    if report.leaks.get("same_picture"):
        notes.append(f"{report.leaks['same_picture']} frames of the set are the same picture as one of {names}")
    if report.leaks.get("near"):
        notes.append(
            f"{report.leaks['near']} frames of the set are neighbours of one of {names}; --min-gap leaves them out"
        )
    if report.crowded:
        notes.append(
            f"{report.crowded} frames of the set are nearer than {report.settings['min_gap']} to another of it"
        )
    if report.uncompared:
        notes.append(
            f"{report.uncompared} frames of {names} have no picture in the scan: only names and numbers were compared"
        )
    if excluded.faulty:
        notes.append(f"{excluded.faulty} items of {names} name no frame and keep nothing out")
    if report.unknown:
        notes.append(f"{report.unknown} frames of the set are not in the scan, or have no statistics there")
    if synthetic:
        notes.append(f"{synthetic} frames of the set have synthetic depth only, which decided their depth range")
    if not report.lighting:
        notes.append("the scan has no image statistics: nothing is known of lighting and near-duplicates")
    return notes
