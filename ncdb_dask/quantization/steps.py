"""The steps of a quantization that studies and explanations take, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.ranges import Range
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.equalize import Equalized, equalized
from ncdb_dask.quantization.observe import Difference, referred
from ncdb_dask.quantization.target import Target

if TYPE_CHECKING:
    from onnx import ModelProto

# A network that was equalized and differs by more than this, relative to its largest output, is not the same one.
SAME = 1e-4
# Frames that the biases are corrected with, and the noise is measured on: spread evenly over the set. Means settle with
# few frames: on a real network, 12 and 48 of them brought the outputs equally near to FP32 (docs/explanation).
SUBSET = 16


@dataclass(frozen=True, slots=True)
class Way:
    """How ranges are found: one of `METHODS`, the percentile for the one that has it, and what is rounded to."""

    method: str
    percentile: float
    target: Target

    def ranges(self, statistics: ActivationStatistics) -> dict[str, Range]:
        """Return the range of every tensor."""
        return {
            name: statistics.range_of(name, self.method, self.target.scheme_of(name), self.percentile)
            for name in statistics.tensors
        }


def spread_evenly(frames: Sequence[CalibrationFrame]) -> tuple[CalibrationFrame, ...]:
    """Return `SUBSET` of the frames at most.

    Not in the order of the split: another order of the same frames must make the same network.
    """
    ordered = sorted(frames, key=lambda frame: (frame.dataset_root or "", frame.stem or ""))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(SUBSET, len(ordered))).round().astype(int))
    return tuple(ordered[place] for place in places)


def balanced(
    network: "ModelProto", statistics: ActivationStatistics, target: Target, owners: Mapping[str, str]
) -> Equalized:
    """Balance the channels of a network.

    Parameters
    ----------
    network : onnx.ModelProto
        FP32, prepared.
    statistics : ActivationStatistics
        Of it.
    target : Target
        What it is rounded to.
    owners : mapping of str to str
        Of its quantized form, as `QdqNetwork.owners`; by whichever ranges.
    """
    schemes = {name: target.scheme_of(owner) for name, owner in owners.items()}
    channels = {name: tensor.channels for name, tensor in statistics.tensors.items()}
    return equalized(network, channels, schemes, target.per_channel)


def apart(given: Path, other: "ModelProto", spec: ModelSpec, reader: FrameReader, path: Path) -> Difference:
    """Return the task that tells how far a network is from the user's own file; the other one is written to `path`."""
    outputs = tuple(port.name for port in other.graph.output)
    own = NetworkReference.of(given, spec)
    own = replace(own, spec=replace(spec, output=replace(spec.output, name=outputs)))
    return Difference(own, referred(other, outputs, spec, path), reader)
