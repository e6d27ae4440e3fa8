"""Scanning a data set, and reading what was found."""

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.locations import Location, several
from ncdb_dask.dataset.layout import depth_variants
from ncdb_dask.runtime.events import Observer, RunFinished, RunStarted, nobody
from ncdb_dask.runtime.fanout import RESUMABLE, run_shards
from ncdb_dask.runtime.watched import watched
from ncdb_dask.sampling.quotas import GUIDE_QUOTAS, GUIDE_RANGES
from ncdb_dask.scanning import table
from ncdb_dask.scanning.figures import charts
from ncdb_dask.scanning.job import ScanJob
from ncdb_dask.scanning.plan import OVERVIEW_FILE, ScanPlan, make_plan
from ncdb_dask.scanning.request import ScanRequest
from ncdb_dask.scanning.summary import Summary
from ncdb_dask.store.folder import file_at, open_folder, reported

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client


def plan_scan(
    root: Location,
    out: Location,
    *,
    split: str | Sequence[str] = "train_split.json",
    variants: str | Sequence[str] | None = None,
    depth_scale: float | str | None = None,
    image_stats: bool = True,
    shard_size: int | None = None,
    allow_root: Location | Sequence[Location] = (),
    fresh: bool = False,
    update: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> ScanPlan:
    """Say what `scan` would do, and write nothing.

    Parameters
    ----------
    root : path or URL
        The data set: where the split's ``dataset_root`` entries start from.
    out : path or URL
        The folder of the table, new or holding an unfinished scan.
    split : str or sequence of str
        Split files, looked for as given and then under `root`.
    variants : str or sequence of str, optional
        Depth folders in the order in which they are tried (a comma list or a sequence); else the variable
        ``NCDB_DEPTH_VARIANT``, else the default order.
    depth_scale : float or "auto", optional
        Raw units a metre. Left out: 256, for 16-bit maps only; a number also admits 8-bit maps; ``auto`` divides by
        256 where a map's maximum exceeds 255 and marks every map for which that is in doubt.
    image_stats : bool
        Decode the images and measure brightness, lighting and perceptual hash; else only their headers are read.
    shard_size : int, optional
        Entries a shard, the unit of retry; left out, it follows from the number of entries.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    fresh : bool
        Remove what an earlier scan left in `out` and start over.
    update : bool
        Scan only the entries that the splits have gained since.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    ScanPlan
        Entries, shards, what is done and what is left.

    Raises
    ------
    NcdbError
        A split, an option or a folder that cannot be used; the message says what to do.
    """
    request = ScanRequest.of(
        root=open_folder(root, storage_options),
        out=open_folder(out, storage_options),
        allowed=[open_folder(place, storage_options) for place in several(allow_root)],
        splits=[os.fspath(name) for name in several(split)],
        variants=depth_variants(variants, os.environ),
        depth_scale=depth_scale,
        image_stats=image_stats,
        shard_size=shard_size,
        storage_options=storage_options,
    )
    with reported(request.out, "read"):
        return make_plan(request, fresh=fresh, update=update)


def scan(
    root: Location,
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    **options: Any,
) -> Summary:
    """Turn every entry of the splits into one row of depth statistics, in Parquet.

    A scan that was interrupted continues; one that is finished is only summarized.

    Parameters
    ----------
    root, out : path or URL
        The data set and the folder of the table.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    **options
        As for `plan_scan`.

    Returns
    -------
    Summary
        What was found.

    Raises
    ------
    NcdbError
        Where the scan cannot begin or not finish; what is complete stays, and the same call goes on from it.

    Examples
    --------
    >>> with ncdb_dask.open_client(workers=2) as client:  # doctest: +SKIP
    ...     summary = ncdb_dask.scan("data/ncdb", "out/scan", client=client)
    """
    return run_scan(plan_scan(root, out, **options), client=client, observer=observer)


def run_scan(plan: ScanPlan, *, client: "Client | None" = None, observer: Observer = nobody) -> Summary:
    """Carry out a plan; see `scan`."""
    out = plan.request.out
    if plan.finished:
        return table.published_summary(out)
    with reported(out, "write"):
        plan.write()
    with watched(client, observer) as told:
        told(RunStarted.of("scan", plan.plan, plan.done.values(), out.url, charts(GUIDE_QUOTAS)))
        job = ScanJob.of(plan.request, plan.plan.id, run=uuid.uuid4().hex, ranges=GUIDE_RANGES)
        receipts = [*plan.done.values(), *run_shards(job, plan.left, client, told)]
        with reported(out, "write", RESUMABLE):
            summary = table.finish(out, plan.plan, receipts)
        told(RunFinished())
    return summary


def read_scan(
    scan: Location, columns: Sequence[str] | None = None, storage_options: Mapping[str, Any] | None = None
) -> "pd.DataFrame":
    """Read a finished scan as a pandas DataFrame, a row an entry, in the order of the splits.

    Parameters
    ----------
    scan : path or URL
        The folder that `scan` wrote.
    columns : sequence of str, optional
        Only these; for a million entries name them, because ``depth_hist`` alone takes a gigabyte.
    storage_options : mapping, optional
        fsspec options for URLs.

    Raises
    ------
    PlanError
        Where the scan is unfinished or a column is unknown.
    """
    folder = open_folder(scan, storage_options)
    with reported(folder, "read"):
        return table.read_table(folder, columns)


def summarize_scan(scan: Location, storage_options: Mapping[str, Any] | None = None) -> Summary:
    """Return the summary of a finished scan.

    Raises
    ------
    PlanError
        Where the scan is unfinished.
    """
    folder = open_folder(scan, storage_options)
    with reported(folder, "read"):
        return table.published_summary(folder)


def draw_scan(scan: Location, picture: Location | None = None, storage_options: Mapping[str, Any] | None = None) -> str:
    """Draw the data set of a finished scan: depth by frame and by pixel, scene types, variants, lighting.

    Parameters
    ----------
    scan : path or URL
        The folder that `scan` wrote.
    picture : path, optional
        PNG file; left out, ``_overview.png`` in that folder.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    str
        Where the picture is.

    Raises
    ------
    NcdbError
        Where the scan is unfinished or the picture cannot be written.
    """
    from ncdb_dask.scanning.picture import overview  # matplotlib takes a second to import

    folder = open_folder(scan, storage_options)
    target, name = (folder, OVERVIEW_FILE) if picture is None else file_at(picture, storage_options)
    with reported(folder, "read"):
        drawn = overview(table.read_table(folder, ["status", "mean_depth"]), table.published_summary(folder))
    with reported(target, f"write {name}"):
        target.write(name, drawn)
    return f"{target.url}/{name}"
