"""Checking a model file against the ONNX graph that it describes."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ncdb_dask.errors import SpecError
from ncdb_dask.model.spec import ModelSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto


def checked_with_graph(spec: ModelSpec, model: str | os.PathLike[str]) -> ModelSpec:
    """Check that a spec fits an ONNX file, and return it with the names of input and output filled in.

    Parameters
    ----------
    spec : ModelSpec
        What the model file says.
    model : path
        The ONNX file; weights outside of it are not read.

    Raises
    ------
    SpecError
        A file that is no ONNX, or a graph whose input or output is another.
    """
    graph = _read(model)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in weights}
    outputs = {value.name: value for value in graph.output}
    wanted = spec.output.name if isinstance(spec.output.name, tuple) else (spec.output.name,)
    names = tuple(_the_one(model, "output", outputs, name) for name in wanted)
    name = _the_one(model, "input", inputs, spec.input.name)
    _check_input(model, inputs[name], spec)
    output = replace(spec.output, name=(names[0], names[1]) if len(names) == 2 else names[0])
    return replace(spec, input=replace(spec.input, name=name), output=output)


def _read(model: str | os.PathLike[str]) -> "GraphProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        loaded = onnx.load(os.fspath(model), load_external_data=False)
    except OSError as error:
        raise SpecError(f"{model}: cannot be read ({error.strerror or error})") from error
    except (DecodeError, ValueError) as error:
        raise SpecError(f"{model}: is no ONNX file ({error})") from error
    if not loaded.graph.output:
        raise SpecError(f"{model}: is no ONNX file, or one without an output")
    return loaded.graph


def _the_one(model: object, what: str, found: "dict[str, ValueInfoProto]", name: str | None) -> str:
    listed = ", ".join(found)
    if name is None and len(found) != 1:
        raise SpecError(f"{model}: has {len(found)} {what}s ({listed}); say which with name in [{what}]")
    if name is not None and name not in found:
        raise SpecError(f"{model}: has no {what} {name!r}; expected one of {listed}")
    return name or next(iter(found))


def _check_input(model: object, value: "ValueInfoProto", spec: ModelSpec) -> None:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise SpecError(f"{model}: input {value.name!r} is of type {kind}; expected float (32 bits)")
    shape = [axis.dim_value or None for axis in tensor.shape.dim]  # None is any size
    text = " x ".join(str(size or "?") for size in shape)
    section = spec.input
    if _fits(shape, section.shape):
        return
    other = replace(section, layout="nhwc" if section.layout == "nchw" else "nchw")
    hint = f"; layout {other.layout!r} would fit" if _fits(shape, other.shape) else ""
    wanted = " x ".join(map(str, (1, *section.shape)))
    raise SpecError(f"{model}: input {value.name!r} is {text}, the model file says {wanted} ({section.layout}){hint}")


def _fits(shape: list[int | None], wanted: tuple[int, int, int]) -> bool:
    return len(shape) == 4 and all(size in (None, want) for size, want in zip(shape[1:], wanted, strict=True))
