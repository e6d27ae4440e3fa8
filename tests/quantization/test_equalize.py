"""Equalization: a spread that was planted is found and undone, what stops it is named, and the function stays."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers.graphs import Array, Graph
from helpers.quantizing import (
    apart,
    channels_of,
    constant_of,
    int8,
    made_ready,
    measured,
    node_making,
    pictures,
    put_constant,
    ratio_db,
    started,
)
from onnx import ModelProto

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.model.channels import HELD
from ncdb_dask.quantization.equalize import Equalized, equalized, minimum, spread
from ncdb_dask.quantization.noise import Noise, ValuesTerm, WeightsTerm
from ncdb_dask.quantization.target import Target

FEEDS = pictures(6)
SPREAD = 100.0
SEEDS = (3, 4, 5)
SCHEMES = {"uint8": Scheme(), "int8 symmetric": Scheme(signed=True, symmetric=True)}


# The minimum


def brute(noise: Noise, reach: float = 4.0, rounds: int = 7) -> float:
    """The least noise on a grid that closes in on the best point so far."""
    size = noise.count - 1
    best, step = np.zeros(size), reach
    for _ in range(rounds):
        axes = [np.linspace(center - step, center + step, 9) for center in best]
        points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, size)
        values = [noise.at(np.concatenate([[0.0], point]))[0] for point in points]
        best, step = points[int(np.argmin(values))], step / 3
    return float(min(values))


def log(*values: float) -> Array:
    return np.log(np.array(values))


def two_layers(ranges: tuple[float, ...], per_channel: bool) -> Noise:
    """Two channels that one layer makes and another one takes."""
    first = WeightsTerm(
        log(1.0, 2.0, 0.5, 3.0).reshape(1, 2, 2),
        np.array([[1, 2]]),
        np.array([[HELD, HELD]]),
        np.array([[1.0, 0.3]]),
        np.array([[1.0, 1.0]]),
        per_channel,
    )
    second = WeightsTerm(
        log(0.2, 1.0).reshape(1, 1, 2),
        np.array([[HELD]]),
        np.array([[1, 2]]),
        np.array([[2.0]]),
        np.array([[0.5, 4.0]]),
        per_channel,
    )
    values = ValuesTerm((log(*ranges), np.full(2, -1e3)), np.array([1, 2]), np.array([1.0, 2.0]))
    return Noise({"first": first, "second": second, "values": values}, 3)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("ranges", [(1.0, 1.0), (50.0, 0.5), (0.01, 30.0)])
def test_the_minimum_is_that_of_a_search_by_brute_force(ranges, per_channel):
    noise = two_layers(ranges, per_channel)
    theta = minimum(noise)
    assert theta[HELD] == 0
    least = brute(noise)
    assert noise.at(theta)[0] <= least * 1.005
    assert noise.at(theta)[0] < noise.at(np.zeros(3))[0]


def test_channels_that_nothing_distinguishes_keep_the_scale_one():
    term = ValuesTerm((np.zeros(3), np.zeros(3)), np.array([1, 2, 3]), np.ones(3))
    assert np.abs(minimum(Noise({"values": term}, 4))).max() < 0.01


def test_what_is_only_rounding_in_a_slope_moves_no_scale():
    """A tensor of a single channel makes the same noise at any scale."""
    random = np.random.default_rng(0)
    terms = {
        str(number): ValuesTerm((random.normal(size=1), random.normal(size=1)), np.array([number]), random.random(1))
        for number in range(1, 40)
    }
    noise = Noise(terms, 40)
    theta = minimum(noise)
    assert np.abs(noise.at(np.zeros(40))[1]).max() > 0  # which is what Adam would follow
    assert np.abs(theta).max() < 0.2


@pytest.mark.parametrize("weight", [0.0, np.nan])
def test_where_there_is_nothing_to_gain_or_to_know_all_scales_are_one(weight):
    term = ValuesTerm((np.zeros(2), np.zeros(2)), np.array([1, 2]), np.full(2, weight))
    assert not minimum(Noise({"values": term}, 3)).any()


# A spread that was planted


def multiply(model: ModelProto, tensor: str, factors: Array) -> None:
    """Multiply the channels that a layer makes; its bias too."""
    node = node_making(model, tensor)
    axis = 1 if node.op_type == "ConvTranspose" else 0
    shape = [-1 if place == axis else 1 for place in range(4)]
    put_constant(model, node.input[1], constant_of(model, node.input[1]) * factors.reshape(shape))
    put_constant(model, node.input[2], constant_of(model, node.input[2]) * factors)


def divide(model: ModelProto, tensor: str, factors: Array, start: int = 0, depthwise: bool = False) -> None:
    """Divide the weights of a layer for the channels that it takes from `start` on."""
    node = node_making(model, tensor)
    weights = constant_of(model, node.input[1]).copy()
    if depthwise:
        weights /= factors.reshape(-1, 1, 1, 1)
    else:
        weights[:, start : start + len(factors)] /= factors.reshape(1, -1, 1, 1)
    put_constant(model, node.input[1], weights)


def few(size: int) -> Array:
    """One channel in four a hundred times as large as the others."""
    return np.where(np.arange(size) % 4 == 0, SPREAD, 1.0)


def chain(graph: Graph) -> Callable[[ModelProto], None]:
    first = graph.conv("image", 8)
    last = graph.conv(graph.add("Relu", first), 4)
    graph.output(last)

    def plant(model: ModelProto) -> None:
        multiply(model, first, few(8))
        divide(model, last, few(8))

    return plant


def depthwise(graph: Graph) -> Callable[[ModelProto], None]:
    first = graph.conv("image", 8)
    inner = graph.conv(graph.add("Relu", first), 8, groups=8)
    last = graph.conv(graph.add("LeakyRelu", inner, alpha=0.1), 4, kernel=1)
    graph.output(last)

    def plant(model: ModelProto) -> None:
        multiply(model, first, few(8))
        divide(model, inner, few(8), depthwise=True)
        multiply(model, inner, few(8)[::-1].copy())
        divide(model, last, few(8)[::-1].copy())

    return plant


def residual(graph: Graph) -> Callable[[ModelProto], None]:
    """Two sums in a row: all members share their scales."""
    first = graph.conv("image", 8)
    one = graph.conv(graph.add("Relu", first), 8)
    total = graph.add("Add", first, one)
    two = graph.conv(total, 8)
    again = graph.add("Add", total, two)
    last = graph.conv(again, 4)
    graph.output(last)

    def plant(model: ModelProto) -> None:
        for name in (first, one, two):
            multiply(model, name, few(8))
        for name in (one, two, last):
            divide(model, name, few(8))

    return plant


def decoder(graph: Graph, grow: Callable[[str], tuple[str, str]]) -> Callable[[ModelProto], None]:
    """A Concat of a skip and of a branch that was made larger, as decoders of depth networks have it."""
    skip = graph.add("Relu", graph.conv("image", 6))
    deep = graph.add("Relu", graph.conv(skip, 8, strides=[2, 2]))
    producer, branch = grow(deep)
    both = graph.add("Concat", branch, skip, axis=1)
    consumer = graph.conv(both, 8)
    graph.output(graph.conv(graph.add("Relu", consumer), 2))
    size = graph.shapes[producer][1]

    def plant(model: ModelProto) -> None:
        multiply(model, producer, np.full(size, SPREAD))
        divide(model, consumer, np.full(size, SPREAD))

    return plant


def by_transposed(graph: Graph) -> Callable[[ModelProto], None]:
    def grow(deep: str) -> tuple[str, str]:
        made = graph.conv_transpose(deep, 6)
        return made, graph.add("Relu", made)

    return decoder(graph, grow)


def by_resize(graph: Graph, mode: str = "linear") -> Callable[[ModelProto], None]:
    def grow(deep: str) -> tuple[str, str]:
        made = graph.conv(deep, 6)
        active = graph.add("PRelu", made, graph.constant(np.full((6, 1, 1), 0.2)))
        return made, graph.add("Resize", active, "", graph.constant([1, 1, 2, 2]), mode=mode)

    return decoder(graph, grow)


def by_nearest(graph: Graph) -> Callable[[ModelProto], None]:
    return by_resize(graph, "nearest")


def through_pools(graph: Graph) -> Callable[[ModelProto], None]:
    first = graph.conv("image", 8)
    pooled = graph.add("MaxPool", graph.add("Relu", first), kernel_shape=[2, 2], strides=[2, 2])
    padded = graph.add("Pad", pooled, graph.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    mean = graph.add("AveragePool", padded, kernel_shape=[2, 2], strides=[1, 1])
    last = graph.conv(mean, 4)
    graph.output(last)

    def plant(model: ModelProto) -> None:
        multiply(model, first, few(8))
        divide(model, last, few(8))

    return plant


PLANTS: Mapping[str, Callable[[Graph], Callable[[ModelProto], None]]] = {
    "channels of a chain": chain,
    "depthwise": depthwise,
    "residual sums": residual,
    "branch by ConvTranspose": by_transposed,
    "branch by Resize linear": by_resize,
    "branch by Resize nearest": by_nearest,
    "through pools and pads": through_pools,
}


def balanced(model: ModelProto, work: Path, target: Target) -> Equalized:
    """Equalize by what is rounded, as the backend does."""
    statistics = measured(model, FEEDS)
    owners = int8(model, FEEDS, work, target).owners
    schemes = {name: target.scheme_of(owner) for name, owner in owners.items()}
    return equalized(model, channels_of(statistics), schemes, target.per_channel)


def quality(model: ModelProto, exact: ModelProto, work: Path, target: Target) -> float:
    """Signal to noise of the quantized network against FP32, in dB."""
    return ratio_db(exact, int8(model, FEEDS, work, target).model, FEEDS)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PLANTS)
def test_a_hundredfold_spread_is_undone(name, scheme, tmp_path):
    target, found = Target(SCHEMES[scheme]), []
    for seed in SEEDS:  # of a single network, luck in rounding the weights decides as well
        graph = started(seed=seed)
        plant = PLANTS[name](graph)
        clean, model = made_ready(graph, tmp_path), made_ready(graph, tmp_path)
        plant(model)
        assert apart(clean, model, FEEDS) < 1e-5  # a spread, and the same function
        before = model.SerializeToString()
        result, best = balanced(model, tmp_path, target), balanced(clean, tmp_path, target)
        assert model.SerializeToString() == before
        assert apart(model, result.model, FEEDS) < 1e-5
        noise = result.report["expected_noise"]
        assert noise["after"] < noise["before"] / 5
        # Where it starts from makes no difference.
        assert noise["after"] == pytest.approx(best.report["expected_noise"]["after"], rel=0.02)
        off, on = quality(model, model, tmp_path, target), quality(result.model, model, tmp_path, target)
        assert on > off + 6
        found.append((quality(clean, clean, tmp_path, target), off, on))
    without, off, on = np.mean(found, axis=0)
    assert without - off > 10  # the spread costs a lot: ten times the noise, or more
    assert on > without - 1  # and all of it comes back


def test_scales_a_channel_for_weights_leave_activations_to_balance(tmp_path):
    graph, target = started(seed=3), Target(Scheme(), per_channel=True)
    plant = by_transposed(graph)
    model = made_ready(graph, tmp_path)
    plant(model)
    result = balanced(model, tmp_path, target)
    assert apart(model, result.model, FEEDS) < 1e-5
    assert quality(result.model, model, tmp_path, target) > quality(model, model, tmp_path, target) + 8


def test_the_report_tells_of_every_tensor_with_channels(tmp_path):
    graph = started(seed=3)
    plant = chain(graph)
    model = made_ready(graph, tmp_path)
    plant(model)
    report = balanced(model, tmp_path, Target(Scheme())).report
    rows = {row["tensor"]: row for row in report["tensors"]}
    conv, relu, last = (node.output[0] for node in model.graph.node)
    assert {*rows} == {conv, relu, last}
    assert rows[relu]["channels"] == 8
    assert rows[relu]["spread_before"] > 30
    assert rows[relu]["spread_after"] < 6
    assert (rows[relu]["held"], rows[relu]["held_by"]) == (0, [])
    assert (rows[last]["held"], rows[last]["held_by"]) == (4, ["the network's output"])
    assert rows[last]["spread_before"] == rows[last]["spread_after"]
    assert report["scales"]["least"] < 0.2
    assert report["scales"]["greatest"] > 1


# What stops it


def stopped(kind: str) -> tuple[Graph, str]:
    """A spread before a node that no scale passes."""
    graph = started(seed=3)
    first = graph.conv("image", 8)
    if kind == "ReLU6":
        active = graph.add("Clip", first, graph.constant(0.0), graph.constant(6.0))
    elif kind == "InstanceNormalization":
        active = graph.add(kind, first, graph.constant(np.ones(8)), graph.constant(np.zeros(8)))
    elif kind == "Resize cropped":
        active = graph.add(
            "Resize",
            first,
            graph.constant([0, 0, 0, 0, 1, 1, 1, 1]),
            graph.constant([1, 1, 2, 2]),
            coordinate_transformation_mode="tf_crop_and_resize",
        )
    elif kind == "Pad with a value":
        active = graph.add("Pad", first, graph.integers(0, 0, 1, 1, 0, 0, 1, 1), graph.constant(0.5))
    elif kind == "square":
        active = graph.add("Mul", first, first)
    elif kind == "Softmax":
        active = graph.add("Softmax", first, axis=1)
    else:
        active = graph.add(kind, first)
    graph.output(graph.conv(active, 4))
    return graph, first


STOPPERS = (
    *("ReLU6", "Elu", "Sigmoid", "Softmax", "Tanh", "HardSwish", "Softplus", "Erf"),
    *("InstanceNormalization", "Resize cropped", "Pad with a value", "square"),
)


@pytest.mark.parametrize("kind", STOPPERS)
def test_what_no_scale_passes_is_named_and_left_alone(kind, tmp_path):
    graph, first = stopped(kind)
    model = made_ready(graph, tmp_path)
    maker = node_making(model, first)
    multiply(model, first, few(8))
    result = balanced(model, tmp_path, Target(Scheme()))
    row = next(row for row in result.report["tensors"] if row["tensor"] == first)
    stopper = next(node for node in model.graph.node if first in node.input)
    assert row["held"] == 8
    assert row["held_by"] == [f"{stopper.op_type} {stopper.name}"]
    assert row["spread_before"] == row["spread_after"] > 20
    for name in maker.input[1:]:
        np.testing.assert_array_equal(constant_of(result.model, name), constant_of(model, name))
    assert apart(model, result.model, FEEDS) < 1e-5


def test_an_output_in_the_middle_of_the_network_is_left_alone(tmp_path):
    graph = started()
    first = graph.conv("image", 8)
    active = graph.add("Relu", first)
    graph.output(graph.conv(active, 4), active)
    model = made_ready(graph, tmp_path)
    multiply(model, first, few(8))
    result = balanced(model, tmp_path, Target(Scheme()))
    rows = {row["tensor"]: row for row in result.report["tensors"]}
    assert rows[active]["held_by"] == rows[first]["held_by"] == ["the network's output"]
    assert apart(model, result.model, FEEDS) < 1e-6


def test_one_branch_that_is_held_leaves_the_others_free(tmp_path):
    graph = started(seed=3)
    free, held = graph.conv("image", 6), graph.add("Sigmoid", graph.conv("image", 2))
    last = graph.conv(graph.add("Concat", graph.add("Relu", free), held, axis=1), 4)
    graph.output(last)
    model = made_ready(graph, tmp_path)
    multiply(model, free, np.full(6, SPREAD))
    divide(model, last, np.full(6, SPREAD))
    result = balanced(model, tmp_path, Target(Scheme()))
    both = next(row for row in result.report["tensors"] if row["channels"] == 8)
    assert both["held"] == 2
    assert both["held_by"] == [f"Sigmoid {node_making(model, held).name}"]
    target = Target(Scheme())
    assert quality(result.model, model, tmp_path, target) > quality(model, model, tmp_path, target) + 6


def test_a_network_with_nothing_to_balance_stays_as_it_is(tmp_path):
    graph = started()
    graph.output(graph.add("Sigmoid", graph.conv("image", 2)))
    model = made_ready(graph, tmp_path)
    result = balanced(model, tmp_path, Target(Scheme()))
    assert result.model.SerializeToString() == model.SerializeToString()
    assert result.report["expected_noise"]["before"] == result.report["expected_noise"]["after"]


# Figures


@pytest.mark.parametrize(
    ("ranges", "expected"), [([2.0, 2.0, 2.0], 1.0), ([1.0, 1.0, 1.0, 50.0], 50.0), ([0.0, 0.0, 3.0], 1.0)]
)
def test_a_spread_is_that_of_the_largest_over_the_median_of_what_is_used(ranges, expected):
    assert spread(np.array(ranges)) == expected


@pytest.mark.parametrize("ranges", [[], [0.0, 0.0], [-np.inf]])
def test_what_is_never_used_has_no_spread(ranges):
    assert spread(np.array(ranges)) == 1.0
