"""What is said of planted figures: how many frames are enough, what to take, and in which words."""

from collections.abc import Sequence
from typing import Any

import pytest

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.studies import sentences
from ncdb_dask.studies.groups import Choice, Comparer, Curve, Group, curves, effects, runnable
from ncdb_dask.studies.guide import before_after

NOISE = 0.003  # half the width of every planted interval
FP32 = 0.1


def group(name: str, size: int, abs_rel: float, quantizer: str = "minmax", spread: float = 0.0, **more: Any) -> Group:
    """Three seeds about `abs_rel`, or one; its difference to FP32 has the planted interval."""
    to_fp32 = difference(FP32, abs_rel)
    draws = (abs_rel - spread, abs_rel, abs_rel + spread) if spread else (abs_rel,)
    return Group(name, size, quantizer, abs_rel, draws, against_fp32=to_fp32, **more)


def difference(one: float, other: float) -> Figure:
    found = other - one
    return Figure(one, other, found, found - NOISE, found + NOISE, 40, 20)


class Beside:
    """Compares planted means, and counts how many comparisons it is told of."""

    def __init__(self) -> None:
        self.asked = set[int]()

    def __call__(self, baseline: Group, other: Group, asked: int) -> Figure:
        self.asked.add(asked)
        return difference(baseline.abs_rel, other.abs_rel)


def told(groups: Sequence[Group], beside: Beside | None = None) -> Comparer:
    return Comparer.of(groups, beside or Beside())


def curve(groups: Sequence[Group]) -> Curve:
    return Curve.of(groups, told(groups))


def choice_of(groups: Sequence[Group]) -> Choice:
    return Choice.of(groups, told(groups))


def falling(*values: float, spread: float = 0.0) -> list[Group]:
    return [group("random", 100 * place, value, spread=spread) for place, value in enumerate(values, 1)]


# How many frames are enough


@pytest.mark.parametrize(
    ("values", "enough"),
    [
        ([0.110], 100),
        ([0.110, 0.109], 100),  # within the noise
        ([0.120, 0.110, 0.109], 200),
        ([0.110, 0.120, 0.130], 100),  # more harm
        ([0.120, 0.121, 0.110, 0.1095], 300),
        ([0.130, 0.120, 0.110], 300),
        ([0.120, 0.118, 0.1165], 100 + 100),  # 100 against 300 is seen, no step alone is
    ],
)
def test_the_smallest_size_that_no_larger_one_is_better_than(values, enough):
    assert curve(falling(*values)[::-1]).enough == enough


def test_all_pairs_of_sizes_are_asked_together():
    beside = Beside()
    Curve.of(falling(0.12, 0.11, 0.10), told([], beside))
    assert beside.asked == {3}


# The mean of three draws each, of a standard deviation s, pooled with 4 degrees of freedom: a difference of 0.01 is
# beyond them where s sqrt(2 / 3) 2.776 < 0.01, so that s < 0.00441.
@pytest.mark.parametrize(("deviation", "enough"), [(0.0043, 200), (0.0045, 100)])
def test_a_gain_within_what_seeds_move_is_none(deviation, enough):
    assert curve(falling(0.120, 0.110, spread=deviation)).enough == enough


# With 10 degrees of freedom, from more sets in the same way: 2.228, so that s < 0.0055; and three pairs of sizes: 2.870
# for 1 - 0.05 / 6, so that s < 0.00427.
@pytest.mark.parametrize(("deviation", "sizes", "enough"), [(0.0054, 2, 200), (0.0056, 2, 100), (0.0042, 3, 200)])
def test_seeds_of_all_sets_tell_what_a_draw_moves(deviation, sizes, enough):
    groups = falling(*[0.120, 0.110, 0.110][:sizes], spread=deviation)
    others = [group("other", size, 0.5, spread=deviation) for size in range(5 - sizes)]
    unlike = [group("random", 1, 0.5, "another way", spread=0.1)]
    assert Curve.of(groups, told([*groups, *others, *unlike])).enough == enough


def test_a_set_that_is_not_drawn_has_no_other_draw():
    drawn, fixed = group("random", 100, 0.120, spread=0.006), group("coverage", 100, 0.110, fixed=True)
    once = group("stratified", 100, 0.110)
    comparer = told([drawn, fixed, once, group("random", 300, 0.120, spread=0.006)])
    # s / sqrt(3) 2.776 = 0.0096, and s sqrt(4 / 3) 2.776 = 0.0192
    assert comparer.better(drawn, fixed, 1) is not None
    assert comparer.better(drawn, once, 1) is None


def test_the_sentence_of_a_curve():
    assert sentences.enough(curve(falling(0.11))) == ""
    assert sentences.enough(curve(falling(0.11, 0.11))) == (
        "random with minmax: from 100 frames on, the fewest that were tried, no larger set is visibly better."
    )
    assert sentences.enough(curve(falling(0.12, 0.11, 0.11))) == (
        "random with minmax: from 200 frames on, no larger set is visibly better; more than 100 visibly help "
        "(-0.0100 [-0.0130, -0.0070])."
    )
    assert sentences.enough(curve(falling(0.12, 0.11))) == (
        "random with minmax: more frames help up to 200, the most that were tried (-0.0100 [-0.0130, -0.0070] from "
        "100 on)."
    )


def test_larger_sets_that_harm_are_named():
    found = curve(falling(0.11, 0.10, 0.101, 0.12))
    assert [larger.size for larger, _ in found.harm] == [400]
    assert sentences.enough(found) == (
        "random with minmax: from 200 frames on, no larger set is visibly better; more than 100 visibly help "
        "(-0.0100 [-0.0130, -0.0070]); 400 are visibly worse than 200 (+0.0200 [+0.0170, +0.0230])."
    )


def test_every_kind_of_sets_in_every_way_has_a_curve():
    groups = [group(name, size, 0.11, way) for name in "ab" for size in (1, 2) for way in ("x", "y")]
    assert [(one.name, one.quantizer, one.sizes) for one in curves(groups, told(groups))] == [
        (name, way, (1, 2)) for name in "ab" for way in ("x", "y")
    ]


# What to take


def test_the_smallest_that_cannot_be_told_from_the_best():
    groups = [
        group("random", 100, 0.120),
        group("random", 300, 0.112),
        group("stratified", 100, 0.111),
        group("stratified", 500, 0.110),
        group("stratified", 50, 0.1115, "mse"),
    ]
    choice = choice_of(groups)
    assert (choice.best.set, choice.chosen.label) == ("stratified 500", "stratified 50, mse")
    assert [one.set for one in choice.worse] == ["random 100"]


def test_of_equal_sizes_the_better_one_is_taken():
    groups = [group("random", 100, 0.111), group("stratified", 100, 0.110), group("stratified", 300, 0.1095)]
    assert choice_of(groups).chosen.label == "stratified 100, minmax"


def test_only_what_the_npu_can_run_is_taken():
    groups = [group("a", 1, 0.10, allowed=False), group("b", 1, 0.12, allowed=True), group("c", 1, 0.11, allowed=None)]
    assert [one.name for one in runnable(groups, "npu")] == ["b"]
    assert runnable(groups, "") == groups


# In words


def test_sets_that_differ():
    groups = [group("random", 100, 0.120), group("stratified", 300, 0.110), group("stratified", 500, 0.1095)]
    assert sentences.verdict(FP32, groups, choice_of(groups)) == (
        "The calibration set matters: stratified 300 with minmax has abs_rel 0.1100, and cannot be told from the best "
        "one (stratified 500 with minmax, 0.1095); visibly worse with minmax: random 100. INT8 then costs +0.0100 "
        "[+0.0070, +0.0130] of abs_rel against FP32's 0.1000, 1.10 times as much."
    )


def test_sets_that_do_not():
    groups = [group(name, size, FP32 + 0.001, way) for name in "ab" for size in (100, 300) for way in ("x", "y")]
    assert sentences.verdict(FP32, groups, choice_of(groups)) == (
        "No calibration set is visibly better than the others: with x, no difference can be seen between sets of 100 "
        "to 300 frames, a and b (abs_rel 0.1010 to 0.1010); a 100 with x is the smallest that serves. No difference to "
        "FP32's 0.1000 can be seen (+0.0010 [-0.0020, +0.0040])."
    )


def test_a_way_to_quantize_that_moves_more_than_the_set():
    groups = [group("a", size, value, way) for size in (1, 2) for way, value in (("x", 0.13), ("y", 0.11 + size / 1e4))]
    said = sentences.verdict(FP32, groups, choice_of(groups))
    assert said.endswith("The way to quantize moves abs_rel by up to 0.0199, the choice of the set by up to 0.0001.")


def test_a_single_set_none_that_runs_and_none_at_all():
    alone = [group("a", 1, 0.12)]
    said = sentences.verdict(FP32, alone, choice_of(alone))
    assert said.startswith("Best is a 1 with minmax, abs_rel 0.1200; there is no other set to compare it with.")
    assert "(small)" in sentences.verdict(FP32, alone, None, "small")
    assert sentences.verdict(FP32, [], None) == "No cell could be made and judged."


def test_too_few_frames_for_intervals_are_no_equality():
    few = Figure(FP32, 0.11, 0.01, None, None, 4, 2)
    groups = [Group("a", size, "x", 0.11, (0.11,), against_fp32=few) for size in (1, 2)]
    said = sentences.verdict(FP32, groups, Choice.of(groups, Comparer.of(groups, lambda *_: few)))
    assert said.startswith("The frames are too few to tell sets or ways to quantize from each other; the least")


def test_without_intervals_the_best_is_chosen_and_nothing_is_said_of_sizes():
    def unknown(one: Group, other: Group, _: int) -> Figure:
        return Figure(one.abs_rel, other.abs_rel, other.abs_rel - one.abs_rel, None, None, 4, 2)

    groups = falling(0.13, 0.12, 0.11)
    comparer = Comparer.of(groups, unknown)
    choice = Choice.of(groups, comparer)
    assert choice.chosen is choice.best is groups[-1]
    assert not choice.known
    found = Curve.of(groups, comparer)
    assert found.enough is None
    assert sentences.enough(found) == ""


def test_a_chosen_set_in_another_way_is_named():
    alone = [group("a", 300, 0.110, "x"), group("a", 100, 0.111, "y")]
    assert "a 100 with y (abs_rel 0.1110) cannot be told from it" in sentences.verdict(FP32, alone, choice_of(alone))
    several = [*alone, group("a", 200, 0.1105, "x")]
    said = sentences.verdict(FP32, several, choice_of(several))
    assert "a 100 with y is the smallest that serves, and cannot be told from the best one (a 300 with x" in said


def test_what_each_choice_moves():
    groups = [
        group("random", 100, 0.120, "x", spread=0.004),
        group("random", 300, 0.118, "x"),
        group("stratified", 100, 0.113, "x"),
        group("random", 100, 0.150, "y"),
    ]
    found = effects(groups)
    assert found == pytest.approx({"seed": 0.008, "strategy": 0.007, "size": 0.002, "quantizer": 0.03})
    assert sentences.moves(found) == (
        "What moves abs_rel, at most: another seed of the draw 0.0080; another strategy, at the same size 0.0070; "
        "another size, by the same strategy 0.0020; another way to quantize, with the same set 0.0300."
    )
    assert effects(groups[:1]) == {"seed": pytest.approx(0.008), "strategy": None, "size": None, "quantizer": None}


# The guide's table


def test_before_and_after_with_the_guides_verdicts():
    groups = [
        group(*each) for each in (("random", 100, 0.1133), ("stratified", 300, 0.0895), ("random", 100, 0.095, "b"))
    ]
    (row,) = before_after(groups, "random 100", "stratified 300", told(groups))
    assert row.verdicts == ("look at the NPU or change the strategy", "success")
    assert row.change == "better"
    assert row.difference.difference == pytest.approx(-0.0238)
    assert before_after(groups, "random 100", "stratified 500", told(groups)) == ()
