"""Small networks with activations of every kind, and what their statistics are by definition."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
from onnx import NodeProto, helper
from PIL import Image

from helpers.networks import constant, mean_of_channels, write_network
from ncdb_dask.calibration.histogram import BINS
from ncdb_dask.calibration.job import StatisticsJob
from ncdb_dask.calibration.ranges import METHODS
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.statistics import ActivationStatistics

Array = np.ndarray
SCHEMES = (Scheme(), Scheme(signed=True, symmetric=True), Scheme(signed=True, symmetric=True, power_of_two=True))


def _layer(source: str, target: str, weights: Array, bias: Array) -> list[NodeProto]:
    pads = [weights.shape[2] // 2] * 4
    return [
        constant(f"{target}.w", weights),
        constant(f"{target}.b", bias),
        helper.make_node("Conv", [source, f"{target}.w", f"{target}.b"], [target], pads=pads),
    ]


def write_branches(path: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a network of branches that are joined, as a depth decoder has them; its tensor ``silent`` is constant."""
    rng = np.random.default_rng(seed)
    nodes = [
        *_layer("image", "first", rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)),
        helper.make_node("Relu", ["first"], ["active"]),
        *_layer("active", "large", 40 * rng.normal(size=(3, 4, 1, 1)), rng.normal(size=3)),
        constant("nothing", 0.0),
        helper.make_node("Mul", ["active", "nothing"], ["silent"]),
        helper.make_node("Concat", ["large", "active", "silent"], ["both"], axis=1),
        *_layer("both", "sum", rng.normal(size=(1, 11, 3, 3)), rng.normal(size=1)),
        helper.make_node("Sigmoid", ["sum"], ["depth"]),
    ]
    return write_network(path, nodes, **changes)


def write_fragile(path: Path) -> Path:
    """Write a network whose ``root`` is NaN, and ``inverse`` infinite, where a picture is darker than the middle."""
    nodes = [
        mean_of_channels(),
        constant("half", 0.5),
        helper.make_node("Sub", ["mean", "half"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Relu", ["above"], ["positive"]),
        helper.make_node("Reciprocal", ["positive"], ["inverse"]),
        helper.make_node("Add", ["root", "inverse"], ["depth"]),
    ]
    return write_network(path, nodes)


def paint(root: Path, key: tuple[str, str], value: int) -> None:
    """Make the picture of a frame one shade of grey."""
    Image.new("RGB", (16, 12), (value,) * 3).save(picture(root, key))


def picture(root: Path, key: tuple[str, str]) -> Path:
    return root / key[0] / "image_a6" / f"{key[1]}.png"


def tensor_of(root: Path, key: tuple[str, str]) -> Array:
    """What a network takes of a picture of its own size, (1, 3, 12, 16)."""
    with Image.open(picture(root, key)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return np.ascontiguousarray((pixels / np.float32(255)).transpose(2, 0, 1))[None]


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def activations(path: Path, tensor: Array) -> dict[str, Array]:
    """Run a network, and return its input and all of its outputs."""
    session = session_of(path)
    names = [port.name for port in session.get_outputs()]
    return {"image": tensor, **dict(zip(names, session.run(names, {"image": tensor}), strict=True))}


def bins_of(values: Array) -> Array:
    """Count values by the first 15 bits of their patterns."""
    counts = np.zeros(BINS, dtype=np.int64)
    bits = np.frombuffer(np.ascontiguousarray(values, dtype=np.float32).tobytes(), dtype=np.uint32)
    places, times = np.unique(bits // 2**17, return_counts=True)
    counts[places] = times
    return counts


def bits(found: ActivationStatistics) -> dict[str, Any]:
    """Everything that the statistics of tensors hold, as bytes."""
    return {
        name: (
            tensor.histogram.counts.tobytes(),
            np.array([tensor.histogram.low, tensor.histogram.high]).tobytes(),
            (tensor.histogram.nan, tensor.histogram.infinite),
            tensor.channels.axis,
            *(getattr(tensor.channels, part).tobytes() for part in ("low", "high", "mean", "square")),
        )
        for name, tensor in found.tensors.items()
    }


def ranges_of(found: ActivationStatistics) -> list[Mapping[str, Any]]:
    return [found.ranges(method, scheme) for method in METHODS for scheme in SCHEMES]


def assert_same(one: ActivationStatistics, other: ActivationStatistics, *, in_order: bool = True) -> None:
    """Two sets of statistics are the same to the last bit, and so are the ranges that follow."""
    assert list(one.tensors) == list(other.tensors)
    assert bits(one) == bits(other)
    assert ranges_of(one) == ranges_of(other)
    order = list if in_order else sorted
    assert order(one.frames) == order(other.frames)
    assert order(map(str, one.skipped)) == order(map(str, other.skipped))
    assert order(map(str, one.not_finite)) == order(map(str, other.not_finite))


@contextmanager
def frames_that_run() -> Iterator[list[tuple[str, str]]]:
    """Yield the keys of the frames that run in this process, as they do."""
    row, ran = StatisticsJob._row, []

    def counted(self: StatisticsJob, item: Any, crashed: bool) -> Any:
        ran.append((item["dataset_root"], item["stem"]))
        return row(self, item, crashed)

    with mock.patch.object(StatisticsJob, "_row", counted):
        yield ran
