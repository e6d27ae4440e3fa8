"""What a study says in words."""

from collections.abc import Sequence

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.sentences import NO_DIFFERENCE, interval, signed
from ncdb_dask.studies.groups import EFFECTS, Choice, Curve, Group, effects, is_better, is_worse

MAIN = "abs_rel"
NO_BETTER = "no larger set is visibly better"


def verdict(fp32: float, groups: Sequence[Group], choice: Choice | None, profile: str = "") -> str:
    """Say what to take, whether the set matters, and what INT8 costs then."""
    if not groups:
        return "No cell could be made and judged."
    if choice is None:
        return f"None of the {len(groups)} kinds of sets and ways to quantize is one that the NPU ({profile}) can run."
    return " ".join(part for part in (_set(choice), _cost(fp32, choice.chosen), _lever(groups)) if part)


def _set(choice: Choice) -> str:
    best, chosen, same = choice.best, choice.chosen, choice.same_way
    if not choice.known:
        return (
            f"The frames are too few to tell sets or ways to quantize from each other; the least abs_rel has "
            f"{_named(best)}, {best.abs_rel:.4f}, which may be chance."
        )
    if len(same) == 1:
        other = "" if chosen is best else f" {_smaller(chosen)}"
        return f"Best is {_named(best)}, abs_rel {best.abs_rel:.4f}; there is no other set to compare it with.{other}"
    if choice.worse:
        taken = "" if chosen is best else f", and cannot be told from the best one ({_named(best)}, {best.abs_rel:.4f})"
        worse = ", ".join(group.set for group in choice.worse)
        return (
            f"The calibration set matters: {_named(chosen)} has abs_rel {chosen.abs_rel:.4f}{taken}; visibly worse "
            f"with {best.quantizer}: {worse}."
        )
    values = [group.abs_rel for group in same]
    sizes = sorted(group.size for group in same)
    frames = f"{sizes[0]} to {sizes[-1]}" if sizes[0] < sizes[-1] else f"{sizes[0]}"
    kinds = " and ".join(dict.fromkeys(group.name for group in same))
    between = f"between sets of {frames} frames, {kinds} (abs_rel {min(values):.4f} to {max(values):.4f})"
    return (
        f"No calibration set is visibly better than the others: with {best.quantizer}, {NO_DIFFERENCE} {between}; "
        f"{_named(chosen)} is the smallest that serves{_told(best, chosen)}."
    )


def _smaller(chosen: Group) -> str:
    return f"{_named(chosen)} (abs_rel {chosen.abs_rel:.4f}) cannot be told from it, and needs fewer frames."


def _told(best: Group, chosen: Group) -> str:
    """Name the best where the chosen one is quantized in another way."""
    if chosen.quantizer == best.quantizer:
        return ""
    return f", and cannot be told from the best one ({_named(best)}, {best.abs_rel:.4f})"


def _lever(groups: Sequence[Group]) -> str:
    """Say so where the way to quantize moves more than the set does."""
    found = effects(groups)
    way, sets = found["quantizer"] or 0.0, max(found["strategy"] or 0.0, found["size"] or 0.0)
    if way <= max(sets, found["seed"] or 0.0) or not sets:
        return ""
    return f"The way to quantize moves abs_rel by up to {way:.4f}, the choice of the set by up to {sets:.4f}."


def _named(group: Group) -> str:
    return f"{group.set} with {group.quantizer}"


def _cost(fp32: float, group: Group) -> str:
    figure = group.against_fp32
    assert figure is not None
    if is_worse(figure):
        return f"INT8 then costs {signed(figure)} of abs_rel against FP32's {fp32:.4f}, {_times(group.abs_rel, fp32)}."
    if is_better(figure):
        return f"INT8 is then better than FP32's {fp32:.4f}, by {signed(figure)}."
    if figure.low is None:
        return f"It differs from FP32's {fp32:.4f} by {signed(figure)}; the frames are too few for an interval."
    return f"No difference to FP32's {fp32:.4f} can be seen ({signed(figure)})."


def _times(value: float, whole: float) -> str:
    return f"{value / whole:.2f} times as much"


def enough(curve: Curve) -> str:
    """Say from how many frames on no larger set is visibly better; empty for a single size, and without intervals."""
    if len(curve.sizes) < 2 or curve.enough is None:
        return ""
    title = f"{curve.name} with {curve.quantizer}"
    if not curve.more:
        return f"{title}: from {curve.enough} frames on, the fewest that were tried, {NO_BETTER}{harm(curve)}."
    group, figure = curve.more[-1]
    if curve.enough == curve.sizes[-1]:
        gain = f"{signed(figure)} from {group.size} on"
        return f"{title}: more frames help up to {curve.enough}, the most that were tried ({gain})."
    fewer = f"more than {group.size} visibly help ({signed(figure)})"
    return f"{title}: from {curve.enough} frames on, {NO_BETTER}; {fewer}{harm(curve)}."


def harm(curve: Curve) -> str:
    """Name the larger sets that are visibly worse; empty where none is."""
    told = [f"{group.size} are visibly worse than {curve.enough} ({signed(figure)})" for group, figure in curve.harm]
    return "".join(f"; {each}" for each in told)


def moves(found: dict[str, float | None]) -> str:
    """Say by how much each choice moves abs_rel."""
    told = [f"{EFFECTS[name]} {value:.4f}" for name, value in found.items() if value is not None]
    return f"What moves abs_rel, at most: {'; '.join(told)}." if told else ""


def groups_table(fp32: float, groups: Sequence[Group]) -> list[str]:
    """Return the lines of a table of all groups, FP32 first."""
    rows = [["", MAIN, "over seeds", "to FP32 (95 %)", "x FP32", ""], ["FP32", f"{fp32:.4f}", "", "", "", ""]]
    for group in groups:
        assert group.against_fp32 is not None
        ratio = f"{group.abs_rel / fp32:.3f}"
        rows.append([group.label, f"{group.abs_rel:.4f}", spread(group), signed(group.against_fp32), ratio, npu(group)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def spread(group: Group) -> str:
    """Write the least and the greatest abs_rel over seeds."""
    return f"{min(group.draws):.4f} to {max(group.draws):.4f}" if group.seeds > 1 else ""


def npu(group: Group) -> str:
    """Say that the NPU cannot run it."""
    return "not on the NPU" if group.allowed is False else ""


def with_interval(figure: Figure | None) -> str:
    """Write a difference with its interval, or why there is none."""
    if figure is None:
        return ""
    return signed(figure) if interval(figure, MAIN) else f"{signed(figure)} (too few frames for an interval)"
