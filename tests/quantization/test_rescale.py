"""Scaling channels: no positive scale of a free channel changes what any network computes."""

import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, computed, fed, violation
from helpers.random_networks import OPERATIONS, grown
from onnx import helper, numpy_helper

from ncdb_dask.model import channel_rules
from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.channels import HELD
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.rescale import by_groups, rescaled

BLOCKS, SEEDS = 10, 60


def scaled(model, scale=None, seed=0):
    """Rescale by one factor for all free channels, or by random ones."""
    channels = find_channels(Topology.of(model))
    random = np.random.default_rng(seed)
    scales = np.full(channels.count, scale) if scale else np.exp(random.uniform(-3, 3, channels.count))
    return rescaled(model, channels, scales)


def constants(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


# Any network


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_networks_compute_the_same_under_random_scales(block):
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        model, operations = grown(seed, size=4 + seed % 14)
        found = violation(model, seed)
        assert found is None, f"seed {seed}: {found}; made of {operations}"


def test_every_operation_is_in_the_random_networks():
    used = {name for seed in range(BLOCKS * SEEDS) for name in grown(seed, size=4 + seed % 14)[1]}
    assert used == set(OPERATIONS)


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Elu", "LRN", "Softmax", "ReduceSumSquare", "Clip", "Pad"])
def test_the_property_finds_a_rule_that_takes_an_operator_for_homogeneous(kind, monkeypatch):
    monkeypatch.setitem(channel_rules._RULES, kind, channel_rules._RULES["Relu"])
    assert any(violation(grown(seed, size=10)[0], seed) for seed in range(1500))


# Traps: a channel axis that keeps its size, and is mixed


def trap(operate):
    """Free channels on axis 1, of 1 x 6 x 5 x 6, led to a layer through what `operate` adds."""
    graph = Graph(opset=18)
    source = graph.add("Relu", graph.conv(graph.input(1, 3, 5, 6), 6))
    last = operate(graph, source)
    if len(graph.shapes[last]) == 3:
        last = graph.add("Conv", last, graph.normal(2, graph.shapes[last][1], 1))
    graph.output(graph.conv(last, 2, kernel=1) if len(graph.shapes[last]) == 4 else last)
    return graph.model()


def third(graph, source):
    """Move the channels to the third axis."""
    return graph.add("Transpose", source, perm=[0, 2, 1, 3])


FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
POOL = {"kernel_shape": [3, 3], "pads": [1] * 4}
TRAPS = {
    "a pool over the axis of the channels": lambda graph, source: third(
        graph, graph.add("MaxPool", third(graph, source), **POOL)
    ),
    "an average over the axis of the channels": lambda graph, source: third(
        graph, graph.add("AveragePool", third(graph, source), **POOL)
    ),
    "a resize that mixes channels, and leaves their number": lambda graph, source: graph.add(
        "Resize", source, "", graph.constant([1, 1.1, 2, 1]), **FLOOR
    ),
    "a pad that moves channels": lambda graph, source: graph.add(
        "Pad", source, graph.integers(0, -1, 0, 0, 0, 1, 0, 0)
    ),
    "a pad that moves channels by named axes": lambda graph, source: graph.add(
        "Pad", source, graph.integers(1, -1), "", graph.integers(-3)
    ),
    "a maximum over channels": lambda graph, source: graph.add("ReduceMax", source, graph.integers(1)),
    "a sum over channels, in whose place come others": lambda graph, source: graph.add(
        "Unsqueeze",
        graph.add("ReduceSum", third(graph, third(graph, source)), graph.integers(1), keepdims=0),
        graph.integers(0),
    ),
    "a norm over channels on another axis": lambda graph, source: third(
        graph,
        graph.add(
            "BatchNormalization", third(graph, source), *(graph.normal(5) for _ in range(3)), graph.constant([1.0] * 5)
        ),
    ),
    "a norm by the batch's own statistics": lambda graph, source: graph.add(
        "BatchNormalization",
        source,
        *(graph.normal(6) for _ in range(3)),
        graph.constant([1.0] * 6),
        outputs=3,
        training_mode=1,
    )[0],
    "channels that are added to places": lambda graph, source: graph.add(
        "Add", source, graph.add("Reshape", graph.add("GlobalAveragePool", source), graph.integers(1, 1, 1, 6))
    ),
    "a sum that has more channels than its only free part": lambda graph, source: graph.add(
        "Add", graph.conv(source, 1), graph.normal(6, 1, 1)
    ),
    "a slope that has a scale, of a picture that has none": lambda graph, source: graph.add(
        "PRelu", "image", graph.conv(source, 3)
    ),
    "padding with what has a scale": lambda graph, source: graph.add(
        "Pad",
        "image",
        graph.integers(0, 0, 1, 1, 0, 0, 1, 1),
        graph.add("Squeeze", graph.add("GlobalMaxPool", graph.conv(source, 1)), graph.integers(0, 1, 2, 3)),
    ),
    "division by itself": lambda graph, source: graph.add("Div", source, graph.add("Add", source, graph.constant(1.0))),
    "blocks of channels on another axis": lambda graph, source: third(
        graph,
        graph.add(
            "SpaceToDepth", graph.add("Pad", third(graph, source), graph.integers(0, 0, 0, 0, 0, 1, 0, 0)), blocksize=2
        ),
    ),
    "a product of two that are free": lambda graph, source: graph.add("Mul", source, graph.conv(source, 6)),
}


def rows_and_columns(graph, source):
    """Make a square matrix whose columns are channels."""
    flat = graph.add("Reshape", source, graph.integers(1, 6, 30))
    some = graph.add("Slice", flat, graph.integers(0), graph.integers(6), graph.integers(2))
    return graph.add("Reshape", graph.add("Transpose", some, perm=[0, 2, 1]), graph.integers(6, 6))


def by_the_largest_side(graph, source):
    """Resize all axes by 21 / 20, so that 6 channels stay 6."""
    larger = graph.add("Resize", source, "", "", graph.integers(1, 6, 20, 20))
    sizes = graph.integers(1, 6, 21, 21)
    name = graph.add("Resize", larger, "", "", sizes, keep_aspect_ratio_policy="not_smaller", **FLOOR)
    graph.shapes[name] = (1, 6, 21, 21)
    return name


TRAPS |= {
    "a matrix that is transposed": lambda graph, source: graph.add(
        "Gemm", rows_and_columns(graph, source), graph.normal(6, 2), transA=1
    ),
    "a sum over channels that leaves as many places": lambda graph, source: graph.add(
        "ReduceSum", graph.add("Transpose", source, perm=[0, 1, 3, 2]), graph.integers(1), keepdims=0
    ),
    "a norm of whole pictures": lambda graph, source: graph.add(
        "LayerNormalization", source, graph.normal(6, 5, 6), graph.normal(6), axis=1
    ),
    "a resize that keeps the aspect of channels": by_the_largest_side,
    "blocks of places that lie where channels were": lambda graph, source: third(
        graph,
        graph.add(
            "DepthToSpace", graph.add("Gather", third(graph, source), graph.integers(0, 1, 2, 3), axis=1), blocksize=2
        ),
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps_compute_the_same(name):
    model = trap(TRAPS[name])
    assert [found for found in (violation(model, seed) for seed in range(3)) if found] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a pool over the axis of the channels", "MaxPool"),
        ("an average over the axis of the channels", "AveragePool"),
        ("a resize that mixes channels, and leaves their number", "Resize"),
        ("a pad that moves channels", "Pad"),
        ("a pad that moves channels by named axes", "Pad"),
        ("a norm by the batch's own statistics", "BatchNormalization"),
    ],
)
def test_a_rule_that_looks_at_nothing_falls_into_the_trap(name, kind, monkeypatch):
    monkeypatch.setitem(channel_rules._RULES, kind, channel_rules._RULES["Relu"])
    assert violation(trap(TRAPS[name])) is not None


# A real network


@pytest.mark.realdata
def test_a_real_network_computes_the_same(request):
    path = request.config.rootpath.parent / "shared" / "models" / "meter_xxs_kitti_192x640.onnx"
    if not path.exists():
        pytest.skip("the folder of real networks is not there")
    model = onnx.load(path)
    channels = find_channels(Topology.of(model))
    assert (channels.resolved(range(channels.count)) != HELD).sum() > 2000
    assert violation(model) is None


# How


def two_layers(graph=None):
    graph = graph or Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    graph.output(graph.conv(graph.add("Relu", first), 2))
    return graph


def test_weights_and_bias_take_the_scales_up():
    model = two_layers().model()
    channels = find_channels(Topology.of(model))
    scales = np.ones(channels.count)
    made = channels.layers[0].made
    scales[made] = [1, 2, 4, 8]
    old, new = constants(model), constants(rescaled(model, channels, scales))
    first, second = (layer.node.input for layer in channels.layers)
    np.testing.assert_array_equal(new[first[1]], old[first[1]] * np.array([1, 2, 4, 8])[:, None, None, None])
    np.testing.assert_array_equal(new[first[2]], old[first[2]] * np.array([1, 2, 4, 8]))
    np.testing.assert_array_equal(new[second[1]], old[second[1]] / np.array([1, 2, 4, 8])[None, :, None, None])
    np.testing.assert_array_equal(new[second[2]], old[second[2]])


def test_the_given_network_is_left_as_it_is():
    model = two_layers().model()
    before = model.SerializeToString()
    assert scaled(model, 2.0).SerializeToString() != before
    assert model.SerializeToString() == before


def test_powers_of_two_change_no_bit():
    model = two_layers().model()
    old, new = (computed(one, fed(model), []) for one in (model, scaled(model, 2.0)))
    for name, values in old.items():
        np.testing.assert_array_equal(values, new[name])


def test_the_scale_of_what_is_held_counts_as_one():
    model = two_layers().model()
    channels = find_channels(Topology.of(model))
    scales = np.ones(channels.count)
    scales[HELD] = 7.0
    assert rescaled(model, channels, scales) == model


def test_names_and_constants_stay_where_nothing_is_shared():
    model = two_layers().model()
    new = scaled(model)
    assert new.graph.node == model.graph.node
    assert list(constants(new)) == list(constants(model))


def test_weights_that_two_layers_share_become_two():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 3)
    weights = graph.normal(3, 3, 1, 1)
    second = graph.add("Conv", graph.add("Relu", first), weights)
    graph.output(graph.add("Conv", graph.add("Relu", second), weights))
    model = graph.model()
    new = scaled(model)
    assert weights not in constants(new)
    assert new.graph.node[2].input[1] != new.graph.node[4].input[1]
    assert violation(model) is None


def test_a_constant_node_becomes_an_initializer():
    graph = Graph()
    tokens = graph.input(1, 5, 4)
    first = graph.add("MatMul", tokens, graph.normal(4, 6, node=True))
    graph.output(graph.add("MatMul", graph.add("Relu", first), graph.normal(6, 2, node=True)))
    model = graph.model()
    assert {node.op_type for node in scaled(model).graph.node} == {"MatMul", "Relu"}
    assert violation(model) is None


def test_one_constant_in_all_places_of_a_batch_norm():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    same = graph.constant([0.5, 1.0, 1.5, 2.0])
    graph.output(graph.conv(graph.add("BatchNormalization", first, *[same] * 4), 2))
    model = graph.model()
    assert len(constants(scaled(model))) == len(constants(model)) + 2  # mean and shift of their own
    assert violation(model) is None


def test_a_constant_that_is_an_output_keeps_its_values():
    graph = Graph()
    shift = graph.normal(4, 1, 1)
    first = graph.add("Add", graph.conv(graph.input(1, 3, 6, 6), 4), shift)
    graph.output(graph.conv(first, 2), shift)
    model = graph.model()
    new = scaled(model)
    np.testing.assert_array_equal(constants(new)[shift], constants(model)[shift])
    assert violation(model) is None


def test_a_constant_that_a_subgraph_captures_keeps_its_values():
    graph = Graph()
    shift = graph.normal(4, 1, 1)
    first = graph.add("Add", graph.conv(graph.input(1, 3, 6, 6), 4), shift)
    port = helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, [4, 1, 1])
    branch = helper.make_graph([helper.make_node("Neg", [shift], ["inner"])], "branch", [], [port])
    chosen = graph.add("If", graph.constant(True, np.bool_), then_branch=branch, else_branch=branch)
    graph.output(graph.conv(first, 2), chosen)
    model = graph.model()
    np.testing.assert_array_equal(constants(scaled(model))[shift], constants(model)[shift])
    assert violation(model) is None


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 1, 1, 6), (4, 6, 6)])
def test_a_shift_that_is_listed_as_an_input(shape):
    graph = Graph(ir_version=3)
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    shift = graph.normal(*shape)
    graph.output(graph.conv(graph.add("Add", first, shift), 2))
    model = graph.model()
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in graph.initializers
    )
    found = find_channels(Topology.of(model))
    assert found.resolved(found.of[first][1]).all()
    assert violation(model) is None


def test_scaling_twice_is_scaling_by_the_product():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    graph.output(graph.conv(graph.add("Add", first, graph.constant(0.5)), 2))
    model = graph.model()
    once, twice = scaled(model, 8.0), scaled(scaled(model, 2.0), 4.0)
    for one, other in zip(constants(once).values(), constants(twice).values(), strict=True):
        np.testing.assert_array_equal(one, other)


# Weights by groups


def grouped(kind, groups, shape, **attributes):
    graph = Graph()
    source = graph.input(*((1, 6, 5, 5) if len(shape) > 2 else (1, 6)))
    weights = graph.normal(*shape)
    graph.output(graph.add(kind, source, weights, **({"group": groups} if groups else {}), **attributes))
    (layer,) = find_channels(Topology.of(graph.model())).layers
    (values,) = constants(graph.model()).values()
    return layer, values


def test_groups_of_a_convolution():
    layer, weights = grouped("Conv", 2, (4, 3, 2, 2))
    found = by_groups(weights, layer)
    assert found.shape == (2, 2, 3, 4)
    # Output 3 is the second of group 1, input 2 of the weights is the last of its group.
    np.testing.assert_array_equal(found[1, 1, 2], weights[3, 2].ravel())
    assert np.shares_memory(found, weights)


def test_groups_of_a_transposed_convolution():
    layer, weights = grouped("ConvTranspose", 2, (6, 4, 2, 2))
    found = by_groups(weights, layer)
    assert found.shape == (2, 4, 3, 4)
    # Input 5 is the last of group 1, output 3 of the weights is the last of its group.
    np.testing.assert_array_equal(found[1, 3, 2], weights[5, 3].ravel())


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_one_group_of_a_matrix(kind):
    layer, weights = grouped(kind, 0, (6, 4))
    np.testing.assert_array_equal(by_groups(weights, layer)[0, :, :, 0], weights.T)


def test_one_group_of_a_transposed_matrix():
    layer, weights = grouped("Gemm", 0, (4, 6), transB=1)
    np.testing.assert_array_equal(by_groups(weights, layer)[0, :, :, 0], weights)
