"""From outputs to metres: what counts as a map, and every formula against numbers and properties."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ncdb_dask.model.decode import FORMULAS, as_map, decode
from ncdb_dask.model.keys import DECODINGS
from ncdb_dask.model.spec import OutputSpec

SIGMOIDS = ("inverse-sigmoid", "log-sigmoid")
PAIR = OutputSpec(("whole", "rest"), "integer-fraction", max=15.0)
RANGES = st.tuples(st.floats(1e-3, 10), st.floats(1.01, 1e4)).map(lambda pair: (pair[0], pair[0] * pair[1]))
UNIT = arrays.arrays(np.float64, (3, 5), elements=st.floats(0, 1))


def at(value: float, **output: object) -> float:
    return decode([np.array([[value]])], OutputSpec(**output)).item()  # type: ignore[arg-type]


# What is one map


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", "u1", "i1", "u2", "i4", "u4", "i8"])
@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (4, 5, 1), (1, 1, 4, 5), (1, 4, 5, 1)])
def test_every_way_to_write_one_map_is_read(shape, kind):
    values = np.arange(20).astype(kind)
    found = as_map(values.reshape(shape), "depth")
    assert found.dtype == np.float64
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.arange(20.0).reshape(4, 5))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 5), (1, 5)),
        ((5, 1), (5, 1)),
        ((1, 1), (1, 1)),
        ((1, 1, 5), (1, 5)),
        ((5, 1, 1), (5, 1)),
        ((1, 5, 1), (5, 1)),  # 1 x H x W before H x W x 1
        ((1, 1, 1, 5), (1, 5)),
        ((1, 1, 5, 1), (5, 1)),  # 1 x 1 x H x W before 1 x H x W x 1
        ((1, 5, 1, 1), (5, 1)),
        ((1, 1, 1, 1), (1, 1)),
    ],
)
def test_a_side_of_one_pixel_stays(shape, size):
    assert as_map(np.zeros(shape), "depth").shape == size


@pytest.mark.parametrize(
    "shape", [(), (5,), (2, 4, 5), (1, 2, 4, 5), (2, 1, 4, 5), (1, 4, 5, 3), (1, 1, 1, 4, 5), (0, 5), (1, 1, 4, 0)]
)
def test_another_shape_is_refused_with_what_is_expected(shape):
    with pytest.raises(
        ValueError, match=r'the output "depth" has the shape .*; expected one map: H x W, 1 x H x W'
    ) as e:
        as_map(np.zeros(shape), "depth")
    assert (" x ".join(map(str, shape)) or "a single number") in str(e.value)


@pytest.mark.parametrize("kind", [bool, complex, str, object])
def test_another_type_is_refused(kind):
    with pytest.raises(ValueError, match=r'the output "depth" is .*; expected a float or integer type'):
        as_map(np.zeros((4, 5)).astype(kind), "depth")


def test_a_map_is_a_copy_in_order_however_it_lies_in_memory():
    values = np.arange(20.0).reshape(5, 4).T
    found = as_map(values, "depth")
    found[0, 0] = 99
    assert found.flags.c_contiguous
    assert values[0, 0] == 0


# Formulas


def test_every_decoding_has_a_formula():
    assert list(FORMULAS) == list(DECODINGS)


@pytest.mark.parametrize(
    ("value", "metres"), [(0, 15), (1 / 255, 13.468309859), (0.25, 1.818181818), (0.5, 0.967741935), (1, 0.5)]
)
def test_inverse_sigmoid(value, metres):
    assert at(value, decode="inverse-sigmoid", min=0.5, max=15.0) == pytest.approx(metres, abs=1e-9)


@pytest.mark.parametrize(("value", "metres"), [(0, 15), (0.5, 2.738612788), (1, 0.5)])
def test_log_sigmoid(value, metres):
    assert at(value, decode="log-sigmoid", min=0.5, max=15.0) == pytest.approx(metres, abs=1e-9)


@pytest.mark.parametrize(("whole", "rest", "metres"), [(85 / 255, 0.5, 5.5), (85 / 255, 88 / 255, 5.345098039)])
def test_integer_fraction(whole, rest, metres):
    assert decode([np.array([[whole]]), np.array([[rest]])], PAIR).item() == pytest.approx(metres, abs=1e-9)


def test_linear_and_reciprocal():
    assert at(7, decode="linear", factor=0.1, offset=2) == pytest.approx(2.7)
    assert at(7, decode="linear") == 7
    assert at(4, decode="reciprocal", factor=3, offset=2, gain=0.25) == pytest.approx(1)
    assert at(4, decode="reciprocal") == 0.25


@settings(deadline=None)
@given(RANGES, st.sampled_from(SIGMOIDS))
def test_the_ends_of_a_sigmoid_are_max_and_min(span, formula):
    low, high = span
    assert at(0, decode=formula, min=low, max=high) == pytest.approx(high)
    assert at(1, decode=formula, min=low, max=high) == pytest.approx(low)


@settings(deadline=None)
@given(RANGES, st.sampled_from(SIGMOIDS), UNIT)
def test_more_sigmoid_is_nearer_and_stays_in_the_range(span, formula, values):
    low, high = span
    metres = decode([np.sort(values, axis=None).reshape(1, -1)], OutputSpec((), formula, min=low, max=high))
    assert (np.diff(metres) <= high * 1e-12).all()
    assert ((metres >= low * (1 - 1e-9)) & (metres <= high * (1 + 1e-9))).all()


@settings(deadline=None)
@given(st.sampled_from([name for name in DECODINGS if name != "integer-fraction"]), UNIT)
def test_float32_is_computed_in_float64_and_whatever_the_shape(formula, values):
    spec = OutputSpec((), formula, factor=0.3, offset=2.0, gain=3.0, **({"min": 0.5, "max": 80.0}))
    single = values.astype(np.float32)
    found = decode([single[None, None]], spec)
    np.testing.assert_array_equal(found, decode([single.astype(np.float64)[..., None]], spec))
    np.testing.assert_allclose(found, decode([values], spec), rtol=1e-4)  # 80 / 0.5 times float32's own 6e-8
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float64, (3, 5), True)


@settings(deadline=None)
@given(UNIT, UNIT)
def test_integer_and_fraction_add_up_pixel_by_pixel(whole, rest):
    np.testing.assert_array_equal(decode([whole[None], rest[None, None]], PAIR), whole * 15.0 + rest)


def test_division_by_zero_is_inf_and_nan_stays_without_a_warning():
    values = np.array([[0, math.nan, math.inf, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode([values], OutputSpec(decode="reciprocal"))
        infinite = decode([values], OutputSpec(decode="linear", factor=-1e308, offset=-1e308))
        decode([values * 1e6], OutputSpec(decode="log-sigmoid", min=0.5, max=15.0))
    np.testing.assert_array_equal(found, [[math.inf, math.nan, 0, 1]])
    np.testing.assert_array_equal(infinite, [[-1e308, math.nan, -math.inf, -math.inf]])


def test_the_outputs_stay_as_they_are():
    values = np.ones((2, 2))
    decode([values], OutputSpec(factor=3.0))[:] = 7
    assert (values == 1).all()


# What is refused


def test_the_output_that_is_no_map_is_named():
    with pytest.raises(ValueError, match='the output "rest" has the shape 2 x 3 x 4'):
        decode([np.zeros((3, 4)), np.zeros((2, 3, 4))], PAIR)


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="have the sizes 1 x 4 and 3 x 4; expected two maps of the same size"):
        decode([np.zeros((1, 4)), np.zeros((3, 4))], PAIR)  # NumPy would repeat the row


@pytest.mark.parametrize(("count", "spec", "wanted"), [(1, PAIR, 2), (2, OutputSpec(), 1), (0, OutputSpec(), 1)])
def test_another_number_of_outputs_is_refused(count, spec, wanted):
    with pytest.raises(ValueError, match=f"found {count} outputs; decode = .* takes {wanted}"):
        decode([np.zeros((3, 4))] * count, spec)
