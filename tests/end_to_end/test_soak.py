"""Workers that keep dying, by Dask's own plugin for it, in all of its three ways: complete and equal results."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client
from distributed.chaos import KillWorker
from helpers.activations import assert_same, write_branches
from helpers.networks import KNOWN
from helpers.trees import assert_complete, write_tree

import ncdb_dask
from ncdb_dask.runtime import settings
from ncdb_dask.runtime.specification import LocalSpec

FRAMES = 48
# Longer than a worker needs to start, or none would ever come up.
LIFE = "1.5 s"
DEATHS = 2  # of workers in mid-run, at least, for each kind of run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tree(folder, FRAMES)
    return folder


def deaths(client: Client) -> int:
    return sum(message["action"] == "remove-worker" for _, message in client.get_events("all"))


def until_workers_died(client: Client, run: Callable[[int], None]) -> None:
    """Run into new folders again and again, until workers have died in mid-run."""
    died, number = 0, 0
    while died < DEATHS:
        before = deaths(client)
        run(number)
        died, number = died + deaths(client) - before, number + 1


@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_whatever_workers_die_of_the_results_are_those_of_one_process(mode, root, tmp_path, monkeypatch):
    # After "sys.exit" a nanny takes its work for done, and another must take the place. The product waits longer.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.deploy.lost-worker-timeout", "2 seconds")
    # On a slow machine a worker's life is a few tasks long, and a task is taken for the killer after four.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 100)
    split = {"root": root, "split": "train_split.json"}
    net, branches = KNOWN["quarter"].write(tmp_path / "net.onnx"), write_branches(tmp_path / "branches.onnx")
    ncdb_dask.scan(root, tmp_path / "scan", shard_size=1)
    scanned = ncdb_dask.read_scan(tmp_path / "scan")
    evaluated = ncdb_dask.evaluate(net, tmp_path / "evaluation", shard_size=1, **split)
    judged = ncdb_dask.read_evaluation(tmp_path / "evaluation")
    measured = ncdb_dask.activation_statistics(branches, tmp_path / "statistics", **split)

    with ncdb_dask.open_client(LocalSpec(workers=2, dashboard_port=0)) as client:
        client.register_plugin(KillWorker(LIFE, mode))

        def scan(number: int) -> None:
            ncdb_dask.scan(root, tmp_path / f"scan-{number}", shard_size=1, client=client)
            assert_complete(tmp_path / f"scan-{number}", scanned)

        def evaluate(number: int) -> None:
            out = tmp_path / f"evaluation-{number}"
            assert ncdb_dask.evaluate(net, out, shard_size=1, client=client, **split).figures == evaluated.figures
            pd.testing.assert_frame_equal(ncdb_dask.read_evaluation(out), judged, check_exact=True)
            assert json.loads((out / "_manifest.json").read_text())["rows"] == FRAMES

        def measure(number: int) -> None:
            out = tmp_path / f"statistics-{number}"
            assert_same(ncdb_dask.activation_statistics(branches, out, client=client, **split), measured)

        for run in (scan, evaluate, measure):
            until_workers_died(client, run)
