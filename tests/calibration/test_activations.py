"""A frame's row against ONNX Runtime's own tensors, and rows added up against all values put together."""

import gc
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.activations import activations, bins_of, write_branches, write_fragile
from helpers.graphs import Graph, computed
from helpers.networks import HEIGHT, WIDTH
from onnx import TensorProto, helper

from ncdb_dask.calibration.activations import SCHEMA, NotFinite, StatisticsSum, measure, rows_of
from ncdb_dask.calibration.histogram import BINS
from ncdb_dask.calibration.observed import named_axes, observed_by, tensors_of, with_outputs
from ncdb_dask.errors import CalibrationError
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import InputSpec, ModelSpec, read_spec
from ncdb_dask.quantization.prepare import load, prepared

NAMES = ("image", "first", "active", "large", "silent", "both", "sum", "depth")
STATISTICAL = SCHEMA.names[6:]


def observe(path, folder):
    """Prepare a network, and refer to it as it is observed."""
    spec = check_graph(path, read_spec(path.with_suffix(".toml")))
    (folder / "work").mkdir(exist_ok=True)
    model = prepared(load(path), spec.input, folder / "work")
    target = folder / f"observed-{path.name}"
    target.write_bytes(with_outputs(model, tensors_of(model)).SerializeToString())
    return observed_by(model, str(target), spec, "CPUExecutionProvider", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def observed(folder):
    return observe(write_branches(folder / "branches.onnx"), folder)


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((1, 3, HEIGHT, WIDTH), dtype=np.float32) for _ in range(count)]


def row_of(observed, tensor, number=0):
    about = {
        "dataset_root": "a",
        "filename": str(number),
        "image": None,
        "sha256": None,
        "status": "ok",
        "detail": None,
    }
    return about | measure(observed, tensor)


def summed(observed, rows):
    total = StatisticsSum(observed.tensors, observed.axes)
    for row in rows:
        total.add(row)
    return total


def assert_as_concatenated(found, tensors):
    """What is known of a tensor is what its values on all frames, put together, have by definition."""
    values = np.concatenate([tensor.ravel() for tensor in tensors])
    finite = values[np.isfinite(values)]
    np.testing.assert_array_equal(found.histogram.counts, bins_of(values))
    assert (found.histogram.low, found.histogram.high) == (finite.min(initial=np.inf), finite.max(initial=-np.inf))
    assert (found.histogram.nan, found.histogram.infinite) == (np.isnan(values).sum(), np.isinf(values).sum())
    assert found.histogram.total == finite.size
    size = tensors[0].shape[1] if found.channels.axis == 1 else 1
    rows = np.stack([tensor.reshape(size, -1) for tensor in tensors])  # (frames, channels, values), for a batch of one
    there = np.isfinite(rows)
    np.testing.assert_array_equal(found.channels.low, np.where(there, rows, np.inf).min(axis=(0, 2)))
    np.testing.assert_array_equal(found.channels.high, np.where(there, rows, -np.inf).max(axis=(0, 2)))
    used = there.any(axis=2).sum(axis=0)
    exact = np.where(there, rows, 0).astype(np.float64)
    for part, power in (("mean", 1), ("square", 2)):
        each = (exact**power).sum(axis=2) / np.maximum(there.sum(axis=2), 1)
        expected = each.sum(axis=0) / np.maximum(used, 1)
        np.testing.assert_allclose(getattr(found.channels, part), expected, rtol=1e-10, atol=1e-12)


# What is measured


def test_all_float32_tensors_are_observed_in_order_the_input_first(observed):
    assert observed.tensors == NAMES
    axes = dict(zip(observed.tensors, observed.axes, strict=True))
    assert {axes[name] for name in ("image", "first", "active", "large", "both")} == {1}


def test_the_observed_network_computes_what_the_given_one_does(observed, folder):
    (picture,) = pictures(1)
    found = activations(Path(observed.network.path), picture)
    expected = computed(load(folder / "branches.onnx"), {"image": picture}, NAMES[1:])
    for name in NAMES[1:]:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_a_network_without_float32_activations_is_refused():
    graph = Graph()
    graph.output(graph.add("Cast", graph.input(1, 3, 4, 4), to=TensorProto.DOUBLE))
    model = graph.model()
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(CalibrationError, match="no float32 activations; expected an FP32 network"):
        tensors_of(model)


def test_a_picture_of_nhwc_has_its_channels_last():
    graph = Graph()
    graph.output(graph.add("Relu", graph.input(1, 4, 4, 3)))
    assert named_axes(graph.model(), "image", "nhwc") == (("image", "relu1"), (3, None))


def test_a_tensor_whose_number_of_channels_is_open_counts_as_one_channel(folder):
    """Of a tensor as large as the picture is bright, no channel is the same on the next frame."""
    graph = Graph()
    image = graph.input(1, 3, HEIGHT, WIDTH)
    above = graph.add("Relu", graph.add("Sub", image, graph.constant(0.5)))
    chosen = graph.add("Transpose", graph.add("NonZero", above), perm=[1, 0])
    places = graph.add("Cast", chosen, to=TensorProto.FLOAT)  # (bright, 4)
    turned = graph.add("Transpose", places, perm=[1, 0])  # (4, bright)
    made = graph.add("MatMul", places, graph.normal(4, 5))
    depth = graph.add("Conv", image, graph.normal(1, 3, 1, 1))
    graph.output(depth, turned, made)
    path = folder / "open.onnx"
    path.write_bytes(graph.model().SerializeToString())
    path.with_suffix(".toml").write_text(f'[input]\nwidth={WIDTH}\nheight={HEIGHT}\n[output]\nname="{depth}"\n')
    observed = observe(path, folder)
    total = summed(observed, [row_of(observed, picture) for picture in pictures(3)])
    found = total.statistics()
    axes = dict(zip(observed.tensors, observed.axes, strict=True))
    values = [activations(Path(observed.network.path), picture) for picture in pictures(3)]
    assert len({one[turned].shape for one in values}) > 1
    assert axes[turned] is None
    for name in (turned, made):
        together = np.concatenate([one[name].ravel() for one in values])
        np.testing.assert_array_equal(found[name].histogram.counts, bins_of(together))


def test_a_row_is_what_the_tensors_of_the_frame_are(observed):
    (picture,) = pictures(1)
    row = row_of(observed, picture)
    assert set(row) == set(SCHEMA.names)
    found = summed(observed, [row]).statistics()
    for name, values in activations(Path(observed.network.path), picture).items():
        assert_as_concatenated(found[name], [values])


def test_a_row_holds_bins_that_are_filled_and_nothing_else(observed):
    row = row_of(observed, pictures(1)[0])
    assert len(row["filled"]) == len(row["channels"]) == len(NAMES)
    assert len(row["bins"]) == len(row["counts"]) == row["filled"].sum()
    assert (row["counts"] > 0).all()
    for name in ("low", "high", "mean", "square"):
        assert len(row[name]) == row["channels"].sum()
    assert row["filled"][NAMES.index("silent")] == 1  # of zeros alone


# Rows added up


def test_rows_add_up_to_the_statistics_of_all_values_together(observed):
    frames = pictures(5)
    found = summed(observed, [row_of(observed, frame) for frame in frames]).statistics()
    assert tuple(found) == NAMES
    values = [activations(Path(observed.network.path), frame) for frame in frames]
    for name in NAMES:
        assert_as_concatenated(found[name], [one[name] for one in values])


def test_a_tensor_that_is_constant_has_one_value(observed):
    found = summed(observed, [row_of(observed, frame) for frame in pictures(2)]).statistics()["silent"]
    assert (found.histogram.low, found.histogram.high) == (0.0, 0.0)
    assert found.histogram.total == 2 * 4 * HEIGHT * WIDTH
    assert not found.channels.square.any()


def as_bytes(total):
    return [
        (
            tensor.histogram.counts.tobytes(),
            tensor.histogram.low,
            tensor.histogram.high,
            *(getattr(tensor.channels, part).tobytes() for part in ("low", "high", "mean", "square")),
        )
        for tensor in total.statistics().values()
    ]


def test_rows_add_up_to_the_same_bits_in_any_order(observed):
    rows = [row_of(observed, frame * np.float32(10.0**number)) for number, frame in enumerate(pictures(9))]
    expected = as_bytes(summed(observed, rows))
    for seed in range(5):
        assert as_bytes(summed(observed, random.Random(seed).sample(rows, len(rows)))) == expected
    assert as_bytes(summed(observed, rows[1:])) != expected


def test_rows_survive_parquet(observed, tmp_path):
    rows = [row_of(observed, frame, number) for number, frame in enumerate(pictures(3))]
    faulty = {"dataset_root": "a", "filename": "b", "status": "missing_image", "detail": "no image"}
    table = pa.Table.from_pylist([rows[0], faulty, *rows[1:]], schema=SCHEMA)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    back = list(rows_of(pq.read_table(tmp_path / "rows.parquet")))
    assert [row["filename"] for row in back] == ["0", "b", "1", "2"]
    assert back.pop(1) == {name: faulty.get(name) for name in SCHEMA.names}
    for row, kept in zip(rows, back, strict=True):
        for name in STATISTICAL:
            assert kept[name].dtype == row[name].dtype
            assert kept[name].tobytes() == row[name].tobytes(), name
    assert as_bytes(summed(observed, back)) == as_bytes(summed(observed, rows))


def test_what_was_added_up_does_not_grow_with_the_frames(observed):
    rows = [row_of(observed, frame) for frame in pictures(8)]
    total = summed(observed, rows)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            for row in rows:
                total.add(row)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # A row is 11 KB. Sums grow by a digit, and numbers that were made before tracing began are made anew.
    assert grown < 80 * sum(rows[0][name].nbytes for name in STATISTICAL) / 20


# Values that are not finite


def test_nan_and_infinity_are_counted_and_named_by_tensor_and_frame(folder):
    observed = observe(write_fragile(folder / "fragile.onnx"), folder)
    bright = np.full((1, 3, HEIGHT, WIDTH), 0.75, np.float32)
    mixed = bright.copy()
    mixed[:, :, 0, :5] = 0.25
    rows = [row_of(observed, tensor, number) for number, tensor in enumerate((bright, mixed, bright))]
    total = summed(observed, rows)
    assert total.not_finite == [
        NotFinite("root", "a", "1", 5, 0),
        NotFinite("inverse", "a", "1", 0, 5),
        NotFinite("depth", "a", "1", 5, 0),
    ]
    found = total.statistics()
    values = [activations(Path(observed.network.path), tensor) for tensor in (bright, mixed, bright)]
    for name in observed.tensors:
        assert_as_concatenated(found[name], [one[name] for one in values])
    assert (found["root"].histogram.nan, found["root"].histogram.infinite) == (5, 0)
    assert (found["root"].histogram.low, found["root"].histogram.high) == (0.5, 0.5)


def test_a_tensor_that_is_nan_throughout(folder):
    observed = observe(write_fragile(folder / "dark.onnx"), folder)
    found = summed(observed, [row_of(observed, np.zeros((1, 3, HEIGHT, WIDTH), np.float32))]).statistics()["root"]
    assert (found.histogram.low, found.histogram.high, found.histogram.total) == (np.inf, -np.inf, 0)
    assert found.histogram.nan == HEIGHT * WIDTH
    assert found.histogram.counts.sum() == HEIGHT * WIDTH < BINS


def test_a_tensor_without_any_value(folder):
    graph = Graph()
    image = graph.input(1, 3, HEIGHT, WIDTH)
    conv = graph.add("Conv", image, graph.normal(2, 3, 1, 1))
    nothing = graph.add("Slice", conv, graph.integers(2), graph.integers(2), graph.integers(1))
    both = graph.add("Concat", conv, nothing, axis=1)
    graph.output(graph.add("ReduceMean", both, axes=[1]))
    model = helper.make_model(graph.model().graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "nothing.onnx"
    path.write_bytes(with_outputs(model, tensors_of(model)).SerializeToString())
    spec = ModelSpec(InputSpec(width=WIDTH, height=HEIGHT, name="image"))
    observed = observed_by(model, str(path), spec, "CPUExecutionProvider", 1)
    assert nothing in observed.tensors
    found = summed(observed, [row_of(observed, picture) for picture in pictures(2)]).statistics()
    assert (found[nothing].histogram.total, found[nothing].histogram.low) == (0, np.inf)
    assert found[conv].histogram.total == 2 * 2 * HEIGHT * WIDTH
