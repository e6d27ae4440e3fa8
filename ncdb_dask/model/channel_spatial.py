"""How operators that work on each channel by itself hand channels on: f(s x) = s f(x) for s > 0.

Each returns None where it works across the channels, or is not homogeneous as it is set, and the node holds them.
"""

from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.model.channels import Channels, Numbers, Placed
from ncdb_dask.model.topology import Topology, attribute, integers

if TYPE_CHECKING:
    from onnx import NodeProto

# What exporters write for no bound.
UNBOUNDED = float(np.finfo(np.float32).max)


def pointwise(_channels: Channels, _node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Work on each value by itself: where the channels lie is all the same."""
    return axis, numbers


def pooled(_channels: Channels, _node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Work on the dimensions from the third on, so that channels must not lie there."""
    return (axis, numbers) if axis < 2 else None


def clipped(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Cut off at zero, as ReLU does; any other bound would have to be scaled."""
    low = _bound(channels.topology, node, 1, "min", -UNBOUNDED)
    high = _bound(channels.topology, node, 2, "max", UNBOUNDED)
    free = (low == 0 or low <= -UNBOUNDED) and (high == 0 or high >= UNBOUNDED)
    return (axis, numbers) if free else None


def padded(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Add zeros, or values that are there already; not to the channels themselves."""
    rank = len(channels.topology.shape(node.input[0]) or ())
    pads = integers(channels.topology, node, 1, "pads")
    axes = integers(channels.topology, node, 3, "axes")
    if pads is None or (axes is None and len(node.input) > 3 and node.input[3]):
        return None
    padded_axes = list(range(rank)) if axes is None else [one % rank for one in axes]
    # Pads of -1 and 1 leave the number of channels, and move them.
    moved = any(pad for pad, one in zip(pads, 2 * padded_axes, strict=True) if one == axis)
    return None if moved or not _pads_with_nothing(channels.topology, node) else (axis, numbers)


def resized(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Interpolate, by nearest, linear or cubic weights, all of which are linear in the values."""
    cropped = attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize"  # fills with a value
    if cropped or attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if len(node.input) > 3 and node.input[3]:  # sizes: that of the channels must be as before, which leaves them alone
        return axis, numbers
    rank = len(channels.topology.shape(node.input[0]) or ())
    # Resize took the scales second, before opset 11, as Upsample always did.
    slot = 2 if node.op_type == "Resize" and len(node.input) > 2 else 1
    given = channels.topology.constant(node.input[slot]) if len(node.input) > slot else attribute(node, "scales")
    axes = [one % rank for one in attribute(node, "axes", range(rank))]
    if given is None or len(given) != len(axes):
        return None
    # 1.05 leaves the number of 8 channels, and mixes neighbours.
    return None if any(scale != 1 for scale, one in zip(given, axes, strict=True) if one == axis) else (axis, numbers)


def reduced(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Reduce other axes than that of the channels, which moves where they vanish."""
    rank = len(channels.topology.shape(node.input[0]) or ())
    axes = {one % rank for one in integers(channels.topology, node, 1, "axes") or ()}
    if not axes or axis in axes:  # none named are all of them, or none, by another attribute
        return None
    gone = 0 if attribute(node, "keepdims", 1) else sum(one < axis for one in axes)
    return axis - gone, numbers


def _pads_with_nothing(topology: Topology, node: "NodeProto") -> bool:
    if attribute(node, "mode", "constant") != "constant":
        return True
    if len(node.input) < 3 or not node.input[2]:
        return not attribute(node, "value", 0.0)
    value = topology.constant(node.input[2])
    return value is not None and not np.any(value)


def _bound(topology: Topology, node: "NodeProto", slot: int, name: str, default: float) -> float:
    """Return a bound of a Clip, an input since opset 11; one that is not constant is no number."""
    if len(node.input) <= slot or not node.input[slot]:
        return float(attribute(node, name, default))
    found = topology.constant(node.input[slot])
    return float("nan") if found is None else float(found.item())
