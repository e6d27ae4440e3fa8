"""Bias correction: the means of the quantized layers come to those of FP32, layer by layer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.graphs import Array, Graph, computed
from helpers.quantizing import (
    UINT8,
    channels_of,
    constant_of,
    int8,
    made_ready,
    measured,
    node_making,
    pictures,
    put_constant,
    started,
)
from onnx import ModelProto, numpy_helper

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.quantization.bias import BiasLayer, correctable, corrected
from ncdb_dask.quantization.target import Target

FEEDS = pictures(8)
PER_CHANNEL = Target(Scheme(), per_channel=True)


def means(model: ModelProto, tensor: str, axis: int) -> Array:
    """Run the network, and take the mean of each channel over the frames."""
    found = []
    for feed in FEEDS:
        values = np.moveaxis(computed(model, feed, [tensor])[tensor].astype(np.float64), axis, 0)
        found.append(values.reshape(len(values), -1).mean(axis=1))
    return np.mean(found, axis=0)


def network(work: Path, seed: int = 0) -> ModelProto:
    """A network whose small depthwise weights are rounded away: what is lost there is no noise, but a shift."""
    graph = started(seed=seed)
    first = graph.conv("image", 8)
    inner = graph.conv(graph.add("Relu", first), 8, groups=8)
    grown = graph.conv_transpose(graph.add("Relu", inner), 4)
    last = graph.conv(graph.add("Relu", grown), 2, kernel=1)
    graph.output(last)
    model = made_ready(graph, work)
    name = node_making(model, inner).input[1]
    factors = np.array([400.0, 1, 1, 1, 1, 1, 1, 1]).reshape(-1, 1, 1, 1)
    put_constant(model, name, np.abs(constant_of(model, name)) * factors * 0.01)
    put_constant(model, node_making(model, inner).input[2], np.zeros(8))
    return model


def layers_of(model: ModelProto) -> list[BiasLayer]:
    return correctable(model, channels_of(measured(model, FEEDS)))


def shifts(model: ModelProto, made: ModelProto) -> list[float]:
    """How far the means of each layer are from FP32, relative to their size."""
    nodes = {node.name: node for node in made.graph.node}
    found = []
    for layer in layers_of(model):
        now = means(made, nodes[layer.node].output[0], layer.axis)
        found.append(float(np.sqrt(np.mean((now - layer.expected) ** 2) / np.mean(layer.expected**2))))
    return found


@pytest.mark.parametrize("target", [UINT8, PER_CHANNEL], ids=["per tensor", "per channel"])
def test_the_means_of_all_layers_come_to_those_of_fp32(target, tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path, target).model
    before = shifts(model, made)
    steps = list(corrected(made, layers_of(model), means))
    after = shifts(model, made)
    assert len(before) == len(steps) == 4
    assert max(after) < 1e-3
    assert all(late < early / 3 for early, late in zip(before, after, strict=True))


def test_a_layer_whose_small_weights_are_rounded_away_gets_its_means_back(tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path).model
    layer, node = layers_of(model)[1], [node for node in made.graph.node if node.op_type == "Conv"][1]
    _, step = integer_bias(made, node.output[0])
    before = means(made, node.output[0], 1) - layer.expected
    assert np.abs(before).max() > 5 * step
    list(corrected(made, layers_of(model), means))
    after = means(made, node.output[0], 1) - layer.expected
    assert np.abs(after).max() < 0.51 * step  # as near as its integers allow


def test_every_layer_is_corrected_with_those_before_it_corrected(tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path).model
    order = [node.output[0] for node in model.graph.node if node.op_type.startswith("Conv")]
    asked = []

    def watched(now: ModelProto, tensor: str, axis: int) -> Array:
        assert now is made
        asked.append(tensor)
        assert len(taken) == len(asked) - 1  # the step before is done
        return means(now, tensor, axis)

    taken = []
    layers = layers_of(model)
    for step in corrected(made, layers, watched):
        taken.append(step)
    assert [tensor.removesuffix("_QuantizeLinear_Input") for tensor in asked] == order
    assert [step["layer"] for step in taken] == [layer.node for layer in layers]
    assert [step["layer"] for step in taken] == [node_making(model, name).name for name in order]


def test_the_shift_is_told_relative_to_the_means(tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path).model
    first, *_ = shifts(model, made)
    steps = list(corrected(made, layers_of(model), means))
    assert steps[0]["shift"] == pytest.approx(first)
    zero = BiasLayer(layers_of(model)[0].node, 1, np.zeros(8))
    (step,) = corrected(made, [zero], lambda *_: np.full(8, -2.0))
    assert step["shift"] == 2.0


def integer_bias(made: ModelProto, tensor: str) -> tuple[Array, Array]:
    """Codes and steps of the bias of the layer that makes a tensor."""
    dequantize = node_making(made, node_making(made, tensor).input[2])
    codes, steps = (constant_of(made, name) for name in dequantize.input[:2])
    return codes, steps


@pytest.mark.parametrize("target", [UINT8, PER_CHANNEL], ids=["per tensor", "per channel"])
def test_a_bias_of_integers_moves_by_whole_steps(target, tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path, target).model
    name = next(node.output[0] for node in made.graph.node if node.op_type == "Conv")
    codes, steps = integer_bias(made, name)
    assert codes.dtype == np.int32
    assert steps.size == (8 if target.per_channel else 1)
    wanted = np.linspace(-10, 10, 8) * 1.3 * steps
    layer = BiasLayer(node_making(made, name).name, 1, wanted)
    list(corrected(made, [layer], lambda *_: np.zeros(8)))
    moved, same = integer_bias(made, name)
    assert moved.dtype == np.int32
    np.testing.assert_array_equal(moved - codes, np.rint(np.linspace(-10, 10, 8) * 1.3))
    np.testing.assert_array_equal(same, steps)


def test_a_bias_stays_within_what_its_integers_hold(tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path).model
    name = next(node.output[0] for node in made.graph.node if node.op_type == "Conv")
    layer = BiasLayer(node_making(made, name).name, 1, np.array([1e30, -1e30, *[0.0] * 6]))
    list(corrected(made, [layer], lambda *_: np.zeros(8)))
    limits = np.iinfo(np.int32)
    np.testing.assert_array_equal(integer_bias(made, name)[0][:2], [limits.max, limits.min])


def test_a_bias_of_real_numbers_moves_by_as_much_as_it_should(tmp_path):
    graph = started()
    flat = graph.add("Flatten", graph.conv("image", 2))
    last = graph.gemm(flat, 3)
    graph.output(last)
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(), operators=("Conv",))).model
    name = node_making(made, last).input[2]
    before = constant_of(made, name)
    layer = BiasLayer(node_making(made, last).name, 1, np.array([1.0, 2.0, 3.0]))
    list(corrected(made, [layer], lambda *_: np.array([0.5, 2.0, 4.0])))
    after = constant_of(made, name)
    np.testing.assert_allclose(after - before, [0.5, 0.0, -1.0], rtol=1e-6, atol=1e-6)
    assert after.dtype == np.float32


def test_a_row_of_biases_and_one_bias_for_all_channels(tmp_path):
    for shape in ((1, 3), (1,)):
        graph = started()
        flat = graph.add("Flatten", graph.add("AveragePool", "image", kernel_shape=[6, 8], strides=[6, 8]))
        last = graph.add("Gemm", flat, graph.normal(3, 12), graph.normal(*shape), transB=1)
        graph.output(last)
        model = made_ready(graph, tmp_path)
        made = int8(model, FEEDS, tmp_path).model
        layer = layers_of(model)[0]
        output = next(node.output[0] for node in made.graph.node if node.op_type == "Gemm")
        old = means(made, output, 1)
        wanted = BiasLayer(layer.node, 1, old + np.array([0.5, 0.0, -0.5]))
        list(corrected(made, [wanted], means))
        np.testing.assert_allclose(means(made, output, 1) - old, [0.5, 0.0, -0.5], atol=1e-3)


def test_an_output_of_the_network_is_corrected_before_it_is_rounded(tmp_path):
    model = network(tmp_path)
    last = model.graph.output[0].name
    made = int8(model, FEEDS, tmp_path).model
    exact, old = means(model, last, 1), means(made, last, 1)
    list(corrected(made, layers_of(model), means))
    new = means(made, last, 1)
    assert np.abs(new - exact).max() < np.abs(old - exact).max() / 2


# What has a bias of its own


def shared(graph: Graph) -> list[str]:
    bias = graph.normal(4)
    first = graph.add("Conv", "image", graph.normal(4, 3, 1, 1), bias)
    graph.output(graph.add("Conv", first, graph.normal(4, 4, 1, 1), bias))
    return []


def computed_bias(graph: Graph) -> list[str]:
    bias = graph.add("ReduceMean", "image", axes=[0, 2, 3], keepdims=0)
    graph.output(graph.add("Conv", "image", graph.normal(3, 3, 1, 1), bias))
    return []


def no_bias(graph: Graph) -> list[str]:
    graph.output(graph.conv("image", 4, bias=False))
    return []


def factor(graph: Graph) -> list[str]:
    graph.output(graph.gemm(graph.add("Flatten", "image"), 4, beta=0.5))
    return []


def plain(graph: Graph) -> list[str]:
    first = graph.conv("image", 4)
    graph.output(graph.add("MatMul", graph.gemm(graph.add("Flatten", first), 4), graph.normal(4, 2)))
    return ["Conv", "Gemm"]


@pytest.mark.parametrize("build", [shared, computed_bias, no_bias, factor, plain])
def test_which_layers_have_a_bias_that_moves_nothing_else(build: Callable[[Graph], list[str]]):
    graph = started()
    expected = build(graph)
    model = graph.model()
    names = {node.name: node.op_type for node in model.graph.node}
    assert [names[layer.node] for layer in layers_of(model)] == expected


def test_a_layer_whose_means_are_not_known_is_left_alone(tmp_path):
    model = network(tmp_path)
    statistics = channels_of(measured(model, FEEDS))
    gone = next(node.output[0] for node in model.graph.node if node.op_type == "ConvTranspose")
    del statistics[gone]
    assert len(correctable(model, statistics)) == 3


def test_nothing_but_biases_is_changed(tmp_path):
    model = network(tmp_path)
    made = int8(model, FEEDS, tmp_path).model
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    nodes = [node.SerializeToString() for node in made.graph.node]
    list(corrected(made, layers_of(model), means))
    assert [node.SerializeToString() for node in made.graph.node] == nodes
    for tensor in made.graph.initializer:
        changed = not np.array_equal(numpy_helper.to_array(tensor), before[tensor.name])
        assert changed <= (before[tensor.name].dtype == np.int32)
