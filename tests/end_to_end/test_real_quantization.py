"""A real network on real frames, where they are at hand: what INT8 costs with everything on, in metres."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.real import MODEL, NEEDED, ROOT, SPEC, kitti_split

import ncdb_dask

pytestmark = NEEDED


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    with ncdb_dask.local_cluster(2) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


def abs_rel(model: Path, folder: Path, client: object) -> float:
    split = kitti_split("val_split.json", folder)
    out = folder / f"{model.stem}_evaluated"
    found = ncdb_dask.evaluate(model, out, root=ROOT, split=str(split), model_spec=SPEC, client=client)
    assert dict(found.status) == {"ok": 25}
    return found.figures.mean["abs_rel"]


@pytest.mark.parametrize(("activations", "most"), [("uint8", 1.02), ("int8", 1.15)])
def test_int8_loses_almost_nothing(activations, most, folder, client):
    calibration = kitti_split("train_split.json", folder)
    out = folder / f"{activations}.onnx"
    made = ncdb_dask.quantize(MODEL, out, root=ROOT, split=str(calibration), activations=activations, client=client)
    figures = abs_rel(MODEL, folder, client), abs_rel(out, folder, client)
    print(activations, figures, figures[1] / figures[0])
    assert len(made.report["frames"]) == 48
    assert made.notes == ()
    assert figures[1] <= most * figures[0]
    assert ncdb_dask.verify_quantization(out) == []


def test_the_concats_of_the_decoder_were_the_cause(folder):
    report = json.loads((folder / "uint8.report.json").read_text())["quantizer"]["equalization"]
    before = {row["tensor"]: row["spread_before"] for row in report["tensors"]}
    after = {row["tensor"]: row["spread_after"] for row in report["tensors"]}
    worst = sorted(before, key=before.get)[-2:]
    assert all("Concat" in name for name in worst)
    assert all(before[name] > 50 and after[name] < 2 for name in worst)
    assert np.median([*after.values()]) < 2
