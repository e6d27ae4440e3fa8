"""Histograms over bit patterns: what is counted, that they add up exactly, and what is read from them."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ncdb_dask.calibration import histogram as module
from ncdb_dask.calibration.histogram import BINS, Histogram, count, ordered, quantile
from ncdb_dask.errors import CalibrationError

# A signalling NaN whose first 15 bits are those of infinity.
SMALL_PAYLOAD = np.array([0x7F800001, 0xFF800001], dtype=np.uint32).view(np.float32)
LEAST = 2.0**-132

anything = arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = arrays(np.float32, st.integers(1, 60), elements=finite | st.floats(-4, 4, width=32) | st.just(0.0))


def same(one: Histogram, other: Histogram) -> bool:
    figures = [
        (part.counts.tobytes(), struct.pack("<2d", part.low, part.high), part.nan, part.infinite)
        for part in (one, other)
    ]
    return figures[0] == figures[1]


@given(anything)
def test_a_bin_is_the_first_fifteen_bits(values):
    expected = [0] * BINS
    for pattern in struct.unpack(f"<{values.size}I", values.astype("<f4").tobytes()):
        expected[pattern >> 17] += 1
    assert count(values).tolist() == expected


def test_chunks_make_no_difference(monkeypatch):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    whole = count(values)
    for chunk in (1, 7, 999, 1000, 1001):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert (count(values) == whole).all()


def test_any_array_of_float32():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert (count(values[:, ::2, ::-1]) == count(values[:, ::2, ::-1].copy())).all()
    assert count(values.T).sum() == 24
    assert count(np.float32(3.0)[None][0:0]).sum() == 0
    assert count(np.array(3.0, dtype=np.float32)).sum() == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_another_type_is_refused(dtype):
    with pytest.raises(CalibrationError, match=f"activations are {np.dtype(dtype)}; expected float32"):
        Histogram.of(np.zeros(3, dtype=dtype))


@given(anything)
def test_what_is_kept_exactly(values):
    found = Histogram.of(values)
    usable = [float(value) for value in values if math.isfinite(value)]
    assert found.nan == sum(math.isnan(value) for value in values)
    assert found.infinite == sum(math.isinf(value) for value in values)
    assert found.total == len(usable)
    assert (found.low, found.high) == (min(usable, default=math.inf), max(usable, default=-math.inf))


def test_a_nan_in_the_bin_of_infinity():
    found = Histogram.of(np.concatenate([SMALL_PAYLOAD, np.array([np.inf, -np.inf, np.nan, 1], dtype=np.float32)]))
    assert (found.nan, found.infinite, found.total, found.low, found.high) == (3, 2, 1, 1.0, 1.0)


@given(anything, st.lists(st.integers(0, 40), max_size=5).map(sorted), st.randoms())
def test_merging_in_any_order_and_sharding_is_the_same_to_the_last_bit(values, cuts, random):
    whole = Histogram.of(values)
    parts = [Histogram.of(part) for part in np.split(values, cuts)]
    random.shuffle(parts)
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = part + one_by_one
    assert same(parts[0].merged(*parts[1:]), whole)
    assert same(one_by_one, whole)
    middle = len(parts) // 2
    if middle:
        assert same(parts[0].merged(*parts[1:middle]) + parts[middle].merged(*parts[middle + 1 :]), whole)


def test_zeros_of_both_signs_merge_alike():
    zeros = [np.array(pair, dtype=np.float32) for pair in ((0.0, -0.0), (-0.0, 0.0))]
    one, other = map(Histogram.of, zeros)
    assert same(one, other)
    assert str(one.low) == str(one.high) == "0.0"


@given(numbers)
def test_every_value_is_in_one_cell(values):
    cells = ordered(Histogram.of(values))
    assert (cells.left <= cells.right).all()
    assert (cells.right[:-1] <= cells.left[1:]).all()
    assert cells.left[0] == values.min() or abs(values.min()) < LEAST
    assert cells.right[-1] == values.max() or abs(values.max()) < LEAST
    assert ((cells.right - cells.left) <= np.maximum(np.maximum(abs(cells.left), abs(cells.right)) / 64, LEAST)).all()
    magnitude = np.abs(values)
    zeros = int((magnitude < LEAST).sum())
    for left, right, weight in zip(cells.left, cells.right, cells.weight, strict=True):
        if left == right and abs(left) < LEAST:
            assert weight == zeros
            continue
        # A bin of negative numbers holds its end that is nearer to zero, like all of them.
        inside = ((values >= left) & (values < right)) if left >= 0 else ((values > left) & (values <= right))
        at_the_cut = (
            (values == right) & (right == values.max()) if left >= 0 else (values == left) & (left == values.min())
        )
        assert weight == (inside | at_the_cut).sum()
    assert cells.total == values.size


def test_exact_zeros_are_the_value_zero():
    cells = ordered(Histogram.of(np.array([-0.0, 0.0, 1e-45, 0.0, 2.0, -3.0], dtype=np.float32)))
    assert (cells.left[1], cells.right[1], cells.weight[1]) == (0.0, 0.0, 4.0)
    assert len(cells.weight) == 3


def test_the_greatest_numbers_have_an_edge():
    values = np.array([np.finfo(np.float32).max, np.finfo(np.float32).min], dtype=np.float32)
    cells = ordered(Histogram.of(values))
    assert cells.right[1] == values[0]
    assert cells.left[0] == values[1]
    assert cells.left[1] == 127 * 2.0**121


def test_nothing_finite_has_no_cells():
    for values in ([], [np.nan], [np.inf, -np.inf]):
        assert ordered(Histogram.of(np.array(values, dtype=np.float32))).total == 0
    with pytest.raises(CalibrationError, match="a quantile of no values"):
        quantile(ordered(Histogram.of(np.zeros(0, dtype=np.float32))), 0.5)


@given(numbers, st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_a_quantile_is_within_a_64th(values, q):
    exact = np.sort(values)[max(math.ceil(q * values.size) - 1, 0)].astype(np.float64)
    found = quantile(ordered(Histogram.of(values)), q)
    assert abs(found - exact) <= max(abs(exact), abs(found)) / 64 + LEAST


@given(numbers)
def test_the_extreme_quantiles_are_exact(values):
    cells = ordered(Histogram.of(np.where(np.abs(values) < LEAST, np.float32(0), values)))
    assert (quantile(cells, 0), quantile(cells, 1)) == (cells.left[0], cells.right[-1])


@pytest.mark.parametrize("q", [0.00001, 0.001, 0.1, 0.5, 0.9, 0.999, 0.99999])
def test_quantiles_of_a_large_sample(q):
    values = np.random.default_rng(3).standard_t(3, 300_000).astype(np.float32)
    exact = float(np.quantile(values.astype(np.float64), q))
    assert quantile(ordered(Histogram.of(values)), q) == pytest.approx(exact, rel=1 / 64, abs=1e-4)


@given(numbers, finite)
def test_below_lies_between_the_cells_before_and_with_the_one_it_cuts(values, value):
    cells = ordered(Histogram.of(values))
    found = cells.below(value)
    assert cells.weight[cells.right < value].sum() - 1e-6 <= found <= cells.weight[cells.left < value].sum() + 1e-6
    assert cells.mirrored().below(-cells.left[0]) <= cells.total


def test_below_and_shared_cut_cells_in_proportion():
    values = np.repeat(np.array([0, 1, 1 + 1 / 64, 2], dtype=np.float32), [3, 4, 8, 1])
    cells = ordered(Histogram.of(values))
    assert cells.below(0) == 0
    assert cells.below(1e-9) == 3
    assert cells.below(1 + 1 / 256) == pytest.approx(3 + 1)
    assert cells.below(9) == 16
    edges = np.array([0, 0.5, 1 + 1 / 128, 1 + 3 / 128, 1.5, 2.0])
    assert cells.shared(edges) == pytest.approx([3, 2, 2 + 4, 4, 1])


@given(numbers, st.integers(1, 50))
def test_sharing_keeps_every_value(values, bins):
    cells = ordered(Histogram.of(values))
    low, high = cells.left[0], cells.right[-1]
    shared = cells.shared(np.linspace(low, high, bins + 1))
    assert (shared >= 0).all()
    assert shared.sum() == pytest.approx(values.size)


@given(numbers)
def test_magnitudes_are_the_histogram_of_the_absolute_values(values):
    found, expected = Histogram.of(values).magnitudes(), Histogram.of(np.abs(values))
    assert (found.counts == expected.counts).all()
    assert found.high == expected.high
    assert 0 <= found.low <= expected.low
