"""What follows from the measurements: the cause in one sentence, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.sentences import interval
from ncdb_dask.explanation.bench import shows
from ncdb_dask.explanation.budget import ALL, CURED, OUTPUT, WEIGHTS, Budget
from ncdb_dask.explanation.cures import CORRECTED, EQUALIZE, ORDER, WIDE, Cure
from ncdb_dask.explanation.explain import Findings
from ncdb_dask.explanation.greedy import Step
from ncdb_dask.explanation.suspects import CONSTANT

PREPROCESSING, NOTHING, CALIBRATION = "preprocessing", "nothing", "calibration"
UNDECIDED, OUTPUT_GRID, WEIGHT, TENSORS, SPREAD = "undecided", "output grid", "weights", "tensors", "spread"
# Of the loss: what holds more is the main cause.
MAIN = 0.5
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    cause : str
        `PREPROCESSING`, `NOTHING`, `UNDECIDED`, `CALIBRATION`, `OUTPUT_GRID`, `WEIGHT`, `TENSORS` or `SPREAD`.
    sentence : str
        The cause, its share, and the cure.
    culprits : tuple of str
        The tensors or weights that are named.
    cure : Cure or None
        The best one that was measured: the first of those that bring abs_rel near that of FP32.
    """

    cause: str
    sentence: str
    culprits: tuple[str, ...]
    cure: Cure | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "cause": self.cause,
            "sentence": self.sentence,
            "culprits": list(self.culprits),
            "cure": None if self.cure is None else self.cure.as_dict(),
        }


def verdict(found: Findings, *, calibrated: bool = True) -> Verdict:
    """Judge what was measured.

    Parameters
    ----------
    found : Findings
        The measurements.
    calibrated : bool
        Whether a calibration set was given; else the ranges are those of the evaluation frames.
    """
    cause, named = _cause(found)
    cure = best_cure(found)
    culprits = tuple(step.added for step in named)
    sentences = [_said(found, cause, named, cure)]
    if calibrated and cause not in (NOTHING, CALIBRATION):
        sentences.insert(0, _oracle(found.budget.oracle_gain))
    sentence = "; ".join(sentences)
    sentence = f"{sentence[0].upper()}{sentence[1:]}"
    if cause != NOTHING and not found.budget.parts[ALL].cost.seen:
        cause, sentence = UNDECIDED, f"{sentence}; but these frames are too few to tell the loss from chance"
    if found.preprocessing and found.preprocessing[0].better:
        # Nothing else was looked for: what it would say is of a network that sees wrong pictures.
        return Verdict(PREPROCESSING, _preprocessing(found), (), None)
    return Verdict(cause, f"{sentence}.", culprits, cure)


def best_cure(found: Findings) -> Cure | None:
    """Return the first of `ORDER` that brings abs_rel near FP32's, else what brings it nearest, if anything does."""
    helping = [cure for cure in found.cures if cure.gain.difference < 0 and shows(cure.gain)]
    cured = sorted((cure for cure in helping if cure.ratio <= CURED), key=lambda cure: ORDER.index(cure.name))
    return cured[0] if cured else min(helping, key=lambda cure: cure.ratio, default=None)


def _cause(found: Findings) -> tuple[str, Sequence[Step]]:
    budget, named = found.budget, found.carriers
    loss, gain = budget.loss, budget.oracle_gain
    if budget.negligible:
        return NOTHING, ()
    if shows(gain) and -gain.difference >= MAIN * loss:
        return CALIBRATION, named
    if named and _carried(found) >= MAIN * loss:
        kinds = {found.suspect(step.added).kind for step in named}
        if all(step.added in found.outputs for step in named):
            return OUTPUT_GRID, named
        return (WEIGHT if kinds == {CONSTANT} else TENSORS), named
    shares = {WEIGHT: budget.share(WEIGHTS) or 0.0, OUTPUT_GRID: budget.share(OUTPUT) or 0.0}
    largest = max(shares, key=lambda name: shares[name])
    return (largest, named) if shares[largest] >= MAIN else (SPREAD, named)


def _said(found: Findings, cause: str, named: Sequence[Step], cure: Cure | None) -> str:
    whole, budget = found.budget.parts[ALL].cost, found.budget
    lost = f"the {whole.difference:.4f} abs_rel that INT8 costs"
    if cause == NOTHING:
        what = f"INT8 costs {whole.difference:+.4f} abs_rel {interval(whole, 'abs_rel')}".rstrip()
        return f"{what}, {whole.other / whole.baseline:.3f} times that of FP32: there is nothing to mend"
    if cause == CALIBRATION:
        gained = _percent(-budget.oracle_gain.difference, budget)
        return f"With ranges of the frames that are judged, {gained} of {lost} are gone{_at(found, named)}"
    if cause == SPREAD:
        return f"no tensor that was measured carries {lost}: without them, {_rest(found)} is left{_by(cure)}"
    if cause == WEIGHT and not (named and all(found.suspect(step.added).kind == CONSTANT for step in named)):
        weights = _percent(budget.parts[WEIGHTS].cost.difference, budget)
        return f"{weights} of {lost} come from the weights, and most of it from no layer that was measured{_by(cure)}"
    if cause == OUTPUT_GRID:
        carried = _carried(found) if named else budget.parts[OUTPUT].cost.difference
        return f"{_percent(carried, budget)} of {lost} come from the grid of the network's own output{_by(cure)}"
    carried = _carried(found)
    return f"{_percent(carried, budget)} of {lost} come from {_names(found, named)}{_by(cure)}"


def _oracle(gain: Figure) -> str:
    if not shows(gain) or gain.difference >= 0:
        return "A perfect calibration set gains nothing that can be seen"
    return f"A perfect calibration set gains {-gain.difference:.4f} abs_rel"


def _preprocessing(found: Findings) -> str:
    best = found.preprocessing[0]
    return (
        f"Look at the preprocessing first: with {best.title}, FP32 has abs_rel {best.change.other:.4f} instead of "
        f"{best.change.baseline:.4f}, so that nothing else was looked for."
    )


def _names(found: Findings, named: Sequence[Step]) -> str:
    suspects = [found.suspect(step.added) for step in named]
    count, many = _count(len(named)), "s" * (len(named) > 1)
    makers, kinds = {one.maker for one in suspects}, {one.kind for one in suspects}
    maker = suspects[0].maker if len(makers) == 1 else ""
    if kinds == {CONSTANT}:
        what = f"the weights of {count} {maker} layer{many}"
    else:
        what = f"{count} {maker} output{many}" if maker and len(kinds) == 1 else f"{count} tensor{many}"
    listed = f"{' '.join(what.split())} ({', '.join(step.added for step in named)})"
    costs = [step.cost.difference for step in named]
    # Whoever was added although it gains nothing any more does so alone.
    together = any(after >= before for before, after in pairwise(costs))
    return f"{listed}, which spoil the same values" if together else listed


def _count(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def _at(found: Findings, named: Sequence[Step]) -> str:
    most = bool(named) and _carried(found) >= MAIN * found.budget.loss
    return f"; most of it is at {_names(found, named)}" if most else ""


def _carried(found: Findings) -> float:
    """Return what leaving out those who carry the loss takes from abs_rel: all of them, or the first ones alone."""
    return found.budget.loss - min(step.cost.difference for step in found.carriers)


def _rest(found: Findings) -> str:
    if not found.carriers:
        return "all of it"
    return f"{100 * found.carriers[-1].cost.difference / found.budget.loss:.0f} % of it"


def _by(cure: Cure | None) -> str:
    if cure is None:
        return "; nothing that was tried helps"
    words = {EQUALIZE: "equalization", WIDE: "giving tensors 16 bits", CORRECTED: "equalization with bias correction"}
    done = "cures it" if cure.ratio <= CURED else "lowers it"
    return f"; {words.get(cure.name, cure.name)} {done}: abs_rel {cure.cost.other:.4f}, {cure.ratio:.2f} x FP32"


def _percent(part: float, budget: Budget) -> str:
    return f"{100 * part / budget.loss:.0f} %" if part < budget.loss else "all"
