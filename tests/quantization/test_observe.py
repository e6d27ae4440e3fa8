"""What runs on the workers after the statistics: a few numbers of each frame, and the same wherever it runs."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from helpers.graphs import Array, computed
from helpers.networks import HEIGHT, WIDTH
from helpers.quantizing import apart, made_ready, node_making, pictures, put_constant, started
from onnx import ModelProto, TensorProto

from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.errors import CalibrationError, DataFault
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.observe import REMEMBERED, ChannelMeans, Difference, Distortion, referred

SPEC = ModelSpec.from_dict({"input": {"name": "image", "width": WIDTH, "height": HEIGHT}})
FEEDS = pictures(4)
FRAMES = [CalibrationFrame("scene", str(number)) for number in range(len(FEEDS))]


@dataclass(frozen=True)
class Reader:
    """Gives the pictures, and writes down which were read."""

    read: list[str] = field(default_factory=list, compare=False)
    name: str = ""

    def tensor(self, frame: CalibrationFrame) -> Array:
        self.read.append(str(frame.stem))
        if frame.stem == "gone":
            raise DataFault("missing_image", "no image")
        return FEEDS[int(str(frame.stem))]["image"]


@pytest.fixture
def model(tmp_path: Path) -> ModelProto:
    graph = started()
    first = graph.conv("image", 4)
    graph.output(graph.conv(graph.add("Relu", first), 2), graph.add("Sigmoid", first))
    return made_ready(graph, tmp_path)


def reference(model: ModelProto, folder: Path, name: str, tensors: Sequence[str] = ()) -> NetworkReference:
    return referred(model, tensors or [port.name for port in model.graph.output], SPEC, folder / f"{name}.onnx")


def changed(model: ModelProto, value: float) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(model)
    name = node_making(model, model.graph.output[0].name).input[2]
    put_constant(other, name, np.array([value, 0.0]))
    return other


def test_a_network_is_referred_to_by_what_lies_there(model, tmp_path):
    inner = node_making(model, model.graph.output[1].name).input[0]
    found = reference(model, tmp_path, "one", [inner])
    assert found.path == str(tmp_path / "one.onnx")
    assert found.spec.output.name == (inner,)
    (values,) = found.open().run(FEEDS[0]["image"][0])
    np.testing.assert_allclose(values, computed(model, FEEDS[0], [inner])[inner], atol=1e-5)
    assert reference(model, tmp_path, "two", [inner]).sha256 == found.sha256
    assert reference(changed(model, 1.0), tmp_path, "one").sha256 != found.sha256


def test_the_difference_is_the_largest_of_any_output(model, tmp_path):
    other = changed(model, 0.3)
    task = Difference(reference(model, tmp_path, "a"), reference(other, tmp_path, "b"), Reader(name="difference"))
    assert max(map(task, FRAMES)) == pytest.approx(apart(model, other, FEEDS), rel=1e-5)
    same = Difference(task.one, reference(model, tmp_path, "c"), task.reader)
    assert same(FRAMES[0]) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_on_one_side_alone_is_no_small_difference(value, model, tmp_path):
    bad = changed(model, value)
    one, other = reference(model, tmp_path, "a"), reference(bad, tmp_path, "b")
    assert Difference(one, other, Reader())(FRAMES[0]) == np.inf
    assert Difference(other, one, Reader())(FRAMES[0]) == np.inf
    assert Difference(other, reference(bad, tmp_path, "c"), Reader())(FRAMES[0]) == 0


def test_the_means_of_channels_add_up_over_frames(model, tmp_path):
    inner = node_making(model, model.graph.output[1].name).input[0]
    task = ChannelMeans(reference(model, tmp_path, "a", [inner]), 1, Reader(name="means"))
    expected = [computed(model, feed, [inner])[inner].astype(np.float64).mean(axis=(0, 2, 3)) for feed in FEEDS]
    np.testing.assert_allclose(task(FRAMES[:3]), np.sum(expected[:3], axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(task(FRAMES[3:]), expected[3], rtol=1e-5, atol=1e-6)


def test_the_distortion_is_the_power_of_values_and_of_errors(model, tmp_path):
    other = changed(model, 0.3)
    tensors = [port.name for port in model.graph.output]
    task = Distortion(reference(model, tmp_path, "a"), reference(other, tmp_path, "b"), Reader(name="distortion"))
    exact, rounded = (computed(one, FEEDS[1], []) for one in (model, other))
    expected = [[np.square(exact[name]).mean(), np.square(exact[name] - rounded[name]).mean()] for name in tensors]
    np.testing.assert_allclose(task(FRAMES[1]), expected, rtol=1e-5)
    assert task(FRAMES[1])[1, 1] == 0


def test_values_that_are_no_numbers_have_no_power(model, tmp_path):
    bad = changed(model, np.nan)
    task = Distortion(reference(model, tmp_path, "a"), reference(bad, tmp_path, "b"), Reader())
    assert np.isfinite(task(FRAMES[0])).all()


def test_frames_are_read_once_and_remembered(model, tmp_path):
    reader = Reader(name="once")
    task = ChannelMeans(reference(model, tmp_path, "a", [model.graph.output[0].name]), 1, reader)
    task(FRAMES)
    task(FRAMES)
    assert sorted(reader.read) == ["0", "1", "2", "3"]
    assert REMEMBERED >= 16


def test_a_frame_that_has_gone_meanwhile_is_named(model, tmp_path):
    task = ChannelMeans(reference(model, tmp_path, "a", [model.graph.output[0].name]), 1, Reader())
    with pytest.raises(
        CalibrationError, match=r"gone of scene: cannot be read any more \(no image\); give the command"
    ):
        task([CalibrationFrame("scene", "gone")])


def test_tasks_travel(model, tmp_path):
    one = reference(model, tmp_path, "a")
    for task in (Difference(one, one, Reader()), ChannelMeans(one, 1, Reader()), Distortion(one, one, Reader())):
        again = pickle.loads(pickle.dumps(task))
        assert again == task
        assert np.array_equal(
            again(FRAMES[:1] if isinstance(task, ChannelMeans) else FRAMES[0]),
            np.array(task(FRAMES[:1] if isinstance(task, ChannelMeans) else FRAMES[0])),
        )


def test_outputs_that_are_no_real_numbers_are_compared_too(tmp_path):
    graph = started()
    graph.output(graph.add("ArgMax", graph.conv("image", 3), axis=1))
    model = graph.model()
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    one = reference(model, tmp_path, "a")
    assert Difference(one, one, Reader())(FRAMES[0]) == 0
