"""Lists that grow by the tensor that helps most: left out altogether, to say who carries the loss, and in 16 bits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import QuantizationError
from ncdb_dask.explanation.bench import Bench, shows
from ncdb_dask.explanation.parts import Parts
from ncdb_dask.explanation.suspects import TENSOR, Suspect

if TYPE_CHECKING:
    from onnx import ModelProto

# Tensors that a step tries, and steps: each try is an evaluation.
TRIED, STEPS = 4, 6
# Of the loss: whoever carries so much is the cause.
MOST = 0.8


@dataclass(frozen=True, slots=True)
class Step:
    """The list so far.

    Attributes
    ----------
    added : str
        The tensor, or the weights, that this step put on the list.
    cost : Figure
        abs_rel of FP32 (baseline), and of INT8 with all of the list spared (other).
    gain : Figure
        abs_rel of INT8 (baseline), and of INT8 with all of the list spared (other).
    """

    added: str
    cost: Figure
    gain: Figure

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"added": self.added, "abs_rel": self.cost.as_dict(), "gain": self.gain.as_dict()}


def carriers(
    bench: Bench, parts: Parts, suspects: Sequence[Suspect], fp32: Evaluated, everything: Evaluated
) -> list[Step]:
    """Leave out more and more of the suspects, until they account for `MOST` of the loss or nothing helps any more.

    Whoever takes more than the rest of the loss with it, if it alone is left out, is on the list too.
    """

    def spared(names: list[str]) -> "ModelProto":
        kinds = {one.name: one.kind for one in suspects}
        tensors = [name for name in names if kinds[name] == TENSOR]
        constants = [name for name in names if kinds[name] != TENSOR]
        one = Parts(parts.network, replace(parts.quantized, model=parts.without(tensors)))
        return one.without_constants(constants) if constants else one.quantized.model

    loss = bench.beside(fp32, everything).difference
    steps: list[Step] = []
    for step in _grown(bench, suspects, spared, fp32, everything, "leaving tensors out"):
        steps.append(step)
        if step.cost.difference <= (1 - MOST) * loss:
            break
    # Where two spoil it together, each of them alone seems to carry nearly all: the list would name only one.
    listed = [step.added for step in steps]
    for other in suspects:
        if other.name not in listed and shows(other.spared) and other.gain > (1 - MOST) * loss:
            listed.append(other.name)
            without = bench.judged(spared(listed), f"leaving tensors out: {', '.join(listed)}")
            steps.append(Step(other.name, bench.beside(fp32, without), bench.beside(everything, without)))
    return steps


def widened(
    bench: Bench,
    network: "ModelProto",
    statistics: ActivationStatistics,
    suspects: Sequence[Suspect],
    fp32: Evaluated,
    everything: Evaluated,
) -> list[Step]:
    """Give more and more tensors 16 bits, until no loss can be seen or nothing helps any more."""

    def wide(names: list[str]) -> "ModelProto":
        return bench.quantized(network, statistics, replace(bench.npu, wide=tuple(names))).model

    tensors = [one for one in suspects if one.kind == TENSOR]
    steps = []
    for step in _grown(bench, tensors, wide, fp32, everything, "giving tensors 16 bits"):
        steps.append(step)
        if not shows(step.cost):
            break
    return steps


def _grown(
    bench: Bench,
    suspects: Sequence[Suspect],
    network: "Callable[[list[str]], ModelProto]",
    fp32: Evaluated,
    everything: Evaluated,
    what: str,
) -> Iterator[Step]:
    """Add, again and again, the suspect that lowers abs_rel most together with those that are on the list.

    Errors of single tensors do not add, so that all that may be next are tried together with the list: those with the
    largest gains alone come first.
    """
    left = [one.name for one in sorted(suspects, key=lambda one: -one.gain)]
    listed: list[str] = []
    before = everything
    while left and len(listed) < STEPS:
        tried: dict[str, Evaluated] = {}
        for name in tuple(left):
            if len(tried) == TRIED:
                break
            bench.progress(f"{what}, {len(listed) + 1} of at most {STEPS}", len(tried), TRIED)
            try:
                model = network([*listed, name])
            except QuantizationError:  # it has no bits of its own: it is computed with another one, or cut out of it
                left.remove(name)
                continue
            tried[name] = bench.judged(model, f"{what}: {', '.join([*listed, name])}")
        bench.progress(f"{what}, {len(listed) + 1} of at most {STEPS}", len(tried), len(tried))
        gains = {name: bench.beside(before, judged) for name, judged in tried.items()}
        chosen = min(gains, key=lambda name: (gains[name].difference, name), default=None)
        # The best of several is often a little better by chance.
        if chosen is None or gains[chosen].difference >= 0 or not shows(gains[chosen]):
            return
        before = tried[chosen]
        listed.append(chosen)
        left.remove(chosen)
        yield Step(chosen, bench.beside(fp32, tried[chosen]), bench.beside(everything, tried[chosen]))
