"""Empirical bias correction: what quantization adds to the mean of a channel is taken from its bias again.

Nagel et al. (2019), section 4.2, from data: layer by layer in topological order, so that each is corrected with all
before it corrected, by the difference of the means of its outputs, FP32 and INT8, over calibration frames. Nothing is
kept of a frame but the means of one layer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.model.topology import Topology, attribute
from ncdb_dask.quantization.prepare import BIASED

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

    from ncdb_dask.calibration.channel_statistics import ChannelStatistics

Values = npt.NDArray[np.float64]
# Of a network as it is now, of a tensor and the axis of its channels: the mean of each channel.
Means = Callable[["ModelProto", str, int], Values]


@dataclass(frozen=True)
class BiasLayer:
    """A layer whose bias can be corrected.

    Attributes
    ----------
    node : str
        Its name, in both networks.
    axis : int
        Of the channels of its output.
    expected : ndarray, shape (C,)
        The means of its output in FP32.
    """

    node: str
    axis: int
    expected: Values


def correctable(model: "ModelProto", statistics: "Mapping[str, ChannelStatistics]") -> list[BiasLayer]:
    """Return the layers of an FP32 network that have a constant bias, and whose means are known.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, as `ncdb_dask.quantization.prepare.prepared` returns it.
    statistics : mapping of str to ChannelStatistics
        Of its tensors.
    """
    topology = Topology.of(model)
    layers = []
    for node in topology.nodes:
        found = statistics.get(node.output[0])
        if found is not None and found.axis is not None and _has_bias(topology, node):
            layers.append(BiasLayer(node.name, found.axis, found.mean))
    return layers


def corrected(model: "ModelProto", layers: list[BiasLayer], means: Means) -> Iterator[dict[str, Any]]:
    """Correct the biases of a quantized network in place, layer by layer.

    Parameters
    ----------
    model : onnx.ModelProto
        With QuantizeLinear and DequantizeLinear nodes; its biases are changed.
    layers : list of BiasLayer
        In topological order.
    means : callable
        Runs the network.

    Yields
    ------
    dict
        What was done to a layer: its name, and the root mean square of the shift, relative to that of the means.
    """
    nodes = {node.name: node for node in model.graph.node}
    for layer in layers:
        node = nodes[layer.node]
        shift = layer.expected - means(model, node.output[0], layer.axis)
        _add(model, node, shift)
        yield {"layer": layer.node, "shift": _relative(shift, layer.expected)}


def _has_bias(topology: Topology, node: "NodeProto") -> bool:
    """Whether a node has a constant bias of its own: another layer's would move with it."""
    if node.op_type not in BIASED or len(node.input) < 3 or attribute(node, "beta", 1.0) != 1:
        return False
    return topology.is_constant(node.input[2]) and len(topology.takers(node.input[2])) == 1


def _add(model: "ModelProto", node: "NodeProto", shift: Values) -> None:
    """Add to the bias of a layer, in steps of its own scale where it is quantized."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    name = node.input[2]
    if name in tensors:
        bias = numpy_helper.to_array(tensors[name])
        _put(tensors[name], (bias + shift).astype(bias.dtype))
        return
    quantized, scale, *_ = next(one for one in model.graph.node if name in one.output).input
    steps = numpy_helper.to_array(tensors[scale]).astype(np.float64)
    codes = numpy_helper.to_array(tensors[quantized])
    limits = np.iinfo(codes.dtype)
    moved = np.clip(np.rint(codes + shift / steps), limits.min, limits.max)
    _put(tensors[quantized], moved.astype(codes.dtype))


def _put(tensor: "TensorProto", values: npt.NDArray[Any]) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _relative(shift: Values, mean: Values) -> float:
    size = float(np.sqrt(np.mean(mean**2)))
    moved = float(np.sqrt(np.mean(shift**2)))
    return moved / size if size > 0 else moved
