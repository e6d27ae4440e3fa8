"""Where an explanation measures: what runs networks on frames, somewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.calibration.stored_rows import Key
from ncdb_dask.comparison.beside import Intervals
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.qdq import QdqNetwork, quantized

if TYPE_CHECKING:
    from onnx import ModelProto


def shows(figure: Figure) -> bool:
    """Whether a difference can be seen, or there are too few frames to tell: then it is taken as it is."""
    return figure.seen or figure.low is None


class Judge(Protocol):
    """Evaluates a network over the evaluation frames; what was judged once is only read."""

    def __call__(self, model: "ModelProto", spec: ModelSpec, label: str) -> Evaluated:
        """Return its evaluation."""
        ...


@dataclass(frozen=True)
class Bench:
    """What an explanation measures with.

    Attributes
    ----------
    spec : ModelSpec
        The model file.
    npu : OnnxRuntimeQuantizer
        How the network is rounded, before anything is cured.
    work : Path
        A folder for files on the way.
    calibration, evaluation : callable
        Return the statistics of an FP32 network on the calibration frames, and on those that are judged.
    judge : Judge
        Evaluates.
    apart : callable
        ``apart(model, name, keys)`` tells how far an FP32 network is from the user's file, relative to its largest
        output, on a few of some frames.
    intervals : Intervals
        How error bars are drawn.
    progress : callable
        ``progress(what, done, total)`` tells those who wait.
    """

    spec: ModelSpec
    npu: OnnxRuntimeQuantizer
    work: Path
    calibration: "Callable[[ModelProto], ActivationStatistics]"
    evaluation: "Callable[[ModelProto], ActivationStatistics]"
    judge: Judge
    apart: "Callable[[ModelProto, str, Sequence[Key]], float]"
    intervals: Intervals = field(default_factory=Intervals)
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    def judged(self, model: "ModelProto", label: str) -> Evaluated:
        """Evaluate a network under the model file."""
        return self.judge(model, self.spec, label)

    def beside(self, baseline: Evaluated, other: Evaluated) -> Figure:
        """Return abs_rel of two evaluations, paired by frame."""
        return self.intervals.beside(baseline, other)

    def quantized(
        self, network: "ModelProto", statistics: ActivationStatistics, npu: OnnxRuntimeQuantizer | None = None
    ) -> QdqNetwork:
        """Round a prepared network by the ranges of some statistics.

        Parameters
        ----------
        network : onnx.ModelProto
            As `ncdb_dask.quantization.prepare.prepared` returns it.
        statistics : ActivationStatistics
            Of it.
        npu : OnnxRuntimeQuantizer, optional
            How, if not as the bench says.

        Raises
        ------
        QuantizationError
            Where it cannot be done.
        """
        chosen = self.npu if npu is None else npu
        way = chosen.way(chosen.target().completed(network))
        return quantized(network, way.ranges(statistics), way.target, self.work)

    @property
    def sixteen_bits(self) -> bool:
        """Whether the NPU can give single tensors 16 bits."""
        try:
            replace(self.npu, wide=("any",))
        except QuantizationError:
            return False
        return True
