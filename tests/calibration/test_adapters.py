"""The feed in the forms that quantizers take: ONNX Runtime quantizes with it, others get what they ask for."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from helpers.networks import constant, describe, write_network
from helpers.trees import write_tree
from onnx import helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static

from ncdb_dask.api.feeds import calibration_feed
from ncdb_dask.calibration.adapters import named, onnxruntime_reader, quark_reader, torch_tensors
from ncdb_dask.calibration.feed import CalibrationFeed
from ncdb_dask.errors import CalibrationError

FRAMES = 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    weights = np.random.default_rng(0).normal(size=(1, 3, 3, 3))
    convolution = helper.make_node("Conv", ["image", "weights"], ["depth"], pads=[1, 1, 1, 1])
    return write_network(tmp_path / "net.onnx", [constant("weights", weights), convolution])


@pytest.fixture
def feed(root: Path, network: Path) -> CalibrationFeed:
    return calibration_feed("train_split.json", root=root, model=network)


@pytest.fixture
def nameless(root: Path, tmp_path: Path) -> CalibrationFeed:
    return calibration_feed("train_split.json", root=root, model_spec=describe(tmp_path / "other.toml"))


def samples(reader: CalibrationDataReader) -> list[np.ndarray]:
    """What a tool gets that asks until there is nothing more."""
    found = []
    while sample := reader.get_next():
        (tensor,) = sample.values()
        assert list(sample) == ["image"]
        found.append(tensor)
    assert reader.get_next() is None
    return found


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# ONNX Runtime and what is built on it


@pytest.mark.parametrize("make", [onnxruntime_reader, quark_reader])
def test_the_reader_gives_every_frame_and_then_none(make, feed):
    reader = make(feed)
    assert CalibrationDataReader in type(reader).__mro__
    assert len(reader) == FRAMES
    assert_equal(samples(reader), list(feed))


@pytest.mark.parametrize("back", ["rewind", "reset_iter"])
@pytest.mark.parametrize("taken", [0, 2, FRAMES, None])
def test_the_reader_goes_back_to_the_first_frame(back, taken, feed):
    reader = onnxruntime_reader(feed)
    if taken is None:
        reader.set_range(2, 4)
    for _ in range(taken or 0):
        reader.get_next()
    getattr(reader, back)()
    assert_equal(samples(reader), list(feed))


def test_ranges_give_their_frames_and_together_all(feed):
    reader = onnxruntime_reader(feed)
    found = []
    for start in (0, 2, 4):
        reader.set_range(start_index=start, end_index=start + 2)
        found += samples(reader)
        assert len(reader) == FRAMES
    assert_equal(found, list(feed))


def test_the_reader_is_an_iterator_too(feed):
    assert_equal([sample["image"] for sample in onnxruntime_reader(feed)], list(feed))


def test_a_range_beyond_the_feed_is_refused_and_the_reader_goes_on(feed):
    reader = onnxruntime_reader(feed)
    reader.get_next()
    with pytest.raises(CalibrationError, match="frames 4 to 8 of a feed; expected 0 to 6"):
        reader.set_range(4, 8)
    assert_equal(samples(reader), list(feed)[1:])


@pytest.mark.parametrize("ranged", [False, True])
def test_a_feed_that_was_closed_is_no_end_of_the_samples(ranged, feed):
    with feed:
        reader = onnxruntime_reader(feed)
        if ranged:
            reader.set_range(1, 5)
        reader.get_next()
    with pytest.raises(CalibrationError, match="the feed ended after 1 of"):
        reader.get_next()


def test_a_frame_that_cannot_be_read_stops_the_reader_for_good(feed, root):
    (root / "synced_data/b/image_a6/0000000001.png").unlink()
    reader = onnxruntime_reader(feed)
    for _ in range(3):
        reader.get_next()
    for says in ("frame 4 of 6, 0000000001 of synced_data/b, cannot be read", "the feed ended after 3 of 6"):
        with pytest.raises(CalibrationError, match=says):
            reader.get_next()


def ranges(model: Path) -> dict[str, np.ndarray]:
    """Scales and zero points of a quantized network."""
    graph = onnx.load(model).graph
    found = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    return {name: value for name, value in found.items() if name.endswith(("_scale", "_zero_point"))}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"calibrate_method": CalibrationMethod.Percentile},
        {"extra_options": {"CalibStridedMinMax": 2}},
    ],
    ids=["minmax", "percentile", "strided"],
)
def test_onnx_runtime_quantizes_with_it_as_with_the_tensors_themselves(options, feed, network, tmp_path):
    class InMemory(CalibrationDataReader):
        def __init__(self) -> None:
            self.set_range(0, FRAMES)

        def __len__(self) -> int:
            return FRAMES

        def set_range(self, start_index: int, end_index: int) -> None:
            self.left = iter([{"image": tensor} for tensor in tensors[start_index:end_index]])

        def get_next(self) -> dict | None:
            return next(self.left, None)

    tensors = list(feed)
    made = {}
    for name, reader in (("fed", onnxruntime_reader(feed)), ("in memory", InMemory())):
        out = tmp_path / f"{name}.onnx"
        quantize_static(network, out, reader, quant_format=QuantFormat.QDQ, **options)
        made[name] = ranges(out)
    assert made["fed"]
    assert made["fed"].keys() == made["in memory"].keys()
    for name, value in made["fed"].items():
        np.testing.assert_array_equal(value, made["in memory"][name])
    session = InferenceSession(tmp_path / "fed.onnx", providers=["CPUExecutionProvider"])
    (depth,) = session.run(None, {"image": tensors[0]})
    assert depth.shape == (1, 1, 12, 16)


# NNCF


def test_named_samples_are_sized_and_iterated_again_and_again(feed):
    data = named(feed)
    for _ in range(2):
        assert [list(sample) for sample in data] == [["image"]] * FRAMES
    assert_equal([sample["image"] for sample in data], list(feed))
    assert len(data) == FRAMES


@pytest.mark.parametrize("adapt", [named, lambda feed: feed])
def test_nothing_tempts_a_tool_to_pick_frames_one_by_one(adapt, feed):
    assert not hasattr(adapt(feed), "__getitem__")  # nncf.Dataset and torch's DataLoader would, and wait for each


def test_a_sample_that_cannot_be_read_is_no_end_of_them(feed, root):
    (root / "synced_data/b/image_a6/0000000000.png").unlink()
    iterator = iter(named(feed))
    next(iterator)
    for says in ("cannot be read", "the feed ended after 1 of 6"):
        with pytest.raises(CalibrationError, match=says):
            next(iterator)


@pytest.mark.parametrize("adapt", [named, onnxruntime_reader, quark_reader])
def test_an_input_without_a_name_has_to_be_given_one(adapt, nameless):
    with pytest.raises(CalibrationError, match=r"has no name here; give the feed the network \(model=...\), say"):
        adapt(nameless)
    assert len(adapt(nameless, "image")) == FRAMES


def test_a_name_that_is_given_counts(feed):
    assert list(next(iter(named(feed, "input")))) == ["input"]


# torch


def test_torch_tensors_are_made_of_the_same_memory(feed, monkeypatch):
    stub = ModuleType("torch")
    stub.from_numpy = lambda array: ("tensor", array)
    monkeypatch.setitem(sys.modules, "torch", stub)
    tensors = torch_tensors(feed)
    assert len(tensors) == FRAMES
    assert {kind for kind, _ in tensors} == {"tensor"}
    assert_equal([array for _, array in tensors], list(feed))


def test_without_torch_the_error_says_how_to_get_it(feed, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CalibrationError, match=r"torch, which is not installed .*; pip install 'ncdb-dask\[train\]'"):
        torch_tensors(feed)


def test_real_torch_shares_the_memory(feed):
    torch = pytest.importorskip("torch")
    for tensor, array in zip(torch_tensors(feed), feed, strict=True):
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.numpy(), array)
