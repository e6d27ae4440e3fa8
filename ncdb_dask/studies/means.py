"""What a study works with; whoever runs it brings them along."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.base import Stream
from ncdb_dask.studies.cells import AskedQuantizer, AskedSet
from ncdb_dask.studies.draw import Key

if TYPE_CHECKING:
    from onnx import ModelProto


class Judges(Protocol):
    """Judges a network; the same network is judged once."""

    def __call__(self, model: "ModelProto", spec: ModelSpec, label: str) -> Evaluated:
        """Return its evaluation."""
        ...


@dataclass(frozen=True)
class Means:
    """What a study works with.

    Attributes
    ----------
    stream : Stream
        Runs tasks on the workers.
    measure : callable
        Runs a network on those of the frames that were not run before.
    judge : Judges
        Judges networks.
    quantize : callable
        ``quantize(quantizer, set file, out)`` quantizes with passes of its own, and returns the path of the network.
    choose : callable
        ``choose(sets, measured)`` returns the frames of sets that are chosen by what activations reach, by label.
    progress : callable
        ``progress(what, done, total)`` tells those who wait.
    """

    stream: Stream
    measure: "Callable[[ModelProto, Sequence[CalibrationFrame]], Measured]"
    judge: Judges
    quantize: Callable[[AskedQuantizer, str, str], Path]
    choose: Callable[[Sequence[AskedSet], Measured], Mapping[str, tuple[Key, ...]]]
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
