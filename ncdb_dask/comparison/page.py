"""The page of a comparison: one HTML file with all its pictures, which needs no network and no script."""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

from ncdb_dask.comparison import charts, tables
from ncdb_dask.comparison.against import LOSERS, RECORDINGS, Against
from ncdb_dask.comparison.comparison import Comparison
from ncdb_dask.comparison.html import document, listed, picture, section, soft, terms
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.comparison.sentences import change, sentence
from ncdb_dask.comparison.worst import Panel
from ncdb_dask.evaluation.blocks import LEAST

TITLES = {
    "depth_range": "Mean depth of the frame",
    "scene_type": "Scene type",
    "lighting": "Lighting",
    "depth_variant": "Depth variant",
}


def page(comparison: Comparison, panels: Mapping[str, Sequence[Panel]] | None = None) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    comparison : Comparison
        What is shown.
    panels : mapping of str to sequence of Panel, optional
        Pictures of the worst frames of each evaluation, by its label.
    """
    labels = [escape(each.label) for each in comparison.evaluations]
    title = f"{', '.join(labels[1:])} against {labels[0]}"
    parts = [
        f"<h1>{title}</h1>",
        '<p class="soft">A comparison of depth evaluations, frame by frame.</p>',
        *(_sentence(against) for against in comparison.against),
        section("Verdicts", tables.verdicts(comparison), soft(comparison.verdict_note)),
        section("What was compared", _compared(comparison), _notes(comparison)),
        *(_against(comparison, against) for against in comparison.against),
        _panels(panels or {}),
        section("How to read this", _reading(comparison)),
    ]
    return document(title, parts)


def _sentence(against: Against) -> str:
    whole = re.sub(r"(\d) m\b", r"\1&nbsp;m", escape(sentence(against)))  # no line begins with a unit
    return f'<p class="sentence {change(against.main, "abs_rel")}">{whole}</p>'


def _compared(comparison: Comparison) -> str:
    items = [(each.label, _evaluation(each)) for each in comparison.evaluations]
    items.append(("Protocol", escape(comparison.protocol.text())))
    settings = comparison.evaluations[0].settings
    depth = f"scale {settings.get('depth_scale')}, variants {', '.join(map(str, settings.get('variants') or ()))}"
    items.append(("Depth maps", escape(depth)))
    for against in comparison.against:
        frames = f"{against.main.frames:,} frames of {against.all_recordings:,} recordings that both measured"
        items.append(
            (f"{against.other} against {against.baseline}", escape(f"{frames}; {comparison.resampling(against)}"))
        )
    return terms(items)


def _evaluation(each: Evaluated) -> str:
    inputs = ", ".join(f"{name} ({digest[:12]})" for name, digest in each.inputs.items())
    frames = f"{len(each.measured):,} of {len(each.rows):,} frames measured"
    about = f"{escape(each.predictor())}; {frames}<br>"
    return f'{about}<span class="soft">{escape(each.place)}; SHA-256 {escape(inputs)}</span>'


def _notes(comparison: Comparison) -> str:
    if not comparison.notes:
        return ""
    return f"<h3>Notes</h3>{listed(comparison.notes)}"


def _against(comparison: Comparison, against: Against) -> str:
    title = f"{escape(against.other)} against {escape(against.baseline)}"
    pictures = (
        picture("Difference of the metrics that are ratios", charts.forest(against), title),
        picture("abs_rel frame by frame", charts.scatter(against), title),
    )
    return section(
        title,
        tables.metrics(against),
        soft(f"Means over frames. Intervals: {comparison.resampling(against)}."),
        f'<div class="pictures">{"".join(pictures)}</div>',
        "<h3>abs_rel by true depth of the pixel</h3>",
        picture("What each depth range adds to the difference", charts.contributions(against), title),
        tables.ranges(against),
        soft("A frame counts where it has such pixels. What the ranges add sums to the difference over all pixels."),
        "<h3>abs_rel by recording</h3>",
        picture("Difference along the recordings", charts.along(against), title),
        *_recordings(against),
        *_groups(against),
        *_losers(against),
    )


def _groups(against: Against) -> list[str]:
    return [
        f"<h3>abs_rel by {TITLES[group].lower()}</h3>{tables.groups(TITLES[group], against, values)}"
        for group, values in against.groups.items()
        if len(values) > 1
    ]


def _recordings(against: Against) -> list[str]:
    if against.all_recordings < 2:
        return []
    shown = tables.groups("Recording", against, against.recordings)
    capped = f"The {RECORDINGS} of {against.all_recordings:,} recordings that lost most."
    return [shown, soft(capped)] if against.all_recordings > RECORDINGS else [shown]


def _losers(against: Against) -> list[str]:
    if not against.losers:
        return []
    return [f"<h3>Frames that lost most</h3>{tables.losers(against)}{soft(f'At most {LOSERS} are listed.')}"]


def _panels(panels: Mapping[str, Sequence[Panel]]) -> str:
    parts = []
    for label, pictures in panels.items():
        if pictures:
            parts.append(f"<h3>{escape(label)}</h3>{''.join(_panel(label, each) for each in pictures)}")
    return section("The worst frames of each evaluation", *parts) if parts else ""


def _panel(label: str, panel: Panel) -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(panel.jpeg).decode()}"
    size = f'width="{panel.width}" height="{panel.height}"'
    alt = f"{escape(label)}: {escape(panel.name)}"
    return (
        f'<figure class="panel"><figcaption>{escape(panel.name)}</figcaption>'
        f'<img src="{source}" {size} alt="{alt}"></figure>'
    )


def _reading(comparison: Comparison) -> str:
    baseline = comparison.evaluations[0].label
    lines = (
        f"Every figure is a mean over the frames that both evaluations measured. A difference is the other one minus "
        f"{baseline}, in the unit of the metric.",
        "The interval says how far the difference would move with other frames of the same kind. It comes from "
        "drawing blocks of neighbouring frames again and again, because neighbours resemble each other: frames drawn "
        "one by one would make it look more certain than it is.",
        "Where the interval holds zero, no difference can be seen with these frames. That does not show that there is "
        "none: more recordings may show one.",
        "Marks stand where a difference can be seen. A bias is marked as changed where it cannot be told whether it is "
        "farther from zero than before.",
        f"Fewer than {LEAST} blocks give no interval: that so few move the same way is often chance.",
        "The interval knows nothing of what these recordings do not hold (other places, weather, cameras), nor of "
        "errors of the true depth.",
        "There are many rows here, each with its own 95 % interval: about one in twenty that has no difference would "
        "be marked all the same. Judge by abs_rel first, and take the others as hints.",
        "A frame counts as worse however small its loss is; the size of the loss stands in the difference.",
    )
    return listed(lines)
