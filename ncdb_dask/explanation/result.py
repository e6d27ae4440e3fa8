"""What an explanation tells."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ncdb_dask.comparison.pairs import no_depth
from ncdb_dask.comparison.sentences import interval
from ncdb_dask.explanation.budget import ALL, TITLES
from ncdb_dask.explanation.explain import Findings
from ncdb_dask.explanation.next_steps import NextStep, next_steps
from ncdb_dask.explanation.plan import PAGE_FILE, ExplanationPlan
from ncdb_dask.explanation.verdict import Verdict, verdict

FORMAT = 1


@dataclass(frozen=True)
class Explanation:
    """Where the error of INT8 comes from, and what cures it.

    Attributes
    ----------
    plan : ExplanationPlan
        What was asked.
    findings : Findings
        What was measured.
    verdict : Verdict
        What follows.
    steps : sequence of NextStep
        What to do.
    frames : int
        That were judged.
    notes : tuple of str
        What else a person should know, such as frames that could not be used.
    """

    plan: ExplanationPlan
    findings: Findings
    verdict: Verdict
    steps: Sequence[NextStep]
    frames: int = 0
    notes: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Path of the page."""
        return f"{self.plan.out.path}/{PAGE_FILE}"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "format": FORMAT,
            **self.verdict.as_dict(),
            "next": [step.as_dict() for step in self.steps],
            "frames": self.frames,
            "notes": list(self.notes),
            **self.findings.as_dict(),
            "plan": self.plan.as_dict(),
            "page": self.page,
        }

    def text(self) -> str:
        """Return the verdict, the budget and what to do, as lines for people."""
        lines = [self.verdict.sentence, ""]
        rows = [("", "abs_rel", "against FP32", "RMSE (m)")]
        budget = self.findings.budget
        rows.append(("FP32", f"{budget.fp32:.4f}", "", f"{budget.rmse:.3f}"))
        for part in budget.parts.values():
            change = f"{part.cost.difference:+z.4f} {interval(part.cost, 'abs_rel')}".rstrip()
            rows.append((TITLES[part.name], f"{part.cost.other:.4f}", change, f"{part.rmse:.3f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines += ["", "What to do:"]
        for step in self.steps:
            typed = [*step.keys.splitlines(), *([step.command] if step.command else [])]
            lines += [f"- {step.text}", *(f"    {line}" for line in typed)]
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join([*lines, "", f"{'Page':<14}{self.page}"])


def explained(plan: ExplanationPlan, found: Findings) -> Explanation:
    """Judge what was measured, and say what to do."""
    # Where most frames are judged and calibrated with, a perfect set is the given one.
    calibrated = plan.calibration is not None and 2 * plan.shared < len(plan.judged_keys)
    said = verdict(found, calibrated=calibrated)
    frames = found.budget.parts[ALL].cost.frames
    return Explanation(plan, found, said, next_steps(plan, found, said), frames, tuple(_notes(plan, found)))


def _notes(plan: ExplanationPlan, found: Findings) -> Iterator[str]:
    for what, skipped in found.skipped.items():
        if skipped:
            yield f"{_frames(len(skipped), what)} could not be used; the first: {skipped[0]}"
    if found.fp32 is not None:
        statuses = Counter(found.fp32.rows["status"].tolist())
        lost = {status: count for status, count in statuses.items() if status != "ok"}
        if lost:
            why = ", ".join(f"{count} {status}" for status, count in sorted(lost.items()))
            yield f"{_frames(sum(lost.values()), 'evaluation')} of {len(found.fp32.rows)} could not be judged: {why}"
    if found.int8 is not None and no_depth(found.int8)[0]:
        pixels, frames = no_depth(found.int8)
        yield f"in INT8, {pixels:,} predictions in {_frames(frames)} were no depth (not finite, or <= 0)"
    if plan.shared:
        yield f"{_frames(plan.shared)} of the calibration set are judged, too: give sets that share none"
    if plan.scan is not None and found.floor_frames < len(plan.judged_keys):
        where = plan.scan.folder.url
        yield f"the floors of heads are of {_frames(found.floor_frames)}: {where} holds no depths of the others"
    yield from (f"{name} could not be tried: {why}" for name, why in found.failed.items())


def _frames(count: int, what: str = "") -> str:
    return f"{count} {what} frame{'s' * (count != 1)}".replace("  ", " ")
