"""What runs on the workers: the ranges of a set in many ways at once, and the networks that are made with them."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.calibration.collection import FP32_FILE
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.ranges import Range
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.errors import CalibrationError, QuantizationError
from ncdb_dask.quantization.prepare import load, save
from ncdb_dask.quantization.qdq import quantized
from ncdb_dask.quantization.steps import Way
from ncdb_dask.store.folder import LocalFolder

if TYPE_CHECKING:
    from onnx import ModelProto

MADE = ".made.onnx"  # networks that wait to be judged; afterwards they are removed
Ranges = Mapping[str, Range]


@dataclass(frozen=True, slots=True)
class WantedRanges:
    """What travels to a worker: the frames of a set, what it is called, and the ways in which its ranges are wanted."""

    label: str
    keys: tuple[tuple[str, str], ...]
    ways: tuple[Way, ...]

    def __str__(self) -> str:
        return f"the set {self.label}"


@dataclass(frozen=True)
class SetRanges:
    """The task: a set -> its ranges in each way.

    Attributes
    ----------
    measured : Measured
        Rows of all frames.
    """

    measured: Measured

    def __call__(self, wanted: WantedRanges) -> list[Ranges] | str:
        """Add up the rows of the set, and return the ranges in the order of the ways, or why that cannot be.

        Raises
        ------
        PlanError
            Where a shard is not what its receipt says.
        OSError
            Where the storage fails.
        """
        frames = [CalibrationFrame(*key) for key in wanted.keys]
        try:
            found = self.measured.statistics(frames, advice="mend them, or keep them out with [data] exclude")
        except CalibrationError as error:
            return str(error)
        return [way.ranges(found) for way in wanted.ways]


@dataclass(frozen=True, slots=True)
class WantedNetwork:
    """What travels to a worker: a name for the file, what the network is rounded to, and the ranges."""

    name: str
    way: Way
    ranges: Ranges

    def __str__(self) -> str:
        return f"the network {self.name}"


@dataclass(frozen=True, slots=True)
class Made:
    """A quantized network: its file, the ranges in it, and the seconds that it took."""

    path: str
    ranges: Ranges
    seconds: float


@dataclass(frozen=True)
class NetworkMaker:
    """The task: ranges -> a quantized network.

    Attributes
    ----------
    statistics : LocalFolder
        Of the network in FP32, which lies there, too.
    out : LocalFolder
        Where the networks go.
    """

    statistics: LocalFolder
    out: LocalFolder

    def __call__(self, wanted: WantedNetwork) -> Made | str:
        """Quantize, and return what was made, or why that cannot be.

        Raises
        ------
        OSError
            Where the storage fails.
        """
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            try:
                found = quantized(_network(self.statistics.path), wanted.ranges, wanted.way.target, work)
                data = save(found.model, work / "made.onnx").read_bytes()
            except QuantizationError as error:
                return str(error)
        self.out.write(f"{wanted.name}{MADE}", data)
        return Made(f"{self.out.path}/{wanted.name}{MADE}", found.ranges, time.perf_counter() - started)


@lru_cache(maxsize=1)
def _network(folder: str) -> "ModelProto":
    """Read the network of a folder that is named by its content."""
    return load(Path(folder) / FP32_FILE)
