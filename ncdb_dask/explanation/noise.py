"""How much of each tensor is noise, expected from stored statistics: cheap, and only to choose what is measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.histogram import ordered
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.squared_error import squared_error
from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.noise import Noise as Expected

if TYPE_CHECKING:
    from onnx import ModelProto

    from ncdb_dask.calibration.activations import TensorStatistics
    from ncdb_dask.calibration.ranges import Range

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Noise:
    """What rounding and clipping are expected to do to a tensor.

    Attributes
    ----------
    power, noise : float
        Mean square of the values, and of what is added to them, squared units of the tensor.
    clipped : float
        Share of the values beyond the range.
    drowned : float
        From 0 to 1: the mean over channels of the noise in units of the channel's own mean square, 1 at most. One
        scale serves all channels, so that a quiet one can be all noise where the whole tensor has little of it.
    """

    power: float
    noise: float
    clipped: float
    drowned: float

    @property
    def decibels(self) -> float | None:
        """The ratio of signal to noise; None where one of them is zero."""
        return 10 * float(np.log10(self.power / self.noise)) if self.power > 0 and self.noise > 0 else None


def of_tensor(statistics: "TensorStatistics", scheme: Scheme, found: "Range") -> Noise:
    """Return the noise of a tensor.

    Parameters
    ----------
    statistics : TensorStatistics
        Of the frames that are judged.
    scheme : Scheme
        What it is rounded to.
    found : Range
        Its range, as calibration found it.
    """
    cells, channels = ordered(statistics.histogram), statistics.channels
    power = float(np.mean(channels.square))
    if not cells.weight.size:
        return Noise(power, 0.0, 0.0, 0.0)
    added = float(squared_error(cells, scheme, np.array([found.scale]), np.array([found.zero_point]))[0])
    outside = (cells.below(found.low) + cells.mirrored().below(-found.high)) / cells.total
    return Noise(power, added, outside, _drowned(np.float64(added), channels.square))


def of_weights(
    model: "ModelProto", statistics: "Mapping[str, TensorStatistics]", per_channel: bool
) -> dict[str, Noise]:
    """Return the noise that a layer's weights, int8 symmetric, add to what it makes, in units of its power.

    Weights of inputs that are always zero count for nothing, however large they are; so it is what equalization
    minimises (`ncdb_dask.quantization.noise`).

    Parameters
    ----------
    model : onnx.ModelProto
        FP32.
    statistics : mapping of str to TensorStatistics
        Of its tensors.
    per_channel : bool
        Whether each output channel has a scale of its own.

    Returns
    -------
    dict of str to Noise
        By the name of the weights, for layers whose channels are known.
    """
    channels = find_channels(Topology.of(model))
    measured = {name: tensor.channels for name, tensor in statistics.items()}
    terms = Expected.of(channels, measured, {}, per_channel).terms
    found = {}
    for layer in channels.layers:
        term = terms.get(f"weights of {layer.node.output[0]}")
        if term is not None:
            added = term.add(np.zeros(channels.count), np.zeros(channels.count))
            found[layer.node.input[1]] = Noise(1.0, added, 0.0, min(added, 1.0))
    return found


def _drowned(added: "Values | np.float64", square: Values) -> float:
    used = square > 0
    if not used.any():
        return 0.0
    noise = np.broadcast_to(added, square.shape)[used]
    return float(np.minimum(noise / square[used], 1.0).mean())


def loudest(noises: Mapping[str, Noise], count: int) -> list[str]:
    """Return the names of the noisiest tensors, those whose channels drown most first."""
    return sorted(noises, key=lambda name: (-noises[name].drowned, name))[:count]
