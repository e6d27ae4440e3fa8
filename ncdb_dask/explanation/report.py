"""The files at the end of an explanation."""

import json

from ncdb_dask.explanation.page import page
from ncdb_dask.explanation.plan import PAGE_FILE, REPORT_FILE
from ncdb_dask.explanation.result import Explanation


def write_report(done: Explanation) -> None:
    """Write the page, and the report last.

    Raises
    ------
    OSError
        Where the storage fails.
    """
    report = json.dumps(done.as_dict(), indent=1, allow_nan=False).encode()
    done.plan.out.write_all({PAGE_FILE: page(done).encode(), REPORT_FILE: report})
