"""What runs on the workers: networks on calibration frames, of which a few numbers come back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.channel_statistics import ChannelStatistics
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.observed import with_outputs
from ncdb_dask.errors import CalibrationError, DataFault
from ncdb_dask.model.files import digest
from ncdb_dask.model.session import NetworkReference, network
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.prepare import save

if TYPE_CHECKING:
    from onnx import ModelProto

Values = npt.NDArray[np.float64]
# The pictures that a bias correction goes through for every layer are kept by each worker: 100 MB at 640 x 384.
REMEMBERED = 32


@dataclass(frozen=True)
class Difference:
    """How far two networks are apart on a frame: the largest difference of an output, relative to its largest value."""

    one: NetworkReference
    other: NetworkReference
    reader: FrameReader

    def __call__(self, frame: CalibrationFrame) -> float:
        """Run both on one frame."""
        tensor = _tensor(self.reader, frame)
        found = [network(reference).run(tensor) for reference in (self.one, self.other)]
        return max(_relative(first, second) for first, second in zip(*found, strict=True))


@dataclass(frozen=True)
class ChannelMeans:
    """The mean of each channel of the network's only output, over some frames: their sum, in order."""

    network: NetworkReference
    axis: int
    reader: FrameReader

    def __call__(self, frames: Sequence[CalibrationFrame]) -> Values:
        """Return the sum over the frames of the means of channels, shape (C,)."""
        opened = network(self.network)
        outputs = (opened.run(_tensor(self.reader, frame))[0].astype(np.float32, copy=False) for frame in frames)
        means = [ChannelStatistics.of(values, self.axis, finite=False).mean for values in outputs]
        total: Values = np.sum(means, axis=0)
        return total


@dataclass(frozen=True)
class Distortion:
    """The power of tensors, and of what quantization adds to them, on a frame.

    Attributes
    ----------
    exact, rounded : NetworkReference
        Their outputs are the same tensors, in the same order.
    reader : FrameReader
        Reads the frame.
    """

    exact: NetworkReference
    rounded: NetworkReference
    reader: FrameReader

    def __call__(self, frame: CalibrationFrame) -> Values:
        """Return the mean squares of values and of errors, shape (tensors, 2)."""
        tensor = _tensor(self.reader, frame)
        exact = network(self.exact).run(tensor)
        rounded = network(self.rounded).run(tensor)
        found = []
        while exact:  # each is let go of at once
            values, others = (outputs.pop().astype(np.float32, copy=False) for outputs in (exact, rounded))
            found.append((_mean_square(values), _mean_square(values - others)))
        return np.array(found[::-1])


def referred(model: "ModelProto", outputs: Sequence[str], spec: ModelSpec, path: Path) -> NetworkReference:
    """Write a network that has only the tensors `outputs` as its outputs, and refer to it."""
    save(with_outputs(model, outputs), path)
    output = replace(spec.output, name=tuple(outputs))
    return NetworkReference(str(path.absolute()), digest(str(path), ()), replace(spec, output=output))


@lru_cache(maxsize=REMEMBERED)
def _tensor(reader: FrameReader, frame: CalibrationFrame) -> npt.NDArray[np.float32]:
    """Read a frame, without the batch dimension, that `Network.run` adds."""
    try:
        tensor: npt.NDArray[np.float32] = reader.tensor(frame)[0]
        return tensor
    except DataFault as fault:
        raise CalibrationError(f"{frame}: cannot be read any more ({fault.detail}); give the command again") from fault


def _relative(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return how far apart two outputs are; infinite where one is no number and the other is."""
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return float("inf")
    finite = np.isfinite(one)
    if not finite.any():
        return 0.0
    one, other = one[finite].astype(np.float64), other[finite].astype(np.float64)
    apart, largest = np.abs(one - other).max(), np.abs(one).max()
    return float(apart / largest) if largest > 0 else float(apart)


def _mean_square(values: npt.NDArray[Any]) -> float:
    flat = values[np.isfinite(values)].astype(np.float64)
    return float(np.mean(np.square(flat))) if flat.size else 0.0
