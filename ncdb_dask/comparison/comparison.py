"""Comparing evaluations: the first is the baseline, the others are set against it frame by frame."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.comparison.against import Against, measured
from ncdb_dask.comparison.pairs import KEY, RECORDING, Evaluated, Pairs, no_depth
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.comparison.sentences import groups_table, metrics_table, ranges_table, sentence
from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.blocks import ENOUGH, LEAST, Blocks, resemblance
from ncdb_dask.evaluation.bootstrap import LEVEL
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.store.folder import Folder, reported

# Measured on series that correlate by 0.8 from frame to frame, in blocks of 10: successive blocks correlate by 0.29,
# and intervals of 95 % hold the truth in 87 %.
ALIKE = 0.25
FORMAT = "ncdb_dask comparison 1"


@dataclass(frozen=True)
class Comparison:
    """Evaluations beside each other.

    Attributes
    ----------
    evaluations : tuple of Evaluated
        The first is the baseline.
    against : tuple of Against
        Each other one against it.
    request : CompareRequest
        How they were compared.
    notes : tuple of str
        What a person should know.
    """

    evaluations: tuple[Evaluated, ...]
    against: tuple[Against, ...]
    request: CompareRequest
    notes: tuple[str, ...]

    @property
    def protocol(self) -> Protocol:
        """The rules that all were evaluated by."""
        return Protocol.from_dict(self.evaluations[0].settings["protocol"])

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each evaluation but the baseline."""
        return tuple(sentence(each) for each in self.against)

    def standing(self, each: Evaluated) -> tuple[float, int]:
        """Return abs_rel and over how many frames: those shared with the baseline, whose own are all it measured."""
        for against in self.against:
            if against.other == each.label:
                return against.main.other, against.main.frames
        return each.abs_rel, len(each.measured)

    def measured(self, each: Evaluated) -> str:
        """Say `standing` in words, with the baseline over the same frames where these are not all of its own."""
        abs_rel, frames = self.standing(each)
        there = next((found.main.baseline for found in self.against if found.other == each.label), None)
        own = len(self.evaluations[0].measured)
        beside = f" ({self.evaluations[0].label} {there:.4f} there)" if there is not None and frames < own else ""
        return f"abs_rel {abs_rel:.4f} over {frames} frames{beside}"

    def verdict(self, each: Evaluated) -> str:
        """Return what the guide says of an evaluation; it judges quantized networks, so not the baseline."""
        abs_rel, _ = self.standing(each)
        if each is self.evaluations[0]:
            above = abs_rel > self.request.poor
            return f"baseline, above {self.request.poor:.3f} without quantization" if above else "baseline"
        missing = next(against for against in self.against if against.other == each.label).only_baseline.frames
        lacking = f", without {missing} frames of the baseline" if missing else ""
        return self.request.verdict(abs_rel) + lacking

    @property
    def verdict_note(self) -> str:
        """Where the thresholds come from and what they are for."""
        return self.request.verdict_note(self.protocol.name)

    def resampling(self, against: Against) -> str:
        """Say what the intervals come from."""
        if against.blocks.count < LEAST:
            return against.blocks.too_few()
        return f"{self.request.resamples:,} resamples of {against.blocks.text()}"

    def __repr__(self) -> str:
        return f"<{'; '.join(self.sentences)}>"

    def text(self) -> str:
        """Return the comparison as lines for people."""
        lines = [*self.sentences, ""]
        width = max(len(each.label) for each in self.evaluations)
        for each in self.evaluations:
            lines.append(f"{each.label:<{width}}  {self.measured(each)}: {self.verdict(each)}")
        lines.append(self.verdict_note)
        for against in self.against:
            lines += ["", *metrics_table(against), "", *ranges_table(against)]
            for group, values in against.groups.items():
                if len(values) > 1:
                    lines += ["", *groups_table(group, against, dict(values))]
            lines += ["", f"Intervals of {against.other}: {self.resampling(against)}"]
        lines.append(f"Protocol {self.protocol.text()}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "format": FORMAT,
            "sentences": list(self.sentences),
            "evaluations": [
                {**_evaluation(each), "measured": self.measured(each), "verdict": self.verdict(each)}
                for each in self.evaluations
            ],
            "protocol": self.protocol.as_dict(),
            "settings": {**asdict(self.request), "labels": [each.label for each in self.evaluations], "level": LEVEL},
            "against": [
                {**each.as_dict(), "sentence": sentence(each), "resampling": self.resampling(each)}
                for each in self.against
            ],
            "verdict_note": self.verdict_note,
            "notes": list(self.notes),
        }


def _evaluation(each: Evaluated) -> dict[str, Any]:
    return {
        "label": each.label,
        "folder": each.place,
        "predictor": dict(each.settings.get("predictor", {})),
        "inputs": dict(each.inputs),
        "rows": len(each.rows),
        "frames": len(each.measured),
        "abs_rel": each.abs_rel,
    }


def compare_evaluations(folders: Sequence[Folder], request: CompareRequest) -> Comparison:
    """Read finished evaluations and set each against the first.

    Raises
    ------
    EvaluationError
        Evaluations that cannot be compared; the message says what differs.
    PlanError
        A folder without a finished evaluation.
    """
    if len(folders) < 2:
        raise EvaluationError(f"{len(folders)} evaluation given; expected at least two, the first is the baseline")
    _require_different(folders)
    labels = labels_of([folder.url for folder in folders], request.labels)
    evaluated = tuple(_read(folder, label) for folder, label in zip(folders, labels, strict=True))
    against = tuple(_against(evaluated[0], other, request) for other in evaluated[1:])
    return Comparison(evaluated, against, request, tuple(_notes(evaluated, against)))


def _read(folder: Folder, label: str) -> Evaluated:
    with reported(folder, "read"):
        return Evaluated.read(folder, label)


def _require_different(folders: Sequence[Folder]) -> None:
    seen: set[str] = set()
    for folder in folders:
        real = folder.real()
        if real in seen:
            raise EvaluationError(f"{folder.url} is given twice; expected different evaluations")
        seen.add(real)


def labels_of(places: Sequence[str], given: Sequence[str] | None = None) -> list[str]:
    """Name evaluations by their folders, with as many parents as tell them apart.

    Raises
    ------
    EvaluationError
        Labels that are not one a folder, or not different.

    Examples
    --------
    >>> labels_of(["/out/fp32", "/out/int8"]), labels_of(["/out/a/eval", "/out/b/eval"])
    (['fp32', 'int8'], ['a/eval', 'b/eval'])
    """
    if given is not None:
        if len(given) != len(places) or len(set(given)) != len(given) or not all(map(str.strip, given)):
            expected = f"expected {len(places)} different ones, one for each evaluation"
            raise EvaluationError(f"labels {', '.join(map(repr, given))}: {expected}")
        return list(given)
    parts = [place.replace(os.sep, "/").rstrip("/").split("/") for place in places]
    labels = [each[-1] for each in parts]
    for depth in range(2, max(map(len, parts)) + 1):
        labels = [
            posixpath.join(*each[-depth:]) if labels.count(label) > 1 else label
            for label, each in zip(labels, parts, strict=True)
        ]
    return labels


def _against(baseline: Evaluated, other: Evaluated, request: CompareRequest) -> Against:
    pairs = Pairs.of(baseline, other)
    recordings, stems = (pairs.frames[name].tolist() for name in KEY)
    blocks = Blocks.of(recordings, stems, pairs.differences(), request.block)
    return measured(baseline.label, other.label, pairs, blocks, request.resamples, request.seed)


def _notes(evaluated: Sequence[Evaluated], against: Sequence[Against]) -> list[str]:
    notes = []
    for each in against:
        for missing, holder, other in (
            (each.only_baseline, each.baseline, each.other),
            (each.only_other, each.other, each.baseline),
        ):
            if missing.frames:
                notes.append(missing.text(holder, other))
        if each.blocks.count >= LEAST and each.blocks.caution:
            notes.append(f"{each.other}: {each.blocks.caution}")
        if LEAST <= each.blocks.count < ENOUGH:
            notes.append(
                f"{each.other}: an interval from {each.blocks.count} blocks is rough; more recordings make it sure"
            )
        alike = resemblance(each.pairs.differences(), each.blocks, each.pairs.frames[RECORDING].tolist())
        if alike > ALIKE and each.blocks.count >= LEAST:
            notes.append(
                f"{each.other}: blocks still resemble the one before (correlation {alike:.2f}), so the interval is too "
                f"narrow; give --block more than {each.blocks.longest} frames"
            )
    roots: Mapping[str, Any] = {each.label: each.settings.get("root") for each in evaluated}
    if len(set(roots.values())) > 1:
        where = ", ".join(f"{label} in {root}" for label, root in roots.items())
        notes.append(f"the data set lay in different places ({where}); the pixels of truth are as many in each frame")
    for one in evaluated:
        pixels, frames = no_depth(one)
        if pixels:
            notes.append(f"{one.label}: {pixels:,} predictions in {frames} frames were no depth (not finite, or <= 0)")
    return notes
