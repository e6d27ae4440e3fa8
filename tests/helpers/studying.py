"""Studies of a small network on a small rendered tree: their recipes, and what must come out of them."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import onnx

import ncdb_dask
from helpers.quantizing import depth_network, write_model
from ncdb_dask.api import studies
from ncdb_dask.dataset.synthetic import write_tree

small_tree = partial(write_tree, scenes=3, frames=10, width=64, height=48)


def write_place(folder: Path) -> Path:
    """Write a tree, its scan, and a network whose ranges differ from set to set."""
    small_tree(folder / "data", seed=5)
    ncdb_dask.scan(folder / "data", folder / "scan", split=["train_split.json", "val_split.json"])
    write_model(folder / "net.onnx", depth_network(planted=30.0))
    return folder


def recipe(place: Path, **changes: Any) -> dict[str, Any]:
    """Return a recipe of two sets and two ways to quantize, with changes by section."""
    held: dict[str, Any] = {
        "network": {"model": str(place / "net.onnx")},
        "data": {"scan": str(place / "scan")},
        "evaluation": {"resamples": 200},
        "sets": [{"strategy": "random", "sizes": [3, 6], "seeds": [0]}],
        "quantizers": [{"method": ["minmax", "mse"]}],
    }
    for name, value in changes.items():
        held[name] = {**held.get(name, {}), **value} if isinstance(value, Mapping) else value
    return held


def result(out: Path) -> dict[str, Any]:
    """The report of a study, without what differs from run to run and from folder to folder."""
    values: dict[str, Any] = json.loads((out / "report.json").read_text())
    for cell in values["cells"]:
        del cell["seconds"]
    return json.loads(json.dumps(values).replace(str(out), "OUT"))


def kept(out: Path) -> dict[str, dict[str, Any]]:
    """What is kept of each cell, by its label."""
    found = [json.loads(path.read_text()) for path in (out / "cells").glob("*.json")]
    return {cell["label"]: cell for cell in found}


class Judged:
    """Stands in for the judge of a study, and keeps the networks that it was given."""

    def __init__(self, monkeypatch: Any) -> None:
        self.networks: dict[str, onnx.ModelProto] = {}
        own = studies.Judge.__call__

        def judge(judge: Any, model: onnx.ModelProto, spec: Any, label: str) -> Any:
            self.networks[label] = model
            return own(judge, model, spec, label)

        monkeypatch.setattr(studies.Judge, "__call__", judge)
