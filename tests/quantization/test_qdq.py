"""Quantized networks: each tensor has the scale that its range says, and only what should be rounded is."""

import re
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, computed
from helpers.quantizing import (
    UINT8,
    apart,
    constant_of,
    int8,
    made_ready,
    node_making,
    pictures,
    ratio_db,
    started,
)
from onnx import ModelProto, numpy_helper

from ncdb_dask.calibration.ranges import METHODS
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization.qdq import QdqNetwork
from ncdb_dask.quantization.roundings import Rounding, leave_out, roundings, scales_of
from ncdb_dask.quantization.target import FIXED, Target

FEEDS = pictures()
SCHEMES = {
    "uint8": Scheme(),
    "uint8 symmetric": Scheme(symmetric=True),
    "int8": Scheme(signed=True),
    "int8 symmetric": Scheme(signed=True, symmetric=True),
    "uint16": Scheme(bits=16),
    "int16 symmetric": Scheme(bits=16, signed=True, symmetric=True),
    "uint8 power of two": Scheme(power_of_two=True),
    "int8 symmetric power of two": Scheme(signed=True, symmetric=True, power_of_two=True),
}


def mixed(opset: int = 17) -> Graph:
    """A network with all that the tool treats in a way of its own."""
    graph = started(opset)
    first = graph.conv("image", 4)
    pooled = graph.add("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    grown = graph.add("Resize", pooled, "", graph.constant([1, 1, 2, 2]), mode="linear")
    both = graph.add("Concat", grown, first, axis=1)
    active = graph.add("Relu", both)  # after a Concat: nothing to compute it with
    shifted = graph.add("Mul", graph.add("Add", active, graph.normal(1, 8, 1, 1)), graph.constant([0.7]))
    second = graph.add("Relu", graph.conv_transpose(shifted, 4))
    flat = graph.add("Flatten", graph.add("AveragePool", second, kernel_shape=[4, 4], strides=[4, 4]))
    graph.output(graph.gemm(flat, 5))
    graph.output(graph.add("Softmax", graph.conv(second, 3), axis=1))
    return graph


@pytest.fixture
def model(tmp_path: Path) -> ModelProto:
    return made_ready(mixed(), tmp_path)


def simple(work: Path, kind: str = "Relu", *inputs: str, opset: int = 17) -> tuple[ModelProto, str, str]:
    """A layer, an activation and a layer; return the names between them too."""
    graph = started(opset)
    first = graph.conv("image", 4)
    active = graph.add(kind, first, *inputs)
    graph.output(graph.conv(active, 2))
    return made_ready(graph, work), first, active


def rounded(made: QdqNetwork) -> list[str]:
    return [one.tensor for one in roundings(made.model)]


def rounding(made: QdqNetwork, tensor: str) -> Rounding:
    return next(one for one in roundings(made.model) if one.tensor == tensor)


def all_scales(model: ModelProto) -> dict[str, np.ndarray]:
    """The scales of everything that is turned back into real numbers: activations, weights and biases."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {node.output[0]: tensors[node.input[1]] for node in model.graph.node if node.op_type == "DequantizeLinear"}


# Scales


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", SCHEMES)
def test_every_scale_in_the_network_is_that_of_its_range(name, per_channel, model, tmp_path):
    made = int8(model, FEEDS, tmp_path, Target(SCHEMES[name], per_channel))
    found = scales_of(made.model)
    assert len(found) == 14
    assert found == {tensor: (one.scale, one.zero_point) for tensor, one in made.ranges.items()}
    onnx.checker.check_model(made.model, full_check=True)
    least = 40 if SCHEMES[name].bits == 16 else 15
    assert ratio_db(model, made.model, FEEDS) > least


def test_the_owner_of_a_range_is_who_gave_it(model, tmp_path):
    made = int8(model, FEEDS, tmp_path)
    owners = {model_kind(model, tensor): model_kind(model, owner) for tensor, owner in made.owners.items()}
    assert owners["MaxPool"] == owners["Resize"] == "Conv"  # no arithmetic between: the same integers
    assert owners["Concat"] == "Relu"  # what is negative there is gone at once
    assert owners["Flatten"] == owners["AveragePool"] == "Relu"
    assert owners["Add"] == "Add"


@pytest.mark.parametrize("name", SCHEMES)
def test_a_softmax_has_the_range_that_was_measured_unless_its_kernel_has_a_fixed_one(name, tmp_path):
    graph = started()
    spread_out = graph.add("Softmax", graph.add("Flatten", graph.conv("image", 1)), axis=1)
    graph.output(spread_out)
    model, scheme = made_ready(graph, tmp_path), SCHEMES[name]
    free, fixed = (int8(model, FEEDS, tmp_path, Target(scheme, fixed_softmax=is_so)) for is_so in (False, True))
    assert free.ranges[spread_out].method == "minmax"
    assert free.ranges[spread_out].high < 0.3
    assert fixed.ranges[spread_out].method == "fixed"
    assert 0.9 < fixed.ranges[spread_out].high < 2.1
    for made in (free, fixed):
        assert scales_of(made.model) == {tensor: (one.scale, one.zero_point) for tensor, one in made.ranges.items()}
    if scheme.bits == 8:  # with 16, neither hurts
        assert ratio_db(model, free.model, FEEDS) > ratio_db(model, fixed.model, FEEDS) + 3


def model_kind(model: ModelProto, tensor: str) -> str:
    return "image" if tensor == "image" else node_making(model, tensor).op_type


def test_of_several_activations_in_a_row_the_last_one_gives_the_range(tmp_path):
    graph = started()
    both = graph.add("Concat", graph.conv("image", 2), graph.conv("image", 2), axis=1)
    clip = graph.add("Clip", both, graph.constant(-0.5), graph.constant(0.25))
    relu = graph.add("Relu", clip)
    graph.output(graph.conv(relu, 1))
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path)
    assert made.owners[both] == made.owners[clip] == made.owners[relu] == relu
    scales = scales_of(made.model)
    assert scales[both] == scales[clip] == scales[relu] == (np.float32(0.25 / 255), 0)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", [name for name in SCHEMES if "power" in name])
def test_powers_of_two_are_scales_of_weights_constants_and_biases_too(name, per_channel, model, tmp_path):
    made = int8(model, FEEDS, tmp_path, Target(SCHEMES[name], per_channel))
    scales = all_scales(made.model)
    assert len(scales) == 14 + 4 * 2 + 2  # activations, layers with their biases, two constants
    for tensor, scale in scales.items():
        assert (np.frexp(scale)[0] == 0.5).all(), tensor


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_get_the_least_power_of_two_that_clips_nothing(per_channel, tmp_path):
    model, first, _ = simple(tmp_path)
    name = node_making(model, first).input[1]
    weights = constant_of(model, name)
    made = int8(model, FEEDS, tmp_path, Target(SCHEMES["int8 symmetric power of two"], per_channel))
    scale = all_scales(made.model)[f"{name}_DequantizeLinear_Output"]
    largest = np.abs(weights).max(axis=(1, 2, 3)) if per_channel else np.abs(weights).max()
    assert scale.shape == largest.shape
    assert (largest <= 127 * scale).all()
    assert (largest > 127 * scale / 2).all()


def test_weights_of_zero_have_the_scale_one_as_elsewhere(tmp_path):
    graph = started()
    dead = graph.add("Conv", "image", graph.constant(np.zeros((2, 3, 1, 1))), graph.normal(2))
    graph.output(graph.conv(dead, 1))
    model = made_ready(graph, tmp_path)
    for target in (UINT8, Target(SCHEMES["uint8 power of two"])):
        made = int8(model, FEEDS, tmp_path, target)
        name = node_making(model, dead).input[1]
        assert all_scales(made.model)[f"{name}_DequantizeLinear_Output"] == 1
        assert ratio_db(model, made.model, FEEDS) > 20


def test_a_large_bias_widens_the_step_of_its_weights_to_a_power_of_two(tmp_path):
    graph = started()
    tiny, bias = graph.constant(np.full((2, 3, 1, 1), 1e-9)), graph.constant([300.0, -5.0])
    graph.output(graph.add("Conv", "image", tiny, bias))
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(SCHEMES["uint8 power of two"]))
    for scale in all_scales(made.model).values():
        assert (np.frexp(scale)[0] == 0.5).all()
    assert apart(model, made.model, FEEDS) < 0.01


@pytest.mark.parametrize(
    "kind", ["Conv", "ConvTranspose", "grouped ConvTranspose", "Gemm", "Gemm transposed", "MatMul"]
)
@pytest.mark.parametrize("power_of_two", [False, True])
def test_a_scale_for_each_output_channel(kind, power_of_two, tmp_path):
    graph = started()
    if "Conv" in kind:
        first = graph.conv("image", 4)
        last = graph.conv(first, 6) if kind == "Conv" else graph.conv_transpose(first, 6, 2 if "grouped" in kind else 1)
    else:
        flat = graph.add("Flatten", graph.add("AveragePool", "image", kernel_shape=[6, 8], strides=[6, 8]))
        plain = kind == "MatMul"
        last = graph.add("MatMul", flat, graph.normal(12, 6)) if plain else graph.gemm(flat, 6, "transposed" in kind)
    graph.output(last)
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(power_of_two=power_of_two), per_channel=True))
    name = node_making(model, last).input[1]
    assert all_scales(made.model)[f"{name}_DequantizeLinear_Output"].size == (1 if "grouped" in kind else 6)
    onnx.checker.check_model(made.model, full_check=True)
    assert ratio_db(model, made.model, FEEDS) > 20


def test_a_factor_of_a_bias_is_not_lost(tmp_path):
    """ONNX Runtime's tool takes it for 1."""
    graph = started()
    flat = graph.add("Flatten", graph.add("AveragePool", "image", kernel_shape=[6, 8], strides=[6, 8]))
    graph.output(graph.gemm(flat, 5, beta=0.25))
    graph.output(graph.conv("image", 1))
    model = made_ready(graph, tmp_path)
    assert apart(model, int8(model, FEEDS, tmp_path).model, FEEDS) < 0.02


@pytest.mark.parametrize("opset", [11, 12])
def test_scales_a_channel_need_an_opset_that_has_them(opset, tmp_path):
    model, *_ = simple(tmp_path, opset=opset)
    model.opset_import[0].version = opset
    with pytest.raises(QuantizationError, match=f"opset {opset}, and weights with a scale a channel need 13"):
        int8(model, FEEDS, tmp_path, Target(Scheme(), per_channel=True))
    assert ratio_db(model, int8(model, FEEDS, tmp_path).model, FEEDS) > 15


# 16 bits


@pytest.mark.parametrize("opset", [13, 20, 21])
@pytest.mark.parametrize("signed", [False, True])
def test_sixteen_bits_use_the_operators_that_the_opset_has(opset, signed, tmp_path):
    model, *_ = simple(tmp_path, opset=opset)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(16, signed=signed)))
    kinds = {node.domain for node in made.model.graph.node if node.op_type.endswith("Linear")}
    lifted = next(one.version for one in made.model.opset_import if not one.domain) >= 21
    assert kinds == {"" if lifted else "com.microsoft"}  # older tools do not lift it
    onnx.checker.check_model(made.model, full_check=True)
    assert ratio_db(model, made.model, FEEDS) > 40


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("opset", [13, 21])
def test_single_tensors_of_sixteen_bits(opset, power_of_two, tmp_path):
    model, _, active = simple(tmp_path, opset=opset)
    scheme = Scheme(power_of_two=power_of_two)
    made = int8(model, FEEDS, tmp_path, Target(scheme, wide=frozenset([active, "image"])))
    kinds = {one.tensor: constant_of(made.model, one.quantize.input[2]).dtype.name for one in roundings(made.model)}
    assert kinds == {"image": "uint16", active: "uint16", model.graph.output[0].name: "uint8"}
    assert scales_of(made.model) == {name: (one.scale, one.zero_point) for name, one in made.ranges.items()}
    onnx.checker.check_model(made.model, full_check=True)
    plain = int8(model, FEEDS, tmp_path, Target(scheme))
    assert ratio_db(model, made.model, FEEDS) > ratio_db(model, plain.model, FEEDS)


def test_what_is_pooled_has_as_many_bits_as_before(tmp_path):
    graph = started()
    first = graph.conv("image", 4)
    pooled = graph.add("MaxPool", first, kernel_shape=[2, 2])
    graph.output(graph.conv(pooled, 1))
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(), wide=frozenset([first])))
    assert made.ranges[pooled] == made.ranges[first]
    assert constant_of(made.model, rounding(made, pooled).quantize.input[2]).dtype == np.uint16
    with pytest.raises(QuantizationError, match=f'"{pooled}" is rounded as "{first}" is.*give that 16 bits'):
        int8(model, FEEDS, tmp_path, Target(Scheme(), wide=frozenset([pooled])))


def test_what_enters_an_activation_alone_has_as_many_bits_as_what_comes_out(tmp_path):
    graph = started()
    both = graph.add("Concat", graph.conv("image", 2), graph.conv("image", 2), axis=1)
    active = graph.add("Relu", both)
    graph.output(graph.conv(active, 1))
    model = made_ready(graph, tmp_path)
    for name in (both, active):
        made = int8(model, FEEDS, tmp_path, Target(Scheme(), wide=frozenset([name])))
        assert made.ranges[both] == made.ranges[active]
        assert scales_of(made.model)[both] == (made.ranges[active].scale, 0)
        assert made.ranges[active].scale < 1e-3


def test_sixteen_bits_for_what_is_not_rounded_are_refused(tmp_path):
    model, first, _ = simple(tmp_path)
    with pytest.raises(QuantizationError, match=f'"{first}" is not rounded.*computed with the next node'):
        int8(model, FEEDS, tmp_path, Target(Scheme(), wide=frozenset([first])))


# What is rounded


@pytest.mark.parametrize(("kind", "bounds"), [("Relu", ()), ("Clip", (0.0, 0.5))])
@pytest.mark.parametrize("layer", ["Conv", "ConvTranspose", "Gemm", "Add"])
def test_nothing_is_rounded_between_a_layer_and_its_activation(layer, kind, bounds, tmp_path):
    graph = started()
    before = {
        "Conv": lambda: graph.conv("image", 4),
        "ConvTranspose": lambda: graph.conv_transpose("image", 4),
        "Gemm": lambda: graph.gemm(graph.add("Flatten", "image"), 4),
        "Add": lambda: graph.add("Add", graph.conv("image", 4), graph.conv("image", 4)),
    }[layer]()
    active = graph.add(kind, before, *map(graph.constant, bounds))
    graph.output(graph.add("Mul", active, active))
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path)
    assert before not in rounded(made)
    assert active in rounded(made)
    assert node_making(made.model, active).input[0] == before


def test_what_two_nodes_take_is_rounded_for_both(tmp_path):
    graph = started()
    first = graph.conv("image", 4)
    active = graph.add("Relu", first)
    graph.output(graph.add("Add", active, first))
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path)
    assert {first, active} <= {*rounded(made)}
    assert made.owners[first] == first  # its negative values are used


def test_an_output_of_the_network_is_rounded_before_its_activation(tmp_path):
    graph = started()
    first = graph.conv("image", 2)
    graph.output(first, graph.add("Relu", first))
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path)
    assert first in rounded(made)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(("kind", "bounds"), [("Relu", ()), ("Clip", (0.0, 0.5))])
@pytest.mark.parametrize("joined", [False, True])
def test_an_output_of_the_network_keeps_what_its_activation_cuts_off(joined, kind, bounds, name, tmp_path):
    graph = started()
    first = graph.conv("image", 2)
    if joined:
        first = graph.add("Concat", first, graph.conv("image", 2), axis=1)
    active = graph.add(kind, first, *map(graph.constant, bounds))
    graph.output(graph.conv(active, 1), first)
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(SCHEMES[name]))
    assert made.owners[first] == first
    assert scales_of(made.model) == {tensor: (one.scale, one.zero_point) for tensor, one in made.ranges.items()}
    for feed in FEEDS:
        exact, found = (computed(one, feed, [])[first] for one in (model, made.model))
        assert exact.min() < -0.5
        assert np.abs(exact - found).max() < 0.06 * np.abs(exact).max()


def test_of_activations_in_a_row_an_output_between_them_gives_its_own_range(tmp_path):
    graph = started()
    both = graph.add("Concat", graph.conv("image", 2), graph.conv("image", 2), axis=1)
    relu = graph.add("Relu", both)
    clip = graph.add("Clip", relu, graph.constant(0.0), graph.constant(0.25))
    graph.output(graph.conv(clip, 1), relu)
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path)
    assert made.owners[both] == made.owners[relu] == relu
    assert scales_of(made.model)[both] == scales_of(made.model)[relu] != scales_of(made.model)[clip]


def test_an_output_may_have_other_bits_than_what_its_activation_makes(tmp_path):
    graph = started()
    first = graph.conv("image", 2)
    active = graph.add("Relu", first)
    graph.output(graph.conv(active, 1), first)
    made = int8(made_ready(graph, tmp_path), FEEDS, tmp_path, Target(Scheme(), wide=frozenset([first])))
    kinds = {one.tensor: constant_of(made.model, one.quantize.input[2]).dtype.name for one in roundings(made.model)}
    assert (kinds[first], kinds[active]) == ("uint16", "uint8")


# Infinite constants


def masked(graph: Graph, kind: str) -> str:
    first = graph.conv("image", 4)
    if kind in ("Add", "Add, reshaped"):
        mask = np.zeros((1, 4, 1, 16))
        mask[..., :5] = -np.inf
        first = graph.add("Add", first, graph.constant(mask))
        if "reshaped" in kind:
            first = graph.add("Reshape", first, graph.integers(1, 4, 12, 16))
            first = graph.add("Transpose", first, perm=[0, 2, 1, 3])
        return graph.add("Softmax", first, axis=-1)
    if kind == "Where":
        column = np.arange(16).reshape(1, 1, 1, 16) < 5
        first = graph.add("Where", graph.constant(column, np.bool_), graph.constant(-np.inf), first)
        return graph.add("Softmax", first, axis=-1)
    if kind == "Pad":
        padded = graph.add("Pad", first, graph.integers(0, 0, 1, 1, 0, 0, 1, 1), graph.constant(-np.inf))
        return graph.add("MaxPool", padded, kernel_shape=[3, 3])
    if kind == "Clip":
        return graph.add("Clip", first, graph.constant(-np.inf), graph.constant(1.0))
    return graph.add("Max", first, graph.constant([-np.inf]))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("kind", ["Add", "Add, reshaped", "Where", "Pad", "Clip", "Max"])
def test_infinite_constants_are_not_rounded(kind, power_of_two, per_channel, tmp_path):
    graph = started()
    last = masked(graph, kind)
    graph.output(graph.conv(last, 2), last)
    model = made_ready(graph, tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(power_of_two=power_of_two), per_channel))
    assert scales_of(made.model) == {tensor: (one.scale, one.zero_point) for tensor, one in made.ranges.items()}
    assert all(np.isfinite(scale).all() for scale in all_scales(made.model).values())
    assert ratio_db(model, made.model, FEEDS) > 30
    if "Softmax" in [node.op_type for node in model.graph.node]:
        for feed in FEEDS:
            assert not computed(made.model, feed, [])[last][..., :5].any()


def test_an_activation_that_the_npu_lacks_gets_what_was_rounded(tmp_path):
    model, first, active = simple(tmp_path)
    made = int8(model, FEEDS, tmp_path, Target(Scheme(), operators=("Conv",)))
    assert {first, active} <= {*rounded(made)}
    assert made.owners[first] == first
    kinds = {node.op_type for node in made.model.graph.node}
    assert kinds == {"Conv", "Relu", "QuantizeLinear", "DequantizeLinear"}


def test_only_the_operators_of_the_npu_are_rounded(model, tmp_path):
    made = int8(model, FEEDS, tmp_path, Target(Scheme(), operators=("Gemm",)))
    kinds = {model_kind(model, tensor) for tensor in rounded(made)}
    assert kinds == {"Flatten", "Gemm"}
    assert node_making(made.model, node_making(model, model.graph.output[1].name).output[0]).op_type == "Softmax"


@pytest.mark.parametrize("target", [Target(Scheme(), operators=("LSTM",)), Target(Scheme(), kept=frozenset(["image"]))])
def test_a_network_of_which_nothing_is_rounded_is_refused(target, tmp_path):
    graph = started()
    graph.output(graph.add("Sin", graph.add("MaxPool", "image", kernel_shape=[2, 2]) if target.kept else "image"))
    with pytest.raises(QuantizationError, match="nothing of the network can be quantized"):
        int8(made_ready(graph, tmp_path), FEEDS, tmp_path, target)


# What is kept


def kept(model: ModelProto, work: Path, *names: str) -> QdqNetwork:
    made = int8(model, FEEDS, work, Target(Scheme(), kept=frozenset(names)))
    assert not {*names} & {*rounded(made)}
    assert {*rounded(made)} == {*rounded(int8(model, FEEDS, work))} - {*names}
    onnx.checker.check_model(made.model, full_check=True)
    assert [port.name for port in made.model.graph.output] == [port.name for port in model.graph.output]
    return made


def test_a_kept_activation_still_cuts_off_what_is_negative(tmp_path):
    model, _, active = simple(tmp_path)
    made = kept(model, tmp_path, active)
    for feed in FEEDS:
        assert computed(made.model, feed, [active])[active].min() == 0
    assert ratio_db(model, made.model, FEEDS) > 15


def test_an_output_and_the_input_may_be_kept(tmp_path):
    model, *_ = simple(tmp_path)
    last = model.graph.output[0].name
    made = kept(model, tmp_path, last, "image")
    assert node_making(made.model, last).op_type == "Conv"
    assert "image" in next(node for node in made.model.graph.node if node.op_type == "Conv").input
    assert ratio_db(model, made.model, FEEDS) > ratio_db(model, int8(model, FEEDS, tmp_path).model, FEEDS)


def test_all_but_the_owner_of_a_scale_may_be_kept_and_the_owner_too(model, tmp_path):
    first = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    pooled = next(node.output[0] for node in model.graph.node if node.op_type == "MaxPool")
    for name in (first, pooled):
        made = kept(model, tmp_path, name)
        assert scales_of(made.model) == {tensor: (one.scale, one.zero_point) for tensor, one in made.ranges.items()}


def test_no_constant_is_left_that_nothing_takes(model, tmp_path):
    made = int8(model, FEEDS, tmp_path, Target(Scheme(), kept=frozenset(["image"])))
    taken = {name for node in made.model.graph.node for name in node.input}
    assert {tensor.name for tensor in made.model.graph.initializer} <= taken


def test_leaving_out_nothing_changes_nothing(model, tmp_path):
    made = int8(model, FEEDS, tmp_path).model
    before = made.SerializeToString(deterministic=True)
    leave_out(made, ())
    assert made.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("field", ["wide", "kept"])
def test_an_unknown_name_is_answered_with_the_nearest(field):
    target = Target(Scheme(), **{field: frozenset(["decoder/relu_l"])})
    with pytest.raises(QuantizationError, match=re.escape('no activation "decoder/relu_l"')) as caught:
        target.check_names(["image", "decoder/relu_1", "encoder/conv"])
    assert str(caught.value).split("nearest are ")[1].startswith('"decoder/relu_1"')
    target.check_names(["decoder/relu_l"])
    nothing_alike = Target(Scheme(), **{field: frozenset(["@@@"])})
    with pytest.raises(QuantizationError, match='nearest are "a1", "b2"'):
        nothing_alike.check_names(["a1", "b2"])


def test_sixteen_bits_and_none_at_all_exclude_each_other():
    with pytest.raises(QuantizationError, match='"a" cannot have 16 bits and not be rounded'):
        Target(Scheme(), wide=frozenset("a"), kept=frozenset("a")).check_names("a")


# The tool


def test_a_failure_of_the_tool_is_said_in_one_line(model, tmp_path):
    with (
        mock.patch("onnxruntime.quantization.quantize_static", side_effect=ValueError("first\n second")),
        pytest.raises(QuantizationError, match=r"tool cannot quantize the network \(first second\)"),
    ):
        int8(model, FEEDS, tmp_path)


def test_a_failure_of_the_storage_is_none_of_the_tool(model, tmp_path):
    with (
        mock.patch("onnxruntime.quantization.quantize_static", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OSError, match="No space left"),
    ):
        int8(model, FEEDS, tmp_path)


def test_nothing_is_printed_and_no_file_is_left(model, tmp_path, capfd, caplog):
    int8(model, FEEDS, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not list(tmp_path.iterdir())


def test_the_same_ranges_give_the_same_bytes(model, tmp_path):
    one, other = (int8(model, FEEDS, tmp_path).model.SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


def test_fixed_is_no_method_that_could_be_asked_for():
    assert FIXED not in METHODS
