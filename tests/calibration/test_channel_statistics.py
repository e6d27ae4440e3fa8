"""Channels by a naive definition; their sums exactly, by fractions, whatever the order."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.calibration import channel_statistics
from ncdb_dask.calibration.channel_statistics import ChannelStatistics, ChannelSum

EXTREMES = (0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1e-310, -1e300, 1e300, 1.7e308, 2.0**53 + 2, -1 / 3)
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EXTREMES)
FIGURES = ("low", "high", "mean", "square")


def added(frames, axis=1):
    """Add up (mean, square) of one channel, frame by frame."""
    total = ChannelSum(axis)
    for mean, square in frames:
        total.add(np.zeros(1, np.float32), np.ones(1, np.float32), np.array([mean]), np.array([square]))
    return total.statistics()


def same_bits(one, other):
    return one.axis == other.axis and all(
        getattr(one, part).tobytes() == getattr(other, part).tobytes() for part in FIGURES
    )


@given(st.lists(st.tuples(doubles, doubles), min_size=1, max_size=12), st.randoms())
def test_a_sum_is_the_exact_one_rounded_once_in_any_order(frames, random):
    found = added(frames)
    for values, mean in zip(zip(*frames, strict=True), (found.mean, found.square), strict=True):
        assert mean[0] == float(sum(map(Fraction, values), Fraction(0)) / len(values))
    shuffled = random.sample(frames, len(frames))
    assert same_bits(added(shuffled), found)


@given(st.lists(st.floats(-1e100, 1e100), min_size=8, max_size=8))
def test_a_sum_is_that_of_fsum(values):
    assert added([(value, 0.0) for value in values]).mean[0] == math.fsum(values) / 8  # an eighth rounds nothing


def test_where_floating_point_sums_depend_on_their_order_these_do_not():
    values = [1e16, 1.0, -1e16, 3.0, 5e-324, 1e300, -1e300]
    assert len({sum(values), sum(sorted(values)), sum(values[::-1])}) > 1
    expected = float((Fraction(4) + Fraction(5e-324)) / 7)
    for order in (values, sorted(values), values[::-1]):
        assert added([(value, value) for value in order]).mean[0] == expected


def test_a_channel_without_values_on_a_frame_says_nothing_of_its_mean():
    empty, some = (
        ChannelStatistics.of(np.array([[[first, first], [1, 3]]], np.float32), 1, finite=False)
        for first in (np.nan, 8.0)
    )
    for order in ((empty, some, some), (some, some, empty), (some, empty, some)):
        total = ChannelSum(1)
        for one in order:
            total.add(one.low, one.high, one.mean, one.square)
        found = total.statistics()
        assert list(found.mean) == [8.0, 2.0]
        assert list(found.square) == [64.0, 5.0]
    total = ChannelSum(1)
    total.add(empty.low, empty.high, empty.mean, empty.square)
    found = total.statistics()
    assert (found.low[0], found.high[0], found.mean[0], found.square[0]) == (np.inf, -np.inf, 0.0, 0.0)


def test_zeros_of_both_signs_are_the_same_in_any_order():
    one, other = (ChannelStatistics.of(np.full((1, 1, 3), zero, np.float32), 1) for zero in (0.0, -0.0))
    sums = []
    for order in ((one, other), (other, one)):
        total = ChannelSum(1)
        for each in order:
            total.add(each.low, each.high, each.mean, each.square)
        sums.append(total.statistics())
    assert same_bits(*sums)
    assert not np.signbit([*sums[0].low, *sums[0].high, *sums[0].mean]).any()
    mixed = ChannelStatistics.of(np.array([[[0.0, -0.0], [-0.0, 0.0]]], np.float32), 1)
    assert not np.signbit([*mixed.low, *mixed.high]).any()


# A tensor


def channels_of(values, axis):
    if axis is None:
        return [values.ravel()]
    return [np.take(values, number, axis).ravel() for number in range(values.shape[axis])]


def assert_as_defined(found, values, axis):
    rows = channels_of(values, axis)
    assert found.axis == axis
    assert (found.low.dtype, found.high.dtype, found.mean.dtype, found.square.dtype) == ("f4", "f4", "f8", "f8")
    assert {getattr(found, part).shape for part in FIGURES} == {(len(rows),)}
    for number, row in enumerate(rows):
        finite = [float(value) for value in row if math.isfinite(value)]
        assert found.low[number] == min(finite, default=math.inf)
        assert found.high[number] == max(finite, default=-math.inf)
        count, scale = max(len(finite), 1), max(map(abs, finite), default=0.0)
        assert found.mean[number] == pytest.approx(math.fsum(finite) / count, rel=1e-12, abs=1e-14 * scale)
        squares = math.fsum(value * value for value in finite) / count
        assert found.square[number] == pytest.approx(squares, rel=1e-12)


shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


@st.composite
def tensors(draw, numbers):
    shape = draw(shapes)
    values = draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))
    axis = draw(st.none() | st.integers(0, len(shape) - 1))
    return np.array(values, np.float32).reshape(shape), axis


@given(tensors(st.floats(width=32)), st.sampled_from([1, 2, 5, 2**18]))
def test_statistics_of_any_values(tensor, block):
    values, axis = tensor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_statistics, "BLOCK", block)
        assert_as_defined(ChannelStatistics.of(values, axis, finite=False), values, axis)


@given(tensors(st.floats(width=32, allow_nan=False, allow_infinity=False)), st.sampled_from([1, 2, 5, 2**18]))
def test_statistics_of_finite_values_are_the_same_the_quick_way(tensor, block):
    values, axis = tensor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_statistics, "BLOCK", block)
        quick = ChannelStatistics.of(values, axis)
        assert_as_defined(quick, values, axis)
        assert same_bits(quick, ChannelStatistics.of(values, axis, finite=False))


@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 2, 600, 500), 1), ((1, 700, 600), 2), ((2, 3, 300, 300), 1), ((300_000,), None)]
)
def test_statistics_of_more_than_a_block(shape, axis):
    values = np.random.default_rng(1).normal(3, 2, shape).astype(np.float32)
    assert values.size > channel_statistics.BLOCK
    found = ChannelStatistics.of(values, axis)
    rows = np.stack(channels_of(values, axis)).astype(np.float64)
    np.testing.assert_array_equal(found.low, rows.min(axis=1))
    np.testing.assert_array_equal(found.high, rows.max(axis=1))
    np.testing.assert_allclose(found.mean, rows.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.square, np.square(rows).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 3, 0), (0,)])
@pytest.mark.parametrize("finite", [True, False])
def test_a_tensor_of_nothing(shape, finite):
    for axis in (None, *range(len(shape))):
        assert_as_defined(ChannelStatistics.of(np.zeros(shape, np.float32), axis, finite=finite), np.zeros(shape), axis)


def test_a_number_is_a_channel():
    assert_as_defined(ChannelStatistics.of(np.array(3, np.float32), None), np.array(3.0), None)


def test_a_tensor_that_is_not_contiguous():
    values = np.random.default_rng(2).normal(size=(5, 4, 6)).astype(np.float32)
    turned = values.transpose(2, 1, 0)[::2]
    assert_as_defined(ChannelStatistics.of(turned, 1), turned, 1)
