"""A real network on real frames, where they are at hand: what INT8 costs with everything on, in metres."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.real import MODEL, NEEDED, ROOT, SPEC, kitti_split

import ncdb_dask
from ncdb_dask.quantization.result import Quantization

pytestmark = [*NEEDED, pytest.mark.xdist_group("real quantization")]


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    with ncdb_dask.open_client(workers=2) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def quantized(folder: Path, client: object) -> Callable[[str], Quantization]:
    """Quantize the network once for each type of activations."""
    calibration = str(kitti_split("train_split.json", folder))

    @cache
    def made(activations: str) -> Quantization:
        # Correcting the biases takes longer than all else together, and int8 keeps its bound without.
        return ncdb_dask.quantize(
            MODEL,
            folder / f"{activations}.onnx",
            root=ROOT,
            split=calibration,
            activations=activations,
            bias_correction=activations == "uint8",
            client=client,
        )

    return made


def abs_rel(model: Path, folder: Path, client: object) -> float:
    split = kitti_split("val_split.json", folder)
    out = folder / f"{model.stem}_evaluated"
    found = ncdb_dask.evaluate(model, out, root=ROOT, split=str(split), model_spec=SPEC, client=client)
    assert dict(found.status) == {"ok": 25}
    return found.figures.mean["abs_rel"]


@pytest.mark.parametrize(("activations", "most"), [("uint8", 1.02), ("int8", 1.15)])
def test_int8_loses_almost_nothing(activations, most, quantized, folder, client):
    made = quantized(activations)
    out = Path(made.out)
    figures = abs_rel(MODEL, folder, client), abs_rel(out, folder, client)
    print(activations, figures, figures[1] / figures[0])
    assert len(made.report["frames"]) == 48
    assert made.notes == ()
    assert figures[1] <= most * figures[0]
    assert ncdb_dask.verify_quantization(out) == []


def test_the_concats_of_the_decoder_were_the_cause(quantized):
    report = quantized("uint8").report["quantizer"]["equalization"]
    before = {row["tensor"]: row["spread_before"] for row in report["tensors"]}
    after = {row["tensor"]: row["spread_after"] for row in report["tensors"]}
    worst = sorted(before, key=before.get)[-2:]
    assert all("Concat" in name for name in worst)
    assert all(before[name] > 50 and after[name] < 2 for name in worst)
    assert np.median([*after.values()]) < 2
