"""What a fine-tuning came to: FP32 and INT8, before and after, in one table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.comparison.against import Against
from ncdb_dask.comparison.comparison import Comparison
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.training.finetune import Trained
from ncdb_dask.training.plan import PAGE_FILE, PICTURE_FILE
from ncdb_dask.training.spread import table

FORMAT = "ncdb_dask fine-tuning 1"
FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuning that is done.

    Attributes
    ----------
    out : str
        The folder of everything that was made.
    trained : tuple of Trained
        The networks; the one that was given is first.
    comparison : Comparison
        All evaluations against FP32 before, labelled ``<name> fp32`` and ``<name> int8``.
    gains : Comparison
        INT8 after against INT8 before.
    control : Comparison or None
        INT8 with the penalty against INT8 of the same training without, where one of the lambdas is 0.
    """

    out: str
    trained: tuple[Trained, ...]
    comparison: Comparison
    gains: Comparison
    control: Comparison | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a network: its epoch, abs_rel of both, and how its INT8 differs from that before and of the control.

        Differences have intervals of 95 % (``low``, ``high``), paired by frame.
        """
        abs_rel = {each.label: each.abs_rel for each in self.comparison.evaluations}
        return [
            {
                "network": one.name,
                "lambda": one.factor,
                "epoch": one.epoch,
                FP32: abs_rel[label(one.name, FP32)],
                INT8: abs_rel[label(one.name, INT8)],
                "against_before": _difference(self.gains, one),
                "against_control": _difference(self.control, one),
            }
            for one in self.trained
        ]

    @property
    def sentence(self) -> str:
        """Say whether fine-tuning has helped INT8, and what part the penalty has in it."""
        return f"{self._gain()} {self._part()}".rstrip()

    def _gain(self) -> str:
        better, worse = _seen(self.gains)
        if better is not None:
            also = "" if worse is None else f"; that of {_name(worse)} is worse by {_interval(worse.main)}"
            return f"INT8 of {_name(better)} is better than before, abs_rel by {_interval(better.main)}{also}."
        if worse is not None:
            return f"INT8 is worse than before: that of {_name(worse)} by {_interval(worse.main)}."
        return "No difference to before can be seen in INT8; the intervals say how large one may still be."

    def _part(self) -> str:
        if self.control is None:
            penalised = any(one.factor for one in self.trained)
            told = penalised and _seen(self.gains)[0] is not None
            return "What part the penalty has in it, a training with lambda 0 beside it would tell." if told else ""
        without = self.control.evaluations[0].label.removesuffix(f" {INT8}")
        better, worse = _seen(self.control)
        if better is not None:
            return f"The penalty has helped: against {without}, {_name(better)} gains {_interval(better.main)}."
        if worse is not None:
            return f"The penalty has harmed: against {without}, {_name(worse)} loses {_interval(worse.main)}."
        return f"Between {without} and the others no difference can be seen: the penalty has no part in it that shows."

    def text(self) -> str:
        """Return the table and where things lie, as lines for people."""
        lines = [*_table(self), "", self.sentence, *(f"Note: {note}" for note in self.notes), ""]
        for one in self.trained[1:]:
            lines += [f"{f'FP32 of {one.name}':<24}{one.network}", f"{f'INT8 of {one.name}':<24}{one.int8}"]
        lines += [f"{'Picture':<24}{self.out}/{PICTURE_FILE}", f"{'Page':<24}{self.out}/{PAGE_FILE}"]
        return "\n".join(lines)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the intervals; what holds for all networks is said once."""
        names = [f"{label(one.name, INT8)}: " for one in self.trained]
        return tuple(dict.fromkeys(_without(note, names) for note in self.gains.notes))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        before, *after = self.trained
        return {
            "format": FORMAT,
            "out": self.out,
            "sentence": self.sentence,
            "table": self.rows,
            "networks": [_about(one) for one in self.trained],
            "layers": {one.name: table(before.layers, one.layers) for one in after},
            "gains": self.gains.as_dict(),
            "control": None if self.control is None else self.control.as_dict(),
        }


def label(name: str, what: str) -> str:
    """Return what the evaluation of a network is called."""
    return f"{name} {what}"


def _about(one: Trained) -> dict[str, Any]:
    values: Mapping[str, Any] = asdict(one)
    return {name: value for name, value in values.items() if name not in ("layers", "history")} | {INT8: one.int8}


def _table(done: Finetuned) -> Iterator[str]:
    head = ["network", "epoch", "FP32", "INT8", "INT8 against before (95 %)"]
    if done.control is not None:
        head.append(f"against {done.control.evaluations[0].label}")
    cells = [head]
    for row, one in zip(done.rows, done.trained, strict=True):
        beside = [_cell(each, one) for each in (done.gains, done.control) if each is not None]
        cells.append([one.name, str(one.epoch), f"{row[FP32]:.4f}", f"{row[INT8]:.4f}", *beside])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _figure(comparison: Comparison | None, one: Trained) -> Figure | None:
    against = () if comparison is None else comparison.against
    return next((each.main for each in against if each.other == label(one.name, INT8)), None)


def _difference(comparison: Comparison | None, one: Trained) -> dict[str, Any] | None:
    figure = _figure(comparison, one)
    return None if figure is None else figure.as_dict()


def _cell(comparison: Comparison, one: Trained) -> str:
    figure = _figure(comparison, one)
    return "" if figure is None else _interval(figure)


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.difference:+.4f} (too few frames for an interval)"
    return f"{figure.difference:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def _seen(comparison: Comparison) -> tuple[Against | None, Against | None]:
    """Return what is most better and most worse than the baseline, where that can be seen."""
    ordered = sorted((each for each in comparison.against if each.main.seen), key=_size)
    better = ordered[0] if ordered and _size(ordered[0]) < 0 else None
    worse = ordered[-1] if ordered and _size(ordered[-1]) > 0 else None
    return better, worse


def _size(against: Against) -> float:
    return against.main.difference


def _name(against: Against) -> str:
    return against.other.removesuffix(f" {INT8}")


def _without(note: str, names: list[str]) -> str:
    return next((note.removeprefix(name) for name in names if note.startswith(name)), note)
