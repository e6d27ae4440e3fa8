"""Trainings by real processes that are killed: what is started again comes to the same weights, bit for bit."""

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from helpers.finetuning import assert_same_training, planned, recipe, trainer, write_data, write_recipe  # noqa: E402

TESTS = Path(__file__).parents[1]
SECTIONS = {
    "data": {"flip": True},
    "network": {"arguments": {"dropout": 0.3}},
    "loss": {"smoothness": 0.1},
    "training": {"epochs": 3, "schedule": "cosine", "freeze_batch_norm": False},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory) -> Path:
    """Of an uninterrupted training."""
    out = tmp_path_factory.mktemp("whole")
    trainer(planned(root, out, **SECTIONS)).run()
    return out / "lambda_0"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_process_killed_in_the_middle_of_an_epoch(workers, root, tmp_path, whole):
    sections = SECTIONS | {"data": {"flip": True, "workers": workers}}
    write_recipe(tmp_path / "mine.toml", recipe(root, **sections))
    # Its output ends when no process is left that holds it: those that read for it must not outlive it.
    died = subprocess.run(
        [sys.executable, "-m", "helpers.finetune_driver", tmp_path / "mine.toml", tmp_path / "out", "2", "2"],
        cwd=TESTS,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    folder = tmp_path / "out" / "lambda_0"
    assert pd.read_parquet(folder / "history.parquet")["epoch"].tolist() == [0, 1]
    told = []
    again = trainer(planned(root, tmp_path / "out", **sections), progress=lambda what, *_: told.append(what))
    again.run()
    epochs = {what.partition(",")[0] for what in told}
    assert "epoch 1 of 3" not in epochs
    assert {"epoch 2 of 3", "epoch 3 of 3"} <= epochs
    assert_same_training(folder, whole)
