"""A small tree of two scenes whose stems repeat, beside a network of known depth; every test has one of its own."""

from pathlib import Path

import pytest
from helpers.networks import KNOWN
from helpers.trees import write_tree

FRAMES = 7  # shards of 3, 3 and 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture
def keys(root: Path) -> list[tuple[str, str]]:
    import json

    items = json.loads((root / "train_split.json").read_text())
    return [(item["dataset_root"], item["new_filename"]) for item in items]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return KNOWN["quarter"].write(tmp_path / "net.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
