"""The expected noise: what it says, how it changes with the scales, and that it can be minimized."""

import numpy as np
import pytest
from helpers.graphs import Array, Graph, computed
from helpers.quantizing import (
    channels_of,
    constant_of,
    made_ready,
    measured,
    node_making,
    pictures,
    put_constant,
    started,
)
from onnx import ModelProto, helper

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.channels import HELD
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.noise import Noise, ValuesTerm, WeightsTerm

FEEDS = pictures(4)
UINT8, INT8 = Scheme(), Scheme(signed=True, symmetric=True)


def decoder() -> Graph:
    """A network with all kinds of layers."""
    graph = started()
    skip = graph.add("Relu", graph.conv("image", 6))
    deep = graph.add("Relu", graph.conv(skip, 8, strides=[2, 2]))
    deep = graph.add("Relu", graph.conv(deep, 8, groups=8))
    grown = graph.add("LeakyRelu", graph.conv_transpose(deep, 4, groups=2), alpha=0.1)
    both = graph.add("Concat", grown, skip, axis=1)
    last = graph.add("AveragePool", graph.conv(both, 4), kernel_shape=[4, 4], strides=[4, 4])
    graph.output(graph.gemm(graph.add("Flatten", last), 3, transposed=False))
    return graph


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    return made_ready(decoder(), tmp_path_factory.mktemp("work"))


def noise_of(model: ModelProto, scheme: Scheme = UINT8, per_channel: bool = False, *, only: str = "") -> Noise:
    statistics = channels_of(measured(model, FEEDS))
    names = [only] if only else [*statistics]
    return Noise.of(find_channels(Topology.of(model)), statistics, dict.fromkeys(names, scheme), per_channel)


SETTINGS = pytest.mark.parametrize(
    ("scheme", "per_channel"), [(UINT8, False), (UINT8, True), (INT8, False), (INT8, True)]
)


# What can be minimized


@SETTINGS
def test_the_gradient_is_that_of_finite_differences(scheme, per_channel, model):
    noise, random = noise_of(model, scheme, per_channel), np.random.default_rng(0)
    for size in (0.0, 1.0):
        theta = random.normal(size=noise.count) * size
        theta[HELD] = 0
        _, gradient = noise.at(theta)
        assert gradient[HELD] == 0
        for _ in range(5):
            along = random.normal(size=noise.count)
            along[HELD] = 0
            step = 1e-5
            slope = (noise.at(theta + step * along)[0] - noise.at(theta - step * along)[0]) / (2 * step)
            assert gradient @ along == pytest.approx(slope, rel=1e-5)


@SETTINGS
def test_it_is_convex_in_the_logarithms_of_the_scales(scheme, per_channel, model):
    noise, random = noise_of(model, scheme, per_channel), np.random.default_rng(1)
    for _ in range(40):
        one, other = random.normal(size=(2, noise.count)) * 3
        one[HELD] = other[HELD] = 0
        part = random.random()
        between = noise.at(part * one + (1 - part) * other)[0]
        assert between <= (part * noise.at(one)[0] + (1 - part) * noise.at(other)[0]) * (1 + 1e-12)


@SETTINGS
def test_a_factor_for_a_whole_group_of_tensors_changes_nothing(scheme, per_channel, model):
    """All channels of a ReLU's output and input times ten: the step grows with them, and the weights take it up."""
    noise = noise_of(model, scheme, per_channel)
    channels = find_channels(Topology.of(model))
    theta = np.random.default_rng(2).normal(size=noise.count)
    theta[HELD] = 0
    plain = noise.at(theta)[0]
    relu = next(node.output[0] for node in model.graph.node if node.op_type == "AveragePool")
    moved = theta.copy()
    moved[np.unique(channels.resolved(channels.of[relu][1]))] += np.log(10)
    assert noise.at(moved)[0] == pytest.approx(plain, rel=1e-9)
    single = theta.copy()
    single[channels.resolved(channels.of[relu][1])[0]] += np.log(10)
    assert noise.at(single)[0] != pytest.approx(plain, rel=1e-3)


# What it says


def uniform(random: np.random.Generator, step: float, values: Array) -> Array:
    return random.uniform(-step / 2, step / 2, values.shape).astype(np.float32)


def relative_noise(model: ModelProto, source: str, target: str, step: float, power: Array) -> float:
    """Add rounding noise to a tensor, and measure it at the outputs of the layer after it, relative to their power."""
    random, found = np.random.default_rng(3), []
    alone = layer_alone(model, source, target)
    for feed in FEEDS:
        values = {**computed(model, feed, [source]), **feed}[source]
        exact = computed(alone, {source: values}, [])[target]
        for _ in range(8):
            moved = computed(alone, {source: values + uniform(random, step, values)}, [])[target]
            found.append(np.square(moved - exact).mean(axis=(0, 2, 3)) / power)
    return float(np.mean(found))


def layer_alone(model: ModelProto, source: str, target: str) -> ModelProto:
    """Cut the network down to the node between two tensors."""
    cut = ModelProto()
    cut.CopyFrom(model)
    node = node_making(model, target)
    shape = next(port for port in (*model.graph.value_info, *model.graph.input) if port.name == source)
    del cut.graph.node[:], cut.graph.input[:], cut.graph.output[:], cut.graph.value_info[:]
    cut.graph.node.append(node)
    cut.graph.input.append(shape)
    cut.graph.output.append(helper.make_empty_tensor_value_info(target))
    return cut


@pytest.mark.parametrize("kind", ["Conv", "Conv with stride", "depthwise", "ConvTranspose"])
def test_the_noise_of_values_is_what_random_rounding_makes(kind, tmp_path):
    graph = started()
    taken = graph.conv("image", 8)
    made = {
        "Conv": lambda: graph.conv(taken, 6),
        "Conv with stride": lambda: graph.conv(taken, 6, strides=[2, 2]),
        "depthwise": lambda: graph.conv(taken, 8, groups=8),
        "ConvTranspose": lambda: graph.conv_transpose(taken, 6),
    }[kind]()
    graph.output(made)
    model = made_ready(graph, tmp_path)
    about = measured(model, FEEDS)
    noise = noise_of(model, only=taken)
    expected = noise.terms[taken].add(np.zeros(noise.count), np.zeros(noise.count))
    histogram = about[taken].histogram
    step = (histogram.high - min(histogram.low, 0)) / 255
    found = relative_noise(model, taken, made, step, about[made].channels.square)
    # The smooth maximum is a little too high, and borders get a little less noise.
    assert 0.95 < expected / found < 1.35


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["Conv", "depthwise", "ConvTranspose"])
def test_the_noise_of_weights_is_what_random_rounding_makes(kind, per_channel, tmp_path):
    graph = started(seed=5)
    taken = graph.conv("image", 8)
    made = {
        "Conv": lambda: graph.conv(taken, 6),
        "depthwise": lambda: graph.conv(taken, 8, groups=8),
        "ConvTranspose": lambda: graph.conv_transpose(taken, 6),
    }[kind]()
    graph.output(made)
    model = made_ready(graph, tmp_path)
    about, noise = measured(model, FEEDS), noise_of(model, per_channel=per_channel)
    name = node_making(model, made).input[1]
    expected = noise.terms[f"weights of {made}"].add(np.zeros(noise.count), np.zeros(noise.count))
    found = weights_noise(model, taken, made, name, about[made].channels.square, per_channel)
    # Neighbouring values are alike, and errors of weights add up in them or cancel: a factor, not an equation.
    assert 1 / 1.5 < expected / found < 1.8


def weights_noise(model: ModelProto, source: str, target: str, name: str, power: Array, per_channel: bool) -> float:
    random, found = np.random.default_rng(4), []
    weights = constant_of(model, name)
    axis = 0 if node_making(model, target).op_type == "Conv" else 1
    others = tuple(place for place in range(4) if place != axis) if per_channel else None
    step = np.abs(weights).max(axis=others, keepdims=True) / 127
    alone = layer_alone(model, source, target)
    for feed in FEEDS:
        values = computed(model, feed, [source])[source]
        exact = computed(alone, {source: values}, [])[target]
        for _ in range(40):
            put_constant(alone, name, weights + random.uniform(-0.5, 0.5, weights.shape) * step)
            moved = computed(alone, {source: values}, [])[target]
            found.append(np.square(moved - exact).mean(axis=(0, 2, 3)) / power)
        put_constant(alone, name, weights)
    return float(np.mean(found))


def test_sixteen_bits_make_as_good_as_none(model):
    relu = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    few, many = (
        noise.terms[relu].add(np.zeros(noise.count), np.zeros(noise.count))
        for noise in (noise_of(model, scheme, only=relu) for scheme in (Scheme(), Scheme(16)))
    )
    assert few / many == pytest.approx((65535 / 255) ** 2)


def test_a_symmetric_grid_wastes_half_on_what_is_never_negative(model):
    relu = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    one, other = (
        noise.terms[relu].add(np.zeros(noise.count), np.zeros(noise.count))
        for noise in (noise_of(model, scheme, only=relu) for scheme in (UINT8, INT8))
    )
    assert other / one == pytest.approx((2 * 255 / 254) ** 2)


# What counts


def test_only_tensors_that_are_rounded_count(model):
    relu = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    noise, nothing = noise_of(model, only=relu), noise_of(model, only="no such tensor")
    weights = {name for name, term in noise.terms.items() if isinstance(term, WeightsTerm)}
    assert {*noise.terms} == {relu} | weights
    assert {*nothing.terms} == weights
    assert len(weights) == 6
    theta = np.zeros(noise.count)
    assert noise.at(theta)[0] > nothing.at(theta)[0] > 0


def test_tensors_whose_channels_are_all_held_have_no_term(model):
    noise = noise_of(model)
    assert "image" not in noise.terms
    assert model.graph.output[0].name not in noise.terms


def test_scales_a_channel_leave_the_weights_of_grouped_transposed_layers_alone(model):
    """ONNX Runtime's tool has no scale for each of their outputs."""
    grouped = next(f"weights of {node.output[0]}" for node in model.graph.node if node.op_type == "ConvTranspose")
    terms = noise_of(model, per_channel=True).terms
    assert {name for name, term in terms.items() if isinstance(term, WeightsTerm) and not term.per_channel} == {grouped}


def test_what_is_always_zero_has_no_noise(tmp_path):
    graph = started()
    weights = graph.random.normal(size=(4, 3, 1, 1))
    weights[1] = 0
    dead = graph.add("Relu", graph.add("Conv", "image", graph.constant(weights), graph.constant([0.0, -1, 0, 0])))
    graph.output(graph.conv(dead, 2))
    model = made_ready(graph, tmp_path)
    term = noise_of(model, only=dead).terms[dead]
    assert isinstance(term, ValuesTerm)
    assert term.weight[1] == 0
    assert (np.delete(term.weight, 1) > 0).all()


def test_values_that_are_no_numbers_do_not_count(tmp_path):
    graph = started()
    root = graph.add("Sqrt", graph.add("Sub", graph.conv("image", 4), graph.constant(0.3)))
    graph.output(graph.conv(graph.add("Relu", root), 2))
    noise = noise_of(made_ready(graph, tmp_path))
    value, gradient = noise.at(np.zeros(noise.count))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_network_without_layers_makes_none(tmp_path):
    graph = started()
    graph.output(graph.add("Relu", "image"))
    noise = noise_of(made_ready(graph, tmp_path))
    assert noise.at(np.zeros(noise.count))[0] == 0
