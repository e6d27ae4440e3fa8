"""The tables of an explanation's page. Names of tensors and frames are a user's text: all is escaped."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.sentences import difference, interval
from ncdb_dask.comparison.tables import mark, name, table
from ncdb_dask.explanation.budget import TITLES, Budget
from ncdb_dask.explanation.cures import CLIP, CORRECTED, EQUALIZE, PER_CHANNEL, RETRAIN, WIDE, Cure, Remedy
from ncdb_dask.explanation.greedy import Step
from ncdb_dask.explanation.heads import Floor
from ncdb_dask.explanation.preprocessing import Alternative
from ncdb_dask.explanation.stretch import Stretch
from ncdb_dask.explanation.suspects import CONSTANT, Suspect

MAIN = "abs_rel"
DASH = "&ndash;"
# What a frame adds to a range below this cannot be told from the next frame's.
STRETCHED = 0.005
CURES = {
    EQUALIZE: "equalize: channels balanced, in the FP32 network",
    CORRECTED: "equalize and correct biases: all that quantize does",
    CLIP: "clip: ranges of the least squared error",
    PER_CHANNEL: "a scale for each channel of the weights",
    WIDE: "16 bit for these tensors",
}


def breakable(text: str) -> str:
    """Return a name that may be broken where it is read as two, as HTML."""
    return re.sub("([/_])", r"\1<wbr>", escape(text))


def budget(found: Budget) -> str:
    """Return the table of the parts."""
    rows = [(name("nothing: FP32"), f"{found.fp32:.4f}", "", "", "", f"{found.rmse:.3f}", "")]
    for part in found.parts.values():
        share = found.share(part.name)
        rows.append(
            (
                name(TITLES[part.name]),
                f"{part.cost.other:.4f}",
                *_change(part.cost),
                DASH if share is None else f"{100 * share:z.0f}&nbsp;%",
                f"{part.rmse:.3f}",
                mark(part.cost, MAIN),
            )
        )
    return table(("Rounded", MAIN, "against FP32", "95 % interval", "of the loss", "RMSE (m)", ""), rows)


def suspects(found: Sequence[Suspect]) -> str:
    """Return the table of what single tensors and weights cost."""
    rows = []
    for one in found:
        low, high, decibels = one.spared.low, one.spared.high, one.noise.decibels
        rows.append(
            (
                _suspect(one),
                f"{one.gain:+z.4f}",
                DASH if low is None or high is None else f"[{-high:+.4f}, {-low:+.4f}]",
                DASH if one.alone is None else f"{one.alone.difference:+z.4f}",
                DASH if decibels is None else f"{decibels:.1f}&nbsp;dB",
                f"{100 * one.noise.drowned:.1f}&nbsp;%",
            )
        )
    head = ("gained if only this<br>is left out", "95 % interval", "lost if only this<br>is rounded")
    return table(('<th class="words">Tensor</th>', *head, "signal<br>to noise", "drowned"), rows)


def remedies(found: Sequence[Suspect], known: Mapping[str, Remedy], stretches: Mapping[str, Stretch]) -> str:
    """Return the table of why tensors are noisy, and of what helps them."""
    rows = [
        (
            _suspect(one),
            _times(one.spread),
            DASH if one.input_ratio is None else _times(one.input_ratio),
            f'<td class="words">{_stretched(stretches.get(one.name))}</td>',
            f'<td class="remedy">{_remedy(known[one.name])}</td>',
        )
        for one in found
        if one.name in known
    ]
    head = (
        '<th class="words">Tensor</th>',
        "channels:<br>widest /<br>median",
        "inputs:<br>widest /<br>narrowest",
        '<th class="words">frame that widens it</th>',
        '<th class="words">what helps</th>',
    )
    return table(head, rows) if rows else ""


def _suspect(one: Suspect) -> str:
    kind = f"weights of a {one.maker}" if one.kind == CONSTANT else one.maker
    return f'<td class="tensor">{breakable(one.name)} <small>{escape(kind)}</small></td>'


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if math.isfinite(ratio) else DASH


def _stretched(stretch: Stretch | None) -> str:
    if stretch is None or stretch.ratio < 1 + STRETCHED:
        return DASH
    by = f" by {100 * (stretch.ratio - 1):.0f}&nbsp;%" if math.isfinite(stretch.ratio) else ""
    return f"{breakable(stretch.stem)}{by}<br><small>{breakable(stretch.dataset_root)}</small>"


def _remedy(remedy: Remedy) -> str:
    after = {cure: remedy.drowned[cure] for cure in (EQUALIZE, CLIP, WIDE) if cure in remedy.drowned}
    parts = ", ".join(f"{cure} {100 * value:.1f}&nbsp;%" for cure, value in after.items())
    first = "retrain with a penalty" if remedy.name == RETRAIN else remedy.name
    return f"<b>{escape(first)}</b><br><small>drowned then: {parts}<br>{escape(remedy.equalize)}</small>"


def steps(found: Sequence[Step], head: str) -> str:
    """Return the table of a list that grows."""
    rows = [
        (
            str(number),
            f'<td class="tensor">{breakable(step.added)}</td>',
            f"{step.cost.other:.4f}",
            *_change(step.cost),
            _ratio(step.cost),
        )
        for number, step in enumerate(found, 1)
    ]
    return table(("", f'<th class="words">{head}</th>', MAIN, "against FP32", "95 % interval", "&times; FP32"), rows)


def cures(found: Sequence[Cure]) -> str:
    """Return the table of what cures the whole network."""
    rows = [
        (
            f'<td class="tensor">{escape(CURES.get(cure.name, cure.name))}<br>'
            f"<small>{_options(cure.options)}</small></td>",
            f"{cure.cost.other:.4f}",
            _ratio(cure.cost),
            *_change(cure.gain),
            mark(cure.gain, MAIN),
        )
        for cure in found
    ]
    return table(("Cure", MAIN, "&times; FP32", "against plain INT8", "95 % interval", ""), rows)


def _options(text: str) -> str:
    words = (
        f'<span style="white-space: nowrap">{escape(word)}</span>' if word.startswith("--") else breakable(word)
        for word in text.split(" ")
    )
    return " ".join(words) if text else "no option: its defaults"


def floors(found: Sequence[Floor]) -> str:
    """Return the table of the heads."""
    rows = [(name(floor.title), f"{floor.abs_rel:.5f}", f"{floor.rmse:.4f}") for floor in found]
    return table(("Head", f"{MAIN} of its grid alone", "RMSE (m)"), rows)


def preprocessing(found: Sequence[Alternative]) -> str:
    """Return the table of other preprocessings."""
    rows = [
        (
            name(one.title),
            f"{one.change.other:.4f}",
            *_change(one.change),
            '<span class="mark worse">look at this</span>' if one.better else "",
        )
        for one in found
    ]
    return table(("FP32 with", MAIN, "against the model file", "interval", ""), rows)


def _change(figure: Figure) -> tuple[str, str]:
    return difference(figure, MAIN), interval(figure, MAIN) or DASH


def _ratio(figure: Figure) -> str:
    return f"{figure.other / figure.baseline:.3f}"
