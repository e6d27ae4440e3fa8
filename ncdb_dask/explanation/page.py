"""The page of an explanation: one HTML file that says what INT8 costs, what to do, and why."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from ncdb_dask.comparison.commands import folded
from ncdb_dask.comparison.html import document, listed, picture, section, soft, terms
from ncdb_dask.explanation import tables
from ncdb_dask.explanation.budget import ALL, ORACLE, TITLES, Budget
from ncdb_dask.explanation.charts import HALF, WIDTH, budget_chart, cures_chart, steps_chart, suspects_chart
from ncdb_dask.explanation.greedy import MOST
from ncdb_dask.explanation.next_steps import NextStep
from ncdb_dask.explanation.page_notes import reading
from ncdb_dask.explanation.preprocessing import CLEARLY
from ncdb_dask.explanation.result import Explanation
from ncdb_dask.explanation.suspects import Suspect
from ncdb_dask.explanation.verdict import NOTHING

# Of the loss: a tensor that takes less with it is not worth a line among the first.
WORTH = 0.02
BITS = 8  # of the outputs whose floors are calculated


def page(done: Explanation) -> str:
    """Return the page as HTML."""
    name = escape(done.plan.reference.path.rpartition("/")[2])
    title = f"What INT8 costs {name}, and why"
    kind = "better" if done.verdict.cause == NOTHING else "worse"
    parts = [
        f"<h1>{title}</h1>",
        soft(f"Measured on {done.frames:,} frames, part by part and tensor by tensor."),
        f'<p class="sentence {kind}">{_unbroken(done.verdict.sentence)}</p>',
        *map(soft, done.notes),
        _figures(done),
        section("What to do next", _steps(done.steps)),
        *_evidence(done),
        section("What was explained", _about(done)),
        section("How to read this", listed(reading())),
    ]
    return document(title, parts)


def _figures(done: Explanation) -> str:
    """Return the figures that the sentence speaks of, side by side."""
    budget, cure = done.findings.budget, done.verdict.cure
    shown = [("abs_rel of FP32", budget.fp32), ("of plain INT8", budget.parts[ALL].cost.other)]
    if done.plan.calibration is not None:
        shown.append(("with a perfect calibration set", budget.parts[ORACLE].cost.other))
    if cure is not None:
        shown.append((f"with {cure.name}", cure.cost.other))
    items = (
        f"<div><dt>{escape(title)}</dt><dd>{value:.4f} <small>{value / budget.fp32:.2f}&nbsp;&times;</small></dd></div>"
        for title, value in shown
    )
    return f'<dl class="figures" title="abs_rel, and how many times that of FP32">{"".join(items)}</dl>'


def _steps(steps: Sequence[NextStep]) -> str:
    if len(steps) == 1:
        return _step(steps[0])
    return f'<ol class="steps">{"".join(f"<li>{_step(step)}</li>" for step in steps)}</ol>'


def _step(step: NextStep) -> str:
    typed = (text for text in (step.keys, folded(step.command)) if text)
    return f"<p>{escape(step.text)}</p>{''.join(f'<pre>{escape(text)}</pre>' for text in typed)}"


def _evidence(done: Explanation) -> Iterator[str]:
    found, budget = done.findings, done.findings.budget
    yield section(
        "Where the loss comes from",
        _wide(picture("What each part of the rounding costs alone", budget_chart(budget), "bars with intervals")),
        tables.budget(budget),
        *map(soft, _sums(budget)),
    )
    if found.suspects:
        yield section("Which tensors carry it", *_tensors(done))
        yield section("What cures it", *_cures(done))
    if found.floors and done.plan.npu.target().scheme.bits == BITS:
        low, high = found.span
        yield section(
            "What 8 bits of output cost, by head",
            tables.floors(found.floors),
            soft(
                "Expected, not measured: heads that are right but for the 8 bits of their output, if they spanned "
                f"{low:.2f} to {high:.2f} m, as the true depths here do. What this network's own output costs is "
                "measured above."
            ),
        )
    yield section(
        "Whether the preprocessing is right",
        tables.preprocessing(found.preprocessing),
        soft(
            "The FP32 network on the same frames, preprocessed otherwise. Marked is what is better by more than "
            f"{100 * CLEARLY:.0f} % and can be seen; the intervals are wider than 95 %, because so many are tried."
        ),
    )


def _tensors(done: Explanation) -> Iterator[str]:
    found = done.findings
    first, rest = divided(done)
    if found.carriers:
        yield "<h3>Left out, one more in each row</h3>"
        yield tables.steps(found.carriers, "not rounded any more")
        yield soft(
            f"The list ends when {100 * MOST:.0f} % of the loss are gone. A tensor that takes more than the rest of it "
            "when it alone is left out is added all the same: two that spoil the same values do so together."
        )
    else:
        yield soft("Leaving out any one of them gains nothing: the loss lies in no single tensor.")
    if first:
        yield _wide(picture("One by one: those that matter", suspects_chart(first), "bars with intervals"))
        yield tables.suspects(first)
        yield "<h3>Why, and what helps</h3>"
        yield tables.remedies(first, found.remedies, found.stretches)
    if rest:
        what = "The others that were measured" if first else "All that were measured"
        yield (
            f"<details><summary>{what} ({len(rest)})</summary>{tables.suspects(rest)}"
            f"{tables.remedies(rest, found.remedies, found.stretches)}</details>"
        )


def divided(done: Explanation) -> tuple[list[Suspect], list[Suspect]]:
    """Return the suspects that matter, and the others."""
    found = done.findings
    named, least = {step.added for step in found.carriers}, WORTH * max(found.budget.loss, 0.0)
    first = [one for one in found.suspects if one.name in named or (one.spared.seen and one.gain > least)]
    return first, [one for one in found.suspects if one not in first]


def _cures(done: Explanation) -> Iterator[str]:
    found = done.findings
    fp32, int8 = found.budget.fp32, found.budget.parts[ALL].cost.other
    two = len(found.widened) > 1
    bars = cures_chart(found.cures, fp32, int8, HALF if two else WIDTH)
    pictures = [picture("abs_rel with each cure", bars, "bars")]
    if two:
        chart = steps_chart(found.widened, fp32, int8)
        pictures.append(picture("With more and more tensors in 16 bits", chart, "a falling line"))
    yield f'<div class="pictures">{"".join(pictures)}</div>' if two else _wide(pictures[0])
    yield tables.cures(found.cures)
    if found.widened:
        yield "<h3>16 bits, one more tensor in each row</h3>"
        yield tables.steps(found.widened, "in 16 bits now")
    elif found.sixteen_bits:
        yield soft("16 bits for any one of the suspects gain nothing that can be seen.")
    else:
        yield soft("This NPU has no 16 bits.")


def _wide(shown: str) -> str:
    return f'<div class="wide">{shown}</div>'  # on a phone it scrolls: smaller, it could not be read


def _unbroken(text: str) -> str:
    return re.sub(r"(\d) (%|x\b)", r"\1&nbsp;\2", tables.breakable(text))  # no line begins with a unit


def _sums(budget: Budget) -> Iterator[str]:
    for (one, other), whole, total, measured in budget.sums():
        apart = "" if measured == 0 else f" ({100 * total / measured:.0f} %)"
        first = TITLES[one][0].upper() + TITLES[one][1:]
        yield f"{first} and {TITLES[other]} sum to {total:+z.4f}; {TITLES[whole]} costs {measured:+z.4f}{apart}."


def _about(done: Explanation) -> str:
    plan = done.plan
    values = dict(line.split("  ", 1) for line in plan.text().splitlines() if "  " in line)
    items = [(name, tables.breakable(value.strip())) for name, value in values.items() if name != "Cost"]
    items.append(("SHA-256", f'<span class="soft">{plan.reference.sha256}</span>'))
    return terms(items)
