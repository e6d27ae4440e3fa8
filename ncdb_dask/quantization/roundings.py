"""Where a quantized network rounds activations, and by whose range."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ncdb_dask.model.topology import captured

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SCALE_SUFFIX = "_scale"  # by which ONNX Runtime's tool names the scale of a tensor


@dataclass(frozen=True, slots=True)
class Rounding:
    """Where a quantized network rounds a tensor.

    Attributes
    ----------
    tensor : str
        Its name in the FP32 network.
    quantize, dequantize : NodeProto
        The pair of nodes.
    """

    tensor: str
    quantize: "NodeProto"
    dequantize: "NodeProto"

    @property
    def owner(self) -> str:
        """The tensor whose scale it has: its own, or that of the one which it was pooled, resized or cut out of."""
        return str(self.quantize.input[1]).removesuffix(SCALE_SUFFIX)


def roundings(model: "ModelProto") -> Iterator[Rounding]:
    """Yield where a quantized network rounds activations, in its order."""
    quantizing = {node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    outputs = {port.name for port in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in quantizing:
            quantize = quantizing[node.input[0]]
            # An output of the network keeps its name behind the pair, all other tensors before it.
            named = node.output[0] if node.output[0] in outputs else quantize.input[0]
            yield Rounding(named, quantize, node)


def scales_of(model: "ModelProto") -> dict[str, tuple[float, int]]:
    """Return scale and zero point of every tensor that a quantized network rounds."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for one in roundings(model):
        scale, zero = (numpy_helper.to_array(tensors[name]) for name in one.quantize.input[1:3])
        found[one.tensor] = (float(scale), int(zero))
    return found


def leave_out(model: "ModelProto", tensors: Collection[str]) -> None:
    """Take the roundings of some tensors out again."""
    outputs = {port.name for port in model.graph.output}
    gone = [one for one in roundings(model) if one.tensor in tensors]
    replaced: dict[str, str] = {}
    for one in gone:
        before, after = one.quantize.input[0], one.dequantize.output[0]
        # The node before an output of the network makes it itself.
        replaced |= {before: after} if after in outputs else {after: before}
    removed = {node.output[0] for one in gone for node in (one.quantize, one.dequantize)}
    kept = [node for node in model.graph.node if node.output[0] not in removed]
    for node in kept:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = replaced.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _drop_unused(model)


def _drop_unused(model: "ModelProto") -> None:
    """Remove constants that no node takes: ONNX Runtime warns of each."""
    used = {name for node in model.graph.node for name in (*node.input, *captured(node))}
    used |= {port.name for port in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
