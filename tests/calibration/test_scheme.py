"""Grids: what ONNX Runtime derives from a range, to the last bit."""

import math

import numpy as np
import pytest
from helpers.schemes import fake_quantized
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import compute_scale_zp, get_qmin_qmax_for_qType

from ncdb_dask.calibration.scheme import Grid, Scheme
from ncdb_dask.errors import CalibrationError, QuantizationError

SCHEMES = [
    Scheme(bits, signed, symmetric, power_of_two)
    for bits in (8, 16)
    for signed in (False, True)
    for symmetric in (False, True)
    for power_of_two in (False, True)
]
TYPES = {
    (8, False): TensorProto.UINT8,
    (8, True): TensorProto.INT8,
    (16, False): TensorProto.UINT16,
    (16, True): TensorProto.INT16,
}
GREATEST = float(np.finfo(np.float32).max)
schemes = st.sampled_from(SCHEMES)
edge = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-10, 10, width=32) | st.just(0.0)
ranges = st.tuples(edge, edge).map(sorted)


def derived(low: float, high: float, scheme: Scheme) -> tuple[float, int]:
    """Return scale and zero point that ONNX Runtime derives from a range of float32 numbers."""
    kind = TYPES[scheme.bits, scheme.signed]
    limits = get_qmin_qmax_for_qType(kind, symmetric=scheme.symmetric)
    zero_point, scale = compute_scale_zp(np.float32(low), np.float32(high), *limits, scheme.symmetric)
    return float(scale), int(zero_point)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_integers_are_those_of_onnx_runtime(scheme):
    limits = get_qmin_qmax_for_qType(TYPES[scheme.bits, scheme.signed], symmetric=scheme.symmetric)
    assert (scheme.quantized_min, scheme.quantized_max) == tuple(map(int, limits))


def test_names():
    assert Scheme().name == "uint8"
    assert Scheme(8, signed=True, symmetric=True).name == "int8 symmetric"
    assert Scheme(16, power_of_two=True).name == "uint16 power of two"
    assert len({scheme.name for scheme in SCHEMES}) == len(SCHEMES)


@given(ranges, schemes)
@example((-GREATEST, GREATEST), Scheme())
@example((0.0, GREATEST), Scheme(power_of_two=True))
@example((-2e38, 2e38), Scheme(power_of_two=True))
@example((0.0, 1e-45), Scheme(16, power_of_two=True))
@example((0.0, 1e-37), Scheme())
@example((-5.0, -5.0), Scheme(signed=True))
def test_the_grid_is_what_onnx_runtime_derives_from_the_range_handed_over(given_range, scheme):
    grid = scheme.grid(*given_range)
    assert (np.float32(grid.low), np.float32(grid.high)) == (grid.low, grid.high)
    assert derived(grid.low, grid.high, scheme) == (grid.scale, grid.zero_point)
    assert grid.low <= 0 <= grid.high
    assert scheme.quantized_min <= grid.zero_point <= scheme.quantized_max
    if not scheme.power_of_two:  # and from the range as it was
        assert derived(*given_range, scheme) == (grid.scale, grid.zero_point)


@given(ranges, schemes)
def test_a_grid_is_its_own_grid(given_range, scheme):
    grid = scheme.grid(*given_range)
    assert scheme.grid(grid.low, grid.high) == grid


@given(st.lists(ranges, min_size=1, max_size=8), schemes)
def test_many_at_once(several, scheme):
    low, high = np.array([(min(low, 0), max(high, 0)) for low, high in several]).T
    if scheme.symmetric:
        high = np.maximum(-low, high)
        low = -high
    scale, zero_point = scheme.derived(low, high)
    for k in range(len(several)):
        assert (scale[k], zero_point[k]) == derived(low[k], high[k], scheme)


@given(ranges, schemes)
def test_no_value_of_the_range_is_missed_by_more_than_half_a_step(given_range, scheme):
    grid = scheme.grid(*given_range)
    missed = np.abs(fake_quantized(np.array(given_range), grid, scheme) - given_range)
    fits = scheme.power_of_two is False or (given_range[1] <= 1e38 and given_range[0] >= -1e38)
    if fits:
        assert (missed <= grid.scale * (0.5 + scheme.steps * 2.0**-23)).all()


@given(ranges, schemes.filter(lambda scheme: scheme.power_of_two))
def test_a_power_of_two_is_the_least_that_spans_the_range(given_range, scheme):
    low, high = min(given_range[0], 0), max(given_range[1], 0)
    if scheme.symmetric:
        high = max(-low, high)
        low = -high
    grid = scheme.grid(low, high)
    mantissa, exponent = math.frexp(grid.scale)
    assert mantissa == 0.5
    if high > low and high <= 1e38 and low >= -1e38:
        assert grid.scale * scheme.steps >= high - low
        assert exponent - 1 == -126 or grid.scale / 2 * scheme.steps < high - low
        within = grid.scale * 1e-9  # what rounding of float64 can hide
        reaches = grid.low <= low + within and grid.high >= high - within
        spare = grid.scale * scheme.steps - (high - low)
        assert reaches or spare < grid.scale


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_nothing_but_zero(scheme):
    assert scheme.grid(0.0, 0.0) == scheme.grid(-0.0, -0.0) == Grid(1.0, 0, 0.0, 0.0)
    assert str(scheme.grid(-0.0, 0.0).low) == "0.0"
    assert not scheme.resolves(0.0, 0.0)
    assert not scheme.resolves(0.0, 1e-38)
    assert scheme.resolves(0.0, 1e-30)


@given(st.floats(2**-100, 2**126, width=32), st.sampled_from([-1, 1]), schemes)
def test_a_constant_is_met_within_half_a_step(size, sign, scheme):
    grid = scheme.grid(sign * size, sign * size)
    found = fake_quantized(np.array([sign * size]), grid, scheme)[0]
    assert abs(found - sign * size) <= grid.scale * (0.5 + scheme.steps * 2.0**-23)
    assert found != 0


def test_a_range_beyond_float32_is_cut():
    assert Scheme().grid(-1e300, 1e300) == Scheme().grid(-GREATEST, GREATEST)


def test_fake_quantization_by_hand():
    scheme = Scheme(8, signed=True, symmetric=True)
    grid = scheme.grid(-127.0, 127.0)
    values = np.array([0.5, 1.5, -0.5, 0.49, 126.6, 300, -300], dtype=np.float32)
    assert fake_quantized(values, grid, scheme).tolist() == [0, 2, 0, 0, 127, 127, -127]
    asymmetric = Scheme().grid(-1.0, 254.0)
    assert fake_quantized(np.array([-9.0, -0.6, 0.0, 254.4]), asymmetric, Scheme()).tolist() == [-1, -1, 0, 254]


@pytest.mark.parametrize("wrong", [(1.0, -1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_what_is_no_range(wrong):
    with pytest.raises(CalibrationError, match="expected two finite numbers, the lower first"):
        Scheme().grid(*wrong)


def test_what_is_no_scheme():
    with pytest.raises(QuantizationError, match="activations of 4 bits; expected 8 or 16"):
        Scheme(4)
