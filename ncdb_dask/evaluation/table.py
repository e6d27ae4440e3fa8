"""The finished table of an evaluation: publishing it, and reading it back."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ncdb_dask.errors import PlanError
from ncdb_dask.evaluation.plan import EVALUATION, PREDICTIONS, EvaluationPlan
from ncdb_dask.evaluation.schema import SCHEMA, SCHEMA_VERSION
from ncdb_dask.evaluation.summary import Evaluation, summarize
from ncdb_dask.store import published as runs
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import Manifest, publish
from ncdb_dask.store.shards import Receipt, read_shards

if TYPE_CHECKING:
    import pandas as pd


def finish(plan: EvaluationPlan, receipts: Iterable[Receipt]) -> Evaluation:
    """Summarize the committed shards and publish the table.

    Raises
    ------
    PlanError
        Where shards are missing.
    """
    out, held = plan.request.out, plan.run.plan
    done = sorted(receipts, key=lambda receipt: receipt.shard)
    rows = _frame(out, done, None, check=True)
    evaluation = summarize(rows, held.settings, held.duplicates, plan.extra)
    if isinstance(out, LocalFolder):
        out.remove_abandoned(PREDICTIONS)
    publish(out, held, done, evaluation.as_dict())
    return evaluation


def published(out: Folder) -> Manifest:
    """Return the manifest of a finished evaluation; see `ncdb_dask.store.published.published` for errors."""
    return runs.published(out, EVALUATION, SCHEMA_VERSION)


def published_summary(out: Folder) -> Evaluation:
    """Return the figures of a finished evaluation; see `published` for errors."""
    return Evaluation.from_dict(published(out).summary)


def summary_of(plan: EvaluationPlan) -> Evaluation:
    """Return the figures of a plan that is finished.

    Raises
    ------
    PlanError
        Where another evaluation has been made in its folder since, or it is unfinished.
    """
    manifest = published(plan.request.out)
    if manifest.plan.id != plan.run.plan.id:
        raise PlanError(f"{plan.request.out.url}: another evaluation was made in this folder since it was planned")
    return Evaluation.from_dict(manifest.summary)


def read_table(out: Folder, columns: Sequence[str] | str | None = None) -> "pd.DataFrame":
    """Read a finished evaluation, a row a frame, in the order of its inputs.

    Raises
    ------
    PlanError
        Where it is unfinished or a column is unknown.
    """
    columns = [columns] if isinstance(columns, str) else columns
    unknown = set(columns or ()) - set(SCHEMA.names)
    if unknown:
        raise PlanError(f"an evaluation has no column {min(unknown)!r}; it has {', '.join(SCHEMA.names)}")
    return _frame(out, published(out).receipts, columns)


def _frame(
    out: Folder, receipts: Sequence[Receipt], columns: Sequence[str] | None, check: bool = False
) -> "pd.DataFrame":
    """Read rows; integers that hold nulls keep their type."""
    import pandas as pd

    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    tables = read_shards(out, receipts, columns, check=check)
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=nullable.get)
    return frame
