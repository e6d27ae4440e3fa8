"""Multiplying channels by scales without changing what the network computes: weights and offsets take them up."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.model.channels import HELD, Channels, Layer, Offset
from ncdb_dask.model.topology import Topology, attribute, captured

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Values = npt.NDArray[np.float64]


def rescaled(model: "ModelProto", channels: Channels, scales: Values) -> "ModelProto":
    """Return the network with its channels multiplied by scales.

    Parameters
    ----------
    model : onnx.ModelProto
        Unchanged; `channels` are those of its graph.
    channels : Channels
        Which channels share a scale.
    scales : ndarray of float64, shape (channels.count,)
        Positive, by the number that `Channels.resolved` returns; the one of `HELD` counts as 1.

    Returns
    -------
    onnx.ModelProto
        With the same nodes and tensors, but for constants that are also used elsewhere, or get another shape: these are
        replaced by ones with new names.
    """
    from onnx import ModelProto

    changed = ModelProto()
    changed.CopyFrom(model)
    constants = _Constants(changed.graph, channels.topology)
    factors = np.array(scales, dtype=np.float64)
    factors[HELD] = 1.0
    for layer in channels.layers:
        made, taken = factors[channels.resolved(layer.made)], factors[channels.resolved(layer.taken)]
        constants.replace(layer.node, 1, _weights(layer, constants.values(layer.node, 1), taken, made))
    for offset in channels.offsets:
        scale = factors[channels.resolved(offset.channels)]
        constants.replace(offset.node, offset.slot, _offset(offset, constants.values(offset.node, offset.slot), scale))
    constants.drop_replaced()
    return changed


def by_groups(weights: npt.NDArray[Any], layer: Layer) -> npt.NDArray[Any]:
    """Return a layer's weights as (groups, out, in, taps), whatever its kind; a view where it can be."""
    kind, groups = layer.node.op_type, layer.groups
    if kind == "Conv":
        return weights.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1)
    if kind == "ConvTranspose":
        return weights.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1).swapaxes(1, 2)
    out_first = kind == "Gemm" and attribute(layer.node, "transB", 0)
    return (weights if out_first else weights.T)[None, :, :, None]


def _weights(layer: Layer, weights: Values, taken: Values, made: Values) -> Values:
    """Multiply by the scale of what is made, divide by that of what is taken."""
    changed = weights.copy()
    view = by_groups(changed, layer)  # of a fresh contiguous array, so that it is a view of it
    view *= made.reshape(layer.groups, -1, 1, 1)
    view /= taken.reshape(layer.groups, 1, -1, 1)
    return changed


def _offset(offset: Offset, values: Values, scale: Values) -> Values:
    """Multiply along the axis of the channels; a value for all of them becomes one for each."""
    if (scale == 1).all():
        return values
    shape = [1] * -offset.axis
    shape[0] = len(scale)
    return values * scale.reshape(shape)


class _Constants:
    """The constants of a graph that is being changed; one that is used elsewhere too is copied."""

    def __init__(self, graph: "GraphProto", topology: Topology) -> None:
        self._graph = graph
        self._topology = topology
        self._nodes = {name: node for node in graph.node for name in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._uses = _uses(graph)
        self._replaced = set[str]()

    def values(self, node: "NodeProto", slot: int) -> Values:
        """Return what the node is given, as it was before any change."""
        found = self._topology.constant(node.input[slot])
        assert found is not None  # `Channels` names constants only
        return found.astype(np.float64)

    def replace(self, node: "NodeProto", slot: int, values: Values) -> None:
        """Give the node other values."""
        from onnx import numpy_helper

        name = node.input[slot]
        if name in self._tensors and self._uses[name] == 1 and tuple(self._tensors[name].dims) == values.shape:
            self._tensors[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
            return
        renamed = f"{node.output[0]}/{slot}/rescaled"
        self._graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), renamed))
        self._nodes[node.output[0]].input[slot] = renamed
        self._replaced.add(name)

    def drop_replaced(self) -> None:
        """Remove constants that nothing uses any more."""
        gone = self._replaced - set(_uses(self._graph))
        tensors, nodes = self._graph.initializer, self._graph.node
        for place in reversed([place for place, tensor in enumerate(tensors) if tensor.name in gone]):
            del tensors[place]
        for place in reversed([place for place, node in enumerate(nodes) if node.output and node.output[0] in gone]):
            del nodes[place]


def _uses(graph: "GraphProto") -> Counter[str]:
    """Count where each tensor is used, by the graph's own inputs and outputs too: their values and shapes must stay."""
    uses = Counter(name for node in graph.node for name in (*node.input, *captured(node)))
    uses.update(port.name for port in (*graph.input, *graph.output))
    return uses
