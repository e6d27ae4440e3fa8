"""Quotas against Hamilton's rule and water filling, in exact fractions."""

import random
from fractions import Fraction

import pytest
from helpers.sampling_oracle import hamilton, one_by_one, water_filled
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling.allocate import quotas

GUIDE = [Fraction(1, 4), Fraction(2, 5), Fraction(1, 4), Fraction(1, 10)]
PLENTY = 10**9


@st.composite
def strata(draw: st.DrawFn, most: int = 40) -> tuple[list[Fraction], list[int]]:
    count = draw(st.integers(1, 6))
    weight = st.one_of(st.integers(0, 20).map(Fraction), st.fractions(0, 1, max_denominator=50))
    weights = draw(st.lists(weight, min_size=count, max_size=count).filter(any))
    available = draw(st.lists(st.integers(0, most), min_size=count, max_size=count))
    return weights, available


def held(weights: list[Fraction], available: list[int]) -> int:
    return sum(count for weight, count in zip(weights, available, strict=True) if weight)


@pytest.mark.parametrize(
    ("available", "size", "granted"),
    [
        ([1823, 2456, 492, 85], 300, [75, 120, 75, 30]),
        ([1823, 2456, 492, 85], 333, [83, 133, 83, 34]),  # the guide's int() made 332 of it
        ([1823, 2456, 492, 0], 300, [84, 133, 83, 0]),
        ([0, 0, 0, 85], 85, [0, 0, 0, 85]),
        ([5, 5, 5, 5], 20, [5, 5, 5, 5]),
    ],
)
def test_the_guides_ranges(available, size, granted):
    assert quotas(GUIDE, available, size) == granted


@given(strata(), st.integers(0, 150))
def test_the_sum_is_exact_and_no_stratum_gives_more_than_it_holds(given_strata, size):
    weights, available = given_strata
    granted = quotas(weights, available, size)
    assert sum(granted) == min(size, held(weights, available))
    assert all(0 <= count <= most for count, most in zip(granted, available, strict=True))
    assert all(weight or not count for weight, count in zip(weights, granted, strict=True))


@given(strata())
def test_a_larger_set_takes_nothing_back(given_strata):
    weights, available = given_strata
    before = [0] * len(weights)
    for size in range(1, held(weights, available) + 1):
        granted = quotas(weights, available, size)
        assert all(now >= earlier for now, earlier in zip(granted, before, strict=True))
        before = granted


@given(strata(), st.integers(1, 150))
def test_no_stratum_has_a_whole_frame_more_than_its_share(given_strata, size):
    weights, available = given_strata
    size = min(size, held(weights, available))
    shares = water_filled(weights, available, size)
    granted = quotas(weights, available, size)
    assert sum(shares) == size
    assert all(count < share + 1 for count, share in zip(granted, shares, strict=True))
    if all(share.denominator == 1 for share in shares):
        assert granted == shares


@given(strata(most=12), st.integers(1, 40))
def test_each_frame_goes_where_most_is_lacking(given_strata, size):
    weights, available = given_strata
    size = min(size, held(weights, available))
    assert quotas(weights, available, size) == one_by_one(weights, available, size)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any), st.integers(1, 6))
def test_whole_shares_are_met_exactly(counts, times):
    weights = [Fraction(count, sum(counts)) for count in counts]
    assert quotas(weights, [PLENTY] * len(counts), times * sum(counts)) == [times * count for count in counts]


@given(strata())
def test_it_is_hamiltons_rule_until_that_takes_a_frame_back(given_strata):
    weights, _ = given_strata
    before = [0] * len(weights)
    for size in range(1, 80):
        expected = hamilton(weights, size)
        if any(now < earlier for now, earlier in zip(expected, before, strict=True)):
            return
        assert quotas(weights, [PLENTY] * len(weights), size) == expected
        before = expected


def test_hamilton_does_take_frames_back_where_the_docstring_says_so():
    assert hamilton(GUIDE, 6) == [2, 2, 1, 1]
    assert hamilton(GUIDE, 7) == [2, 3, 2, 0]
    assert quotas(GUIDE, [PLENTY] * 4, 7) == [2, 3, 1, 1]


def test_a_shortage_is_spread_in_proportion():
    """Thousands of tables, the same in every run: each stratum is within one frame of its exact share."""
    dice = random.Random(5)
    for _ in range(2000):
        count = dice.randint(1, 6)
        weights = [Fraction(dice.randint(0, 30)) for _ in range(count)]
        available = [dice.randint(0, 15) for _ in range(count)]
        most = held(weights, available)
        if not most:
            continue
        size = dice.randint(1, most)
        shares = water_filled(weights, available, size)
        granted = quotas(weights, available, size)
        assert all(abs(share - count) < 1 for share, count in zip(shares, granted, strict=True))


@given(strata(), st.integers(1, 100), st.integers(1, 7))
def test_only_the_proportions_of_the_weights_count(given_strata, size, factor):
    weights, available = given_strata
    assert quotas([factor * weight for weight in weights], available, size) == quotas(weights, available, size)


def test_nothing_to_choose_from():
    assert quotas([], [], 5) == []
    assert quotas([Fraction(0), Fraction(1)], [9, 0], 5) == [0, 0]
