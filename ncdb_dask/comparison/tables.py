"""The tables of a comparison's page. Labels, names of recordings and of frames are a user's text: all is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ncdb_dask.comparison.against import MAIN, Against
from ncdb_dask.comparison.comparison import Comparison
from ncdb_dask.comparison.figures import Figure, Figures
from ncdb_dask.comparison.pairs import KEY
from ncdb_dask.comparison.sentences import DIRECTIONS, change, difference, interval, range_words, share, value
from ncdb_dask.evaluation.metrics import METRICS


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML already, and some bring their own tag."""
    heads = "".join(cell if cell.startswith("<th") else f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str) -> str:
    return cell if cell.startswith("<td") else f"<td>{cell}</td>"


def name(text: str) -> str:
    """Return a cell for a name of any length."""
    return f'<td class="name">{escape(text)}</td>'


def mark(figure: Figure, metric: str) -> str:
    """Return a mark where a difference can be seen."""
    found = change(figure, metric)
    return f'<span class="mark {found}">{found}</span>' if found else ""


def verdicts(comparison: Comparison) -> str:
    """Return the table of the evaluations with their verdicts."""
    rows = [
        (
            name(each.label + (" (baseline)" if place == 0 else "")),
            f'<td class="words">{escape(comparison.measured(each))}</td>',
            f'<td class="words">{escape(comparison.verdict(each))}</td>',
        )
        for place, each in enumerate(comparison.evaluations)
    ]
    return table(("Evaluation", '<th class="words">measured</th>', '<th class="words">verdict</th>'), rows)


def metrics(against: Against) -> str:
    """Return the table of all metrics."""
    head = ("Metric", *_labels(against), "difference", "95 % interval", "worse in", "")
    rows = [
        (_metric(metric), *_figure(figure, metric), share(figure), mark(figure, metric))
        for metric, figure in against.metrics.items()
    ]
    return table(head, rows)


def ranges(against: Against) -> str:
    """Return the table of abs_rel by depth range of the pixel."""
    total = against.main.difference
    head = ("True depth of the pixel", *_labels(against), "difference", "95 % interval", "worse in", "adds", "")
    rows = []
    for each, figures in against.ranges.items():
        added = against.contributions[each]
        part = f" <small>({100 * added / total:.0f} %)</small>" if against.main.seen else ""
        found = figures[MAIN]
        adds = f"{added:+z.4f}{part}"
        rows.append((range_words(each), *_figure(found, MAIN), share(found), adds, mark(found, MAIN)))
    return table(head, rows)


def groups(title: str, against: Against, values: Mapping[str, Figures]) -> str:
    """Return the table of abs_rel by group."""
    head = (title, "frames", *_labels(against), "difference", "95 % interval", "worse in", "")
    rows = [
        (
            name(each),
            f"{figures[MAIN].frames:,}",
            *_figure(figures[MAIN], MAIN),
            share(figures[MAIN]),
            mark(figures[MAIN], MAIN),
        )
        for each, figures in values.items()
    ]
    return table(head, rows)


def losers(against: Against) -> str:
    """Return the table of the frames that lost most."""
    rows = [
        (
            name("/".join(str(frame[part]) for part in KEY)),
            *(f"{frame[side]:.4f}" for side in ("baseline", "other")),
            f"{frame['difference']:+z.4f}",
        )
        for frame in against.losers
    ]
    return table(("Frame", *_labels(against), "difference of abs_rel"), rows)


def _labels(against: Against) -> tuple[str, str]:
    return escape(against.baseline), escape(against.other)


def _metric(metric: str) -> str:
    about = ", ".join(part for part in (METRICS[metric].unit, DIRECTIONS[METRICS[metric].best]) if part)
    return f"<td>{metric} <small>{about}</small></td>"


def _figure(figure: Figure, metric: str) -> tuple[str, str, str, str]:
    return (
        value(figure.baseline, metric),
        value(figure.other, metric),
        difference(figure, metric),
        interval(figure, metric) or "&ndash;",
    )
