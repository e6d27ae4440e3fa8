"""What a demonstration tells meanwhile, and what it leaves."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ncdb_dask.comparison.comparison import Comparison
from ncdb_dask.demonstration.plan import FORMAT
from ncdb_dask.evaluation.summary import Evaluation
from ncdb_dask.quantization.result import Quantization
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.sampling.report import SampleReport
from ncdb_dask.scanning.summary import Summary

# Of a quantization's summary; the rest is the same for all.
SHOWN = ("Equalized", "Biases", "Noisiest")

Tell = Callable[[str], None]


def untold(line: str) -> None:
    """Tell nobody."""


class Steps:
    """Tells what is done, as numbered steps: a title, commands that do the same by hand, and what was found.

    Parameters
    ----------
    tell : callable
        Gets each line.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._number = 0

    def begin(self, title: str) -> None:
        """Begin a step."""
        self._number += 1
        self._tell(f"{self._number}. {title}" if self._number == 1 else f"\n{self._number}. {title}")

    def command(self, *words: object) -> None:
        """Tell which command does what follows."""
        self._tell(f"   $ {shlex.join(['ncdb-dask', *map(str, words)])}")

    def found(self, text: str) -> None:
        """Tell what was found."""
        self._tell(f"     {text}")


@dataclass(frozen=True)
class Demo:
    """A finished demonstration.

    Attributes
    ----------
    page : str
        The page of the comparison.
    root, network : str
        The data set, and the FP32 network.
    scan : Summary
        What the data set holds.
    sets : mapping of str to CalibrationSet
        By strategy; the random one first.
    networks : mapping of str to Quantization
        By label.
    evaluations : mapping of str to Evaluation
        By label, FP32 first.
    comparison : Comparison
        What is on the page.
    """

    page: str
    root: str
    network: str
    scan: Summary
    sets: Mapping[str, CalibrationSet]
    networks: Mapping[str, Quantization]
    evaluations: Mapping[str, Evaluation]
    comparison: Comparison

    def __repr__(self) -> str:
        return f"<demo, {self.page}: {'; '.join(self.comparison.sentences)}>"

    def text(self) -> str:
        """Return what INT8 cost as lines for people, and where the page is."""
        comparison = self.comparison
        width = max(len(each.label) for each in comparison.evaluations)
        measured = (f"{each.label:<{width}}  {comparison.measured(each)}" for each in comparison.evaluations)
        return "\n".join([*comparison.sentences, "", *measured, *self._notes(), "", f"Page  {self.page}"])

    def _notes(self) -> list[str]:
        """Write a note that holds for several networks once."""
        labels = [each.other for each in self.comparison.against]
        of: dict[str, list[str]] = {}
        for note in self.comparison.notes:
            label = next((label for label in labels if note.startswith(f"{label}: ")), "")
            of.setdefault(note.removeprefix(f"{label}: "), []).append(label)
        return [
            f"Note: {note}" if who in ([""], labels) else f"Note: {' | '.join(who)}: {note}" for note, who in of.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "format": FORMAT,
            "page": self.page,
            "root": self.root,
            "network": self.network,
            "scan": self.scan.as_dict(),
            "sets": {strategy: chosen.report.as_dict() for strategy, chosen in self.sets.items()},
            "networks": {label: made.out for label, made in self.networks.items()},
            "evaluations": {label: found.as_dict() for label, found in self.evaluations.items()},
            "comparison": self.comparison.as_dict(),
        }


def set_line(report: SampleReport) -> str:
    """Say in one line which frames a set has."""
    ranges = ", ".join(f"{chosen} of {held} {name}" for name, (held, chosen) in report.depth_ranges.items())
    return f"{report.settings['strategy']}: {report.size} of {report.population} frames; by mean depth {ranges}"


def quantization_lines(made: Quantization) -> list[str]:
    """Say what a quantization has done."""
    summary = made.report["summary"]
    return [f"{name.lower()}: {summary[name].splitlines()[0].strip()}" for name in SHOWN if name in summary]


def evaluation_line(found: Evaluation) -> str:
    """Say in one line what a network is worth."""
    low_high = found.intervals.get("abs_rel")
    sure = "" if low_high is None else " [{:.4f}, {:.4f}]".format(*low_high)
    left = f", {found.skipped} could not be evaluated" if found.skipped else ""
    mean = found.figures.mean
    return f"abs_rel {mean['abs_rel']:.4f}{sure}, a1 {mean['a1']:.4f} over {found.frames} frames{left}"
