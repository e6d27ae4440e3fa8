"""The finished table of a scan: publishing it, and reading it back."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ncdb_dask.errors import PlanError
from ncdb_dask.scanning.plan import SCAN
from ncdb_dask.scanning.schema import SCHEMA, SCHEMA_VERSION
from ncdb_dask.scanning.summary import COLUMNS, Summary, summarize
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.plan import Plan, read_plan
from ncdb_dask.store.shards import Manifest, Receipt, publish, read_manifest, read_receipts, read_shards, witnessed

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
    """Return the manifest of a finished scan.

    Raises
    ------
    PlanError
        Where the folder holds no scan, another kind of run, a scan of another schema, or an unfinished one.
    """
    plan = read_plan(out)
    if plan is None:
        raise PlanError(f"{out.url} holds no scan; `ncdb-dask scan ROOT OUT` makes one")
    if plan.kind != SCAN.name:
        raise PlanError(f"{out.url} holds a run of kind {plan.kind!r}, not a scan")
    if plan.settings.get("schema") != SCHEMA_VERSION:
        found = plan.settings.get("schema")
        raise PlanError(f"{out.url} is a scan of schema {found}; expected {SCHEMA_VERSION}: scan again with --fresh")
    manifest = read_manifest(out)
    if manifest is None:
        done = len(read_receipts(out, plan))
        raise PlanError(f"{out.url}: {done} of {plan.shards} shards are done; run its scan again to finish it")
    lost = plan.shards - len(witnessed(out, manifest.receipts))
    if lost:
        raise PlanError(f"{out.url}: {lost} of {plan.shards} shards are missing or cut; run its scan again to mend it")
    return manifest


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
