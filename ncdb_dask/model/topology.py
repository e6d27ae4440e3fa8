"""The topology of an ONNX graph: who makes a tensor, who takes it, what is constant, and which shapes are known."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

Shape = tuple[int | None, ...]
# Operators of other domains may have the same names, and be something else.
ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Topology:
    """A graph, indexed by its tensors. Tensors of subgraphs (If, Loop, Scan) are not in it, but what they capture is.

    Attributes
    ----------
    graph : onnx.GraphProto
        Sorted topologically, as ONNX demands.
    """

    graph: "GraphProto"
    _makers: dict[str, "NodeProto"] = field(default_factory=dict, repr=False)
    _takers: dict[str, list["NodeProto"]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _constants: dict[str, Any] = field(default_factory=dict, repr=False)
    _infos: dict[str, "ValueInfoProto"] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: "ModelProto") -> "Topology":
        """Index a network whose weights are loaded.

        Parameters
        ----------
        model : onnx.ModelProto
            Unchanged; its shapes are inferred as far as ONNX can.
        """
        from onnx import shape_inference

        inferred = shape_inference.infer_shapes(model).graph
        found = cls(model.graph)
        for node in model.graph.node:
            found._makers.update((name, node) for name in node.output if name)
            for name in dict.fromkeys((*filter(None, node.input), *captured(node))):
                found._takers[name].append(node)
            given = _given(node) if node.op_type == "Constant" else None
            if given is not None:
                found._constants[node.output[0]] = given
        found._constants.update((tensor.name, tensor) for tensor in model.graph.initializer)
        found._infos.update((info.name, info) for info in (*inferred.value_info, *inferred.output, *inferred.input))
        return found

    @property
    def nodes(self) -> Iterator["NodeProto"]:
        """The nodes that compute, in order."""
        return (node for node in self.graph.node if node.op_type != "Constant")

    def maker(self, tensor: str) -> "NodeProto | None":
        """Return the node whose output it is; None for inputs and initializers."""
        return self._makers.get(tensor)

    def takers(self, tensor: str) -> list["NodeProto"]:
        """Return the nodes whose input it is, in order; one that takes it twice is there once."""
        return self._takers.get(tensor, [])

    def is_constant(self, tensor: str) -> bool:
        """Whether it is an initializer or what a Constant node gives.

        An initializer that is an input as well, as older files list them, counts: nothing here feeds one.
        """
        return tensor in self._constants

    def constant(self, tensor: str) -> npt.NDArray[Any] | None:
        """Return the values of a constant; None for any other tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self._constants[tensor]) if tensor in self._constants else None

    def shape(self, tensor: str) -> Shape | None:
        """Return what is known of a shape, None for a dimension that is open; None where not even the rank is known."""
        if tensor in self._constants:
            return tuple(self._constants[tensor].dims)
        info = self._infos.get(tensor)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        # Some exporters write -1 or 0 where a size is left open.
        return tuple(size.dim_value if size.dim_value > 0 else None for size in info.type.tensor_type.shape.dim)

    def is_float(self, tensor: str) -> bool:
        """Whether it is known to hold float32."""
        from onnx import TensorProto

        if tensor in self._constants:
            return bool(self._constants[tensor].data_type == TensorProto.FLOAT)
        info = self._infos.get(tensor)
        return info is not None and info.type.tensor_type.elem_type == TensorProto.FLOAT


def attribute(node: "NodeProto", name: str, default: Any = None) -> Any:
    """Return an attribute of a node, strings as ``str``; `default` where it is not given."""
    from onnx import helper

    for one in node.attribute:
        if one.name == name:
            value = helper.get_attribute_value(one)
            return value.decode() if isinstance(value, bytes) else value
    return default


def captured(node: "NodeProto") -> set[str]:
    """Return the names that subgraphs of a node use, their own included."""
    graphs = [graph for one in node.attribute for graph in ((one.g,) if one.HasField("g") else one.graphs)]
    inner = {name for graph in graphs for one in graph.node for name in (*one.input, *captured(one)) if name}
    return inner | {port.name for graph in graphs for port in graph.output}


def extent(shape: Shape | None, axis: int) -> int | None:
    """Return the size of one dimension; None where it is not known."""
    return None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]


def integers(topology: Topology, node: "NodeProto", slot: int, name: str) -> list[int] | None:
    """Return what a node is given as a constant input, or as an attribute by older opsets; None where it is neither."""
    if len(node.input) > slot and node.input[slot]:
        found = topology.constant(node.input[slot])
        return None if found is None else [int(value) for value in found.ravel()]
    given = attribute(node, name)
    return None if given is None else [int(value) for value in given]


def size_before(shape: Shape, axis: int) -> int | None:
    """Return the product of the dimensions before an axis; None where one is open."""
    sizes = shape[:axis]
    return None if None in sizes else int(np.prod([size for size in sizes if size is not None], dtype=np.int64))


def named(node: "NodeProto") -> str:
    """Name a node for people."""
    return f"{node.op_type} {node.name or node.output[0]}"


def _given(node: "NodeProto") -> "TensorProto | None":
    """Return what a Constant node gives; None for texts and sparse tensors, which no rule reads."""
    from onnx import numpy_helper

    for name, kind in (("value_float", np.float32), ("value_int", np.int64)):
        for key in (name, f"{name}s"):
            value = attribute(node, key)
            if value is not None:
                return numpy_helper.from_array(np.array(value, kind), node.output[0])
    found: TensorProto | None = attribute(node, "value")
    return found
