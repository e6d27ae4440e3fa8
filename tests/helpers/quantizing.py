"""Quantizing graphs of `helpers.graphs` on random numbers, without files of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from helpers.graphs import Array, Graph, computed
from helpers.networks import describe
from ncdb_dask.calibration.activations import TensorStatistics
from ncdb_dask.calibration.channel_statistics import ChannelStatistics, ChannelSum
from ncdb_dask.calibration.histogram import Histogram
from ncdb_dask.calibration.observed import named_axes
from ncdb_dask.calibration.ranges import find_range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.quantization.prepare import prepared
from ncdb_dask.quantization.qdq import QdqNetwork, quantized
from ncdb_dask.quantization.target import Target

HEIGHT, WIDTH = 12, 16
Feeds = Sequence[Mapping[str, Array]]
Statistics = Mapping[str, TensorStatistics]
UINT8 = Target(Scheme())


def started(opset: int = 17, seed: int = 0) -> Graph:
    graph = Graph(opset, seed)
    graph.input(1, 3, HEIGHT, WIDTH)
    return graph


def pictures(number: int = 6, seed: int = 0) -> Feeds:
    """Smooth random pictures of values from 0 to 1."""
    random = np.random.default_rng(seed)
    coarse = random.random((number, 1, 3, HEIGHT // 4, WIDTH // 4))
    fine = np.kron(coarse, np.ones((4, 4))) + random.normal(0, 0.05, (number, 1, 3, HEIGHT, WIDTH))
    return [{"image": one.astype(np.float32)} for one in fine]


def made_ready(graph: Graph, work: Path) -> ModelProto:
    return prepared(graph.model(), InputSpec(width=WIDTH, height=HEIGHT, name="image"), work)


def measured(model: ModelProto, feeds: Feeds) -> Statistics:
    """Measure all activations in FP32."""
    tensors, axes = named_axes(model, "image", "nchw")
    counts = {name: list[Array]() for name in tensors}
    sums = {name: ChannelSum(axis) for name, axis in zip(tensors, axes, strict=True)}
    for feed in feeds:
        found = {**computed(model, feed, tensors[1:]), **feed}
        for name, axis in zip(tensors, axes, strict=True):
            values = np.ascontiguousarray(found[name], np.float32)
            counts[name].append(values.ravel())
            one = ChannelStatistics.of(values, axis, finite=bool(np.isfinite(values).all()))
            sums[name].add(one.low, one.high, one.mean, one.square)
    return {
        name: TensorStatistics(Histogram.of(np.concatenate(counts[name])), sums[name].statistics()) for name in tensors
    }


def channels_of(statistics: Statistics) -> dict[str, ChannelStatistics]:
    return {name: one.channels for name, one in statistics.items()}


def int8(model: ModelProto, feeds: Feeds, work: Path, target: Target = UINT8, method: str = "minmax") -> QdqNetwork:
    """Quantize a network that was made ready, with ranges from the feeds."""
    target = target.completed(model)
    ranges = {
        name: find_range(one.histogram, method, target.scheme_of(name)) for name, one in measured(model, feeds).items()
    }
    return quantized(model, ranges, target, work)


def ratio_db(model: ModelProto, made: ModelProto, feeds: Feeds) -> float:
    """Signal to quantization noise of all outputs, in dB."""
    power = noise = 0.0
    for feed in feeds:
        exact, rounded = (computed(one, feed, []) for one in (model, made))
        for name, values in exact.items():
            power += float(np.square(values.astype(np.float64)).sum())
            noise += float(np.square(values.astype(np.float64) - rounded[name]).sum())
    return float(10 * np.log10(power / noise))


def apart(one: ModelProto, other: ModelProto, feeds: Feeds) -> float:
    """The largest difference of an output, relative to its largest value."""
    found = []
    for feed in feeds:
        first, second = (computed(model, feed, []) for model in (one, other))
        found += [np.abs(first[name] - second[name]).max() / np.abs(first[name]).max() for name in first]
    return float(max(found))


def constant_of(model: ModelProto, name: str) -> Array:
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


def put_constant(model: ModelProto, name: str, values: Array) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


def node_making(model: ModelProto, tensor: str) -> NodeProto:
    return next(node for node in model.graph.node if tensor in node.output)


def depth_network(seed: int = 3, planted: float = 1.0, opset: int = 17) -> Graph:
    """A small decoder: a skip is joined with a branch that was made larger, whose values are so many times as large."""
    graph = started(opset, seed)
    skip = graph.add("Relu", graph.conv("image", 4))
    deep = graph.add("Relu", graph.conv(skip, 6, strides=[2, 2]))
    grown = graph.add("Relu", graph.conv_transpose(deep, 4))
    both = graph.add("Concat", graph.add("Mul", grown, graph.constant([planted])), skip, axis=1)
    weights = graph.random.normal(size=(4, 8, 3, 3)) / 8
    weights[:, :4] /= planted
    joined = graph.add("Conv", both, graph.constant(weights), graph.normal(4), pads=[1] * 4)
    graph.output(graph.conv(graph.add("Relu", joined), 1))
    return graph


def write_model(path: Path, model: ModelProto | Graph) -> Path:
    """Write a network and its model file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((model.model() if isinstance(model, Graph) else model).SerializeToString())
    describe(path.with_suffix(".toml"))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for statistics."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith("statistics/")}
