"""Channels that belong together: whose scale can be changed, and with whom, without changing what a network computes.

A network of positively homogeneous parts computes the same when channel c of a tensor is multiplied by s > 0 and every
layer that takes it divides the matching weights by s (Nagel et al., 2019, section 4.1). Each channel of each tensor
gets a number here; channels whose scales must be equal share it: before and after a ReLU, a pooling or a resizing, on
both sides of an addition, and in a Concat each branch its own. `ncdb_dask.model.channel_rules` knows the operators.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.model.topology import Topology, extent, named

if TYPE_CHECKING:
    from onnx import NodeProto

Numbers = npt.NDArray[np.int64]
Placed = tuple[int, Numbers]  # the axis of a tensor's channels, counted from 0, and their numbers
HELD = 0


@dataclass(frozen=True)
class Layer:
    """A node with weights between the channels that it takes and those that it makes.

    Attributes
    ----------
    node : NodeProto
        Conv, ConvTranspose, Gemm or MatMul, whose second input is constant.
    taken, made : ndarray of int, shape (C_in,) and (C_out,)
        Numbers of the channels, to be resolved by `Channels.resolved`.
    axis : int
        Of the channels, in what it takes and in what it makes.
    groups : int
        Of a convolution.
    """

    node: "NodeProto"
    taken: Numbers
    made: Numbers
    axis: int
    groups: int = 1


@dataclass(frozen=True)
class Offset:
    """A constant that is added to channels, or scales what has none, and so takes their scale.

    Attributes
    ----------
    node : NodeProto
        Whose input it is.
    slot : int
        Which one.
    axis : int
        Of the channels, counted from the last (negative).
    channels : ndarray of int, shape (C,)
        Their numbers.
    """

    node: "NodeProto"
    slot: int
    axis: int
    channels: Numbers


@dataclass
class Channels:
    """The channels of all tensors of a graph.

    Attributes
    ----------
    topology : Topology
        The graph.
    of : mapping of str to (int, ndarray of int)
        Tensor -> the axis of its channels, counted from 0, and their numbers. What is not in it has no channels, and a
        scale of 1.
    layers : list of Layer
        In topological order.
    offsets : list of Offset
        Biases, shifts of norms, added constants.
    """

    topology: Topology
    of: dict[str, Placed] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    offsets: list[Offset] = field(default_factory=list)
    _parents: list[int] = field(default_factory=lambda: [HELD], repr=False)
    _held: dict[int, str] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many numbers were given out, `HELD` included."""
        return len(self._parents)

    def resolved(self, numbers: Iterable[int]) -> Numbers:
        """Return the common number of each channel: equal ones have equal scales; `HELD` is a scale of 1."""
        return np.array([HELD if root in self._held else root for root in self.roots(numbers).tolist()], dtype=np.int64)

    def roots(self, numbers: Iterable[int]) -> Numbers:
        """Return the common number of each channel, whether its scale is held or not."""
        return np.array([self._root(int(number)) for number in numbers], dtype=np.int64)

    def reason(self, number: int) -> str | None:
        """Return which node holds a channel's scale at 1; None where it is free."""
        return self._held.get(self._root(number))

    def fresh(self, size: int) -> Numbers:
        """Give out numbers."""
        start = len(self._parents)
        self._parents.extend(range(start, start + size))
        return np.arange(start, start + size)

    def put(self, tensor: str, axis: int, numbers: Numbers) -> bool:
        """Give a tensor its channels; False, and it gets none, where it is not known to have as many on that axis."""
        if extent(self.topology.shape(tensor), axis) != len(numbers):
            return False
        self.of[tensor] = (axis, numbers)
        return True

    def on(self, tensor: str, axis: int, size: int, node: "NodeProto") -> Numbers:
        """Return the numbers of channels that a node takes on an axis; held ones where the tensor has none there."""
        why = named(node)
        if tensor in self.of:
            if self.of[tensor][0] == axis and len(self.of[tensor][1]) == size:
                return self.of[tensor][1]
            self.hold(tensor, why)
        elif not self.topology.is_constant(tensor):
            maker = self.topology.maker(tensor)
            why = "the network's input" if maker is None else named(maker)
        numbers = self.fresh(size)
        self._held.update((int(number), why) for number in numbers)
        return numbers

    def meet(self, tensors: Sequence[str], result: str) -> bool:
        """Join the channels of tensors that are broadcast against each other, and hand them to the result.

        False, and nothing is changed, where one has none, or they do not lie on each other.
        """
        shapes = [self.topology.shape(name) for name in (*tensors, result)]
        found = [self.of[name] for name in tensors if name in self.of]
        if len(found) < len(tensors) or any(shape is None for shape in shapes):
            return False
        ranks = [len(shape or ()) for shape in shapes]
        places = {axis - rank for (axis, _), rank in zip(found, ranks[:-1], strict=True)}
        first = found[0][1]
        if len(places) != 1 or any(len(numbers) != len(first) for _, numbers in found):
            return False
        if not self.put(result, places.pop() + ranks[-1], first):
            return False
        for _, numbers in found[1:]:
            self.join(first, numbers)
        return True

    def join(self, some: Numbers, others: Numbers) -> None:
        """Make channels share their scales."""
        for one, other in zip(some, others, strict=True):
            low, high = sorted((self._root(int(one)), self._root(int(other))))
            if low != high:
                self._parents[high] = low
                if high in self._held:
                    self._held.setdefault(low, self._held[high])

    def hold(self, tensor: str, why: str) -> None:
        """Hold the channels of a tensor at the scale 1."""
        if tensor in self.of:
            for number in self.of[tensor][1]:
                self._held.setdefault(self._root(int(number)), why)

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = number = self._parents[self._parents[number]]
        return number
