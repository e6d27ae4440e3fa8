"""The task of a scan: one shard of entries -> one shard of rows."""

import time
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.scanning.figures import DepthRanges, figures_of
from ncdb_dask.scanning.frame import FrameOptions, Row, empty_row, scan_frame
from ncdb_dask.scanning.plan import shard_entries
from ncdb_dask.scanning.request import ScanRequest
from ncdb_dask.scanning.schema import SCHEMA
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt, commit


@dataclass(frozen=True)
class ScanJob:
    """What every task of one scan shares; small and made of values, so that it travels to any worker.

    Attributes
    ----------
    out, root : Folder
        The table and the data set.
    plan : str
        Id of the plan.
    roots : Roots
        Where frames may lie.
    variants : tuple of str
        Depth folders in the order in which they are tried.
    frame : FrameOptions
        What is measured.
    run : str
        Differs from run to run: a worker that serves several must not reuse listings of an earlier one.
    ranges : tuple of (str, float)
        Ranges of the mean depth that are counted while the scan runs.
    """

    out: Folder
    root: Folder
    plan: str
    roots: Roots
    variants: tuple[str, ...]
    frame: FrameOptions
    run: str
    ranges: DepthRanges

    @classmethod
    def of(cls, request: ScanRequest, plan: str, run: str, ranges: DepthRanges) -> "ScanJob":
        """Collect what the tasks of a request need."""
        scale = None if request.depth_scale == "auto" else float(request.depth_scale or 256.0)
        frame = FrameOptions(scale, allow_8bit=request.depth_scale is not None, image_stats=request.image_stats)
        roots = Roots.of(request.root, request.allowed)
        return cls(request.out, request.root, plan, roots, request.variants, frame, run, ranges)

    def __call__(self, assignment: Assignment) -> Receipt | None:
        """Scan a shard and commit it, or only try a part of it.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        PlanError
            Another run has taken over the output folder.
        """
        started = time.perf_counter()
        entries = shard_entries(self.out, assignment)
        start, stop = assignment.probe or (0, len(entries))
        rows: list[Row] = []
        for position in range(start, stop):
            if position in assignment.crashed:
                detail = "decoding this frame killed its worker every time; look at its files"
                rows.append(empty_row(entries[position], "crashed", detail))
            else:
                rows.append(scan_frame(entries[position], _tree(self), self.frame))
        if assignment.probe is not None:
            return None
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        seconds = time.perf_counter() - started
        return commit(self.out, self.plan, assignment.shard, table, seconds, figures_of(table, self.ranges))


@lru_cache(maxsize=1)
def _tree(job: ScanJob) -> Tree:
    """One tree a process, so that its listings serve all shards of a run."""
    return Tree(job.root, job.roots, job.variants)
