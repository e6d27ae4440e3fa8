"""A graph against its model file: what fits, and which advice what does not fit is given."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from ncdb_dask.errors import SpecError
from ncdb_dask.model.graph import check_graph, check_outputs, load_graph
from ncdb_dask.model.spec import ModelSpec, OutputSpec

FLOAT = TensorProto.FLOAT
NCHW = [1, 3, 192, 640]
NHWC = [1, 192, 640, 3]


def described(layout: str = "nchw", **output: object) -> ModelSpec:
    return ModelSpec.from_dict({"input": {"width": 640, "height": 192, "layout": layout}, "output": output})


def network(
    folder: Path,
    shape: object = tuple(NCHW),
    kind: int = FLOAT,
    inputs: tuple[str, ...] = ("image",),
    outputs: tuple[str, ...] = ("depth",),
    weights: tuple[str, ...] = (),
) -> Path:
    """Write a graph that hands its first input through to every output."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [inputs[0]], [name]) for name in outputs],
        "network",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [helper.make_tensor(name, FLOAT, [1], [0.0]) for name in weights],
    )
    path = folder / "net.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def refusal(path: Path, spec: ModelSpec) -> str:
    with pytest.raises(SpecError) as caught:
        check_graph(path, spec)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


# What fits


def test_names_that_the_file_leaves_out_are_filled_in(tmp_path):
    spec = check_graph(network(tmp_path), described(factor=0.5))
    assert (spec.input.name, spec.output.name) == ("image", ("depth",))
    assert spec.as_dict() == {
        **described(factor=0.5).as_dict(),
        "input": {**described().as_dict()["input"], "name": "image"},
        "output": {"name": "depth", "decode": "linear", "factor": 0.5, "offset": 0.0},
    }
    assert check_graph(tmp_path / "net.onnx", spec) == spec


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("nchw", NCHW),
        ("nhwc", NHWC),
        ("nchw", ["batch", 3, 192, 640]),
        ("nchw", [None, None, None, None]),
        ("nchw", [1, 3, "height", "width"]),
        ("nhwc", ["n", "h", "w", 3]),
        ("nchw", [-1, 3, 192, 640]),
        ("nchw", [0, 3, 192, 640]),
        ("nchw", None),
    ],
)
def test_shapes_without_a_fixed_size_fit_anything(tmp_path, layout, shape):
    assert check_graph(network(tmp_path, shape), described(layout)).input.layout == layout


def test_one_of_several_outputs_is_named(tmp_path):
    path = network(tmp_path, outputs=("near", "far", "both"))
    assert check_graph(path, described(name="far")).output.name == ("far",)
    spec = described(name=["both", "near"], decode="integer-fraction", max=15)
    assert check_graph(path, spec).output.name == ("both", "near")


def test_weights_among_the_inputs_are_none(tmp_path):
    assert check_graph(network(tmp_path, inputs=("image", "weight"), weights=("weight",)), described())


def test_weights_in_other_files_are_not_read(tmp_path):
    path = network(tmp_path, weights=("weight",))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="gone.bin")
    path.write_bytes(model.SerializeToString())
    assert check_graph(path, described()).input.name == "image"


def test_the_ending_of_the_name_decides_nothing(tmp_path):
    path = network(tmp_path).rename(tmp_path / "net.json")
    assert check_graph(path, described()).input.name == "image"


# What does not


@pytest.mark.parametrize(
    ("layout", "shape", "advice"),
    [
        ("nchw", NHWC, 'look like layout = "nhwc"'),
        ("nhwc", NCHW, 'look like layout = "nchw"'),
        ("nchw", ["n", "h", "w", 3], 'look like layout = "nhwc"'),
        ("nchw", [1, 3, 640, 192], 'layout = "nchw", width = 192, height = 640 would fit'),
        ("nchw", [1, 3, 384, 640], 'layout = "nchw", width = 640, height = 384 would fit'),
        ("nchw", [1, 3, "h", 320], 'layout = "nchw", width = 320, height = 192 would fit'),
        ("nchw", [1, 384, 640, 3], 'layout = "nhwc", width = 640, height = 384 would fit'),
        ("nchw", [8, 3, 192, 640], "with a batch of 1"),
        ("nchw", [1, 1, 192, 640], "expected a batch of 1 with 3 channels"),
        ("nchw", [3, 192, 640], "expected 4 dimensions"),
        ("nchw", [], "expected 4 dimensions"),
    ],
)
def test_a_shape_that_does_not_fit_is_told_with_what_would(tmp_path, layout, shape, advice):
    message = refusal(network(tmp_path, shape), described(layout))
    assert " x ".join(str(size) for size in shape) in message
    assert f'layout = "{layout}", width = 640, height = 192' in message
    assert advice in message


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProto.UINT8, "uint8"), (TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "double")]
)
def test_an_input_of_another_type_is_told(tmp_path, kind, name):
    assert f'the input "image" is {name}; expected float32' in refusal(network(tmp_path, kind=kind), described())


def test_an_input_that_is_no_tensor_is_told(tmp_path):
    path = network(tmp_path)
    model = onnx.load(path)
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("image", FLOAT, NCHW))
    path.write_bytes(model.SerializeToString())
    assert "no tensor" in refusal(path, described())


def test_names_that_are_not_in_the_graph_are_told_with_those_that_are(tmp_path):
    path = network(tmp_path, outputs=("near", "far"))
    named = ModelSpec.from_dict({"input": {"width": 640, "height": 192, "name": "picture"}})
    assert 'has no input "picture"; [input] name can be "image"' in refusal(path, named)
    assert 'has no output "depth"; [output] name can be "near" or "far"' in refusal(path, described(name="depth"))
    assert 'has 2 outputs; say which is the depth: [output] name = "near" or "far"' in refusal(path, described())


def test_a_second_input_is_told(tmp_path):
    path = network(tmp_path, inputs=("image", "camera"))
    assert 'has 2 inputs ("image" or "camera"); expected one' in refusal(path, described())


def test_a_graph_without_input_is_told(tmp_path):
    path = network(tmp_path, inputs=("image",), weights=("image",))
    assert "has no input" in refusal(path, described())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(50), b"\xff" * 99, b"[input]\nwidth = 640\n"], ids=ascii)
def test_what_is_no_onnx_is_told(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    assert "is no ONNX file" in refusal(path, described())


def test_a_truncated_network_is_told(tmp_path):
    path = network(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    assert "is no ONNX file" in refusal(path, described())


def test_a_file_that_is_not_there_or_is_a_folder_is_told(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.onnx", described())
    assert "Is a directory" in refusal(tmp_path, described())


# Outputs


def returning(*ports: tuple[str, int, object]) -> onnx.GraphProto:
    outputs = [helper.make_tensor_value_info(*port) for port in ports]
    return helper.make_graph([], "network", [], outputs)


@pytest.mark.parametrize(
    "shape",
    [
        [48, 160],
        [1, 48, 160],
        [48, 160, 1],
        [1, 1, 48, 160],
        [1, 48, 160, 1],
        [1, 1, 1, 160],
        ["n", "c", "h", "w"],
        [None, 1, None, None],
        ["n", "h", "w"],
        [-1, 1, 0, 160],
        None,
    ],
)
def test_outputs_that_are_or_may_be_maps_fit(shape):
    check_outputs("net.onnx", returning(("depth", FLOAT, shape)), OutputSpec(("depth",)))


@pytest.mark.parametrize(
    "shape", [[], [160], [2, 48, 160], [1, 3, 48, 160], [8, 1, 48, 160], [1, 1, 1, 48, 160], ["n"]]
)
def test_an_output_of_another_shape_is_told_with_the_shapes_that_fit(shape):
    with pytest.raises(SpecError, match=r'^net\.onnx: the output "depth" has the shape ') as caught:
        check_outputs("net.onnx", returning(("depth", FLOAT, shape)), OutputSpec(("depth",)))
    assert 'decode = "linear" expects one map of the shape H x W, 1 x H x W, H x W x 1' in str(caught.value)


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "DOUBLE", "UINT8", "INT8", "UINT16", "INT32", "INT64"])
def test_outputs_of_numbers_fit(kind):
    check_outputs("net.onnx", returning(("depth", TensorProto.DataType.Value(kind), [4, 5])), OutputSpec(("depth",)))


@pytest.mark.parametrize("kind", ["BOOL", "STRING", "COMPLEX64", "BFLOAT16", "FLOAT8E4M3FN"])
def test_outputs_of_another_type_are_told(kind):
    graph = returning(("depth", TensorProto.DataType.Value(kind), [4, 5]))
    with pytest.raises(
        SpecError, match=f'"depth" is {kind.lower()}; decode = "linear" expects one map of a float or i'
    ):
        check_outputs("net.onnx", graph, OutputSpec(("depth",)))


def test_only_outputs_that_are_read_count():
    graph = returning(("far", FLOAT, [4, 5]), ("classes", TensorProto.STRING, [9]), ("near", FLOAT, [2, 4, 5]))
    check_outputs("net.onnx", graph, OutputSpec(("far",)))
    pair = OutputSpec(("far", "near"), "integer-fraction", max=15.0)
    with pytest.raises(
        SpecError, match='"near" has the shape 2 x 4 x 5; decode = "integer-fraction" expects two maps, e'
    ):
        check_outputs("net.onnx", graph, pair)


def test_an_output_that_is_no_tensor_is_told_and_one_without_a_type_may_be_any(tmp_path):
    graph = load_graph(str(network(tmp_path)))
    graph.output[0].ClearField("type")
    check_outputs("net.onnx", graph, OutputSpec(("depth",)))
    graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("depth", FLOAT, [4, 5]))
    with pytest.raises(SpecError, match='the output "depth" is no tensor'):
        check_outputs("net.onnx", graph, OutputSpec(("depth",)))
