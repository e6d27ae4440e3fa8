"""Equalization: scales of channels under which one step for a whole tensor does least harm.

Cross-layer equalization (Nagel et al., 2019) balances the weights of pairs of layers. Here all scales of a network are
found at once, from the ranges of activations as well as of weights, wherever a scale can pass: through ReLU, PReLU and
LeakyReLU, poolings, resizings and paddings, for all members of a residual sum together, and across Concat, whose
branches share one step but not one scale. The network computes what it computed before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.channels import Channels
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.noise import Noise
from ncdb_dask.quantization.reasons import why_held
from ncdb_dask.quantization.rescale import rescaled

if TYPE_CHECKING:
    from onnx import ModelProto

    from ncdb_dask.calibration.channel_statistics import ChannelStatistics

Values = npt.NDArray[np.float64]
# Adam (Kingma and Ba, 2015) on the logarithm of the noise, with a step that goes to zero: 0.1 % above the noise after
# five times as many steps, on a real network of 3,776 scales.
STEPS, STEP = 200, 0.1
DECAY, SQUARE_DECAY = 0.9, 0.99
# Draws scales that nothing else decides to 1.
RIDGE = 1e-6


@dataclass(frozen=True)
class Equalized:
    """A network whose channels are balanced.

    Attributes
    ----------
    model : ModelProto
        Computes what the given one did.
    report : mapping
        JSON values: the expected noise before and after, the spread of ranges of each tensor before and after, and what
        holds those that could not be changed.
    """

    model: "ModelProto"
    report: Mapping[str, Any]


def equalized(
    model: "ModelProto",
    statistics: "Mapping[str, ChannelStatistics]",
    schemes: Mapping[str, Scheme],
    per_channel: bool = False,
) -> Equalized:
    """Balance the channels of a network.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, with its weights; unchanged.
    statistics : mapping of str to ChannelStatistics
        Tensor -> ranges and mean squares of its channels over the calibration frames.
    schemes : mapping of str to Scheme
        What each tensor that is rounded is rounded to.
    per_channel : bool
        Whether each output of a layer has a step of its own for its weights.
    """
    channels = find_channels(Topology.of(model))
    noise = Noise.of(channels, statistics, schemes, per_channel)
    theta = minimum(noise)
    scales = np.exp(theta)
    before, after = noise.at(np.zeros_like(theta))[0], noise.at(theta)[0]
    tensors = list(_tensors(channels, statistics, scales))
    report = {
        "expected_noise": {"before": before, "after": after},
        "scales": {"least": float(scales.min()), "greatest": float(scales.max())},
        "tensors": tensors,
        "holders": {holder: why_held(holder) for row in tensors for holder in row["held_by"]},
    }
    return Equalized(rescaled(model, channels, scales), report)


def minimum(noise: Noise) -> Values:
    """Return the logarithms of the scales at which the noise is least, shape (noise.count,)."""
    theta, mean, square = (np.zeros(noise.count) for _ in range(3))
    for step in range(1, STEPS + 1):
        value, gradient = noise.at(theta)
        if not 0 < value < np.inf:  # nothing is rounded, or nothing is known of it
            break
        slope = gradient / value + RIDGE * theta
        mean = DECAY * mean + (1 - DECAY) * slope
        square = SQUARE_DECAY * square + (1 - SQUARE_DECAY) * slope**2
        along = mean / (1 - DECAY**step)
        across = np.sqrt(square / (1 - SQUARE_DECAY**step))
        length = STEP * (1 + np.cos(np.pi * step / STEPS)) / 2
        theta -= length * np.divide(along, across, out=np.zeros_like(along), where=across > 0)
    return theta


def _tensors(
    channels: Channels, statistics: "Mapping[str, ChannelStatistics]", scales: Values
) -> Iterator[dict[str, Any]]:
    for tensor, (axis, numbers) in channels.of.items():
        found = statistics.get(tensor)
        if found is None or found.axis != axis:
            continue
        ranges = np.maximum(found.high, -found.low).astype(np.float64)
        held = [reason for reason in map(channels.reason, numbers.tolist()) if reason is not None]
        yield {
            "tensor": tensor,
            "channels": len(numbers),
            "spread_before": spread(ranges),
            "spread_after": spread(ranges * scales[channels.resolved(numbers)]),
            "held": len(held),
            "held_by": sorted(set(held)),
        }


def spread(ranges: Values) -> float:
    """Return how many times the largest range of a channel is that of the median one, among those that are not zero."""
    used = ranges[ranges > 0]
    return float(used.max() / np.median(used)) if len(used) else 1.0
