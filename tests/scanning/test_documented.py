"""The reference names every column and every status."""

import re
from pathlib import Path

from ncdb_dask.scanning.schema import SCHEMA, STATUSES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "table.md").read_text()


def test_every_column_and_status_is_documented_and_no_other():
    first_cells = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted([*SCHEMA.names, *STATUSES])
