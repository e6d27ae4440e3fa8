"""The greedy cover, against its definition in plain Python and the best set of all."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling.coverage import WHOLE, Activations, Cover, covered, covering_order, first_layer, worths
from ncdb_dask.sampling.draw import priorities

Table = list[list[int]]


def tables(most: int = 9, elements: int = 5) -> st.SearchStrategy[Table]:
    """Worths of frames; few different numbers, so that many frames are alike."""
    numbers = st.one_of(st.integers(0, 3), st.integers(0, WHOLE))
    return st.integers(1, elements).flatmap(
        lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=most)
    )


def worth_of(table: Table) -> np.ndarray:
    return np.asarray(table, dtype=np.int64)


def priority_of(table: Table, seed: int = 42) -> np.ndarray:
    return priorities(seed, [("scene", str(number)) for number in range(len(table))])


def value(table: Table, rows: list[int]) -> int:
    """What a set is worth by definition."""
    return sum(max((table[row][element] for row in rows), default=0) for element in range(len(table[0])))


def slow_order(table: Table, priority: list[int]) -> list[int]:
    """The frame that adds most to its layer, again and again, every frame looked at every time."""
    order, layer = [], []
    while len(order) < len(table):
        left = [row for row in range(len(table)) if row not in order]
        gains = {row: value(table, [*layer, row]) - value(table, layer) for row in left}
        if not any(gains.values()):
            if not layer:
                return order + sorted(left, key=priority.__getitem__)
            layer = []
            continue
        best = min(left, key=lambda row: (-gains[row], priority[row]))
        order.append(best)
        layer.append(best)
    return order


@given(tables())
def test_it_is_its_definition(table):
    priority = priority_of(table)
    found = covering_order(worth_of(table), priority, len(table))
    assert found.tolist() == slow_order(table, priority.tolist())


@given(tables(), st.data())
def test_a_set_begins_with_every_smaller_one(table, data):
    size = data.draw(st.integers(0, len(table)))
    whole = covering_order(worth_of(table), priority_of(table), len(table))
    assert covering_order(worth_of(table), priority_of(table), size).tolist() == whole[:size].tolist()
    assert sorted(whole.tolist()) == list(range(len(table)))


@given(tables(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(table, random):
    order = random.sample(range(len(table)), len(table))
    priority = priority_of(table)
    one = covering_order(worth_of(table), priority, len(table))
    other = covering_order(worth_of(table)[order], priority[order], len(table))
    assert [order[row] for row in other] == one.tolist()


@given(tables())
def test_what_is_covered_only_grows_and_is_the_definition(table):
    order = covering_order(worth_of(table), priority_of(table), len(table)).tolist()
    shares = covered(worth_of(table), order)
    whole = value(table, order)
    assert shares.tolist() == [value(table, order[:n]) / whole if whole else 1.0 for n in range(1, len(order) + 1)]
    assert (np.diff(shares) >= 0).all()
    enough = len(first_layer(worth_of(table)))
    assert not whole or (shares[enough - 1] == 1 and (enough == 1 or shares[enough - 2] < 1))


@given(tables(most=7))
def test_no_set_of_the_same_size_is_much_better(table):
    order = covering_order(worth_of(table), priority_of(table), len(table)).tolist()
    for size in range(1, len(table) + 1):
        best = max(value(table, list(rows)) for rows in combinations(range(len(table)), size))
        assert value(table, order[:size]) >= (1 - 1 / math.e) * best


def test_of_equals_the_seed_decides():
    table = [[5, 0]] * 20 + [[0, 3]] * 20
    for seed in (1, 2):
        priority = priority_of(table, seed)
        found = covering_order(worth_of(table), priority, 40).tolist()
        assert found[::2] == sorted(range(20), key=priority.__getitem__)
        assert found[1::2] == sorted(range(20, 40), key=priority.__getitem__)


def test_layers_cover_everything_again():
    table = [[9, 0, 0], [8, 0, 0], [7, 0, 0], [0, 2, 1], [0, 1, 1], [0, 0, 0]]
    assert covering_order(worth_of(table), priority_of(table), 6).tolist() == [0, 3, 1, 4, 2, 5]
    assert first_layer(worth_of(table)) == [0, 3]
    assert first_layer(worth_of(table), 1) == [0]


def test_thousands_of_frames_take_seconds():
    rng = np.random.default_rng(3)
    high = np.exp(rng.normal(size=(5000, 150)))
    worth = worths([(-high[::-1], high), (-high[::-1] / 2, high / 2)])
    assert worth.shape == (5000, 600)
    order = covering_order(worth, priorities(1, [("a", str(n)) for n in range(5000)]), 1000)
    assert covered(worth, order)[-1] == 1


# What a frame is worth


def test_worths_are_shares_of_ranges_that_hold_zero():
    low, high = np.array([[-1.0, 2.0, 0.0], [-3.0, 4.0, 0.0]]), np.array([[6.0, 8.0, 0.0], [3.0, 16.0, 0.0]])
    worth = worths([(low, high)])
    half = WHOLE / 2  # of two tensors that are not 0 everywhere
    expected = half * np.array([[1 / 9, 0, 0, 6 / 9, 1 / 2, 0], [3 / 9, 0, 0, 3 / 9, 1, 0]])
    assert np.abs(worth - expected).max() <= 0.5
    assert covered(worth, [0])[0] == pytest.approx((7 / 9 + 1 / 2) / 2)


def test_each_kind_of_range_counts_the_same_and_each_tensor():
    high = np.array([[10.0, 1.0], [2.0, 1000.0]])
    upper = np.array([[1.0, 0.0], [2.0, 0.0]])  # the second tensor's upper quantile is 0
    nothing = np.zeros((2, 2))
    worth = worths([(nothing, high), (nothing, upper)])
    assert worth.max(axis=0).sum() == pytest.approx(WHOLE, abs=4)
    assert covered(worth, [0])[0] == pytest.approx(((1 + 1 / 2) / 2 + 1 / 1000) / 2)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_share_is_the_mean_share_of_the_ranges_of_minmax(frames, tensors, seed):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.normal(size=(2, frames, tensors)) * 10.0 ** rng.integers(-30, 30, tensors), axis=0)
    rows = rng.permutation(frames)[: rng.integers(1, frames + 1)]
    spans = [np.maximum(high[some].max(0), 0) - np.minimum(low[some].min(0), 0) for some in (rows, slice(None))]
    assert covered(worths([(low, high)]), rows)[-1] == pytest.approx(float((spans[0] / spans[1]).mean()), abs=1e-9)


def test_what_is_not_finite_reaches_nothing():
    low, high = np.array([[np.inf, -1.0], [-2.0, -1.0]]), np.array([[-np.inf, np.nan], [2.0, 1.0]])
    worth = worths([(low, high)])
    assert worth[0].tolist() == [0, worth[1, 1], 0, 0]
    assert (worths([(np.full((3, 2), np.inf), np.full((3, 2), -np.inf))]) == 0).all()
    assert worths([(np.empty((0, 2)), np.empty((0, 2)))]).shape == (0, 4)


def test_only_the_population_counts():
    high = np.array([[100.0], [4.0], [1.0]])
    activations = Activations((("a", "1"), ("a", "2"), ("a", "3")), [(np.zeros((3, 1)), high)])
    cover = Cover.of(activations, [("a", "3"), ("b", "9"), ("a", "2")])
    assert cover.place.tolist() == [0, -1, 1]
    assert cover.worth[:, 1].tolist() == [WHOLE // 4, WHOLE]
    assert cover.tensors == 1
