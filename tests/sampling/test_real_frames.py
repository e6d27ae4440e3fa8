"""Sets of real frames, handed over for a real network, where these are at hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ncdb_dask

SHARED = Path(__file__).parents[2].parent / "shared"
ROOT = SHARED / "realdata" / "ncdb"
MODELS = sorted((SHARED / "models").glob("*.onnx"))

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not ROOT.is_dir() or not MODELS, reason=f"no real frames and network in {SHARED}"),
]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("real") / "scan"
    ncdb_dask.scan(ROOT, out, split=["train_split.json", "val_split.json"])
    return out


def test_no_frame_of_the_validation_split_is_chosen_nor_next_to_one(scan):
    kept_out = {(item["dataset_root"], item["new_filename"]) for item in _items("val_split.json")}
    chosen = ncdb_dask.sample(scan, size=30, strategy="matched", exclude="val_split.json", min_gap=2)
    assert len(set(chosen.keys)) == 30
    assert not set(chosen.keys) & kept_out
    assert chosen.report.leaks == {"excluded": 0, "same_picture": 0, "near": 0}
    assert chosen.report.population == len(_items("train_split.json"))
    assert not set(ncdb_dask.sample(scan, size=30, exclude="val_split.json").keys) & kept_out


def test_a_set_that_follows_the_data_is_nearer_than_random_ones(scan):
    report = ncdb_dask.sample(scan, size=40, strategy="matched").report
    depth = report.distances["mean_depth"]
    assert depth.value < depth.random_median
    assert 0 < report.effective_frames <= 40


@pytest.mark.parametrize("form", ["npy", "raw", "hailo", "rknn"])
def test_the_network_is_fed_what_pillow_makes_of_the_pictures(form, scan, tmp_path):
    pytest.importorskip("onnx")
    chosen = ncdb_dask.sample(scan, tmp_path / "set.json", size=8, picture=False)
    made = ncdb_dask.export(tmp_path / "set.json", tmp_path / "out", root=ROOT, format=form, model=MODELS[0])
    frames = made.manifest.frames
    assert [(frame["dataset_root"], frame["filename"]) for frame in frames] == list(chosen.keys)
    width, height = (made.manifest.model["input"][side] for side in ("width", "height"))
    for number, frame in enumerate(frames):
        with Image.open(ROOT / frame["image"]) as picture:
            small = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
        found = _read(form, tmp_path / "out", frame, number, (height, width, 3))
        expected = small if form == "rknn" else small.astype(np.float32) / np.float32(255)
        assert np.array_equal(found, expected.transpose(2, 0, 1)[None] if form == "npy" else expected)
    assert not ncdb_dask.verify_export(tmp_path / "out").differences


def _read(form: str, out: Path, frame: dict[str, str], number: int, shape: tuple[int, int, int]) -> np.ndarray:
    if form == "hailo":
        return np.load(out / "calibration.npy", mmap_mode="r")[number]
    if form == "npy":
        return np.load(out / "tensors" / frame["file"])
    if form == "raw":
        return np.fromfile(out / "raw" / frame["file"], dtype="<f4").reshape(shape)
    with Image.open(out / "images" / frame["file"]) as picture:
        return np.asarray(picture)


def _items(name: str) -> list[dict[str, str]]:
    return json.loads((ROOT / name).read_text())
