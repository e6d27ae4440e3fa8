"""The ONNX graph against its model file: names, types and shapes, before a long run finds out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.errors import SpecError
from ncdb_dask.model.decode import MAP_SHAPES, MAP_SHAPES_WRITTEN
from ncdb_dask.model.spec import InputSpec, ModelSpec, OutputSpec
from ncdb_dask.model.values import quoted

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

Shape = Sequence[int | str]  # a dimension without a fixed size is its name
# Of outputs, by ONNX's names in small letters; undefined is one that the file does not tell.
NUMBERS = ("float", "float16", "double", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def check_graph(model: str | os.PathLike[str], spec: ModelSpec) -> ModelSpec:
    """Check that a network takes what its model file describes.

    Parameters
    ----------
    model : path
        The ONNX file; weights that it keeps in other files are not read.
    spec : ModelSpec
        Its model file.

    Returns
    -------
    ModelSpec
        With the names of input and output filled in where the file left them to the graph.

    Raises
    ------
    SpecError
        Where the file is no ONNX, a name is not in the graph or not the only one, or type or shape of the input differ.
        Dimensions without a fixed size fit anything.
    """
    path = os.fspath(model)
    graph = load_graph(path)
    try:
        port = _input(graph, spec.input.name)
        _check_type(port)
        _check_shape(port, spec.input)
        outputs = _output_names(graph, spec.output.name)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    return replace(spec, input=replace(spec.input, name=port.name), output=replace(spec.output, name=outputs))


def check_outputs(path: str, graph: "GraphProto", spec: OutputSpec) -> None:
    """Check that the outputs a network is read by are maps; who only fills its input need not ask.

    Parameters
    ----------
    path : str
        What errors name.
    graph : GraphProto
        As `load_graph` returns it.
    spec : OutputSpec
        With the names, as `check_graph` fills them in.

    Raises
    ------
    SpecError
        Where one is not of a float or integer type, or has a shape that is no map. Dimensions without a fixed size fit
        anything.
    """
    for port in graph.output:
        if port.name in spec.name:
            try:
                _check_output(port, spec.decode)
            except ValueError as error:
                raise SpecError(f"{path}: {error}") from error


def load_graph(path: str) -> "GraphProto":
    """Read the graph of an ONNX file, without weights that it keeps in other files.

    Raises
    ------
    SpecError
        Where it cannot be read or is no ONNX.
    """
    import onnx

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror or error}); expected an ONNX file") from error
    try:
        graph = onnx.load_model_from_string(data, format="protobuf").graph
    except Exception as error:  # protobuf has its own kinds; the bytes are in memory, so it is their fault
        raise SpecError(f"{path}: is no ONNX file ({str(error) or type(error).__name__})") from error
    if not graph.output:  # an empty file is a valid message without content
        raise SpecError(f"{path}: is no ONNX file of a network (its graph has no outputs)")
    return graph


def _input(graph: "GraphProto", name: str | None) -> "ValueInfoProto":
    """Return the graph's input; older files list weights among the inputs."""
    weights = {tensor.name for tensor in (*graph.initializer, *(one.values for one in graph.sparse_initializer))}
    inputs: dict[str, ValueInfoProto] = {port.name: port for port in graph.input if port.name not in weights}
    if not inputs:
        raise ValueError("the graph has no input")
    if name is not None and name not in inputs:
        raise ValueError(f"the graph has no input {quoted(name)}; [input] name can be {_listed(inputs)}")
    if len(inputs) > 1:
        raise ValueError(f"the graph has {len(inputs)} inputs ({_listed(inputs)}); expected one, the picture")
    return next(iter(inputs.values()))


def _output_names(graph: "GraphProto", names: tuple[str, ...]) -> tuple[str, ...]:
    known = [port.name for port in graph.output]
    for name in names:
        if name not in known:
            raise ValueError(f"the graph has no output {quoted(name)}; [output] name can be {_listed(known)}")
    if not names and len(known) > 1:
        raise ValueError(
            f"the graph has {len(known)} outputs; say which is the depth: [output] name = {_listed(known)}"
        )
    return names or tuple(known)


def _check_type(port: "ValueInfoProto") -> None:
    kind = _type(port, "input")
    if kind != "float":
        raise ValueError(
            f"the input {quoted(port.name)} is {kind}; expected float32: export the network with a float input"
        )


def _check_shape(port: "ValueInfoProto", spec: InputSpec) -> None:
    shape = _shape(port)
    expected = _expected(spec.layout, spec.height, spec.width)
    if shape is None or _fits(shape, expected):
        return
    wanted = f"layout = {quoted(spec.layout)}, width = {spec.width}, height = {spec.height}"
    raise ValueError(
        f"the input {quoted(port.name)} has the shape {_written(shape)}, but the model file describes "
        f"{_written(expected)} ({wanted}); {_advice(shape, spec)}"
    )


def _check_output(port: "ValueInfoProto", decode: str) -> None:
    if port.type.WhichOneof("value") is None:  # ONNX Runtime finds the type by itself
        return
    expects = f"decode = {quoted(decode)} expects {'two maps, each' if decode == 'integer-fraction' else 'one map'}"
    kind = _type(port, "output")
    if kind not in (*NUMBERS, "undefined"):
        raise ValueError(f"the output {quoted(port.name)} is {kind}; {expects} of a float or integer type")
    shape = _shape(port)
    if shape is not None and not any(_fits(shape, known) for known in MAP_SHAPES):
        raise ValueError(
            f"the output {quoted(port.name)} has the shape {_written(shape)}; {expects} of the shape "
            f"{MAP_SHAPES_WRITTEN}: name the output that is the depth, or export the network with a batch of 1"
        )


def _type(port: "ValueInfoProto", what: str) -> str:
    import onnx

    if port.type.WhichOneof("value") != "tensor_type":
        raise ValueError(f"the {what} {quoted(port.name)} is no tensor")
    name: str = onnx.TensorProto.DataType.Name(port.type.tensor_type.elem_type)
    return name.lower()


def _shape(port: "ValueInfoProto") -> Shape | None:
    """Return what the file tells of a tensor's shape; None where not even how many dimensions it has."""
    tensor = port.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    # Some exporters write -1 or 0 where a size is left open.
    return [size.dim_value if size.dim_value > 0 else size.dim_param or "?" for size in tensor.shape.dim]


def _advice(shape: Shape, spec: InputSpec) -> str:
    """Say which values of the model file would fit, or else what the graph should be."""
    if len(shape) != 4:
        return "expected 4 dimensions: batch, channels, height and width"
    if isinstance(shape[0], int) and shape[0] != 1:
        return "export the network with a batch of 1, or with one of no fixed size"
    own, other = ("nchw", "nhwc") if spec.layout == "nchw" else ("nhwc", "nchw")
    if _fits(shape, _expected(other, spec.height, spec.width)):
        return f"height and width fit, but look like layout = {quoted(other)}"
    for layout in (own, other):
        found = shape[2:] if layout == "nchw" else shape[1:3]
        height = found[0] if isinstance(found[0], int) else spec.height
        width = found[1] if isinstance(found[1], int) else spec.width
        if _fits(shape, _expected(layout, height, width)):
            return f"layout = {quoted(layout)}, width = {width}, height = {height} would fit"
    return "expected a batch of 1 with 3 channels"


def _expected(layout: str, height: int, width: int) -> Shape:
    return (1, 3, height, width) if layout == "nchw" else (1, height, width, 3)


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        isinstance(found, str) or isinstance(want, str) or found == want
        for found, want in zip(shape, expected, strict=True)
    )


def _written(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "of a single number"


def _listed(names: Sequence[str] | dict[str, "ValueInfoProto"]) -> str:
    return " or ".join(map(quoted, names))
