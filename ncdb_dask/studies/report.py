"""The files at the end of a study."""

import io
import json

import pyarrow as pa
from pyarrow import parquet

from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.studies.findings import Study
from ncdb_dask.studies.page import study_page
from ncdb_dask.studies.picture import study_picture
from ncdb_dask.studies.plan import PAGE_FILE, PICTURE_FILE, REPORT_FILE, TABLE_FILE

_TEXT, _NUMBER = pa.string(), pa.float64()
SCHEMA = pa.schema(
    [
        ("name", _TEXT),
        ("strategy", _TEXT),
        ("size", pa.int64()),
        ("seed", pa.int64()),
        ("quantizer", _TEXT),
        ("backend", _TEXT),
        ("method", _TEXT),
        ("percentile", _NUMBER),
        ("scheme", _TEXT),
        ("options", _TEXT),
        ("abs_rel", _NUMBER),
        ("rmse", _NUMBER),
        ("delta1", _NUMBER),
        ("ratio_to_fp32", _NUMBER),
        ("to_fp32", _NUMBER),
        ("to_fp32_low", _NUMBER),
        ("to_fp32_high", _NUMBER),
        ("to_baseline", _NUMBER),
        ("to_baseline_low", _NUMBER),
        ("to_baseline_high", _NUMBER),
        ("npu_allowed", pa.bool_()),
        ("evaluation", _TEXT),
        ("seconds", _NUMBER),
    ]
)


def write_report(out: LocalFolder, done: Study) -> None:
    """Write the table, the picture and the page, and the report last.

    Raises
    ------
    OSError
        Where the storage fails.
    """
    report = done.as_dict()
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(report["cells"], schema=SCHEMA), buffer)
    out.write_all(
        {
            TABLE_FILE: buffer.getvalue(),
            PICTURE_FILE: study_picture(done),
            PAGE_FILE: study_page(done).encode(),
            REPORT_FILE: json.dumps(report, indent=1, allow_nan=False).encode(),
        }
    )
