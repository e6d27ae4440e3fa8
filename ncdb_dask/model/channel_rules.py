"""How each ONNX operator hands channels on, joins them, makes new ones, or holds their scales."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ncdb_dask.model import channel_moves, channel_spatial
from ncdb_dask.model.channels import Channels, Layer, Numbers, Offset, Placed
from ncdb_dask.model.topology import ONNX_DOMAINS, Topology, attribute, captured, extent, named

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Rule = Callable[[Channels, "NodeProto"], bool]  # False: the node holds what it takes
# Of a node that works on its first input alone; None: the node holds it.
Move = Callable[[Channels, "NodeProto", int, Numbers], Placed | None]


def find_channels(topology: Topology) -> Channels:
    """Give the channels of all tensors of a graph their numbers, and find which scales are held, and by what."""
    found = Channels(topology)
    for node in topology.nodes:
        rule = _RULES.get(node.op_type) if node.domain in ONNX_DOMAINS else None
        if rule is None or not rule(found, node):
            _hold_all(found, node)
    for port in topology.graph.output:
        found.hold(port.name, "the network's output")
    return found


def channel_axes(model: "ModelProto") -> dict[str, int]:
    """Return which axis of a tensor is that of its channels, counted from 0, for tensors that have one.

    Parameters
    ----------
    model : onnx.ModelProto
        With its weights.
    """
    channels = find_channels(Topology.of(model))
    axes = {tensor: axis for tensor, (axis, _) in channels.of.items()}
    for layer in channels.layers:  # what enters one may have no scale of its own: the picture, what a softmax gives
        axes.setdefault(layer.node.input[0], layer.axis)
    return axes


def _hold_all(channels: Channels, node: "NodeProto") -> None:
    for tensor in (*node.input, *captured(node)):
        channels.hold(tensor, named(node))


def _ignores_values(_channels: Channels, _node: "NodeProto") -> bool:
    """Tell of its input what no scale changes."""
    return True


def _convolution(channels: Channels, node: "NodeProto") -> bool:
    first, second = _size(channels, node.input[1], 0), _size(channels, node.input[1], 1)
    groups = attribute(node, "group", 1)
    into, out = (second * groups, first) if node.op_type == "Conv" else (first, second * groups)
    return _linear(channels, node, into, out, axis=1, groups=groups)


def _gemm(channels: Channels, node: "NodeProto") -> bool:
    sizes = [_size(channels, node.input[1], axis) for axis in (0, 1)]
    into, out = reversed(sizes) if attribute(node, "transB", 0) else sizes
    return not attribute(node, "transA", 0) and _linear(channels, node, into, out, axis=1)


def _matmul(channels: Channels, node: "NodeProto") -> bool:
    weights, taken = (channels.topology.shape(node.input[slot]) for slot in (1, 0))
    if weights is None or len(weights) != 2 or taken is None:
        return False
    return _linear(channels, node, int(weights[0] or 0), int(weights[1] or 0), axis=len(taken) - 1)


def _linear(channels: Channels, node: "NodeProto", into: int, out: int, axis: int, groups: int = 1) -> bool:
    """Take channels and make new ones, between which the weights take up any scales."""
    parameters = [name for name in node.input[1:] if name]
    if not _are_constant(channels, parameters) or not channels.topology.is_float(node.input[1]):
        return False
    taken, made = channels.on(node.input[0], axis, into, node), channels.fresh(out)
    channels.of[node.output[0]] = (axis, made)
    channels.layers.append(Layer(node, taken, made, axis, groups))
    if len(parameters) > 1:
        channels.offsets.append(Offset(node, 2, -1, made))
    return True


def _norm(channels: Channels, node: "NodeProto") -> bool:
    """Normalise what comes in, whatever its scale (but for epsilon, so that it is held); what goes out is free."""
    rank = len(channels.topology.shape(node.input[0]) or ())
    channels.hold(node.input[0], named(node))
    return _scaled_anew(channels, node, rank - 1 if node.op_type == "LayerNormalization" else 1)


def _batch_norm(channels: Channels, node: "NodeProto") -> bool:
    """Shift mean and bias with the scale: ((s x - s m) / sigma) gamma + s beta; or give what has none a scale."""
    learning = attribute(node, "training_mode", 0) or len(node.output) > 1 or not attribute(node, "spatial", 1)
    found = channels.of.get(node.input[0])
    if learning or (found is not None and found[0] != 1) or not _are_constant(channels, node.input[1:]):
        return False
    if found is None:
        return _scaled_anew(channels, node, 1)
    if not channels.put(node.output[0], *found):
        return False
    channels.offsets.extend(Offset(node, slot, -1, found[1]) for slot in (2, 3))
    return True


def _scaled_anew(channels: Channels, node: "NodeProto", axis: int) -> bool:
    """Give what a norm makes new channels, whose scale its own scale and shift take up."""
    slots = [slot for slot in (1, 2) if len(node.input) > slot and node.input[slot]]
    size = extent(channels.topology.shape(node.input[0]), axis)
    if size is None or not _are_constant(channels, [node.input[slot] for slot in slots]):
        return False
    numbers = channels.fresh(size)
    if not channels.topology.is_float(node.input[1]) or not channels.put(node.output[0], axis, numbers):
        return False
    channels.offsets.extend(Offset(node, slot, -1, numbers) for slot in slots)
    return True


def _sum(channels: Channels, node: "NodeProto") -> bool:
    """Join what is added or compared; constants among them take up the scale."""
    constants = [slot for slot, name in enumerate(node.input) if channels.topology.is_constant(name)]
    moving = [name for name in node.input if not channels.topology.is_constant(name)]
    if not any(name in channels.of for name in moving):
        return True
    if _aligns_otherwise(node) or not channels.meet(moving, node.output[0]):
        return False
    axis, numbers = channels.of[node.output[0]]
    rank = len(channels.topology.shape(node.output[0]) or ())
    channels.offsets.extend(Offset(node, slot, axis - rank, numbers) for slot in constants)
    return True


def _product(channels: Channels, node: "NodeProto") -> bool:
    """Hand on the channels of a factor where the other one has a scale of 1."""
    slots = [slot for slot, name in enumerate(node.input) if name in channels.of]
    if not slots:
        return True
    if len(slots) > 1 or (node.op_type == "Div" and slots[0] == 1) or _aligns_otherwise(node):
        return False
    return channels.meet([node.input[slots[0]]], node.output[0])


def _aligns_otherwise(node: "NodeProto") -> bool:
    """Whether it broadcasts as before opset 7: by an attribute, to another axis than the last."""
    return bool(attribute(node, "broadcast", 0))


def _are_constant(channels: Channels, tensors: Iterable[str]) -> bool:
    return all(channels.topology.is_constant(name) for name in tensors)


def _size(channels: Channels, tensor: str, axis: int) -> int:
    return extent(channels.topology.shape(tensor), axis) or 0


def _along(move: Move) -> Rule:
    """Make a rule of a move: what else the node takes, slopes, sizes or indices, has a scale of 1."""

    def rule(channels: Channels, node: "NodeProto") -> bool:
        for other in node.input[1:]:
            channels.hold(other, named(node))
        found = channels.of.get(node.input[0])
        if found is None:
            return True
        if channels.topology.shape(node.input[0]) is None:
            return False
        placed = move(channels, node, *found)
        return placed is not None and channels.put(node.output[0], *placed)

    return rule


def _split(channels: Channels, node: "NodeProto") -> bool:
    found = channels.of.get(node.input[0])
    if found is None:
        return True
    parts = channel_moves.split(channels, node, *found)
    return parts is not None and all(channels.put(name, *part) for name, part in zip(node.output, parts, strict=True))


def _rules(kinds: Iterable[str], rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(kinds, rule)


POINTWISE = ("Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity", "Dropout")
POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2")
SUMS = ("Add", "Sum", "Sub", "Mean", "Max", "Min")
_RULES: dict[str, Rule] = {
    **_rules(POINTWISE, _along(channel_spatial.pointwise)),
    **_rules(POOLS, _along(channel_spatial.pooled)),
    **_rules(REDUCTIONS, _along(channel_spatial.reduced)),
    **_rules(("Resize", "Upsample"), _along(channel_spatial.resized)),
    "Clip": _along(channel_spatial.clipped),
    "Pad": _along(channel_spatial.padded),
    **_rules(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _along(channel_moves.reshaped)),
    "Transpose": _along(channel_moves.transposed),
    "Slice": _along(channel_moves.sliced),
    "Gather": _along(channel_moves.gathered),
    "DepthToSpace": _along(channel_moves.depth_to_space),
    "SpaceToDepth": _along(channel_moves.space_to_depth),
    "Split": _split,
    "Concat": channel_moves.concatenated,
    **_rules(("Conv", "ConvTranspose"), _convolution),
    "Gemm": _gemm,
    "MatMul": _matmul,
    **_rules(("LayerNormalization", "InstanceNormalization"), _norm),
    "BatchNormalization": _batch_norm,
    **_rules(SUMS, _sum),
    **_rules(("Mul", "Div"), _product),
    **_rules(("Shape", "Size"), _ignores_values),
}
