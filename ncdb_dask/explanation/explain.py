"""Carrying out an explanation: measure the parts, name the suspects, try the cures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ncdb_dask.calibration.frame_figures import frame_figures
from ncdb_dask.calibration.statistics import ActivationStatistics, Skipped
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import QuantizationError
from ncdb_dask.explanation.bench import Bench, shows
from ncdb_dask.explanation.budget import WEIGHTS, Budget, measured_budget
from ncdb_dask.explanation.cures import Balanced, Cure, Remedy, measured_cures, of_wide, remedy
from ncdb_dask.explanation.greedy import Step, carriers, widened
from ncdb_dask.explanation.heads import Floor
from ncdb_dask.explanation.parts import Parts
from ncdb_dask.explanation.preprocessing import Alternative, checked_preprocessing
from ncdb_dask.explanation.stretch import Stretch, stretches
from ncdb_dask.explanation.suspects import TENSOR, Suspect, measured_tensors, measured_weights, noises_of
from ncdb_dask.quantization.steps import SAME
from ncdb_dask.store.folder import LocalFolder

if TYPE_CHECKING:
    from onnx import ModelProto

# Layers whose weights are measured one by one, where weights cost anything that can be seen.
LAYERS = 4


@dataclass(frozen=True)
class Findings:
    """What was measured.

    Attributes
    ----------
    budget : Budget
        Part by part.
    preprocessing : sequence of Alternative
        FP32 with other preprocessings, the best first.
    suspects : sequence of Suspect
        Tensors and weights, those first whose rounding costs most.
    carriers, widened : sequence of Step
        Who carries the loss, and who should have 16 bits.
    cures : sequence of Cure
        Of the whole network, the best first.
    remedies : mapping of str to Remedy
        Of the tensors among the suspects.
    outputs : tuple of str
        The network's outputs that are rounded.
    fp32, int8 : Evaluated
        The evaluations that all else is compared with.
    stretches : mapping of str to Stretch
        Tensor -> the calibration frame that stretches its range.
    sixteen_bits : bool
        Whether the NPU can give single tensors 16 bits.
    failed : mapping of str to str
        Cures that could not be made, and why.
    skipped : mapping of str to sequence of Skipped
        ``evaluation`` and ``calibration`` -> frames whose pictures could not be used.
    floors : sequence of Floor
        Of the usual heads.
    floor_frames : int
        Whose true depths they are of.
    span : (float, float)
        The depths that a head would have to span, metres.
    """

    budget: Budget
    preprocessing: Sequence[Alternative]
    suspects: Sequence[Suspect]
    carriers: Sequence[Step]
    widened: Sequence[Step]
    cures: Sequence[Cure]
    remedies: Mapping[str, Remedy]
    outputs: tuple[str, ...]
    fp32: Evaluated | None = field(default=None, repr=False, compare=False)
    int8: Evaluated | None = field(default=None, repr=False, compare=False)
    stretches: Mapping[str, Stretch] = field(default_factory=dict)
    sixteen_bits: bool = True
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, Sequence[Skipped]] = field(default_factory=dict)
    floors: Sequence[Floor] = ()
    floor_frames: int = 0
    span: tuple[float, float] = (0.0, 0.0)

    def suspect(self, name: str) -> Suspect:
        """Return a suspect by its name."""
        return next(one for one in self.suspects if one.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "budget": self.budget.as_dict(),
            "preprocessing": [one.as_dict() for one in self.preprocessing],
            "suspects": [
                one.as_dict() | ({"remedy": self.remedies[one.name].as_dict()} if one.name in self.remedies else {})
                for one in self.suspects
            ],
            "carriers": [step.as_dict() for step in self.carriers],
            "sixteen_bits": [step.as_dict() for step in self.widened],
            "cures": [cure.as_dict() for cure in self.cures],
            "outputs": list(self.outputs),
            "sixteen_bits_possible": self.sixteen_bits,
            "stretches": {name: stretch.as_dict() for name, stretch in self.stretches.items()},
            "failed": dict(self.failed),
            "heads": {"span": list(self.span), "floors": [floor.as_dict() for floor in self.floors]},
        }


@dataclass(frozen=True)
class Work:
    """What is explained.

    Attributes
    ----------
    network : onnx.ModelProto
        FP32, as `ncdb_dask.quantization.prepare.prepared` returns it.
    suspects : int
        Tensors that are measured one by one.
    calibrated : bool
        Whether there are calibration frames; else ranges are those of the frames that are judged.
    everything : callable or None
        Makes the network that ``ncdb-dask quantize`` makes with everything on.
    """

    network: "ModelProto"
    suspects: int
    calibrated: bool = True
    everything: "Callable[[], ModelProto] | None" = field(default=None, repr=False)


def findings(bench: Bench, work: Work) -> Findings:
    """Measure where the loss of a network comes from.

    Raises
    ------
    NcdbError
        Where the network cannot be quantized or evaluated.
    OSError
        Where the storage fails.
    """
    evaluation = bench.evaluation(work.network)
    difference = bench.apart(work.network, "prepared", evaluation.frames)
    if not difference < SAME:
        raise QuantizationError(
            f"prepared for quantization, the network differs by {difference:.2g} of its largest output (allowed: "
            f"{SAME:g}); export it anew, with a later opset"
        )
    fp32 = bench.judged(work.network, "FP32")
    preprocessing = checked_preprocessing(bench, work.network, fp32)
    calibration = bench.calibration(work.network) if work.calibrated else evaluation
    parts = Parts(work.network, bench.quantized(work.network, calibration))
    oracle = Parts(work.network, bench.quantized(work.network, evaluation))
    budget, int8 = measured_budget(bench, parts, oracle, fp32)
    skipped = {"evaluation": evaluation.skipped, **({"calibration": calibration.skipped} if work.calibrated else {})}
    found = Findings(budget, preprocessing, (), (), (), (), {}, parts.outputs, fp32, int8, skipped=skipped)
    if budget.negligible or (preprocessing and preprocessing[0].better):
        return found  # nobody would do anything about single tensors
    return _taken_apart(bench, work, found, parts, calibration, evaluation)


def _taken_apart(
    bench: Bench,
    work: Work,
    found: Findings,
    parts: Parts,
    calibration: ActivationStatistics,
    evaluation: ActivationStatistics,
) -> Findings:
    """Measure single tensors, lists of them, and cures."""
    fp32, int8 = found.fp32, found.int8
    assert fp32 is not None
    assert int8 is not None
    noises = noises_of(parts, evaluation, bench)
    suspects = measured_tensors(bench, parts, evaluation, noises, fp32, int8, work.suspects)
    if shows(found.budget.parts[WEIGHTS].cost):
        suspects += measured_weights(bench, parts, evaluation, LAYERS)
    suspects.sort(key=lambda one: -one.gain)
    tensors = [one.name for one in suspects if one.kind == TENSOR]
    balanced = Balanced.of(bench, parts, calibration)
    wide = widened(bench, work.network, calibration, suspects, fp32, int8) if bench.sixteen_bits else []
    cures, failed = measured_cures(bench, parts, calibration, balanced, work.everything, fp32, int8)
    held = dict[str, Stretch]()
    if work.calibrated and bench.npu.method == "minmax":  # the range of other methods may not follow the widest frame
        held = stretches(frame_figures(LocalFolder(calibration.folder), calibration.frames), tensors)
    return replace(
        found,
        suspects=suspects,
        carriers=carriers(bench, parts, suspects, fp32, int8),
        widened=wide,
        cures=sorted([*cures, *of_wide(wide)], key=lambda cure: cure.cost.other),
        remedies={name: remedy(bench, parts, calibration, balanced, name) for name in tensors},
        stretches=held,
        sixteen_bits=bench.sixteen_bits,
        failed=failed,
    )
