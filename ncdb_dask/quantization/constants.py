"""How constants are rounded where ONNX Runtime's tool would not do it as the NPU needs it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.ranges import Range
from ncdb_dask.calibration.scheme import LEAST_SCALE, Scheme
from ncdb_dask.model.topology import Topology, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Values = npt.NDArray[np.float64]
Override = tuple[str, list[dict[str, Any]]]  # a tensor, and ONNX Runtime's TensorQuantOverrides of it
LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NORMS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization")
UNROUNDED = ("Clip", "Resize")  # take constants, bounds or scales, that are never rounded
# Hand on a mask that was added to what they take.
MOVING = ("Add", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Identity")
WEIGHT_LEVELS = 127  # on each side of zero
BIAS_LEVELS = 2**31 / 1.001  # on each side, with some room: the tool widens the step of weights whose bias needs more


def output_axis(node: "NodeProto", weights: npt.NDArray[Any]) -> int | None:
    """Return which axis of a layer's weights can have a scale for each index; None where ONNX Runtime knows of none.

    The weights of a ConvTranspose in groups repeat their outputs in each group: one scale would serve several channels,
    and the tool gives the bias as many as there are channels.
    """
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    grouped = node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1
    return None if grouped or weights.ndim < 2 else 1


def in_one_scale(topology: Topology) -> Iterator[Override]:
    """Yield weights that get one scale, although the others have one for each output channel."""
    for node in topology.nodes:
        weights = topology.constant(node.input[1]) if node.op_type == "ConvTranspose" else None
        if weights is not None and output_axis(node, weights) is None:
            yield node.input[1], [{"symmetric": True}]


def unbounded(topology: Topology) -> "list[NodeProto]":
    """Return the nodes whose constants no scale fits, as those of attention masks: they are infinite, or no numbers."""
    return [
        node
        for node in topology.nodes
        if node.op_type not in UNROUNDED
        and any(not np.isfinite(values).all() for _, _, values in _floats(topology, node))
    ]


def masked(topology: Topology) -> set[str]:
    """Return the tensors that infinite constants went into: the end of a range would let through what they mask."""
    found = {name for node in unbounded(topology) for name in node.output}
    for node in topology.nodes:
        if node.op_type in MOVING and not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def by_powers_of_two(
    topology: Topology, ranges: Mapping[str, Range], scheme: Scheme, per_channel: bool
) -> Iterator[Override]:
    """Yield scales that are powers of two for all constants that are rounded: the least that clip nothing.

    Parameters
    ----------
    topology : Topology
        Of the FP32 network.
    ranges : mapping of str to Range
        Of its activations, which decide the steps of biases.
    scheme : Scheme
        Of activations, and of constants that are added to them or multiplied.
    per_channel : bool
        Whether each output channel of a layer's weights has a scale of its own.
    """
    left = {node.name for node in unbounded(topology)}
    for node in topology.nodes:
        if node.op_type in UNROUNDED or node.name in left:
            continue
        for slot, name, values in _floats(topology, node):
            weights = slot == 1 or node.op_type == "MatMul"
            if node.op_type in LINEAR and weights:
                yield name, _weights(topology, ranges, node, values, per_channel)
            elif node.op_type in NORMS and weights:
                yield name, [_step(_whole(_steps_of(values.reshape(1, -1))))]
            elif node.op_type not in (*LINEAR, *NORMS):  # biases have the step of input times weights
                grid = scheme.grid(float(values.min()), float(values.max()))
                yield name, [{"scale": np.float32(grid.scale), "zero_point": np.int64(grid.zero_point)}]


def _floats(topology: Topology, node: "NodeProto") -> Iterator[tuple[int, str, npt.NDArray[Any]]]:
    """Yield the float constants that a node takes, with their slots."""
    for slot, name in enumerate(node.input):
        values = topology.constant(name) if topology.is_float(name) else None
        if values is not None and values.size:
            yield slot, name, values


def _weights(
    topology: Topology, ranges: Mapping[str, Range], node: "NodeProto", values: npt.NDArray[Any], per_channel: bool
) -> list[dict[str, Any]]:
    axis = output_axis(node, values) if per_channel else None
    parts = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    bias = topology.constant(node.input[2]) if len(node.input) > 2 else None
    steps = _steps_of(parts)
    if bias is not None and node.input[0] in ranges:
        needed = np.abs(bias).astype(np.float64).ravel() / BIAS_LEVELS / ranges[node.input[0]].scale
        steps = np.maximum(steps, needed if needed.size == steps.size else needed.max())
    about = {} if axis is None else {"axis": axis}
    return [_step(scale) | about for scale in _whole(steps)]


def _steps_of(parts: npt.NDArray[Any]) -> Values:
    """Return the step of each row; where ONNX Runtime would take 1 for one too small, 1."""
    steps: Values = np.abs(parts.astype(np.float64)).max(axis=1) / WEIGHT_LEVELS
    return np.where(steps >= LEAST_SCALE, steps, 1.0)


def _whole(steps: Values) -> Values:
    """Return the least powers of two that are no less."""
    powers: Values = np.exp2(np.ceil(np.log2(steps)))
    return powers


def _step(scale: Values | Sequence[float] | float) -> dict[str, Any]:
    return {"scale": np.float32(np.asarray(scale).item()), "zero_point": np.int8(0)}
