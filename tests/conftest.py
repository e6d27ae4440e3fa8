"""Fixtures for all tests.

- ``data``: a small tree of 24 frames in two scenes, read only
- ``expected``: the table of an uninterrupted scan of it
- ``interruptible``: what tests start can be interrupted, wherever pytest itself was started
"""

import os
import signal
from pathlib import Path

import hypothesis
import pandas as pd
import pytest
from helpers.trees import write_tree

import ncdb_dask

# Tests run side by side. Dask reads its environment when it is imported, which nothing has done yet.
os.environ.setdefault("DASK_NCDB__LOCAL__DASHBOARD_PORT", "0")
# Workers and commands that a test starts run little that no test runs by itself, and measuring them takes a while.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# How long an example takes says something of the machine only.
hypothesis.settings.register_profile("all", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("all")

FRAMES = 24


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_tree(root, FRAMES)
    return root


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell lets what it runs in the background ignore SIGINT, and all that is started there inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def expected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("expected") / "scan"
    ncdb_dask.scan(data, out, shard_size=4)
    return ncdb_dask.read_scan(out)
