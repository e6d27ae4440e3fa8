"""What a comparison says in words and in figures for people."""

import math
from collections.abc import Sequence

from ncdb_dask.comparison.against import Against
from ncdb_dask.comparison.figures import Figure, Figures
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.schema import RANGES

DIRECTIONS = {"low": "lower is better", "high": "higher is better", "zero": "zero is best"}
NO_DIFFERENCE = "no difference can be seen"


def sentence(against: Against) -> str:
    """Say in one sentence what an evaluation lost or gained against the baseline."""
    main, title = against.main, f"{against.other} against {against.baseline}"
    frames = f"{main.frames} frame{'s' * (main.frames != 1)}"
    figures = f"{title}: abs_rel {signed(main)} over {frames}"
    if main.low is None:
        return f"{figures}; worse in {main.worse}; {against.blocks.too_few()}"
    if not main.seen:
        return f"{figures}: {NO_DIFFERENCE}"
    where = f"; most of it {range_words(against.mostly)}" if against.mostly else ""
    return f"{figures}; worse in {main.worse}{where}"


def range_words(name: str) -> str:
    """Say which true depths a range holds.

    Examples
    --------
    >>> [range_words(name) for name in RANGES.names]
    ['nearer than 3 m', 'between 3 and 8 m', 'between 8 and 15 m', 'beyond 15 m']
    """
    place = RANGES.names.index(name)
    low, high = RANGES.edges[place : place + 2]
    if low == 0:
        return f"nearer than {high:g} m"
    return f"beyond {low:g} m" if math.isinf(high) else f"between {low:g} and {high:g} m"


def signed(figure: Figure, metric: str = "abs_rel") -> str:
    """Write a difference with its interval, if it has one."""
    return f"{difference(figure, metric)} {interval(figure, metric)}".rstrip()


def difference(figure: Figure, metric: str) -> str:
    """Write a difference."""
    return f"{figure.difference:+z.{decimals(figure, metric)}f}"


def interval(figure: Figure, metric: str) -> str:
    """Write an interval; empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    # A bound just below zero is written -0.0000: the interval holds zero, and one sees it.
    digits = decimals(figure, metric)
    return f"[{figure.low:+.{digits}f}, {figure.high:+.{digits}f}]"


def decimals(figure: Figure, metric: str) -> int:
    """Return how many decimals a metric is written with: more where a difference that can be seen would vanish."""
    digits = 4 if METRICS[metric].unit in ("", "m") else 3
    if figure.seen and figure.low is not None and figure.high is not None:
        least = min(abs(figure.low), abs(figure.high))
        digits = max(digits, min(9, math.ceil(-math.log10(least)))) if least > 0 else digits
    return digits


def value(number: float, metric: str) -> str:
    """Write a mean."""
    return f"{number:z.{4 if METRICS[metric].unit in ('', 'm') else 3}f}"


def change(figure: Figure, metric: str) -> str:
    """Return ``worse``, ``better``, or nothing where no difference can be seen.

    A signed figure that has changed may be as far from zero as it was: it is ``changed`` where that cannot be told.
    """
    if not figure.seen or figure.low is None or figure.high is None:
        return ""
    best = METRICS[metric].best
    if best != "zero":
        return "worse" if (figure.difference > 0) == (best == "low") else "better"
    before, *after = (abs(figure.baseline + moved) for moved in (0, figure.low, figure.high))
    return "worse" if min(after) > before else "better" if max(after) < before else "changed"


def share(figure: Figure) -> str:
    """Write in how many frames a metric got worse."""
    return f"{figure.worse} ({100 * figure.worse / figure.frames:.0f} %)"


def metrics_table(against: Against) -> list[str]:
    """Return the lines of a table of all metrics."""
    rows = [_cells(metric, against.metrics[metric]) for metric in METRICS]
    header = ("", against.baseline, against.other, "difference", "95 % interval", "worse in", "")
    return _aligned([header, *rows])


def ranges_table(against: Against) -> list[str]:
    """Return the lines of a table of abs_rel by depth range."""
    header = ("true depth", against.baseline, against.other, "difference", "95 % interval", "worse in", "adds")
    rows = [
        (*_cells("abs_rel", figures["abs_rel"], range_words(name))[:6], f"{against.contributions[name]:+z.4f}")
        for name, figures in against.ranges.items()
    ]
    return _aligned([header, *rows])


def groups_table(title: str, against: Against, values: "dict[str, Figures]") -> list[str]:
    """Return the lines of a table of abs_rel by group."""
    header = (title, against.baseline, against.other, "difference", "95 % interval", "worse in", "frames")
    rows = [
        (*_cells("abs_rel", figures["abs_rel"], name)[:6], str(figures["abs_rel"].frames))
        for name, figures in values.items()
    ]
    return _aligned([header, *rows])


def _cells(metric: str, figure: Figure, title: str | None = None) -> tuple[str, ...]:
    unit = METRICS[metric].unit
    name = title or (f"{metric} ({unit})" if unit else metric)
    means = [value(mean, metric) for mean in (figure.baseline, figure.other)]
    return (
        name,
        *means,
        difference(figure, metric),
        interval(figure, metric) or "-",
        share(figure),
        change(figure, metric),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
