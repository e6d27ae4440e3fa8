"""The epochs of a training as a table, a row each."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
HISTORY_FILE = "history.parquet"
# Row 0 is before training, and has no figures of it. The penalty is that before lambda.
SCHEMA = pa.schema(
    [
        ("lambda", pa.float64()),
        ("epoch", pa.int64()),
        *((name, pa.float64()) for name in ("learning_rate", "loss", "penalty", "gradient_norm")),
        *((name, pa.int64()) for name in ("frames", "left_out")),
        *((name, pa.float64()) for name in ("abs_rel", "rmse", "a1")),
        *((name, pa.int64()) for name in ("validated", "not_validated")),
        ("seconds", pa.float64()),
    ]
)


def as_parquet(rows: Sequence[Row]) -> bytes:
    """Return the table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
