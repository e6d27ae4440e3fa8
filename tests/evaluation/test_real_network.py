"""A real network on real frames, where they are at hand: FP32, and what plain INT8 quantization makes of it.

The figures to come near were measured by another program (shared/design/QUANTIZATION.md).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.real import MODEL, NEEDED, ROOT, SPEC, kitti, kitti_split

import ncdb_dask
from ncdb_dask.evaluation.summary import Evaluation
from ncdb_dask.model.preprocess import preprocess
from ncdb_dask.model.spec import read_spec

FP32, INT8 = 0.1127, 0.1353

pytestmark = [*NEEDED, pytest.mark.xdist_group("real network")]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kitti_split("val_split.json", tmp_path_factory.mktemp("split"))


def evaluate(model: Path, split: Path, out: Path, **options: object) -> Evaluation:
    return ncdb_dask.evaluate(model, out, root=ROOT, split=str(split), model_spec=SPEC, **options)


@pytest.fixture(scope="module")
def fp32(split: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    out = tmp_path_factory.mktemp("fp32") / "out"
    return out, evaluate(MODEL, split, out, save_predictions="npy")


@pytest.fixture(scope="module")
def int8(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    pytest.importorskip("sympy", reason="the quantizer's preparation needs it")
    folder = tmp_path_factory.mktemp("int8")
    quantized(folder / "int8.onnx")
    return evaluate(folder / "int8.onnx", split, folder / "out")


def quantized(path: Path) -> None:
    """Quantize the network as ONNX Runtime does by itself: one scale a tensor, from the least and greatest value."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = calibration()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    prepared = path.with_name("prepared.onnx")
    quant_pre_process(str(MODEL), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Frames(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        per_channel=False,
    )


def calibration() -> Iterator[dict[str, np.ndarray]]:
    spec = read_spec(SPEC).input
    items = kitti("train_split.json")
    assert len(items) == 48
    for item in items:
        (picture,) = (ROOT / item["dataset_root"] / "image_a6").glob(f"{item['new_filename']}.*")
        yield {"image": preprocess(picture.read_bytes(), spec)[None]}


def test_the_network_is_as_good_as_was_measured(fp32):
    _, found = fp32
    assert dict(found.status) == {"ok": 25}
    assert found.figures.mean["abs_rel"] == pytest.approx(FP32, rel=0.02)
    assert found.figures.mean["abs_rel"] == pytest.approx(0.11275, abs=5e-6)
    assert found.figures.mean["a1"] > 0.85
    assert found.invalid["frames"] == 0


@pytest.mark.filterwarnings("default")  # of the quantizer's own code
def test_plain_int8_costs_what_was_measured(fp32, int8):
    print("INT8 abs_rel", int8.figures.mean["abs_rel"])
    assert dict(int8.status) == {"ok": 25}
    assert int8.figures.mean["abs_rel"] == pytest.approx(INT8, rel=0.02)
    assert int8.figures.mean["abs_rel"] > 1.15 * fp32[1].figures.mean["abs_rel"]


def test_predictions_that_come_back_have_the_same_figures(fp32, split, tmp_path):
    out, found = fp32
    again = evaluate(out / "_predictions", split, tmp_path / "again")
    for name, value in found.figures.mean.items():
        assert again.figures.mean[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_a_scan_of_the_same_frames_gives_the_same_figures(fp32, split, tmp_path):
    ncdb_dask.scan(ROOT, tmp_path / "scan", split=[str(split)])
    found = ncdb_dask.evaluate(MODEL, tmp_path / "out", scan=tmp_path / "scan", where="status == 'ok'")
    assert found.figures == fp32[1].figures
    assert sum(group.frames for group in found.groups["lighting"].values()) == 25
