"""Fixtures for all tests.

- ``data``: a small tree of 24 frames in two scenes, read only
- ``expected``: the table of an uninterrupted scan of it
"""

from pathlib import Path

import pandas as pd
import pytest
from helpers.trees import write_tree

import ncdb_dask

FRAMES = 24


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_tree(root, FRAMES)
    return root


@pytest.fixture(scope="session")
def expected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("expected") / "scan"
    ncdb_dask.scan(data, out, shard_size=4)
    return ncdb_dask.read_scan(out)
