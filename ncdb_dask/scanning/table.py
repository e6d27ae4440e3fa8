"""The finished table of a scan: publishing it, and reading it back."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ncdb_dask.errors import PlanError
from ncdb_dask.scanning.plan import SCAN
from ncdb_dask.scanning.schema import SCHEMA, SCHEMA_VERSION
from ncdb_dask.scanning.summary import COLUMNS, Summary, summarize
from ncdb_dask.store import published as runs
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.manifest import Manifest, publish
from ncdb_dask.store.plan import Plan
from ncdb_dask.store.shards import Receipt, read_shards

if TYPE_CHECKING:
    import pandas as pd


def finish(out: Folder, plan: Plan, receipts: Iterable[Receipt]) -> Summary:
    """Summarize the committed shards and publish the table.

    Raises
    ------
    PlanError
        Where shards are missing.
    """
    done = sorted(receipts, key=lambda receipt: receipt.shard)
    summary = summarize(read_shards(out, done, COLUMNS, check=True), plan.duplicates)
    publish(out, plan, done, summary.as_dict())
    return summary


def published(out: Folder) -> Manifest:
    """Return the manifest of a finished scan; see `ncdb_dask.store.published.published` for errors."""
    return runs.published(out, SCAN, SCHEMA_VERSION)


def published_summary(out: Folder) -> Summary:
    """Return the summary of a finished scan; see `published` for errors."""
    return Summary.from_dict(published(out).summary)


def read_table(out: Folder, columns: Sequence[str] | str | None = None) -> "pd.DataFrame":
    """Read a finished scan in the order of its entries.

    Columns that hold nulls keep their type (pandas' nullable types), and text stays text.

    Raises
    ------
    PlanError
        Where the scan is unfinished or a column is unknown.
    """
    import pandas as pd

    columns = [columns] if isinstance(columns, str) else columns
    unknown = set(columns or ()) - set(SCHEMA.names)
    if unknown:
        raise PlanError(f"a scan has no column {min(unknown)!r}; it has {', '.join(SCHEMA.names)}")
    receipts = published(out).receipts
    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = pa.concat_tables(read_shards(out, receipts, columns)).to_pandas(types_mapper=nullable.get)
    return frame
