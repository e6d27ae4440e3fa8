"""Preparing a network: it computes the same, with sizes, names and biases as a quantizer wants them."""

import logging
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, computed
from helpers.random_networks import grown
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.quant_utils import update_opset_version

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.quantization.prepare import BIASED, load, prepared, quiet, save

HEIGHT, WIDTH = 8, 16
SPEC = InputSpec(width=WIDTH, height=HEIGHT, name="image")
OPEN = ("batch", 3, "height", "width")


def image(seed: int = 0, *shape: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=shape or (1, 3, HEIGHT, WIDTH))
    return {"image": values.astype(np.float32)}


def started(opset: int = 17, ir_version: int = 8) -> Graph:
    graph = Graph(opset, ir_version=ir_version)
    graph.input(1, 3, HEIGHT, WIDTH)
    return graph


def opened(graph: Graph) -> onnx.ModelProto:
    """Leave the sizes of the input and of maps among the outputs open."""
    model = graph.model()
    for port in (*model.graph.input[:1], *model.graph.output):
        dims = port.type.tensor_type.shape.dim
        for at in (0, 2, 3) if len(dims) == 4 else ():
            dims[at].dim_param = f"{port.name}_{OPEN[at]}"
    return model


def resizing(scales: list[float], mode: str = "nearest", computed_scales: bool = False) -> onnx.ModelProto:
    """A network of opset 10, whose scales may be computed from the size of the map."""
    graph = started(10)
    first = graph.conv("image", 4)
    given = graph.constant([1, 1, *scales])
    if computed_scales:
        size = graph.add("Cast", graph.add("Shape", first), to=TensorProto.FLOAT)
        given = graph.add("Div", graph.add("Mul", size, given), size)
    graph.output(graph.add("Resize", first, given, mode=mode))
    sizes_after = [int(size * scale) for size, scale in zip((HEIGHT, WIDTH), scales, strict=True)]
    graph.shapes[graph.outputs[0]] = (1, 4, *sizes_after)
    return graph.model()


def batch_norm(graph: Graph, source: str) -> str:
    size = graph.shapes[source][1]
    variance = graph.constant(graph.random.uniform(0.5, 2, size))
    return graph.add("BatchNormalization", source, *(graph.normal(size) for _ in range(3)), variance)


def encoder(graph: Graph) -> Graph:
    first = graph.add("Relu", batch_norm(graph, graph.conv("image", 4, bias=False)))
    second = graph.add("Relu", batch_norm(graph, graph.conv_transpose(first, 4)))
    graph.output(graph.conv(second, 1))
    return graph


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def sizes(port: onnx.ValueInfoProto) -> list[int]:
    return [size.dim_value for size in port.type.tensor_type.shape.dim]


def assert_same(model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    old, new = (computed(one, image(), []) for one in (model, other))
    assert list(old) == list(new)
    for name, values in old.items():
        assert values.shape == new[name].shape
        assert np.abs(values - new[name]).max() <= 1e-5 * np.abs(values).max()


# What is done


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
def test_open_sizes_are_fixed_and_batch_norms_folded(opset, tmp_path):
    model = opened(encoder(started(opset)))
    found = prepared(model, SPEC, tmp_path)
    assert kinds(found) == ["Conv", "Relu", "ConvTranspose", "Relu", "Conv"]
    assert sizes(found.graph.input[0]) == [1, 3, HEIGHT, WIDTH]
    assert sizes(found.graph.output[0]) == [1, 1, 2 * HEIGHT, 2 * WIDTH]
    assert {tuple(sizes(port)) for port in found.graph.value_info} >= {(1, 4, HEIGHT, WIDTH)}
    onnx.checker.check_model(found, full_check=True)
    assert_same(model, found)


def test_sizes_that_are_fixed_stay(tmp_path):
    model = encoder(started()).model()
    found = prepared(model, SPEC, tmp_path)
    assert sizes(found.graph.input[0]) == [1, 3, HEIGHT, WIDTH]
    assert_same(model, found)


def test_the_layout_of_the_model_file_is_followed(tmp_path):
    graph = Graph()
    source = graph.add("Transpose", graph.input(*OPEN), perm=[0, 3, 1, 2])
    graph.output(graph.add("Relu", source))
    model = graph.model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = prepared(model, InputSpec(width=WIDTH, height=HEIGHT, name="image", layout="nhwc"), tmp_path)
    assert sizes(found.graph.input[0]) == [1, HEIGHT, WIDTH, 3]


def test_sizes_that_were_inferred_before_are_forgotten(tmp_path):
    graph = started()
    # Where it is cut only running tells, so that nothing else would put it right.
    least = graph.add("ReduceMin", "image", axes=[0, 1, 2, 3], keepdims=0)
    start = graph.add("Reshape", graph.add("Cast", least, to=TensorProto.INT64), graph.integers(1))
    stale = graph.add("Slice", "image", start, graph.integers(2**60), graph.integers(3))
    graph.output(graph.add("GlobalAveragePool", stale))
    model = graph.model()
    model.graph.value_info.append(helper.make_tensor_value_info(stale, TensorProto.FLOAT, [7, 3, 99, 99]))
    found = prepared(model, SPEC, tmp_path)
    assert [7, 3, 99, 99] not in [sizes(port) for port in found.graph.value_info]


def test_shape_computations_are_folded(tmp_path):
    graph = started()
    first = graph.conv("image", 4)
    whole = graph.add("Shape", first)
    start = graph.add("Gather", whole, graph.integers(0, 1))
    shape = graph.add("Concat", start, graph.integers(-1), axis=0)
    graph.output(graph.add("MatMul", graph.add("Reshape", first, shape), graph.normal(HEIGHT * WIDTH, 2)))
    graph.shapes[graph.outputs[0]] = (1, 4, 2)
    model = opened(graph)
    found = prepared(model, SPEC, tmp_path)
    assert kinds(found) == ["Conv", "Reshape", "MatMul"]
    assert_same(model, found)


def test_the_given_network_is_left_as_it_is(tmp_path):
    model = opened(encoder(started()))
    before = model.SerializeToString()
    prepared(model, SPEC, tmp_path)
    assert model.SerializeToString() == before


def test_random_networks_compute_the_same(tmp_path):
    checked = 0
    for seed in range(150):
        model, _ = grown(seed, size=8)
        dims = sizes(model.graph.input[0])
        if dims[0] != 1:
            continue
        feed = image(seed, *dims)
        old = computed(model, feed, [])
        spec = InputSpec(width=dims[3], height=dims[2], name="image")
        try:
            new = computed(prepared(model, spec, tmp_path), feed, [])
        except QuantizationError:  # an operator that ONNX cannot lift
            assert model.opset_import[0].version < 11
            continue
        for name, values in old.items():
            if np.isfinite(values).all() and values.size:
                assert np.abs(values - new[name]).max() <= 1e-4 * np.abs(values).max() + 1e-6, f"seed {seed}: {name}"
        checked += 1
    assert checked > 40


# Old files


@pytest.mark.parametrize("ir_version", [3, 8])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [8, 9, 10])
def test_old_opsets_are_lifted_and_compute_the_same(opset, mode, ir_version, tmp_path):
    graph = started(opset, ir_version)
    first = graph.add("Relu", graph.conv("image", 4))
    kind = "Resize" if opset == 10 else "Upsample"
    if opset == 8:
        larger = graph.add(kind, first, mode=mode, scales=[1.0, 1.0, 2.0, 2.0])
    else:
        larger = graph.add(kind, first, graph.constant([1, 1, 2, 2]), mode=mode)
    graph.output(graph.conv(larger, 1))
    model = graph.model()
    if ir_version == 3:
        model.graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in graph.initializers
        )
    found = prepared(model, SPEC, tmp_path)
    assert [one.version for one in found.opset_import] == [11]
    assert [port.name for port in found.graph.input] == ["image"]
    onnx.checker.check_model(found, full_check=True)
    assert_same(model, found)


@pytest.mark.parametrize("computed_scales", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.4, 0.5, 0.7, 1, 1.5, 2])
def test_the_first_resize_rounds_as_it_did(scale, mode, computed_scales, tmp_path):
    model = resizing([scale, scale], mode, computed_scales)
    found = prepared(model, SPEC, tmp_path)
    assert [one.version for one in found.opset_import] == [11]
    assert_same(model, found)


@pytest.mark.parametrize("scales", [[0.4, 1], [1, 0.4], [3, 1], [0.5, 0.4]])
def test_one_axis_may_stay_as_it_is(scales, tmp_path):
    model = resizing(scales)
    assert_same(model, prepared(model, SPEC, tmp_path))


def test_what_opset_11_cannot_round_as_before_is_refused(tmp_path):
    with pytest.raises(
        QuantizationError, match=r'"the_resize\d" shrinks and enlarges .*\(scales 1, 1, 0.5, 2\).*opset 11'
    ):
        prepared(resizing([0.5, 2]), SPEC, tmp_path)
    model = resizing([0.5, 2], "linear")  # which rounds nothing
    assert_same(model, prepared(model, SPEC, tmp_path))


def test_scales_that_only_running_tells_are_refused(tmp_path):
    graph = started(10)
    least = graph.add("ReduceMin", "image", axes=[0, 1, 2, 3], keepdims=0)
    spread = graph.add("Mul", graph.constant([0, 0, 1, 1]), least)
    graph.output(graph.add("Resize", "image", graph.add("Add", spread, graph.constant([1, 1, 1, 1])), mode="nearest"))
    model = graph.model()
    with pytest.raises(QuantizationError, match=r'scales of Resize "the_resize\d" are no constants.*opset 11 or later'):
        prepared(model, SPEC, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_inputs_are_folded_too(tmp_path):
    graph = encoder(started())
    model = graph.model()
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in graph.initializers
    )
    assert "BatchNormalization" not in kinds(prepared(model, SPEC, tmp_path))


def test_only_operator_sets_that_are_used_are_declared(tmp_path):
    found = prepared(encoder(started()).model(), SPEC, tmp_path)
    assert [(one.domain, one.version) for one in found.opset_import] == [("", 17)]


# Names and biases


def test_nodes_get_names_of_their_own(tmp_path):
    graph = started()
    first = graph.conv("image", 4)
    second = graph.conv(first, 4)
    third = graph.conv(second, 4)
    graph.output(graph.conv(third, 1))
    convs = graph.nodes
    for node, name in zip(convs, ["", "same", "same", f"Conv:{convs[0].output[0]}"], strict=True):
        node.name = name
    found = prepared(graph.model(), SPEC, tmp_path)
    names = [node.name for node in found.graph.node]
    assert len(set(names)) == 4
    assert all(names)
    assert names[1] == "same"


def test_layers_get_biases_of_nothing(tmp_path):
    graph = started()
    first = graph.add("Relu", graph.conv("image", 6, bias=False))
    second = graph.add("ConvTranspose", graph.conv(first, 4, groups=2, bias=False), graph.normal(4, 3, 2, 2), group=2)
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", second))
    third = graph.add("Gemm", flat, graph.normal(6, 5))
    fourth = graph.add("Gemm", third, graph.normal(2, 5), transB=1)
    graph.output(fourth)
    model = graph.model()
    found = prepared(model, SPEC, tmp_path)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.graph.initializer}
    biases = [tensors[node.input[2]] for node in found.graph.node if node.op_type in BIASED]
    assert [bias.shape for bias in biases] == [(6,), (4,), (6,), (5,), (2,)]
    assert not any(bias.any() for bias in biases)
    onnx.checker.check_model(found, full_check=True)
    assert_same(model, found)


def test_a_bias_that_layers_share_becomes_one_for_each(tmp_path):
    graph = started()
    bias = graph.normal(4)
    first = graph.add("Conv", "image", graph.normal(4, 3, 1, 1), bias)
    second = graph.add("Conv", graph.add("Relu", first), graph.normal(4, 4, 1, 1), bias)
    graph.output(second)
    model = graph.model()
    found = prepared(model, SPEC, tmp_path)
    names = [node.input[2] for node in found.graph.node if node.op_type == "Conv"]
    assert len(set(names)) == 2
    assert_same(model, found)


def test_computed_weights_and_biases_are_left_alone(tmp_path):
    graph = started()
    mean = graph.add("Reshape", graph.add("GlobalAveragePool", "image"), graph.integers(3))
    graph.output(graph.add("Conv", "image", graph.normal(3, 3, 1, 1), mean))
    model = graph.model()
    assert_same(model, prepared(model, SPEC, tmp_path))


# What goes wrong


@pytest.mark.parametrize(
    ("kind", "domain"),
    [("QuantizeLinear", ""), ("DequantizeLinear", "com.microsoft"), ("QLinearConv", ""), ("ConvInteger", "")],
)
def test_what_is_quantized_already_is_refused_before_anything_is_run(kind, domain, tmp_path):
    graph = started()
    # Not valid, so that running it would give another error.
    graph.nodes.append(helper.make_node(kind, ["image"], ["depth"], name="before", domain=domain))
    graph.output("depth")
    with pytest.raises(QuantizationError, match=rf'quantized already \({kind} node "before"\); give the FP32 network'):
        prepared(graph.model(), SPEC, tmp_path)


def test_an_unknown_operator_is_named_in_one_sentence(tmp_path):
    graph = started()
    graph.nodes.append(helper.make_node("Mystery", ["image"], ["depth"], name="strange", domain="company"))
    graph.output("depth")
    with pytest.raises(QuantizationError, match=r"ONNX Runtime cannot prepare the network .*Mystery") as caught:
        prepared(graph.model(), SPEC, tmp_path)
    assert "\n" not in str(caught.value)
    assert "onnx.checker" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_opset_that_cannot_be_lifted_says_which_can(tmp_path):
    graph = started(9)
    graph.nodes.append(helper.make_node("Mystery", ["image"], ["depth"], name="strange"))
    graph.output("depth")
    with pytest.raises(QuantizationError, match=r"from opset 9 to 11 .*export it with opset 11 or later") as caught:
        prepared(graph.model(), SPEC, tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_is_left_on_disk(tmp_path, monkeypatch):
    here, work = tmp_path / "here", tmp_path / "work"
    here.mkdir()
    work.mkdir()
    monkeypatch.chdir(here)
    prepared(opened(encoder(started())), SPEC, work)
    assert os.listdir(here) == os.listdir(work) == []


def test_nothing_is_printed(tmp_path, capfd, caplog):
    caplog.set_level(logging.WARNING)
    prepared(opened(encoder(started())), SPEC, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


# Files


def test_a_network_is_read_as_it_was_written(tmp_path):
    model = encoder(started()).model()
    path = save(model, tmp_path / "net.onnx")
    assert load(path) == model
    assert save(load(path), tmp_path / "again.onnx").read_bytes() == path.read_bytes()


class TooLarge:
    """Stands for a network of more than 2 GiB."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def SerializeToString(self, deterministic: bool) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("Message onnx.ModelProto exceeds\nmaximum size"), RuntimeError()])
def test_more_than_2_gib_are_refused(error, tmp_path):
    with pytest.raises(QuantizationError, match=r"^net\.onnx: is too large .*less than 2 GiB$") as caught:
        save(TooLarge(error), tmp_path / "net.onnx")
    assert "()" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_network(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        save(encoder(started()).model(), tmp_path / "missing" / "net.onnx")
    with pytest.raises(OSError, match="No such file"):
        prepared(encoder(started()).model(), SPEC, tmp_path / "missing")


@pytest.mark.parametrize("content", [b"no network", b""])
def test_what_is_no_network_is_refused(content, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(QuantizationError, match=r"net\.onnx: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(encoder(started()).model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    Path(tmp_path / "weights.bin").unlink()
    with pytest.raises(
        QuantizationError, match=r"net\.onnx: cannot be read .*expected an ONNX network with its weights"
    ):
        load(path)


# Quiet


def test_quiet_is_over_afterwards(capsys, caplog):
    def fail() -> None:
        print("unheard")
        warn_as_tools_do()
        raise RuntimeError

    with pytest.raises(RuntimeError), quiet():
        fail()
    print("heard")
    assert capsys.readouterr().out == "heard\n"
    assert caplog.records == []
    warn_as_tools_do()
    assert len(caplog.records) == 1


def test_only_the_tools_are_not_heard(caplog):
    with quiet():
        logging.getLogger("user").error("one")
        logging.error("two")
    assert [record.message for record in caplog.records] == ["one", "two"]


def test_the_severity_of_onnx_runtime_stays_what_the_user_made_it(monkeypatch):
    levels = []
    monkeypatch.setattr("onnxruntime.set_default_logger_severity", levels.append)
    with quiet():
        pass
    assert levels == []


def warn_as_tools_do() -> None:
    """Let ONNX Runtime's tool warn of an old opset."""
    update_opset_version(started(10).model(), QuantType.QInt8)
