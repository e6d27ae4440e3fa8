"""Measuring a calibration set: its distances from the data set, beside those of random sets of its size."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.sampling.choose import Stratum
from ncdb_dask.sampling.coverage import Cover, covered, first_layer
from ncdb_dask.sampling.distance import total_variation, wasserstein, wasserstein_binned
from ncdb_dask.sampling.draw import first_by_priority, reseeded
from ncdb_dask.sampling.excluded import Excluded
from ncdb_dask.sampling.neighbours import MOST_COMPARED, effective_number, hash_values
from ncdb_dask.sampling.pool import Pool, ambiguous_numbers, crowded_out, synthetic_only
from ncdb_dask.sampling.report import RANDOM_SETS, Coverage, Distance, SampleReport
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import BEYOND
from ncdb_dask.scanning.stats import histogram_edges

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]


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
    repeated: int = 0,
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
    split, settings, unknown, repeated
        See `SampleReport`.
    """
    sets = [pool.population, rows, *_random_sets(pool, len(rows))]
    pixels = table.pooled_depth(sets)
    scene, light = (_counted(pool.frames[column], sets) for column in ("scene_type", "lighting"))
    pictures = hash_values(table.rows(rows, ["phash"])["phash"].dropna().tolist())
    leaks = {"excluded": pool.excluded, "same_picture": pool.same_picture, "near": pool.near} if excluded.keys else {}
    report = SampleReport(
        split=split,
        scan=table.folder.url,
        settings=settings,
        size=len(rows),
        unknown=unknown,
        repeated=repeated,
        population=len(pool.population),
        left_out=pool.left_out,
        strata=strata,
        distances=_distances(pool, sets, pixels, scene, light),
        effective_frames=effective_number(pictures) if len(pictures) else None,
        compared_frames=len(pictures),
        leaks={name: int(mask[rows].sum()) for name, mask in leaks.items()},
        crowded=_crowded(pool, rows, settings["min_gap"]),
        uncompared=len(excluded.keys) - (excluded.scanned or 0),
        notes=(),
        depth_ranges=_ranges(pool, sets[:2], settings["names"]),
        scene_types={name: (scene[0][name], scene[1][name]) for name in scene[0] | scene[1]},
        lighting={name: (light[0][name], light[1][name]) for name in light[0] | light[1]},
        pixel_histogram=(tuple(pixels[0].tolist()), tuple(pixels[1].tolist())),
        coverage=None if pool.cover is None else _coverage(pool.cover, pool, rows),
    )
    return replace(report, notes=(*_notes(report, pool, rows, excluded), *_notes_on_roots(table, pool.cover)))


def _distances(
    pool: Pool, sets: Sequence[Rows], pixels: Counts, scene: Sequence[Counter[str]], light: Sequence[Counter[str]]
) -> dict[str, Distance]:
    """Compare the first of the sets, the population, with each of the others: the set itself, then random ones."""
    depth = pool.frames["mean_depth"].to_numpy(dtype=float, na_value=np.nan)
    population = np.sort(depth[sets[0]])
    edges = histogram_edges()
    centres = np.sqrt(edges[1:] * edges[:-1])
    return {
        "mean_depth": _compared([wasserstein(population, depth[rows]) for rows in sets[1:]]),
        "pixel_depth": _compared([wasserstein_binned(pixels[0], counts, centres) for counts in pixels[1:]]),
        "scene_type": _compared([total_variation(scene[0], counts) for counts in scene[1:]]),
        "lighting": _compared([total_variation(light[0], counts) for counts in light[1:]]),
    }


def _random_sets(pool: Pool, size: int) -> list[Rows]:
    """Draw from the population by its keys, so that the order of the rows does not matter."""
    if size > len(pool.population):
        return []
    draws = (reseeded(pool.priority, number) for number in range(1, RANDOM_SETS + 1))
    return [pool.population[np.argpartition(priority, size - 1)[:size]] for priority in draws]


def _coverage(cover: Cover, pool: Pool, rows: Rows) -> Coverage:
    """Measure what a set that was drawn from the pool covers, one frame after the other."""
    by_size = covered(cover.worth, cover.place[np.searchsorted(pool.population, rows)])
    free = cover.place[pool.open]
    best = covered(cover.worth, free[first_layer(cover.worth[free])])
    draws = (reseeded(pool.priority[cover.place >= 0], number) for number in range(1, RANDOM_SETS + 1))
    sets = (first_by_priority(priority, len(rows)) for priority in draws)
    random = [float(covered(cover.worth, some)[-1]) for some in sets]
    return Coverage(
        statistics=cover.activations.statistics,
        tensors=cover.tensors,
        frames=len(cover.worth),
        share=float(by_size[-1]),
        by_size=tuple(by_size.tolist()),
        most=float(best[-1]) if len(best) else 1.0,
        enough=len(best),
        random_median=float(np.median(random)),
        random_worst=min(random),
    )


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


def _notes(report: SampleReport, pool: Pool, rows: Rows, excluded: Excluded) -> list[str]:
    return [
        *_notes_on_strata(report),
        *_notes_on_excluded(report, pool, rows, " and ".join(excluded.names)),
        *_notes_on_frames(report, pool.frames.iloc[rows], ambiguous_numbers(pool.frames.iloc[pool.population])),
    ]


def _notes_on_roots(table: ScanTable, cover: Cover | None) -> Iterator[str]:
    if cover is not None and cover.activations.root not in ("", table.root.url):
        yield (
            f"the activation statistics are of {cover.activations.root}, and the scan is of {table.root.url}; "
            "frames of the same scene and name were taken for the same"
        )


def _notes_on_strata(report: SampleReport) -> Iterator[str]:
    for s in report.strata:
        if s.requested is not None and s.available < s.requested:
            missing = s.requested - s.available
            yield f"{s.name} holds {s.available} of {s.requested} frames; others give {missing} more"


def _notes_on_excluded(report: SampleReport, pool: Pool, rows: Rows, names: str) -> Iterator[str]:
    chosen = "strategy" in report.settings
    for leak, mask, what, cure in (
        ("excluded", pool.excluded, f"are in {names}", ""),
        ("same_picture", pool.same_picture, f"look the same as one of {names}", "--min-gap 1 leaves such frames out"),
        ("near", pool.near, f"are neighbours of one of {names}", "--min-gap leaves such frames out"),
    ):
        if report.leaks.get(leak):
            first = pool.frames.iloc[rows[mask[rows]][0]]
            hint = f"; {cure}" if chosen and cure else ""
            yield (
                f"{report.leaks[leak]} frames of the set {what} "
                f"(the first: {first['dataset_root']}/{first['filename']}){hint}"
            )
    if report.uncompared:
        found = f"{report.uncompared} frames of {names} have no picture in the scan"
        yield f"{found}: only their names and numbers were compared; scan that split too (--split ... --update)"


def _notes_on_frames(report: SampleReport, frames: "pd.DataFrame", ambiguous: int) -> Iterator[str]:
    gap = report.settings["min_gap"]
    if report.crowded:
        yield f"{report.crowded} frames of the set are nearer than {gap} to another of it"
    if gap and ambiguous:
        found = f"{ambiguous} frames share their number, the last in the stem, with another of their recording"
        yield f"{found}; the gap keeps one of each"
    if report.unknown:
        yield f"{report.unknown} frames of the set are not in the scan, or have no statistics there"
    if report.repeated:
        yield f"{report.repeated} entries of the set repeat an earlier one and are counted once"
    synthetic = int(synthetic_only(frames["depth_variant"]).sum())
    if synthetic:
        yield f"{synthetic} frames of the set have synthetic depth only, which decided their depth range"
    if not report.lighting:
        yield "the scan has no image statistics: nothing is known of lighting and near-duplicates"
    elif report.compared_frames < report.size:
        yield f"{report.size - report.compared_frames} frames of the set have no picture hash in the scan"
    elif report.effective_frames is None:
        yield f"near-duplicates are counted in sets of at most {MOST_COMPARED} frames"
