"""A quantized network of which only a part is quantized: what each part costs is measured, not modelled."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.qdq import QdqNetwork
from ncdb_dask.quantization.roundings import Rounding, leave_out, roundings

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

CONSTANT_SUFFIX = "_quantized"  # by which ONNX Runtime's tool names the integers of a constant
Form = Literal["round", "clip", "steps"]
# Round and clip to the range, only clip to it, or only round, to as many steps as are needed.
ROUND: Form = "round"
CLIP: Form = "clip"
STEPS: Form = "steps"


@dataclass(frozen=True)
class Parts:
    """A quantized network, and the FP32 network that it was made of.

    Attributes
    ----------
    network : onnx.ModelProto
        FP32, as `ncdb_dask.quantization.prepare.prepared` returns it.
    quantized : QdqNetwork
        Of it.
    """

    network: "ModelProto"
    quantized: QdqNetwork

    @cached_property
    def tensors(self) -> dict[str, tuple[str, ...]]:
        """The tensors that have a scale of their own -> those that are rounded by it."""
        found: dict[str, list[str]] = {}
        for one in roundings(self.quantized.model):
            found.setdefault(one.owner, []).append(one.tensor)
        return {owner: tuple(names) for owner, names in found.items()}

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants that are rounded, weights and biases, in the order of the graph."""
        return tuple(dict.fromkeys(name for name, _ in _constants(self.quantized.model)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the network that are rounded."""
        named = {port.name for port in self.network.graph.output}
        return tuple(owner for owner, names in self.tensors.items() if named.intersection(names))

    def only_weights(self) -> "ModelProto":
        """Return the network with rounded constants and exact activations."""
        return self.without(self.tensors)

    def only_activations(self, form: Form = ROUND) -> "ModelProto":
        """Return the network with exact constants and rounded activations, or such as only `form` is done to."""
        return _computed(self._exact(self.constants), form)

    def only(self, owners: Collection[str]) -> "ModelProto":
        """Return the network in which nothing is rounded but some tensors."""
        rest = self._rounded(set(self.tensors).difference(owners))
        return _computed(_left_out(self._exact(self.constants), rest))

    def without(self, owners: Iterable[str]) -> "ModelProto":
        """Return the quantized network in which some tensors are not rounded."""
        return _left_out(self.quantized.model, self._rounded(owners))

    def without_constants(self, names: Collection[str]) -> "ModelProto":
        """Return the quantized network in which some constants are not rounded, by plain arithmetic."""
        return _computed(self._exact(names))

    def _exact(self, names: Collection[str]) -> "ModelProto":
        """Put the exact constants of some names back; see `_computed` for what else they need."""
        from onnx import numpy_helper

        made, topology = _copy(self.quantized.model), Topology.of(self.network)
        exact = {node.output[0]: topology.constant(name) for name, node in _constants(made) if name in set(names)}
        _replace(made, {name: [] for name, values in exact.items() if values is not None})
        made.graph.initializer.extend(
            numpy_helper.from_array(values, name) for name, values in exact.items() if values is not None
        )
        return made

    def _rounded(self, owners: Iterable[str]) -> set[str]:
        return {name for owner in owners for name in self.tensors[owner]}


def _constants(model: "ModelProto") -> "Iterator[tuple[str, NodeProto]]":
    """Yield the constants that a quantized network holds as integers: the name in FP32, and the node that gives it."""
    held = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in held:
            yield node.input[0].removesuffix(CONSTANT_SUFFIX), node


def _computed(model: "ModelProto", form: Form = ROUND) -> "ModelProto":
    """Return a quantized network that rounds activations by plain arithmetic, or does only `form` to them.

    Between QuantizeLinear nodes, ONNX Runtime rounds the weights of a layer by itself where they are exact (its
    WeightBiasQuantization), and what was measured would be another network.
    """
    made = _copy(model)
    values = {tensor.name: tensor for tensor in made.graph.initializer}
    replaced: dict[str, list[NodeProto]] = {}
    for number, one in enumerate(list(roundings(made))):
        nodes, constants = _arithmetic(f"ncdb_{number}", one, _grid(values, one), form)
        made.graph.initializer.extend(constants)
        replaced |= {one.quantize.output[0]: [], one.dequantize.output[0]: nodes}
    _replace(made, replaced)
    return _left_out(made, ())


def _grid(values: "Mapping[str, TensorProto]", one: Rounding) -> tuple[float, int, int]:
    """Return the scale of a rounding, and the least and greatest number of steps from zero."""
    from onnx import numpy_helper

    scale, zero = (numpy_helper.to_array(values[name]) for name in one.quantize.input[1:3])
    limits = np.iinfo(zero.dtype)
    return float(scale), int(limits.min) - int(zero), int(limits.max) - int(zero)


def _arithmetic(
    name: str, one: Rounding, grid: tuple[float, int, int], form: Form
) -> "tuple[list[NodeProto], list[TensorProto]]":
    """Return nodes that do to a tensor what a rounding did, or only `form`, and their constants."""
    from onnx import helper, numpy_helper

    scale, least, greatest = grid
    source, target = one.quantize.input[0], one.dequantize.output[0]
    steps: list[tuple[str, tuple[float, ...]]] = [("Div", (scale,)), ("Round", ()), ("Mul", (scale,))]
    if form == ROUND:
        steps.insert(2, ("Clip", (least, greatest)))
    operators = [("Clip", (least * scale, greatest * scale))] if form == CLIP else steps
    nodes, constants = [], []
    for number, (operator, numbers) in enumerate(operators):
        made = target if number == len(operators) - 1 else f"{name}_{number}"
        held = [
            numpy_helper.from_array(np.array(value, np.float32), f"{name}_{number}_{k}")
            for k, value in enumerate(numbers)
        ]
        nodes.append(
            helper.make_node(operator, [source, *(tensor.name for tensor in held)], [made], f"{name}_{operator}")
        )
        constants += held
        source = made
    return nodes, constants


def _replace(model: "ModelProto", replaced: "dict[str, list[NodeProto]]") -> None:
    """Put other nodes in the places of those that make some tensors."""
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _left_out(model: "ModelProto", tensors: Collection[str]) -> "ModelProto":
    made = _copy(model)
    leave_out(made, tensors)  # drops constants that nobody takes, too
    return made


def _copy(model: "ModelProto") -> "ModelProto":
    copied = type(model)()
    copied.CopyFrom(model)
    return copied
