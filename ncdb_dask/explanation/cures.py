"""What cures it: whole networks that are measured, and for each tensor what would help it, from statistics."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import QuantizationError
from ncdb_dask.explanation.bench import Bench
from ncdb_dask.explanation.budget import CURED
from ncdb_dask.explanation.greedy import Step
from ncdb_dask.explanation.noise import Noise, of_tensor
from ncdb_dask.explanation.parts import Parts
from ncdb_dask.explanation.suspects import noises_of
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.steps import SAME
from ncdb_dask.quantization.steps import balanced as balanced_network

if TYPE_CHECKING:
    from onnx import ModelProto

EQUALIZE, CLIP, WIDE, RETRAIN = "equalization", "clipping", "16 bits", "retraining"
PER_CHANNEL, CORRECTED = "per-channel weights", "equalization and bias correction"
# What is done before the tool, then what it must be told, then what the NPU must be able to do.
ORDER = (EQUALIZE, CORRECTED, CLIP, PER_CHANNEL, WIDE)
CLIP_METHOD = "mse"
# Of what drowns in a tensor: what leaves more of it helps nobody.
HALVED = 0.5


@dataclass(frozen=True, slots=True)
class Cure:
    """A cure of the whole network, measured.

    Attributes
    ----------
    name : str
        Such as `EQUALIZE`.
    options : str
        Of ``ncdb-dask quantize``.
    cost : Figure
        abs_rel of FP32 (baseline), and of INT8 with the cure (other).
    gain : Figure
        abs_rel of INT8 without it (baseline), and with it (other).
    """

    name: str
    options: str
    cost: Figure
    gain: Figure

    @property
    def ratio(self) -> float:
        """Of abs_rel to that of FP32."""
        return self.cost.other / self.cost.baseline

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "options": self.options,
            "ratio": self.ratio,
            "abs_rel": self.cost.as_dict(),
            "gain": self.gain.as_dict(),
        }


@dataclass(frozen=True)
class Balanced:
    """The network with balanced channels.

    Attributes
    ----------
    parts : Parts
        Of it, rounded.
    rows : mapping of str to mapping
        What equalization tells of each tensor; see `ncdb_dask.quantization.equalize.Equalized`.
    reasons : mapping of str to str
        Why a node lets no scale through.
    noises : mapping of str to Noise
        Of its tensors, over the calibration frames.
    """

    parts: Parts
    rows: Mapping[str, Mapping[str, Any]]
    reasons: Mapping[str, str]
    noises: Mapping[str, Noise]

    @classmethod
    def of(cls, bench: Bench, parts: Parts, statistics: ActivationStatistics) -> "Balanced":
        """Balance the channels of a network, by its statistics on the calibration frames."""
        result = balanced_network(parts.network, statistics, bench.npu.target(), parts.quantized.owners)
        measured = bench.calibration(result.model)
        made = Parts(result.model, bench.quantized(result.model, measured))
        rows = {row["tensor"]: row for row in result.report["tensors"]}
        return cls(made, rows, result.report["holders"], noises_of(made, measured, bench))


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would help one tensor.

    Attributes
    ----------
    name : str
        `EQUALIZE`, `CLIP`, `WIDE` or `RETRAIN`: the first that helps, in the order of what they ask of the user.
    drowned : mapping of str to float
        What of it drowns now (``now``) and with each cure; see `ncdb_dask.explanation.noise.Noise`.
    equalize : str
        Whether equalization balances it, or why not.
    """

    name: str
    drowned: Mapping[str, float]
    equalize: str

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"cure": self.name, "drowned": dict(self.drowned), "equalize": self.equalize}


def remedy(
    bench: Bench,
    parts: Parts,
    statistics: ActivationStatistics,
    balanced: Balanced,
    name: str,
) -> Remedy:
    """Say what would help a tensor, by its statistics on the calibration frames."""
    owner, target = parts.quantized.owners[name], bench.npu.target().completed(parts.network)
    tensor, scheme = statistics.tensors[owner], target.scheme_of(name)
    drowned = {"now": of_tensor(tensor, scheme, parts.quantized.ranges[name]).drowned}
    if name in balanced.noises:
        drowned[EQUALIZE] = balanced.noises[name].drowned
    drowned[CLIP] = of_tensor(tensor, scheme, statistics.range_of(owner, CLIP_METHOD, scheme)).drowned
    if bench.sixteen_bits:
        wide = replace(scheme, bits=16)
        drowned[WIDE] = of_tensor(tensor, wide, statistics.range_of(owner, bench.npu.method, wide)).drowned
    limit = HALVED * drowned["now"]
    helping = [cure for cure in (EQUALIZE, CLIP, WIDE) if cure in drowned and drowned[cure] <= limit]
    return Remedy(helping[0] if helping else RETRAIN, drowned, _balance(balanced, name))


def _balance(balanced: Balanced, name: str) -> str:
    """Say whether equalization can balance a tensor."""
    row = balanced.rows.get(name)
    if row is None:
        return "its channels cannot be followed"
    widest = f"widest channel {row['spread_before']:.3g} times the median one, {row['spread_after']:.3g} afterwards"
    if not row["held"]:
        return widest
    holders = [f"{holder}: {balanced.reasons[holder]}" for holder in row["held_by"]]
    return f"{widest}; {row['held']} of {row['channels']} channels are held by {'; '.join(holders)}"


def measured_cures(
    bench: Bench,
    parts: Parts,
    statistics: ActivationStatistics,
    balanced: Balanced,
    everything: "Callable[[], ModelProto] | None",
    fp32: Evaluated,
    int8: Evaluated,
) -> tuple[list[Cure], dict[str, str]]:
    """Measure what cures the whole network; why others could not be made comes second.

    Parameters
    ----------
    bench, parts, statistics, balanced
        The network, rounded as the NPU does it, by its statistics on the calibration frames; and balanced.
    everything : callable or None
        Makes the network that ``ncdb-dask quantize`` makes with everything on.
    fp32, int8 : Evaluated
        Of the network as it was given, and rounded without a cure.
    """
    wanted: dict[str, tuple[str, Callable[[], ModelProto]]] = {
        EQUALIZE: ("--equalize --no-bias-correction", lambda: _balanced_model(bench, balanced, statistics)),
    }
    if everything is not None:
        wanted[CORRECTED] = ("", everything)
    if bench.npu.method != CLIP_METHOD:
        clipping = replace(bench.npu, method=CLIP_METHOD, percentile=None)
        options = f"--method {CLIP_METHOD} --no-equalize --no-bias-correction"
        wanted[CLIP] = (options, lambda: bench.quantized(parts.network, statistics, clipping).model)
    per_channel = _per_channel(bench)
    if per_channel is not None:
        options = "--per-channel --no-equalize --no-bias-correction"
        wanted[PER_CHANNEL] = (options, lambda: bench.quantized(parts.network, statistics, per_channel).model)
    found, failed = list[Cure](), dict[str, str]()
    for number, (name, (options, network)) in enumerate(wanted.items()):
        bench.progress("trying cures", number, len(wanted))
        try:
            model = network()
        except QuantizationError as error:  # what was found is worth more than this cure
            failed[name] = str(error)
            continue
        judged = bench.judged(model, name)
        found.append(Cure(name, options, bench.beside(fp32, judged), bench.beside(int8, judged)))
    bench.progress("trying cures", len(wanted), len(wanted))
    return found, failed


def _balanced_model(bench: Bench, balanced: Balanced, statistics: ActivationStatistics) -> "ModelProto":
    """Return the balanced network, rounded, if `quantize` would use it."""
    difference = bench.apart(balanced.parts.network, "balanced", statistics.frames)
    if not difference < SAME:
        raise QuantizationError(f"the balanced network differs by {difference:.2g} of its largest output")
    return balanced.parts.quantized.model


def of_wide(steps: Sequence[Step]) -> list[Cure]:
    """Return 16 bits as a cure: for as few of the tensors as bring abs_rel near that of FP32, else for all listed."""
    if not steps:
        return []
    near = [number for number, step in enumerate(steps) if step.cost.other <= CURED * step.cost.baseline]
    last = near[0] if near else len(steps) - 1
    wide = " ".join(f"--wide {shlex.quote(step.added)}" for step in steps[: last + 1])
    return [Cure(WIDE, f"{wide} --no-equalize --no-bias-correction", steps[last].cost, steps[last].gain)]


def _per_channel(bench: Bench) -> "OnnxRuntimeQuantizer | None":
    """Return how the NPU rounds with a scale for each channel of weights; None where it cannot, or does already."""
    if bench.npu.per_channel:
        return None
    try:
        return replace(bench.npu, per_channel=True)
    except QuantizationError:
        return None
