"""The pictures of an explanation, as PNGs for its page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ncdb_dask.drawing import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, as_png, one_panel, plain
from ncdb_dask.explanation.budget import ALL, CURED, ORACLE, OUTPUT, TITLES, Budget
from ncdb_dask.explanation.cures import Cure
from ncdb_dask.explanation.greedy import Step
from ncdb_dask.explanation.suspects import Suspect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ncdb_dask.comparison.figures import Figure

SHOWN = 8
LONGEST = 44  # characters of a tensor's name
SHORT = {ALL: "everything", ORACLE: "everything, perfect set", OUTPUT: "network's output only"}
WIDTH, HALF = 10, 7  # inches of a picture as wide as the page, and of one of two


def budget_chart(budget: Budget) -> bytes:
    """Draw what each part costs alone, with its interval."""
    names = list(budget.parts)[::-1]
    axes = one_panel(WIDTH, 0.8 + 0.36 * len(names))
    for place, name in enumerate(names):
        colour = ORANGE if name == ALL else BLUE if name == ORACLE else LIGHT_GREY
        _bar(axes, place, budget.parts[name].cost, colour)
    axes.set_yticks(range(len(names)), [SHORT.get(name, TITLES[name]) for name in names])
    axes.set_xlabel("abs_rel above that of FP32")
    _fitted(axes, [end for part in budget.parts.values() for end in _ends(part.cost)], 0.1)
    return _png(axes)


def suspects_chart(suspects: Sequence[Suspect]) -> bytes:
    """Draw what leaving a tensor out takes from abs_rel, and what it costs alone."""
    shown = list(suspects[:SHOWN])[::-1]
    axes = one_panel(WIDTH, 1.2 + 0.5 * len(shown))
    reached = [0.0]
    for place, one in enumerate(shown):
        ends = [-end for end in _ends(one.spared)]
        axes.barh(place + 0.19, one.gain, 0.34, color=ORANGE, label="gained if only this is left out")
        _whisker(axes, place + 0.19, ends)
        reached += ends
        if one.alone is not None:
            label = "lost if only this is rounded"
            axes.barh(place - 0.19, one.alone.difference, 0.34, color=LIGHT_GREY, label=label)
            _whisker(axes, place - 0.19, _ends(one.alone))
            reached += _ends(one.alone)
    axes.set_yticks(range(len(shown)), [plain(shortened(one.name)) for one in shown])
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel("abs_rel")
    _fitted(axes, reached, 0.03)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    # Outside: bars of any length leave no corner free.
    axes.figure.legend(unique.values(), unique.keys(), frameon=False, loc="outside upper center", ncols=2)
    return _png(axes)


def steps_chart(steps: Sequence[Step], fp32: float, int8: float) -> bytes:
    """Draw how abs_rel falls with each tensor that gets 16 bits."""
    axes = one_panel(HALF, 3.4)
    heights = [int8, *(step.cost.other for step in steps)]
    axes.axhline(fp32, color=GREEN, linewidth=1.5)
    axes.annotate("FP32", (0, fp32), xytext=(0, 4), textcoords="offset points", color=GREEN)
    axes.plot(range(len(heights)), heights, "o-", color=BLUE)
    axes.set_xticks(range(len(heights)))
    axes.set(xlabel="tensors with 16 bits", ylabel="abs_rel")
    axes.margins(y=0.15)
    return _png(axes)


def cures_chart(cures: Sequence[Cure], fp32: float, int8: float, width: float = WIDTH) -> bytes:
    """Draw abs_rel of INT8 with each cure."""
    shown = list(cures)[::-1]
    axes = one_panel(width, 0.9 + 0.4 * (len(shown) + 1))
    names = [*(cure.name for cure in shown), "plain INT8"]
    values = [*(cure.cost.other for cure in shown), int8]
    colours = [*(GREEN if cure.ratio <= CURED else BLUE for cure in shown), ORANGE]
    bars = axes.barh(range(len(values)), values, 0.6, color=colours)
    axes.bar_label(bars, [f"{value:.4f}" for value in values], padding=4)
    axes.axvline(fp32, color=GREY, linewidth=1.2)
    axes.annotate("FP32", (fp32, len(values) - 0.6), xytext=(4, 0), textcoords="offset points", color=GREY)
    axes.set_yticks(range(len(values)), names)
    axes.set_xlabel("abs_rel")
    axes.margins(x=0.15)
    return _png(axes)


def shortened(name: str) -> str:
    """Return the end of a long name, which tells more than its beginning."""
    return name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"


def _bar(axes: "Axes", place: int, figure: "Figure", colour: str) -> None:
    axes.barh(place, figure.difference, 0.6, color=colour)
    _whisker(axes, place, _ends(figure))
    at = (max(0.0, *_ends(figure)), place)
    axes.annotate(f"{figure.difference:+z.4f}", at, xytext=(6, 0), textcoords="offset points", va="center")
    axes.axvline(0, color=GREY, linewidth=1)


def _whisker(axes: "Axes", place: float, ends: Sequence[float]) -> None:
    axes.plot([min(ends), max(ends)], [place, place], color=GREY, linewidth=1.5)


def _ends(figure: "Figure") -> list[float]:
    """Return a difference and the ends of its interval, if it has one."""
    return [end for end in (figure.difference, figure.low, figure.high) if end is not None]


def _fitted(axes: "Axes", reached: Sequence[float], beyond: float) -> None:
    """Show all that is reached and zero, and so much of that width beyond, where figures stand."""
    low, high = min(0.0, *reached), max(0.0, *reached)
    width = (high - low) or 1.0
    axes.set_xlim(low - 0.02 * width, high + beyond * width)


def _png(axes: "Axes") -> bytes:
    axes.spines[["top", "right"]].set_visible(False)
    figure = axes.figure
    assert figure is not None
    return as_png(figure)  # type: ignore[arg-type]
