"""The tensors that may carry the loss: chosen by their noise, which costs nothing, and then measured one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.explanation.bench import Bench
from ncdb_dask.explanation.noise import Noise, loudest, of_tensor, of_weights
from ncdb_dask.explanation.parts import Parts
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.constants import output_axis
from ncdb_dask.quantization.equalize import spread

if TYPE_CHECKING:
    from onnx import NodeProto

# Join what has ranges of its own, under one scale.
JOINING = ("Concat", "Add", "Sum", "Sub", "Max", "Min")
TENSOR, CONSTANT = "tensor", "weights"


@dataclass(frozen=True)
class Suspect:
    """A tensor, or the weights of a layer, measured alone.

    Attributes
    ----------
    name, kind, maker : str
        Name, `TENSOR` or `CONSTANT`, and the operator that makes the tensor or takes the weights.
    noise : Noise
        Expected.
    alone : Figure or None
        abs_rel of FP32 (baseline), and with only this rounded (other); not measured of weights.
    spared : Figure
        abs_rel of everything in INT8 (baseline), and with only this left out (other).
    spread : float
        How many times the largest range of a channel is that of the median one.
    inputs : mapping of str to float
        How far each input of a Concat or a sum goes from zero.
    """

    name: str
    kind: str
    maker: str
    noise: Noise
    alone: Figure | None
    spared: Figure
    spread: float
    inputs: Mapping[str, float]

    @property
    def gain(self) -> float:
        """What leaving it out takes from abs_rel."""
        return -self.spared.difference

    @property
    def input_ratio(self) -> float | None:
        """How many times the widest input of a Concat or a sum is the narrowest; None where it joins nothing."""
        reaches = [reach for reach in self.inputs.values() if reach > 0]
        return max(reaches) / min(reaches) if len(reaches) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "maker": self.maker,
            "signal_to_noise_db": self.noise.decibels,
            "drowned": self.noise.drowned,
            "clipped": self.noise.clipped,
            "alone": None if self.alone is None else self.alone.as_dict(),
            "spared": self.spared.as_dict(),
            "channel_spread": self.spread,
            "inputs": dict(self.inputs),
            "input_ratio": self.input_ratio,
        }


def noises_of(parts: Parts, statistics: ActivationStatistics, bench: Bench) -> dict[str, Noise]:
    """Return the expected noise of every tensor that is rounded by a scale of its own.

    What only enters a ReLU has the range of its output, and so the noise: what it cuts off is no loss.

    Parameters
    ----------
    parts : Parts
        The network, rounded by ranges of calibration.
    statistics : ActivationStatistics
        Of the frames that are judged.
    bench : Bench
        Says how it is rounded.
    """
    target, made = bench.npu.target().completed(parts.network), parts.quantized
    return {
        owner: of_tensor(statistics.tensors[made.owners[owner]], target.scheme_of(owner), made.ranges[owner])
        for owner in parts.tensors
        if owner in made.ranges
    }


def measured_tensors(
    bench: Bench,
    parts: Parts,
    statistics: ActivationStatistics,
    noises: Mapping[str, Noise],
    fp32: Evaluated,
    everything: Evaluated,
    count: int,
) -> list[Suspect]:
    """Measure the noisiest tensors, and return those first whose rounding costs most.

    Parameters
    ----------
    bench, parts, statistics, noises
        As of `noises_of`.
    fp32, everything : Evaluated
        Without rounding, and with all of it.
    count : int
        How many; outputs of the network come on top.
    """
    topology = Topology.of(parts.network)
    outputs = [name for name in parts.outputs if name in bench.spec.output.name]
    names = list(dict.fromkeys([*loudest(noises, count), *outputs]))
    found = []
    for number, name in enumerate(names):
        bench.progress("measuring single tensors", number, len(names))
        maker = topology.maker(name)
        found.append(
            Suspect(
                name,
                TENSOR,
                "input" if maker is None else maker.op_type,
                noises[name],
                bench.beside(fp32, bench.judged(parts.only([name]), f"only {name}")),
                bench.beside(everything, bench.judged(parts.without([name]), f"all but {name}")),
                spread(_reach(statistics, name)),
                _inputs(maker, statistics),
            )
        )
    bench.progress("measuring single tensors", len(names), len(names))
    return sorted(found, key=lambda one: -one.gain)


def measured_weights(bench: Bench, parts: Parts, statistics: ActivationStatistics, count: int) -> list[Suspect]:
    """Measure the layers whose weights are noisiest, and return those first whose rounding costs most.

    Parameters are those of `measured_tensors`.
    """
    topology, per_channel = Topology.of(parts.network), bench.npu.per_channel
    noises = of_weights(parts.network, statistics.tensors, per_channel)
    noises = {name: noises[name] for name in parts.constants if name in noises}
    names, found = loudest(noises, count), []
    # Layers with exact weights are computed by plain arithmetic: so is what they are compared with.
    everything = bench.judged(parts.without_constants(()), "everything, by plain arithmetic")
    for number, name in enumerate(names):
        bench.progress("measuring single layers", number, len(names))
        spared = bench.beside(everything, bench.judged(parts.without_constants([name]), f"all but {name}"))
        layer, values = topology.takers(name)[0], topology.constant(name)
        assert values is not None  # it is a constant
        wide = spread(_rows(values, output_axis(layer, values)))
        found.append(Suspect(name, CONSTANT, layer.op_type, noises[name], None, spared, wide, {}))
    bench.progress("measuring single layers", len(names), len(names))
    return sorted(found, key=lambda one: -one.gain)


def _rows(weights: npt.NDArray[Any], axis: int | None) -> npt.NDArray[np.float64]:
    """Return the largest weight of each output channel."""
    channels = np.moveaxis(np.abs(weights), axis or 0, 0).astype(np.float64)
    return np.asarray(channels.reshape(len(channels), -1).max(axis=1))


def _reach(statistics: ActivationStatistics, name: str) -> Any:
    channels = statistics.tensors[name].channels
    return np.maximum(channels.high, -channels.low).astype(np.float64)


def _inputs(maker: "NodeProto | None", statistics: ActivationStatistics) -> dict[str, float]:
    if maker is None or maker.op_type not in JOINING:
        return {}
    names: Sequence[str] = [name for name in dict.fromkeys(maker.input) if name in statistics.tensors]
    reaches = {name: float(_reach(statistics, name).max()) for name in names}
    return {name: reach for name, reach in reaches.items() if np.isfinite(reach)}
