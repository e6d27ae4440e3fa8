"""How operators that only move values hand channels on: None or False where they cannot, and the node holds them."""

from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.model.channels import Channels, Numbers, Placed
from ncdb_dask.model.topology import Shape, attribute, extent, integers, size_before

if TYPE_CHECKING:
    from onnx import NodeProto


def transposed(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Follow the axis of the channels."""
    rank = _rank(channels, node)
    order = attribute(node, "perm", list(range(rank))[::-1])
    return order.index(axis), numbers


def reshaped(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Find the dimension that still tells the channels apart: with as many values before it, and whole channels in it.

    A channel whose values were flattened into that dimension is repeated there for each of them.
    """
    before, after = channels.topology.shape(node.input[0]), channels.topology.shape(node.output[0])
    if before is None or after is None:
        return None
    wanted = size_before(before, axis)
    # The axis that it was first: a single channel fits everywhere.
    for place in sorted(range(len(after)), key=lambda place: place != axis):
        size = after[place]
        if wanted is not None and size and size % len(numbers) == 0 and size_before(after, place) == wanted:
            return place, np.repeat(numbers, size // len(numbers))
    return None


def sliced(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Keep the channels that are kept."""
    rank = _rank(channels, node)
    starts, ends, axes, steps = (
        integers(channels.topology, node, slot, name)
        for slot, name in enumerate(("starts", "ends", "axes", "steps"), start=1)
    )
    if starts is None or ends is None:
        return None
    # Which axes are cut is not known from what is computed.
    if any(len(node.input) > slot and node.input[slot] and given is None for slot, given in ((3, axes), (4, steps))):
        return None
    parts = zip(starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True)
    for start, end, across, step in parts:
        if across % rank == axis:
            numbers = numbers[start:end:step]  # ONNX counts as Python does
    return axis, numbers


def gathered(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Take the channels that are named, or follow their axis where another one is indexed."""
    across = attribute(node, "axis", 0) % _rank(channels, node)
    shape = channels.topology.shape(node.input[1])
    if shape is None:
        return None
    if across != axis:
        return axis if axis < across else axis + len(shape) - 1, numbers
    chosen = channels.topology.constant(node.input[1])
    return None if chosen is None or chosen.ndim != 1 else (axis, numbers[chosen])


def depth_to_space(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Join the channels that become one."""
    block = attribute(node, "blocksize") ** 2
    if axis != 1 or len(numbers) % block:
        return None
    crd = attribute(node, "mode", "DCR") == "CRD"
    together = numbers.reshape(-1, block) if crd else numbers.reshape(block, -1).T
    for one in together.T[1:]:
        channels.join(together[:, 0], one)
    return axis, together[:, 0]


def space_to_depth(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> Placed | None:
    """Repeat all channels for each place in a block."""
    return (axis, np.tile(numbers, attribute(node, "blocksize") ** 2)) if axis == 1 else None


def split(channels: Channels, node: "NodeProto", axis: int, numbers: Numbers) -> list[Placed] | None:
    """Give each output its part of the channels, or all of them where another axis is split."""
    if attribute(node, "axis", 0) % _rank(channels, node) != axis:
        return [(axis, numbers)] * len(node.output)
    sizes = [extent(channels.topology.shape(name), axis) or 0 for name in node.output]
    if sum(sizes) != len(numbers):
        return None
    return [(axis, part) for part in np.split(numbers, np.cumsum(sizes)[:-1])]


def concatenated(channels: Channels, node: "NodeProto") -> bool:
    """Give each branch its own channels; along another axis, all have the same."""
    shape = channels.topology.shape(node.output[0])
    if shape is None:
        return False
    across = attribute(node, "axis", 1) % len(shape)
    axes = {channels.of[name][0] for name in node.input if name in channels.of}
    if not axes:
        return True
    if axes != {across}:
        return channels.meet(node.input, node.output[0])
    sizes = _sizes([channels.topology.shape(name) for name in node.input], across)
    if sizes is None:
        return False
    parts = [channels.on(name, across, size, node) for name, size in zip(node.input, sizes, strict=True)]
    return channels.put(node.output[0], across, np.concatenate(parts))


def _sizes(shapes: list[Shape | None], axis: int) -> list[int] | None:
    found = [extent(shape, axis) for shape in shapes]
    known = [size for size in found if size is not None]
    return known if len(known) == len(found) else None


def _rank(channels: Channels, node: "NodeProto") -> int:
    """Return the rank of the node's input, which has channels, so that it is not 0."""
    return len(channels.topology.shape(node.input[0]) or (None,))
