"""Reading a finished scan for sampling: whole columns of all rows, and heavy columns of a few rows only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ncdb_dask.dataset.split import Roots
from ncdb_dask.scanning import table
from ncdb_dask.scanning.stats import HIST_BINS
from ncdb_dask.scanning.summary import pooled_histogram
from ncdb_dask.store.folder import Folder, open_folder
from ncdb_dask.store.manifest import Manifest
from ncdb_dask.store.shards import read_shards

if TYPE_CHECKING:
    import pandas as pd

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ScanTable:
    """The table of a finished scan; row k is the k-th entry of its splits.

    Parameters
    ----------
    folder : Folder
        What `ncdb_dask.scan` wrote.
    moved : Folder or None
        Where the data set is now, if not where it was scanned.
    options : mapping
        fsspec options for the data set.
    """

    folder: Folder
    moved: Folder | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest; `PlanError` where the scan is unfinished."""
        return table.published(self.folder)

    @cached_property
    def root(self) -> Folder:
        """The data set."""
        return self.moved or open_folder(self.manifest.plan.settings["root"], self.options)

    @property
    def roots(self) -> Roots:
        """Where its frames may lie."""
        settings = self.manifest.plan.settings
        found = Roots.of(self.root, [open_folder(place, self.options) for place in settings["allow_root"]])
        # Splits that name a data set absolutely name it where it was scanned.
        return replace(found, spellings=tuple(dict.fromkeys([*found.spellings, settings["root"]])))

    @cached_property
    def _starts(self) -> Rows:
        return np.cumsum([0, *(receipt.rows for receipt in self.manifest.receipts)])

    def columns(self, names: Sequence[str]) -> "pd.DataFrame":
        """Read columns of all rows."""
        return table.read_table(self.folder, list(dict.fromkeys(names)))

    def rows(self, rows: Rows, names: Sequence[str]) -> "pd.DataFrame":
        """Read columns of some rows, in the order asked for."""
        order = np.argsort(rows, kind="stable")
        parts = [part.take(within) for part, (within,) in self._parts([rows[order]], names)]
        frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
        return frame.iloc[np.argsort(order)].reset_index(drop=True)

    def pooled_depth(self, sets: Sequence[Rows]) -> Counts:
        """Add up the depth histograms of several sets of rows, shape (len(sets), HIST_BINS)."""
        total = np.zeros((len(sets), HIST_BINS), dtype=np.int64)
        for part, members in self._parts([np.sort(rows) for rows in sets], ["depth_hist"]):
            for number, within in enumerate(members):
                if len(within):
                    total[number] += pooled_histogram(part["depth_hist"].take(within))
        return total

    def _parts(self, sets: Sequence[Rows], names: Sequence[str]) -> Iterator[tuple[pa.Table, list[Rows]]]:
        """Yield the shards that hold a row of any set, and where in them the rows of each set are."""
        bounds = [np.searchsorted(rows, self._starts) for rows in sets]
        for number, receipt in enumerate(self.manifest.receipts):
            members = [
                rows[bound[number] : bound[number + 1]] - self._starts[number]
                for rows, bound in zip(sets, bounds, strict=True)
            ]
            if any(map(len, members)):
                (part,) = read_shards(self.folder, [receipt], names)
                yield part, members
