"""The page of a study: what to take first, then what that rests on."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ncdb_dask.comparison.commands import folded
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.html import document, listed, picture, section, soft, terms
from ncdb_dask.comparison.sentences import signed
from ncdb_dask.comparison.tables import mark, name, table
from ncdb_dask.evaluation.blocks import LEAST
from ncdb_dask.studies.cost import passes_text
from ncdb_dask.studies.groups import EFFECTS, Curve, Group, is_known, is_worse
from ncdb_dask.studies.guide import PREDICTED, BeforeAfter
from ncdb_dask.studies.picture import MOST, quantizer_picture, shown_quantizers
from ncdb_dask.studies.plan import TABLE_FILE
from ncdb_dask.studies.sentences import MAIN, enough, spread, with_interval

if TYPE_CHECKING:
    from ncdb_dask.studies.findings import Study
    from ncdb_dask.studies.rows import Row

TITLE = "Which calibration set, quantized how"
SHORT = 24  # rows of a table that is shown at once
WORDS = '<th class="words">{}</th>'


def study_page(done: "Study") -> str:
    """Return the page as HTML."""
    network = escape(done.plan.reference.path.rpartition("/")[2])
    parts = [
        f"<h1>{TITLE}</h1>",
        f'<p class="soft">A study of {network}: {len(done.plan.sets)} calibration sets, '
        f"{len(done.plan.quantizers)} ways to quantize, judged on {len(done.fp32.measured):,} frames.</p>",
        f'<p class="sentence {_tone(done)}">{escape(done.sentence)}</p>',
        _next(done),
        _curves(done),
        _best(done),
        _moves(done),
        _guide(done),
        _groups(done),
        _failed(done),
        section("All cells", _cells(done), soft(f"The same, with more columns: {TABLE_FILE}.")),
        section("What was studied", _studied(done), _notes(done)),
        section("How to read this", _reading(done)),
    ]
    return document(f"{TITLE}: {network}", [part for part in parts if part])


def _tone(done: "Study") -> str:
    figure = None if done.choice is None else done.choice.chosen.against_fp32
    if figure is None or not is_known(figure):
        return ""
    return "worse" if is_worse(figure) else "better"


def _next(done: "Study") -> str:
    steps = []
    for number, each in enumerate(done.advice, 1):
        commands = f"<pre>{escape(chr(10).join(map(folded, each.commands)))}</pre>" if each.commands else ""
        steps.append(f"<p>{number}. {escape(each.text)}</p>{commands}")
    return section("What to do next", *steps) if steps else ""


def _curves(done: "Study") -> str:
    ways = shown_quantizers(done)
    more = len(dict.fromkeys(group.quantizer for group in done.groups)) - len(ways)
    cut = f" The {MOST} best of {MOST + more} ways to quantize are drawn." if more else ""
    lines = [line for line in map(enough, done.curves) if line]
    pictures = [picture(escape(way), quantizer_picture(done, way), "abs_rel by size of the set") for way in ways]
    return section(
        "How many frames",
        f'<div class="pictures">{"".join(pictures)}</div>',
        soft(
            "Each picture has a scale of its own; the best is first. Squares: means over seeds; dots: single seeds. "
            "Bars and bands: 95 % intervals of the difference to FP32, paired by frame, drawn around FP32's abs_rel "
            f"(dashed).{cut}"
        ),
        f"<h3>From how many frames on no larger set is visibly better</h3>{_enough(done.curves)}" if lines else "",
    )


def _enough(curves: Sequence[Curve]) -> str:
    head = (
        WORDS.format("Sets"),
        WORDS.format("quantized"),
        "sizes",
        "enough",
        "the largest smaller one",
        "gain of more",
        "visibly worse",
    )
    rows = []
    for curve in curves:
        if len(curve.sizes) > 1 and curve.enough is not None:
            group, figure = curve.more[-1] if curve.more else (None, None)
            told = (str(group.size) if group else "-", signed(figure) if figure else "none that can be seen")
            sizes = ", ".join(map(str, curve.sizes))
            worse = "; ".join(f"{larger.size}: {signed(harm)}" for larger, harm in curve.harm) or "none"
            rows.append((_words(curve.name), _words(curve.quantizer), sizes, f"<b>{curve.enough}</b>", *told, worse))
    return table(head, rows)


def _words(text: str) -> str:
    return f'<td class="words">{escape(text)}</td>'


def _best(done: "Study") -> str:
    choice, profile = done.choice, done.plan.recipe.npu.profile
    if choice is None:
        return ""
    rows = [("Least abs_rel", choice.best), ("Smallest set that cannot be told from it", choice.chosen)]
    if choice.chosen is choice.best:
        rows = [("Least abs_rel, and no smaller set" if choice.known else "Least abs_rel", choice.best)]
    cells = [
        (
            _words(title),
            _words(group.label),
            f"{group.abs_rel:.4f}",
            _difference(group.against_fp32),
            _ratio(done, group),
        )
        for title, group in rows
    ]
    where = f"Of the cells that the NPU ({profile}) can run." if profile else "No NPU was named: of all cells."
    head = (WORDS.format(""), WORDS.format("set and quantizer"), MAIN, "to FP32 (95 %)", "x FP32")
    chance = (
        "The least of many figures looks a little better than it is, because the luckiest one is taken; so prefer the "
        "smallest set that cannot be told from it."
        if choice.known
        else "Without intervals, nothing tells it from the others."
    )
    return section("The best", table(head, cells), soft(f"{where} {chance}"))


def _ratio(done: "Study", group: Group) -> str:
    return f"{group.abs_rel / done.fp32.abs_rel:.3f}"


def _difference(figure: Figure | None) -> str:
    return "" if figure is None else f"{mark(figure, MAIN)} {escape(with_interval(figure))}"


def _moves(done: "Study") -> str:
    rows = [
        (_words(f"{EFFECTS[kind].capitalize()}"), f"{value:.4f}")
        for kind, value in done.effects.items()
        if value is not None
    ]
    if not rows:
        return ""
    return section(
        "What moves abs_rel, and by how much",
        table((WORDS.format("Choice"), "at most"), rows),
        soft("The largest difference of means, all other choices alike. What another seed moves is chance."),
    )


def _groups(done: "Study") -> str:
    rows = [
        (
            _words(group.set),
            _words(group.quantizer),
            f"{group.abs_rel:.4f}",
            spread(group) or "one draw",
            _difference(group.against_fp32),
            _ratio(done, group),
        )
        for group in done.groups
    ]
    head = (WORDS.format("Set"), WORDS.format("quantized"), MAIN, "over seeds", "to FP32 (95 %)", "x FP32")
    return section("Sets and quantizers, over seeds", table(head, rows)) if rows else ""


def _guide(done: "Study") -> str:
    if not done.guide:
        return ""
    first = done.guide[0]
    head = (
        WORDS.format("Quantized"),
        f"before: {escape(first.before.set)}",
        f"after: {escape(first.after.set)}",
        "difference (95 %)",
        WORDS.format("verdicts"),
    )
    verdicts = done.request.verdict_note(done.protocol.name)
    predicted = (
        "A difference is marked where it is beyond what other draws make likely. The guide predicted "
        f"{PREDICTED:.3f} after, which is no measurement. {verdicts}"
    )
    return section("The guide's table: before and after", table(head, map(_before_after, done.guide)), soft(predicted))


def _before_after(each: BeforeAfter) -> tuple[str, ...]:
    before, after = each.verdicts
    return (
        _words(each.before.quantizer),
        f"{each.before.abs_rel:.4f}",
        f"{each.after.abs_rel:.4f}",
        f"{_mark(each.change)} {escape(with_interval(each.difference))}",
        _words(before if before == after else f"{before}; then {after}"),
    )


def _mark(word: str) -> str:
    return f'<span class="mark {word}">{word}</span>' if word else ""


def _failed(done: "Study") -> str:
    if not done.failed:
        return ""
    rows = [(_words(label), _words(reason)) for label, reason in done.failed.items()]
    again = soft("The same command tries them again; all others are kept.")
    return section("What failed", table((WORDS.format("Cell"), WORDS.format("why")), rows), again)


def _cells(done: "Study") -> str:
    npu = bool(done.plan.recipe.npu.profile)
    head = [WORDS.format("Set"), WORDS.format("quantized"), MAIN, "x FP32", "to FP32 (95 %)", "to the first cell"]
    cells = table([*head, "NPU"] if npu else head, (_cell(done, row, npu) for row in done.rows))
    return cells if len(done.rows) <= SHORT else f"<details><summary>{len(done.rows)} cells</summary>{cells}</details>"


def _cell(done: "Study", row: "Row", npu: bool) -> tuple[str, ...]:
    first = "" if row.against_baseline is None else f"{row.against_baseline.difference:+z.4f}"
    if row.cell == done.plan.cells[0]:
        first = "this one"
    can = {True: "yes", False: "no", None: "not known"}[row.allowed]
    cells = (
        name(row.cell.set.label),
        _words(row.cell.quantizer.label),
        f"{row.figures[MAIN]:.4f}",
        f"{row.figures[MAIN] / done.fp32.abs_rel:.3f}",
        _difference(row.against_fp32),
        first,
    )
    return (*cells, can) if npu else cells


def _studied(done: "Study") -> str:
    plan, rules = done.plan, done.plan.recipe.evaluation
    runs = f"{len(plan.union):,} frames, once{passes_text(len(plan.schemes))}"
    return terms(
        [
            (
                "Network",
                f"{escape(plan.reference.path)}<br><span class='soft'>SHA-256 {plan.reference.sha256[:12]}</span>",
            ),
            ("FP32", f"abs_rel {done.fp32.abs_rel:.4f} over {len(done.fp32.measured):,} frames"),
            (
                "Frames to choose from",
                escape(f"{plan.table.folder.url}, without those of {', '.join(plan.recipe.excluded)}"),
            ),
            ("Frames that were run", runs),
            ("Judged on", escape(", ".join(rules.split))),
            ("Protocol", escape(done.protocol.text())),
            ("Intervals", f"{rules.resamples:,} resamples of blocks of neighbouring frames"),
        ]
    )


def _notes(done: "Study") -> str:
    notes = [note for row in done.rows for note in row.notes] + ([done.few] if done.few else [])
    return f"<h3>Notes</h3>{listed(dict.fromkeys(notes))}" if notes else ""


def _reading(done: "Study") -> str:
    lines = [
        "Every difference is paired: the same frames, judged with one network and with the other. With several seeds, "
        "abs_rel of a frame is their mean first.",
        "The interval says how far a difference would move with other frames of the same kind; it comes from drawing "
        "blocks of neighbouring frames again and again. Where it holds zero, no difference can be seen with these "
        "frames, which does not show that there is none.",
        "Where a sentence rests on several comparisons (sizes with each other, all with the best), their intervals are "
        "wider than 95 %, so that all of them hold together (Bonferroni).",
        "Sets of one strategy and seed are nested: the first 100 frames of the set of 300 are the set of 100.",
        "Intervals do not know what another draw of the set would change; seeds do. A set counts as visibly better or "
        "worse where the interval says so and the difference is beyond what the seeds of all sets make likely "
        "(Student's t, 95 %).",
        f"Fewer than {LEAST} blocks of frames give no interval, and then no difference can be seen.",
    ]
    if done.plan.schemes:
        lines.append(
            "Where channels are balanced (equalize), their scales come from all frames of the study, so that sets "
            "differ by their ranges alone."
        )
    return listed(lines)
