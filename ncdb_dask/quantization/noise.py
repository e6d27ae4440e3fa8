"""How much rounding noise a quantized network is expected to make, as a function of the scales of its channels.

Every tensor that is rounded to a grid of step d gets noise of variance d^2 / 12 (uniform rounding error). What it does
is measured where it matters: at the outputs of the layers that take it, each relative to its own power, so that the
figure does not depend on scales that are free. With one step for a whole tensor,

- the values of a tensor make (d^2 / 12) * sum over channels c of v_c / s_c^2,
- the weights of a layer make (d^2 / 12) * sum over i of m_i s_i^2 * sum over o of 1 / (s_o^2 P_o),

where s are the scales, v_c how strongly the layers that take channel c let noise through (the sum of w^2 / P over their
outputs), m the mean square of what a layer takes and P that of what it makes. A step is a range divided by the levels,
and a range is the largest of values times scales. Sums and maxima of products of powers of s: in the logarithms of the
scales the total is convex, a geometric program, and has one minimum.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.model.channels import HELD, Channels, Layer
from ncdb_dask.model.topology import attribute
from ncdb_dask.quantization.constants import WEIGHT_LEVELS, output_axis
from ncdb_dask.quantization.rescale import by_groups

if TYPE_CHECKING:
    from ncdb_dask.calibration.channel_statistics import ChannelStatistics

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
# A maximum is taken as a norm of this degree, which is smooth: of a hundred equal values it is a sixth too high.
DEGREE = 32
# An output of less power than this part of its largest square counts as if it had it: what is almost never active would
# outweigh all others. Not a part of the power of other outputs, whose scales are free.
FLOOR = 1e-3
NOTHING = -1e3  # the logarithm of no value


class Term(Protocol):
    """A part of the noise."""

    def add(self, theta: Values, gradient: Values) -> float:
        """Return the part's noise at the logarithms of the scales, and add its derivatives to `gradient`."""
        ...


@dataclass(frozen=True)
class ValuesTerm:
    """The noise of a tensor's values.

    Attributes
    ----------
    sides : tuple of ndarray, each of shape (C,)
        Logarithms of the range of each channel: above and below zero, whose sum the step divides; or, for a symmetric
        grid, of the larger one alone.
    channels : ndarray of int, shape (C,)
        Numbers.
    weight : ndarray, shape (C,)
        v of the formula above, with all constants.
    """

    sides: tuple[Values, ...]
    channels: Numbers
    weight: Values

    def add(self, theta: Values, gradient: Values) -> float:
        """Return the noise and add its derivatives; see `Term`."""
        scale = theta[self.channels]
        peaks = [_soft_max(side + scale) for side in self.sides]
        width = sum(peak for peak, _ in peaks)
        parts = self.weight * np.exp(-2 * scale)
        noise = float(width**2 * parts.sum())
        slope = 2 * width * parts.sum() * sum(peak * share for peak, share in peaks) - 2 * width**2 * parts
        np.add.at(gradient, self.channels, slope)
        return noise


@dataclass(frozen=True)
class WeightsTerm:
    """The noise of a layer's weights.

    Attributes
    ----------
    peaks : ndarray, shape (groups, O, I)
        Logarithm of the largest weight of each pair of channels.
    made, taken : ndarray of int, shape (groups, O) and (groups, I)
        Numbers.
    outward : ndarray, shape (groups, O)
        1 / P, with all constants.
    inward : ndarray, shape (groups, I)
        m, times the weights that meet in one value.
    per_channel : bool
        Whether each output has a step of its own.
    """

    peaks: Values
    made: Numbers
    taken: Numbers
    outward: Values
    inward: Values
    per_channel: bool

    def add(self, theta: Values, gradient: Values) -> float:
        """Return the noise and add its derivatives; see `Term`."""
        made, taken = theta[self.made], theta[self.taken]
        scaled = self.peaks + made[:, :, None] - taken[:, None, :]
        peak, share = _soft_max(scaled, axis=2 if self.per_channel else (0, 1, 2))
        into, out = self.inward * np.exp(2 * taken), self.outward * np.exp(-2 * made)
        parts = out[:, :, None] * into[:, None, :] * peak**2  # of each pair
        moved = 2 * share * parts.sum(axis=2 if self.per_channel else (0, 1, 2), keepdims=True)
        np.add.at(gradient, self.made, moved.sum(axis=2) - 2 * parts.sum(axis=2))
        np.add.at(gradient, self.taken, 2 * parts.sum(axis=1) - moved.sum(axis=1))
        return float(parts.sum())


@dataclass(frozen=True)
class Noise:
    """The expected noise of a network.

    Attributes
    ----------
    terms : mapping of str to Term
        By the tensor, or the layer whose weights make it.
    count : int
        Of numbers of channels.
    """

    terms: Mapping[str, Term]
    count: int

    @classmethod
    def of(
        cls,
        channels: Channels,
        statistics: "Mapping[str, ChannelStatistics]",
        schemes: Mapping[str, Scheme],
        per_channel: bool,
    ) -> "Noise":
        """Collect the terms of a network.

        Parameters
        ----------
        channels : Channels
            Of its graph.
        statistics : mapping of str to ChannelStatistics
            Tensor -> ranges and mean squares of its channels, on the axis that `channels` has found.
        schemes : mapping of str to Scheme
            What each tensor that is rounded is rounded to.
        per_channel : bool
            Whether each output of a layer has a step of its own for its weights.
        """
        sensitivity, terms = np.zeros(channels.count), dict[str, Term]()
        for layer in channels.layers:
            found = _weights_term(layer, channels, statistics, per_channel)
            if found is not None:
                # Several layers may share their weights.
                terms[f"weights of {layer.node.output[0]}"], into = found
                np.add.at(sensitivity, channels.roots(layer.taken), into)
        terms.update(_values_terms(channels, statistics, schemes, sensitivity))
        return cls(terms, channels.count)

    def at(self, theta: Values) -> tuple[float, Values]:
        """Return the noise at the logarithms of the scales, shape (count,), and its derivatives."""
        gradient = np.zeros(self.count)
        total = sum(term.add(theta, gradient) for term in self.terms.values())
        gradient[HELD] = 0.0
        return total, gradient


def _weights_term(
    layer: Layer, channels: Channels, statistics: "Mapping[str, ChannelStatistics]", per_channel: bool
) -> tuple[WeightsTerm, Values] | None:
    """Return the term of a layer's weights, and how strongly it lets noise of its inputs through."""
    taken, made = (statistics.get(name) for name in (layer.node.input[0], layer.node.output[0]))
    constant = channels.topology.constant(layer.node.input[1])
    if taken is None or made is None or constant is None:
        return None
    if taken.axis != layer.axis or made.axis != layer.axis:
        return None  # measured along another axis, by which something else takes the tensor
    weights = by_groups(constant.astype(np.float64), layer)
    meeting = _meeting(layer, weights.shape[3])
    power = np.maximum(made.square, FLOOR * np.square(_reach(made)))
    # Of an output that is always zero, or never a number, nothing is asked.
    outward = np.divide(1 / len(power), power, out=np.zeros_like(power), where=power > 0).reshape(layer.groups, -1)
    into = (np.square(weights).sum(axis=3) * outward[:, :, None]).sum(axis=1) * meeting / weights.shape[3]
    step = 1 / WEIGHT_LEVELS**2 / 12  # of the largest weight, squared
    term = WeightsTerm(
        _log(np.abs(weights).max(axis=3)),
        channels.resolved(layer.made).reshape(layer.groups, -1),
        channels.resolved(layer.taken).reshape(layer.groups, -1),
        outward * step,
        taken.square.reshape(layer.groups, -1) * meeting,
        per_channel and output_axis(layer.node, constant) is not None,
    )
    return term, into.ravel()


def _meeting(layer: Layer, taps: int) -> float:
    """Return how many weights of one input channel meet in a value of the output; a stride spreads them out."""
    strides = attribute(layer.node, "strides", [1]) if layer.node.op_type == "ConvTranspose" else [1]
    return float(taps / np.prod(strides))


def _values_terms(
    channels: Channels,
    statistics: "Mapping[str, ChannelStatistics]",
    schemes: Mapping[str, Scheme],
    sensitivity: Values,
) -> Iterator[tuple[str, Term]]:
    for tensor, (axis, numbers) in channels.of.items():
        found, scheme, resolved = statistics.get(tensor), schemes.get(tensor), channels.resolved(numbers)
        if found is None or scheme is None or found.axis != axis or not resolved.any():
            continue
        sides = (2 * _reach(found),) if scheme.symmetric else _sides(found)
        # What is always zero is rounded to zero, by any step.
        weight = np.where(_reach(found) > 0, sensitivity[channels.roots(numbers)], 0.0) / scheme.steps**2 / 12
        yield tensor, ValuesTerm(tuple(map(_log, sides)), resolved, weight)


def _sides(channels: "ChannelStatistics") -> tuple[Values, Values]:
    """Return how far each channel goes above zero, and below."""
    high, low = channels.high.astype(np.float64), channels.low.astype(np.float64)
    return np.maximum(high, 0.0), np.maximum(-low, 0.0)


def _reach(channels: "ChannelStatistics") -> Values:
    return np.maximum(*_sides(channels))


def _log(values: npt.NDArray[Any]) -> Values:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values.astype(np.float64)), NOTHING)


def _soft_max(logs: Values, axis: int | tuple[int, ...] | None = None) -> tuple[Values, Values]:
    """Return a smooth maximum of values given by their logarithms, and the share that each has in its derivative."""
    highest = logs.max(axis=axis, keepdims=True)
    powers = np.exp(DEGREE * (logs - highest))
    total = powers.sum(axis=axis, keepdims=True)
    peak: Values = np.exp(highest + np.log(total) / DEGREE)
    return (peak if axis is not None else peak.reshape(())), powers / total
