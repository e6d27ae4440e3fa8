"""A small tree with both splits, beside the model file of `helpers.finetuning.Tiny`; read only."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from helpers.finetuning import write_data

    return write_data(tmp_path_factory.mktemp("finetuning"))
