"""Which channels share a scale, which are free, and what holds the others."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.graphs import Graph, violation
from onnx import TensorProto, helper

from ncdb_dask.model.channel_rules import channel_axes, find_channels
from ncdb_dask.model.channels import HELD, Channels
from ncdb_dask.model.topology import Topology

Operate = Callable[[Graph, str], str]
CHANNELS = 8


def found(graph: Graph) -> Channels:
    return find_channels(Topology.of(graph.model()))


def numbers(channels: Channels, tensor: str) -> list[int]:
    return channels.resolved(channels.of[tensor][1]).tolist()


def reasons(channels: Channels, tensor: str) -> set[str | None]:
    return {channels.reason(number) for number in channels.of[tensor][1].tolist()}


def between(operate: Operate, opset: int = 17) -> tuple[Graph, str]:
    """Put an operation between two convolutions; return the output of the first."""
    graph = Graph(opset)
    first = graph.conv(graph.input(1, 3, 6, 6), CHANNELS)
    last = operate(graph, first)
    if len(graph.shapes[last]) == 4:
        graph.output(graph.conv(last, 2, kernel=1))
    elif len(graph.shapes[last]) == 2:
        graph.output(graph.gemm(last, 2))
    else:
        graph.output(graph.add("MatMul", last, graph.normal(graph.shapes[last][-1], 2)))
    return graph, first


# What passes


def plain(kind: str, **attributes: object) -> Operate:
    return lambda graph, source: graph.add(kind, source, **attributes)


def resized(mode: str, **attributes: object) -> Operate:
    return lambda graph, source: graph.add(
        "Resize", source, "", graph.constant([1, 1, 2, 1.5]), mode=mode, **attributes
    )


def sized(mode: str) -> Operate:
    return lambda graph, source: graph.add("Resize", source, "", "", graph.integers(1, CHANNELS, 9, 12), mode=mode)


def to_constant(kind: str, *shape: int, first: bool = False) -> Operate:
    def operate(graph: Graph, source: str) -> str:
        constant = graph.constant(np.full(shape, 0.7))
        return graph.add(kind, *((constant, source) if first else (source, constant)))

    return operate


def padded(mode: str, *more: float) -> Operate:
    return lambda graph, source: graph.add(
        "Pad", source, graph.integers(0, 0, 1, 2, 0, 0, 1, 2), *map(graph.constant, more), mode=mode
    )


def residual(graph: Graph, source: str) -> str:
    return graph.add("Add", graph.conv(graph.add("Relu", source), CHANNELS), source)


def gate(graph: Graph, source: str) -> str:
    mean = graph.add("GlobalAveragePool", source)
    return graph.add("Mul", source, graph.add("Sigmoid", graph.conv(mean, CHANNELS, kernel=1)))


def tokens(graph: Graph, source: str) -> str:
    flat = graph.add("Reshape", source, graph.integers(1, CHANNELS, -1))
    return graph.add("Transpose", flat, perm=[0, 2, 1])


def batch_norm(graph: Graph, source: str) -> str:
    parameters = [graph.normal(CHANNELS) for _ in range(3)]
    return graph.add("BatchNormalization", source, *parameters, graph.constant([1.0] * CHANNELS))


POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
PASSING: dict[str, Operate] = {
    "Relu": plain("Relu"),
    "LeakyRelu": plain("LeakyRelu", alpha=0.1),
    "PRelu of one slope a channel": lambda graph, source: graph.add("PRelu", source, graph.normal(CHANNELS, 1, 1)),
    "PRelu of one slope": lambda graph, source: graph.add("PRelu", source, graph.normal(1)),
    "Abs": plain("Abs"),
    "Neg": plain("Neg"),
    "Identity": plain("Identity"),
    "Dropout": plain("Dropout"),
    "Clip at zero": lambda graph, source: graph.add("Clip", source, graph.constant(0.0)),
    "Clip at zero and the largest number": lambda graph, source: graph.add(
        "Clip", source, graph.constant(0.0), graph.constant(np.finfo(np.float32).max)
    ),
    "MaxPool": plain("MaxPool", **POOL),
    "AveragePool": plain("AveragePool", **POOL),
    "AveragePool that counts padding": plain("AveragePool", count_include_pad=1, **POOL),
    "LpPool": plain("LpPool", kernel_shape=[2, 2]),
    "GlobalAveragePool": plain("GlobalAveragePool"),
    "GlobalMaxPool": plain("GlobalMaxPool"),
    "ReduceMean over places": plain("ReduceMean", axes=[2, 3]),
    "ReduceMax over places, which vanish": plain("ReduceMax", axes=[-1, -2], keepdims=0),
    "ReduceMean over the batch, which vanishes": lambda graph, source: graph.add(
        "Unsqueeze", graph.add("ReduceMean", source, axes=[0], keepdims=0), graph.integers(0)
    ),
    "Resize nearest": resized("nearest"),
    "Resize linear": resized("linear", coordinate_transformation_mode="align_corners"),
    "Resize cubic": resized("cubic"),
    "Resize to a size": sized("linear"),
    "Pad with zeros": padded("constant"),
    "Pad with a zero that is given": padded("constant", 0.0),
    "Pad by reflection": padded("reflect"),
    "Pad by the edge": padded("edge"),
    "Add of a number": to_constant("Add"),
    "Add of a number for each channel": to_constant("Add", CHANNELS, 1, 1),
    "Add of a row": to_constant("Add", 6),
    "Sub from a constant": to_constant("Sub", 1, CHANNELS, 1, 1, first=True),
    "Max with a constant": to_constant("Max", CHANNELS, 1, 1),
    "Mul by a number": to_constant("Mul"),
    "Mul by one number a channel": to_constant("Mul", CHANNELS, 1, 1, first=True),
    "Div by a constant": to_constant("Div", 6, 6),
    "a residual sum": residual,
    "a gate": gate,
    "BatchNormalization": batch_norm,
    "Concat with the picture": lambda graph, source: graph.add("Concat", "image", source, axis=1),
    "Concat of places": lambda graph, source: graph.add("Concat", source, source, axis=-1),
    "Split": lambda graph, source: graph.add(
        "Concat", *graph.add("Split", source, graph.integers(3, 5), outputs=2, axis=1), axis=1
    ),
    "Split of places": lambda graph, source: graph.add(
        "Add", *graph.add("Split", source, graph.integers(3, 3), outputs=2, axis=2)
    ),
    "Slice of places": lambda graph, source: graph.add(
        "Slice", source, graph.integers(1), graph.integers(5), graph.integers(2)
    ),
    "Slice of all channels, backwards": lambda graph, source: graph.add(
        "Slice", source, graph.integers(-1), graph.integers(-100), graph.integers(1), graph.integers(-1)
    ),
    "Gather of channels": lambda graph, source: graph.add("Gather", source, graph.integers(*range(8)), axis=1),
    "Transpose twice": lambda graph, source: graph.add(
        "Transpose", graph.add("Transpose", source, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]
    ),
    "Flatten": plain("Flatten"),
    "rows for a transformer": tokens,
    "Squeeze": lambda graph, source: graph.add("Squeeze", graph.add("GlobalAveragePool", source), graph.integers(2, 3)),
    "DepthToSpace": plain("DepthToSpace", blocksize=2),
    "DepthToSpace, by columns": plain("DepthToSpace", blocksize=2, mode="CRD"),
    "SpaceToDepth": plain("SpaceToDepth", blocksize=2),
    "a depthwise convolution": lambda graph, source: graph.conv(source, CHANNELS, groups=CHANNELS),
    "a grouped convolution": lambda graph, source: graph.conv(source, 4, groups=2),
    "a grouped transposed convolution": lambda graph, source: graph.conv_transpose(source, 4, groups=2),
    "its size, that another one gets": lambda graph, source: graph.add("Reshape", source, graph.add("Shape", source)),
}


@pytest.mark.parametrize("name", [name for name in PASSING if not name.startswith("its size")])
def test_the_scale_of_each_channel_is_free(name):
    graph, first = between(PASSING[name])
    channels = found(graph)
    assert reasons(channels, first) == {None}
    assert HELD not in numbers(channels, first)
    assert violation(graph.model()) is None


def test_asking_for_a_shape_holds_nothing():
    graph, first = between(lambda graph, source: graph.add("Relu", source))
    graph.output(graph.name("cast"))
    shape = graph.add("Shape", first)
    graph.nodes.append(helper.make_node("Cast", [shape], [graph.outputs[-1]], to=TensorProto.FLOAT))
    assert reasons(found(graph), first) == {None}


@pytest.mark.parametrize("name", ["Relu", "MaxPool", "Resize linear", "Add of a number", "Pad with zeros", "a gate"])
def test_every_channel_has_a_scale_of_its_own(name):
    graph, first = between(PASSING[name])
    assert len(set(numbers(found(graph), first))) == CHANNELS


OLD: dict[str, tuple[int, Operate]] = {
    "Upsample by an attribute": (8, plain("Upsample", scales=[1.0, 1.0, 2.0, 2.0])),
    "Upsample by an input": (9, lambda graph, source: graph.add("Upsample", source, graph.constant([1, 1, 2, 2]))),
    "Resize by two inputs": (10, lambda graph, source: graph.add("Resize", source, graph.constant([1, 1, 2, 2]))),
    "Pad by an attribute": (10, plain("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1])),
    "Slice by attributes": (9, plain("Slice", starts=[1], ends=[5], axes=[3])),
    "Clip by an attribute": (10, plain("Clip", min=0.0)),
    "ReduceSum by an attribute": (11, plain("ReduceSum", axes=[3])),
}
NEW: dict[str, tuple[int, Operate]] = {
    "ReduceMean by an input": (18, lambda graph, source: graph.add("ReduceMean", source, graph.integers(2, 3))),
    "Pad of named axes": (
        18,
        lambda graph, source: graph.add("Pad", source, graph.integers(1, 2), "", graph.integers(-1)),
    ),
    "Resize of named axes": (
        18,
        lambda graph, source: graph.add("Resize", source, "", graph.constant([2, 1.1]), axes=[2, 3]),
    ),
}


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_the_scale_is_free_in_other_opsets(name):
    opset, operate = {**OLD, **NEW}[name]
    graph, first = between(operate, opset)
    assert reasons(found(graph), first) == {None}
    assert violation(graph.model()) is None


# What stops


STOPPING: dict[str, Operate] = {
    **{kind: plain(kind) for kind in ("Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "HardSigmoid", "HardSwish", "Exp")},
    "Softmax": plain("Softmax", axis=1),
    "Clip": lambda graph, source: graph.add("Clip", source, graph.constant(0.0), graph.constant(6.0)),
    "LRN": plain("LRN", size=3),
    "Pad": padded("constant", 1.0),
    "ReduceMean": plain("ReduceMean", axes=[1]),
    "ReduceMax": plain("ReduceMax"),
    "ReduceSumSquare": plain("ReduceSumSquare", axes=[2, 3]),
    "Resize": resized("linear", coordinate_transformation_mode="tf_crop_and_resize"),
    "Mul": lambda graph, source: graph.add("Mul", source, source),
    "Div": to_constant("Div", first=True),
    "Where": lambda graph, source: graph.add("Where", graph.constant(True, np.bool_), source, source),
    "Cast": lambda graph, source: graph.add(
        "Cast", graph.add("Cast", source, to=TensorProto.FLOAT16), to=TensorProto.FLOAT
    ),
    "Expand": lambda graph, source: graph.add("Expand", source, graph.integers(2, CHANNELS, 6, 6)),
    "InstanceNormalization": lambda graph, source: graph.add(
        "InstanceNormalization", source, graph.normal(CHANNELS), graph.normal(CHANNELS)
    ),
    "LayerNormalization": lambda graph, source: graph.add("LayerNormalization", source, graph.normal(6)),
}


@pytest.mark.parametrize("kind", STOPPING)
def test_what_is_not_homogeneous_holds_the_scale_and_is_named(kind):
    graph, first = between(STOPPING[kind])
    channels = found(graph)
    (node,) = [node for node in graph.nodes if node.op_type == kind][:1]
    assert reasons(channels, first) == {f"{kind} {node.name}"}
    assert set(numbers(channels, first)) == {HELD}
    assert violation(graph.model()) is None


def test_an_output_holds_the_scale():
    graph, first = between(plain("Relu"))
    graph.output(first)
    assert reasons(found(graph), first) == {"the network's output"}


def test_a_loop_holds_what_it_captures():
    graph, first = between(plain("Relu"))
    port = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Exp", [first], ["inner"])], "branch", [], [port])
    made = graph.add("If", graph.constant(True, np.bool_), then_branch=branch, else_branch=branch)
    graph.output(made)
    assert reasons(found(graph), first) == {f"If the_{made}"}


def test_an_operator_of_another_domain_is_not_known_by_its_name():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    graph.nodes.append(helper.make_node("Relu", [first], ["strange"], name="strange", domain="custom"))
    graph.output("strange")
    graph.shapes["strange"] = (1, 4, 6, 6)
    assert reasons(found(graph), first) == {"Relu strange"}


def test_channels_that_are_cut_at_a_computed_axis_are_held():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 6)
    axis = graph.add("Size", first)
    cut = graph.add("Slice", first, graph.integers(0), graph.integers(6), axis)
    graph.output(cut)
    graph.shapes[cut] = (1, 6, 6, 6)
    assert reasons(found(graph), first) == {f"Slice the_{cut}"}


def test_sums_that_align_by_an_attribute_are_held():
    graph = Graph(opset=6)
    first = graph.conv(graph.input(1, 3, 6, 6), 6)
    total = graph.add("Add", first, graph.normal(6), broadcast=1, axis=1)
    graph.output(total)
    graph.shapes[total] = (1, 6, 6, 6)
    assert reasons(found(graph), first) == {f"Add the_{total}"}


def test_the_picture_and_what_has_no_scale_are_named_in_a_concat():
    graph = Graph()
    image = graph.input(1, 3, 6, 6)
    first = graph.conv(image, 2)
    squashed = graph.add("Sigmoid", graph.conv(image, 2))
    joined = graph.add("Concat", first, squashed, image, graph.normal(1, 1, 6, 6), axis=1)
    graph.output(graph.conv(joined, 2))
    channels = found(graph)
    why = [channels.reason(number) for number in channels.of[joined][1].tolist()]
    assert why == [
        *[None] * 2,
        *[f"Sigmoid the_{squashed}"] * 2,
        *["the network's input"] * 3,
        f"Concat the_{joined}",
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_only_float32_layers_have_channels(dtype):
    graph = Graph()
    source = graph.add("Cast", graph.input(1, 4), to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    made = graph.add("MatMul", source, graph.constant(np.eye(4), dtype))
    graph.output(graph.add("Cast", made, to=TensorProto.FLOAT))
    assert found(graph).layers == []


def test_weights_that_are_computed_make_no_layer():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 4)
    weights = graph.add("Abs", graph.normal(4, 4, 1, 1))
    second = graph.add("Conv", first, weights)
    graph.output(second)
    channels = found(graph)
    assert reasons(channels, first) == {f"Conv the_{second}"}
    assert len(channels.layers) == 1


# Who shares with whom


def test_all_members_of_residual_sums_share_one_scale_a_channel():
    graph = Graph()
    total = first = graph.conv(graph.input(1, 3, 6, 6), 4)
    branches = []
    for _ in range(3):
        branches.append(graph.conv(graph.add("Relu", total), 4))
        total = graph.add("Add", total, branches[-1])
    graph.output(graph.conv(total, 2))
    channels = found(graph)
    wanted = numbers(channels, first)
    assert len(set(wanted)) == 4
    assert HELD not in wanted
    assert all(numbers(channels, name) == wanted for name in (*branches, total))


def test_one_held_member_holds_a_sum():
    graph = Graph()
    one, other = (graph.conv(image, 4) for image in [graph.input(1, 3, 6, 6)] * 2)
    graph.output(graph.add("Sigmoid", other), graph.conv(graph.add("Add", one, other), 2))
    assert len(reasons(found(graph), one)) == 1
    assert "Sigmoid" in reasons(found(graph), one).pop()


def test_a_decoder_with_skips_has_a_scale_for_each_channel_of_each_branch():
    """Across Concat, through activations, pools and resizings: the pattern that INT8 fails on."""
    graph = Graph()
    skip = graph.add("PRelu", graph.conv(graph.input(1, 3, 8, 8), 4), graph.normal(4, 1, 1))
    deep = graph.add("Relu", graph.conv(graph.add("MaxPool", skip, kernel_shape=[2, 2], strides=[2, 2]), 6))
    up = graph.add("LeakyRelu", graph.conv_transpose(deep, 5))
    enlarged = graph.add("Resize", deep, "", graph.constant([1, 1, 2, 2]), mode="linear")
    joined = graph.add("Concat", up, skip, enlarged, axis=1)
    graph.output(graph.add("Sigmoid", graph.conv(joined, 1)))
    channels = found(graph)
    assert numbers(channels, joined) == [*numbers(channels, up), *numbers(channels, skip), *numbers(channels, deep)]
    assert len(set(numbers(channels, joined))) == 4 + 5 + 6
    assert HELD not in numbers(channels, joined)
    assert violation(graph.model()) is None


def test_a_branch_that_is_there_twice_has_one_scale():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 2)
    joined = graph.add("Concat", first, graph.add("Neg", first), axis=1)
    graph.output(graph.conv(joined, 2))
    assert numbers(found(graph), joined) == numbers(found(graph), first) * 2


@pytest.mark.parametrize(
    ("mode", "together"), [("DCR", [[0, 2, 4, 6], [1, 3, 5, 7]]), ("CRD", [[0, 1, 2, 3], [4, 5, 6, 7]])]
)
def test_channels_that_become_one_share_a_scale(mode, together):
    graph, first = between(plain("DepthToSpace", blocksize=2, mode=mode))
    shared = np.array(numbers(found(graph), first))
    assert [len(set(shared[one])) for one in together] == [1, 1]
    assert len(set(shared)) == 2


def test_a_single_channel_stays_on_its_axis():
    graph = Graph()
    first = graph.conv(graph.input(1, 3, 6, 6), 1)
    graph.output(graph.conv(graph.add("Reshape", first, graph.integers(1, 1, 4, 9)), 2))
    assert reasons(found(graph), first) == {None}


def test_a_flattened_channel_keeps_its_scale_in_all_places():
    graph, first = between(plain("Flatten"))
    channels = found(graph)
    flat = next(node.output[0] for node in graph.nodes if node.op_type == "Flatten")
    assert numbers(channels, flat) == np.repeat(numbers(channels, first), 36).tolist()


# Layers and axes


def test_a_layer_lists_what_it_takes_and_makes():
    graph = Graph()
    first = graph.conv(graph.input(1, 4, 6, 6), 6, groups=2)
    graph.output(graph.conv(first, 2))
    channels = found(graph)
    one, other = channels.layers
    assert (one.groups, len(one.taken), len(one.made)) == (2, 4, 6)
    np.testing.assert_array_equal(other.taken, one.made)
    assert {channels.reason(number) for number in one.taken.tolist()} == {"the network's input"}


def test_numbers_are_below_the_count():
    graph, _ = between(residual)
    channels = found(graph)
    assert max(int(given.max()) for _, given in channels.of.values()) < channels.count


def test_roots_tell_held_channels_apart():
    graph, first = between(plain("Sigmoid"))
    channels = found(graph)
    assert len(set(channels.roots(channels.of[first][1]).tolist())) == CHANNELS


def test_axes_of_channels():
    graph = Graph()
    image = graph.input(1, 3, 4, 4)
    first = graph.conv(image, 6)
    flat = graph.add("Reshape", first, graph.integers(1, 6, 16))
    rows = graph.add("Transpose", flat, perm=[0, 2, 1])
    softmax = graph.add("Softmax", graph.add("MatMul", rows, graph.normal(6, 5)), axis=-1)
    last = graph.add("MatMul", softmax, graph.normal(5, 2))
    graph.output(last)
    axes = channel_axes(graph.model())
    assert [axes[name] for name in (image, first, flat, rows, softmax, last)] == [1, 1, 1, 2, 2, 2]


def test_a_long_chain_is_quick():
    """Union by number alone would walk the whole chain for each channel."""
    graph = Graph()
    total = graph.conv(graph.input(1, 3, 2, 2), 16, kernel=1)
    for _ in range(150):
        total = graph.add("Add", graph.conv(total, 16, kernel=1), total)
    graph.output(graph.conv(total, 1, kernel=1))
    channels = found(graph)
    assert len(set(numbers(channels, total))) == 16
