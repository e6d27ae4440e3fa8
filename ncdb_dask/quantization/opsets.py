"""Lifting an ONNX file to a version that tools for quantization can work on, without changing what it computes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.topology import ONNX_DOMAINS, attribute
from ncdb_dask.model.values import quoted

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# The least that the quantizer works on, and that lets an initializer be no input.
OPSET, IR_VERSION = 11, 4
RESIZE_OPSET = 10  # of the first Resize, of which ONNX does not say how it rounds to the nearest value
# What quantized networks consist of, ONNX Runtime's own operators included.
QUANTIZED_STARTS = ("QLinear", "QuantizeLinear", "DequantizeLinear", "DynamicQuantize")
QUANTIZED = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QAttention")


def needs_scales(model: "ModelProto") -> bool:
    """Whether constants must be folded before it is lifted: a Resize of opset 10 rounds up or down by its scales."""
    constants = _constants(model)
    nearest = [node for node in all_nodes(model.graph) if node.op_type == "Resize" and _is_nearest(node)]
    return _opset(model) == RESIZE_OPSET and any(node.input[1] not in constants for node in nearest)


def lifted(model: "ModelProto") -> "ModelProto":
    """Return the network in an opset that the quantizer can work on.

    Raises
    ------
    QuantizationError
        Where ONNX cannot lift it, or opset 11 has nothing that computes the same.
    """
    from onnx import helper, version_converter

    version = _opset(model)
    if version >= OPSET:
        return model
    try:
        lifted: ModelProto = version_converter.convert_version(model, OPSET)
    except Exception as error:  # RuntimeError, or of C++
        raise QuantizationError(
            f"the network cannot be lifted from opset {version} to {OPSET} ({one_line(error)}); "
            f"export it with opset {OPSET} or later"
        ) from error
    constants = _constants(lifted)
    for node in all_nodes(lifted.graph):
        # What Resize and Upsample did before they could be told; the converter leaves the default of opset 11.
        if node.op_type == "Resize" and attribute(node, "coordinate_transformation_mode") is None:
            before = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if version == RESIZE_OPSET and _is_nearest(node):  # Upsample, before, cannot shrink
                before["nearest_mode"] = _nearest_mode(node, constants.get(node.input[2]))
            node.attribute.extend(helper.make_attribute(name, value) for name, value in before.items())
    return lifted


def require_unquantized(model: "ModelProto") -> None:
    """Refuse a network that is quantized, if only in part: its values are rounded already.

    Raises
    ------
    QuantizationError
        Names the first node that says so.
    """
    for node in all_nodes(model.graph):
        if node.op_type.startswith(QUANTIZED_STARTS) or node.op_type in QUANTIZED:
            name = node.name or next(filter(None, node.output), "")
            raise QuantizationError(
                f"the network is quantized already ({node.op_type} node {quoted(name)}); give the FP32 network"
            )


def free_weights(model: "ModelProto") -> None:
    """Make weights that are inputs as well, as old files have them, weights alone: else nothing could be folded."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, IR_VERSION)


def drop_domains(model: "ModelProto") -> None:
    """Forget the operator sets that ONNX Runtime declares, used or not: other tools may not know them."""
    from onnx import helper

    used = {*ONNX_DOMAINS} | {node.domain for node in all_nodes(model.graph)}
    kept = [helper.make_opsetid(one.domain, one.version) for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def one_line(error: Exception) -> str:
    """Return what an error says in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def all_nodes(graph: "GraphProto") -> Iterator["NodeProto"]:
    """Yield all nodes, those of subgraphs too."""
    for node in graph.node:
        yield node
        for one in node.attribute:
            for inner in (one.g, *one.graphs):
                yield from all_nodes(inner)


def _opset(model: "ModelProto") -> int:
    return next((int(one.version) for one in model.opset_import if one.domain in ONNX_DOMAINS), OPSET)


def _is_nearest(node: "NodeProto") -> bool:
    return bool(attribute(node, "mode", "nearest") == "nearest")


def _nearest_mode(node: "NodeProto", scales: npt.NDArray[Any] | None) -> str:
    """Return which value ONNX Runtime's Resize of opset 10 takes: the next one where it shrinks, else the one before.

    A scale of 1 meets each value, so that it may go with both.
    """
    name = node.name or node.output[0]
    advice = f"export it with opset {OPSET} or later"
    if scales is None:
        raise QuantizationError(
            f"the scales of Resize {quoted(name)} are no constants, as opset 10 needs them; {advice}"
        )
    if np.any(scales < 1) and np.any(scales > 1):
        given = ", ".join(f"{one:g}" for one in scales)
        raise QuantizationError(
            f"Resize {quoted(name)} shrinks and enlarges at once (scales {given}), which opset 10 rounds in two ways, "
            f"and opset {OPSET} in one; {advice}"
        )
    return "ceil" if np.any(scales < 1) else "floor"


def _constants(model: "ModelProto") -> dict[str, npt.NDArray[Any]]:
    """Return the constants of the main graph, and what Constant nodes give, by their names."""
    from onnx import numpy_helper

    given = {node.output[0]: attribute(node, "value") for node in all_nodes(model.graph) if node.op_type == "Constant"}
    given |= {tensor.name: tensor for tensor in model.graph.initializer}
    return {name: numpy_helper.to_array(tensor) for name, tensor in given.items() if tensor is not None}
