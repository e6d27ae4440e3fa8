"""Distances against couplings of repeated samples."""

from collections import Counter

import numpy as np
import pytest
from helpers.sampling_oracle import earth_mover, shares_apart
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling.distance import total_variation, wasserstein, wasserstein_binned

depths = st.lists(st.integers(0, 5000).map(lambda n: n / 64), min_size=1, max_size=12)
histograms = st.lists(st.integers(0, 5), min_size=6, max_size=6)
words = st.lists(st.sampled_from(["day", "night", "dusk", "none"]), min_size=1, max_size=12)
CENTRES = np.asarray([0.5, 1.0, 2.5, 4.0, 9.0, 30.0])


def floats(values) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


@given(depths, depths)
def test_wasserstein_is_the_cheapest_transport(first, second):
    moved = wasserstein(floats(first), floats(second))
    assert moved == pytest.approx(earth_mover(first, second), abs=1e-9)
    assert wasserstein(floats(second), floats(first)) == pytest.approx(moved, abs=1e-9)


@given(depths, st.integers(1, 5), st.integers(0, 640))
def test_equal_samples_are_at_zero_and_a_shift_is_the_distance(values, times, shift):
    assert wasserstein(floats(values), floats(values * times)) == pytest.approx(0, abs=1e-12)
    assert wasserstein(floats(values), floats(values) + shift / 64) == pytest.approx(shift / 64, abs=1e-9)


def test_wasserstein_by_hand():
    assert wasserstein(floats([]), floats([1])) is None
    assert wasserstein(floats([1]), floats([])) is None
    assert wasserstein(floats([0, 1, 3]), floats([5, 6, 8])) == pytest.approx(5)
    assert wasserstein(floats([0, 10]), floats([0])) == pytest.approx(5)


@given(histograms, histograms)
def test_histograms_are_samples_at_their_centres(first, second):
    moved = wasserstein_binned(first, second, CENTRES)
    if not (sum(first) and sum(second)):
        assert moved is None
        return
    one, two = (np.repeat(CENTRES, counts).tolist() for counts in (first, second))
    assert moved == pytest.approx(earth_mover(one, two), abs=1e-9)
    assert wasserstein_binned(second, first, CENTRES) == pytest.approx(moved, abs=1e-9)


@given(words, words)
def test_total_variation_is_the_largest_difference_of_any_event(first, second):
    apart = total_variation(Counter(first), Counter(second))
    assert apart == pytest.approx(shares_apart(first, second), abs=1e-12)
    assert total_variation(Counter(second), Counter(first)) == pytest.approx(apart, abs=1e-12)


def test_total_variation_by_hand():
    assert total_variation({"day": 3, "night": 1}, {"day": 6, "night": 2}) == 0
    assert total_variation({"day": 3}, {"night": 1}) == 1
    assert total_variation({"day": 1, "night": 1}, {"day": 1}) == 0.5
    assert total_variation({}, {"day": 1}) is None
    assert total_variation({"day": 0}, {"day": 1}) is None
