"""What activations reach frame by frame, against the activations themselves; and which folder of statistics is meant.

- ``tree``, ``keys``: frames
- ``kept``: statistics of a network on them
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.activations import activations, paint, tensor_of, write_branches, write_fragile
from helpers.kept import keep
from helpers.trees import write_tree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ncdb_dask.calibration.activations import _folded
from ncdb_dask.calibration.collection import OBSERVED_FILE
from ncdb_dask.calibration.frame_figures import QUANTILES, _reached, frame_figures
from ncdb_dask.calibration.histogram import Histogram, ordered, quantile
from ncdb_dask.calibration.kept import find_statistics
from ncdb_dask.errors import CalibrationError, PlanError
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.plan import PLAN_FILE

FRAMES = 7


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture(scope="module")
def keys(tree):
    items = json.loads((tree / "train_split.json").read_text())
    return [(item["dataset_root"], item["new_filename"]) for item in items]


@pytest.fixture(scope="module")
def kept(tree, keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    network = write_branches(folder / "net.onnx")
    keep(folder / "statistics", tree, network, keys[:3])
    return keep(folder / "statistics", tree, network, keys)


def test_they_are_those_of_the_activations(kept, tree, keys):
    found = frame_figures(kept.out, keys)
    assert found.tensors == kept.observed.tensors
    assert found.keys == tuple(keys)
    assert found.low.shape == found.high_quantile.shape == (len(keys), len(found.tensors))
    for row, key in enumerate(keys):
        values = activations(Path(kept.out.path) / OBSERVED_FILE, tensor_of(tree, key))
        for column, tensor in enumerate(found.tensors):
            assert found.low[row, column] == values[tensor].min()
            assert found.high[row, column] == values[tensor].max()
            for ends, q in zip((found.low_quantile, found.high_quantile), QUANTILES, strict=True):
                exact = np.quantile(values[tensor], q, method="inverted_cdf")
                assert ends[row, column] == pytest.approx(exact, rel=1 / 64, abs=2**-132)


def test_frames_come_in_the_order_asked_for_and_unknown_ones_do_not(kept, keys):
    whole = frame_figures(kept.out, keys)
    asked = [keys[5], ("nowhere", "0000000001"), keys[0], keys[5]]
    found = frame_figures(kept.out, asked)
    assert found.keys == (keys[5], keys[0])
    for some, all_ in zip(found.ranges, whole.ranges, strict=True):
        for end, whole_end in zip(some, all_, strict=True):
            assert np.array_equal(end, whole_end[[5, 0]])
    assert frame_figures(kept.out, []).low.shape == (0, len(whole.tensors))


def test_other_quantiles(kept, keys):
    found = frame_figures(kept.out, keys, (0, 1))
    assert np.array_equal(found.low, found.low_quantile)
    assert np.array_equal(found.high, found.high_quantile)
    for wrong in ((0.9, 0.1), (-0.1, 1), (0, 1.1), (float("nan"), 1)):
        with pytest.raises(CalibrationError, match="expected two shares from 0 to 1"):
            frame_figures(kept.out, keys, wrong)


def test_frames_that_cannot_be_used_have_none_and_what_is_not_finite_does_not_count(tmp_path):
    write_tree(tmp_path / "tree", 3)
    items = json.loads((tmp_path / "tree/train_split.json").read_text())
    keys = [(item["dataset_root"], item["new_filename"]) for item in items]
    paint(tmp_path / "tree", keys[0], 0)
    paint(tmp_path / "tree", keys[1], 200)
    lost = ("a", "lost")
    kept = keep(tmp_path / "kept", tmp_path / "tree", write_fragile(tmp_path / "net.onnx"), [*keys[:2], lost])
    found = frame_figures(kept.out, [*keys[:2], lost])
    assert found.keys == tuple(keys[:2])
    root = found.tensors.index("root")
    assert [found.low[0, root], found.high[0, root]] == [np.inf, -np.inf]
    assert [found.low_quantile[0, root], found.high_quantile[0, root]] == [np.inf, -np.inf]
    assert np.isfinite([end[1, root] for pair in found.ranges for end in pair]).all()


FLOATS = arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.one_of(
        st.floats(width=32), st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3.4e38, np.inf, -np.inf, np.nan])
    ),
)


@given(st.lists(FLOATS, min_size=1, max_size=4), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_they_are_the_histograms_quantiles_to_the_bit(tensors, quantiles):
    rows = [_folded(values[None], None) for values in tensors]
    found = _reached({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, tuple(quantiles))
    for column, values in enumerate(tensors):
        histogram = Histogram.of(values)
        expected = [histogram.low, histogram.high, np.inf, -np.inf]
        if histogram.total:
            expected[2:] = [quantile(ordered(histogram), q) for q in quantiles]
        assert found[:, column].tolist() == expected


def test_damaged_statistics_are_told(tree, keys, tmp_path):
    kept = keep(tmp_path / "kept", tree, write_branches(tmp_path / "net.onnx"), keys)
    shard = next(Path(kept.out.path).glob("shard-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(PlanError, match="shard-0"):
        frame_figures(kept.out, keys)
    with pytest.raises(CalibrationError, match="holds no activation statistics"):
        frame_figures(LocalFolder(str(tmp_path / "nothing")), keys)


# Which folder is meant


def test_the_folder_of_one_network_or_the_only_one_below(kept):
    assert find_statistics(kept.out) == kept.out
    assert find_statistics(LocalFolder(str(Path(kept.out.path).parent))) == kept.out


def test_of_several_networks_one_must_be_named(tree, keys, tmp_path):
    (tmp_path / "kept/_other").mkdir(parents=True)
    folders = [
        keep(tmp_path / "kept", tree, write_branches(tmp_path / f"{seed}.onnx", seed), keys[: 2 + seed]).out
        for seed in (0, 1)
    ]
    with pytest.raises(CalibrationError) as error:
        find_statistics(LocalFolder(str(tmp_path / "kept")))
    assert "holds statistics of 2 networks" in str(error.value)
    assert "give one of these folders" in str(error.value)
    for folder, frames in zip(folders, (2, 3), strict=True):
        assert f"{Path(folder.path).name} ({frames} frames)" in str(error.value)
        assert find_statistics(folder) == folder


def test_where_there_are_none_the_error_says_what_makes_them(tmp_path):
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CalibrationError, match=r"holds no activation statistics; make .*activation_statistics\("):
            find_statistics(LocalFolder(str(place)))


def test_a_damaged_plan_is_to_be_removed(kept, tmp_path):
    shutil.copytree(kept.out.path, tmp_path / "kept/0123")
    (tmp_path / "kept/0123" / PLAN_FILE).write_text("{")
    for place in ("kept", "kept/0123"):
        with pytest.raises(PlanError, match=r"kept/0123: the plan of these statistics is damaged .* remove the folder"):
            find_statistics(LocalFolder(str(tmp_path / place)))
