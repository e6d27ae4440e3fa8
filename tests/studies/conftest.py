"""Fixtures for studies.

- ``place``: a tree of three scenes, its scan and a small network, read only
- ``whole``: an uninterrupted study of the recipe that `helpers.studying` makes, read only
"""

from pathlib import Path

import pytest
from helpers.studying import recipe, write_place

import ncdb_dask


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    ncdb_dask.study(recipe(place), out)
    return out
