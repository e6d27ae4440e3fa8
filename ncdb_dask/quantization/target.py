"""What a network is rounded to: one scheme, other bits for single tensors, and what is computed without rounding."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ncdb_dask.calibration.ranges import Range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.topology import Topology
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.constants import LINEAR

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Kernels of 8 bits compute these with the layer before, in the same pass over its sums: nothing is rounded between.
FUSED = ("Relu", "Clip")
NAMED = 3  # tensors that a message names
FIXED = "fixed"  # the range of a Softmax whose kernel leaves nothing to choose


@dataclass(frozen=True, slots=True)
class Target:
    """What a network is rounded to.

    Attributes
    ----------
    scheme : Scheme
        Of activations.
    per_channel : bool
        Whether each output channel of a layer has a scale of its own for its weights, which are int8 symmetric.
    wide : frozenset of str
        Tensors of 16 bits.
    kept : frozenset of str
        Tensors that are not rounded.
    operators : tuple of str
        Kinds of nodes that are quantized; empty for all that ONNX Runtime can.
    fixed_softmax : bool
        Whether the output of a Softmax is rounded from 0 to 1, whatever was measured.
    """

    scheme: Scheme
    per_channel: bool = False
    wide: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    operators: tuple[str, ...] = ()
    fixed_softmax: bool = False

    def scheme_of(self, tensor: str) -> Scheme:
        """Return the scheme of a tensor."""
        return replace(self.scheme, bits=16) if tensor in self.wide else self.scheme

    def quantizes(self, kind: str) -> bool:
        """Whether a kind of node is quantized, if ONNX Runtime can."""
        return not self.operators or kind in self.operators

    def completed(self, model: "ModelProto") -> "Target":
        """Give what enters a ReLU alone, and is rounded by the range of its output, as many bits as that has."""
        topology = Topology.of(model)
        unrounded = fused(topology, self)
        pairs = [pair for pair in passed_on(topology, self).items() if pair[0] not in unrounded]
        wide = {name for pair in pairs if not self.wide.isdisjoint(pair) for name in pair}
        return replace(self, wide=self.wide | wide)

    def check_names(self, tensors: Collection[str]) -> None:
        """Refuse names that are no activations of the network.

        Raises
        ------
        QuantizationError
            Names the nearest ones.
        """
        for name in sorted(self.wide | self.kept):
            if name not in tensors:
                near = ", ".join(map(quoted, _nearest(name, tensors)))
                raise QuantizationError(f"the network has no activation {quoted(name)}; the nearest are {near}")
        both = sorted(self.wide & self.kept)
        if both:
            raise QuantizationError(f"{quoted(both[0])} cannot have 16 bits and not be rounded; choose one of the two")


def _nearest(name: str, tensors: Collection[str]) -> list[str]:
    """Return the names that hold all parts of one between its slashes, or else those that look like it."""
    parts = [part.lower() for part in name.split("/") if part]
    holding = [tensor for tensor in tensors if all(part in tensor.lower() for part in parts)]
    return (holding or difflib.get_close_matches(name, list(tensors), cutoff=0.3) or list(tensors))[:NAMED]


def passed_on(topology: Topology, target: Target) -> dict[str, str]:
    """Return the tensors that only enter a ReLU or Clip, and its output, whose range the tool gives them.

    Outputs of the network are none: who takes them wants what the ReLU cuts off.
    """
    found: dict[str, str] = {}
    outputs = _outputs(topology)
    for node in reversed(_activations(topology, target)):  # so that of several in a row, the last one decides
        if node.input[0] not in outputs:
            found[node.input[0]] = found.get(node.output[0], node.output[0])
    return found


def overruled(topology: Topology, target: Target) -> list[str]:
    """Return the tensors that have a range of their own here, and which the tool would give another one."""
    outputs = _outputs(topology)
    entering = [node.input[0] for node in _activations(topology, target) if node.input[0] in outputs]
    return [*softmaxes(topology, target), *entering]


def fused(topology: Topology, target: Target) -> frozenset[str]:
    """Return the tensors between a layer and the activation that is computed with it."""
    found = set[str]()
    outputs = _outputs(topology)
    for node in topology.nodes:
        before = node.input[0] if node.op_type in FUSED else ""
        maker = topology.maker(before)
        alone = len(topology.takers(before)) == 1 and before not in outputs
        if maker is None or maker.op_type not in (*LINEAR, "Add") or not alone:
            continue
        if target.quantizes(node.op_type) and target.quantizes(maker.op_type):
            found.add(before)
    return frozenset(found)


def softmaxes(topology: Topology, target: Target) -> list[str]:
    """Return the outputs of softmaxes that are quantized."""
    return [node.output[0] for node in topology.nodes if node.op_type == "Softmax" and target.quantizes("Softmax")]


def _activations(topology: Topology, target: Target) -> "list[NodeProto]":
    """Return the ReLUs and Clips that are quantized, and that alone take what enters them."""
    nodes = [node for node in topology.nodes if node.op_type in FUSED and target.quantizes(node.op_type)]
    return [node for node in nodes if len(topology.takers(node.input[0])) == 1]


def _outputs(topology: Topology) -> set[str]:
    return {port.name for port in topology.graph.output}


def of_softmax(scheme: Scheme) -> Range:
    """Return the range of a Softmax whose kernel has a fixed one: in steps of 2^-bits (LiteRT's specification)."""
    grid = scheme.grid(0.0, 1 - 2.0**-scheme.bits)
    return Range(FIXED, grid.low, grid.high, grid.scale, grid.zero_point, 0.0)
