"""Ranges: each method against its definition, written out, and what no method may depend on."""

import itertools
import math

import numpy as np
import pytest
from helpers.schemes import fake_quantized
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto
from onnxruntime.quantization.calibrate import HistogramCollector
from onnxruntime.quantization.quant_utils import compute_scale_zp, get_qmin_qmax_for_qType

from ncdb_dask.calibration.divergence import EPSILON, divergences
from ncdb_dask.calibration.histogram import Histogram, ordered
from ncdb_dask.calibration.ranges import METHODS, Range, find_range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.squared_error import squared_error
from ncdb_dask.errors import CalibrationError

UINT8 = Scheme()
INT8 = Scheme(8, signed=True, symmetric=True)
SCHEMES = [
    Scheme(bits, signed, symmetric, power_of_two)
    for bits in (8, 16)
    for signed in (False, True)
    for symmetric in (False, True)
    for power_of_two in (False, True)
]
TYPES = {(8, False): "UINT8", (8, True): "INT8", (16, False): "UINT16", (16, True): "INT16"}
schemes = st.sampled_from(SCHEMES)
methods = st.sampled_from(METHODS)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = arrays(np.float32, st.integers(1, 60), elements=finite | st.floats(-4, 4, width=32) | st.just(0.0))


def sample(kind: str, size: int = 30_000) -> np.ndarray:
    rng = np.random.default_rng(7)
    normal = rng.standard_normal(size)
    values = {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "negative": -np.abs(normal) - 1,
        "positive": np.abs(normal) + 3,
        "laplace": rng.laplace(size=size),
        "heavy": rng.standard_t(3, size=size),
        "leaky": np.where(normal < 0, 0.05 * normal, normal * np.exp(rng.standard_normal(size))),
        "two humps": np.where(rng.random(size) < 0.98, normal, 0.1 * normal + 40),
        "outlier": np.r_[normal[1:], 60.0],
        "sigmoid": 1 / (1 + np.exp(-4 * normal)),
        "uniform": rng.uniform(-3, 5, size),
    }
    return values[kind].astype(np.float32)


KINDS = ["normal", "relu", "negative", "positive", "laplace", "heavy", "leaky", "two humps", "outlier", "sigmoid"]


def true_error(values: np.ndarray, found: Range, scheme: Scheme) -> float:
    quantized = fake_quantized(values, scheme.grid(found.low, found.high), scheme)
    return float(np.mean((quantized - values) ** 2))


def expected_error(histogram: Histogram, found: Range, scheme: Scheme) -> float:
    grid = np.array([found.scale]), np.array([found.zero_point])
    return float(squared_error(ordered(histogram), scheme, *grid)[0])


@given(numbers, methods, schemes, st.floats(50, 100))
@example(np.array([3e38, -3e38, 1], dtype=np.float32), "mse", Scheme(power_of_two=True), 99.0)
@example(np.array([1e-45, 0], dtype=np.float32), "entropy", Scheme(power_of_two=True), 99.0)
@example(np.array([1e-40, 1e-41, 0], dtype=np.float32), "mse", UINT8, 99.0)
def test_every_range_is_one_that_onnx_runtime_takes(values, method, scheme, percentile):
    found = find_range(Histogram.of(values), method, scheme, percentile)
    limits = get_qmin_qmax_for_qType(
        getattr(TensorProto, TYPES[scheme.bits, scheme.signed]), symmetric=scheme.symmetric
    )
    zero_point, scale = compute_scale_zp(np.float32(found.low), np.float32(found.high), *limits, scheme.symmetric)
    assert (float(scale), int(zero_point)) == (found.scale, found.zero_point)
    assert (np.float32(found.low), np.float32(found.high)) == (found.low, found.high)
    assert found.low <= 0 <= found.high
    assert 0 <= found.clipped <= 1
    assert found.method == method


@given(numbers, methods, schemes, st.lists(st.integers(0, 60), max_size=4).map(sorted), st.randoms())
def test_no_method_depends_on_order_or_sharding(values, method, scheme, cuts, random):
    whole = find_range(Histogram.of(values), method, scheme)
    shuffled = values.tolist()
    random.shuffle(shuffled)
    parts = [Histogram.of(part) for part in np.split(np.array(shuffled, dtype=np.float32), cuts)]
    assert find_range(parts[0].merged(*parts[1:]), method, scheme) == whole


def test_onnx_runtimes_entropy_depends_on_the_order_of_batches_and_ours_does_not():
    rng = np.random.default_rng(1)
    batches = [(rng.standard_normal(4000) * size).astype(np.float32) for size in (1, 3, 20, 0.3)]

    def theirs(order):
        collector = HistogramCollector("entropy", False, 128, 128, 99.999, "same")
        for batch in order:
            collector.collect({"x": batch})
        return [float(edge) for edge in collector.compute_collection_result()["x"][:2]]

    def ours(order):
        first, *rest = map(Histogram.of, order)
        return find_range(first.merged(*rest), "entropy", UINT8)

    assert theirs(batches) != theirs(batches[::-1])
    assert ours(batches) == ours(batches[::-1])


@given(numbers, schemes.filter(lambda scheme: not scheme.power_of_two))
def test_minmax_is_exact(values, scheme):
    found = find_range(Histogram.of(values), "minmax", scheme)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    reach = max(-low, high)
    assert (found.low, found.high) == ((-reach, reach) if scheme.symmetric else (low, high))
    assert found.clipped == 0


@given(numbers, schemes)
def test_the_percentile_100_is_minmax(values, scheme):
    whole = Histogram.of(np.where(np.abs(values) < 2.0**-132, np.float32(0), values))
    found, minmax = find_range(whole, "percentile", scheme, 100), find_range(whole, "minmax", scheme)
    assert (found.low, found.high, found.clipped) == (minmax.low, minmax.high, minmax.clipped)


@pytest.mark.parametrize("percentile", [90, 99, 99.9, 99.99])
@pytest.mark.parametrize("kind", KINDS)
def test_percentiles(kind, percentile):
    values = sample(kind, 200_000).astype(np.float64)
    histogram = Histogram.of(values.astype(np.float32))
    low, high = np.quantile(values, [(100 - percentile) / 200, (100 + percentile) / 200])
    found = find_range(histogram, "percentile", UINT8, percentile)
    assert found.low == pytest.approx(min(low, 0), rel=1 / 64)
    assert found.high == pytest.approx(max(high, 0), rel=1 / 64)
    found = find_range(histogram, "percentile", INT8, percentile)
    assert found.high == -found.low == pytest.approx(np.quantile(np.abs(values), percentile / 100), rel=1 / 64)
    assert found.clipped == pytest.approx(1 - percentile / 100, rel=0.2, abs=2e-5)


def test_a_percentile_that_leaves_only_zero_is_the_whole_range():
    values = np.zeros(10**6, dtype=np.float32)
    values[:3] = 1, 2, 100
    for scheme in SCHEMES:
        found = find_range(Histogram.of(values), "percentile", scheme, 99.0)
        whole = find_range(Histogram.of(values), "minmax", scheme)
        assert (found.low, found.high) == (whole.low, whole.high)
        assert found.high >= 100


@settings(max_examples=60)
@given(
    arrays(np.float32, st.integers(2, 12), elements=st.floats(-8, 8, width=32)),
    st.sampled_from([UINT8, INT8, Scheme(8, signed=True), Scheme(16)]),
    st.floats(0.004, 3),
    st.floats(0, 1),
)
def test_the_expected_error_is_the_integral_over_uniform_cells(values, scheme, scale, place):
    zero_point = scheme.quantized_min + round(place * scheme.steps)
    cells = ordered(Histogram.of(values))
    points = (np.arange(4000) + 0.5) / 4000
    drawn = cells.left[:, None] + (cells.right - cells.left)[:, None] * points
    steps = np.rint(drawn / scale)
    # The definition: q is rounded, then cut to the integers there are.
    kept = np.minimum(np.maximum(steps + zero_point, scheme.quantized_min), scheme.quantized_max) - zero_point
    exact = ((kept * scale - drawn) ** 2).mean(axis=1) @ cells.weight / values.size
    # A second grid must not change what is found for the first.
    found = squared_error(cells, scheme, np.array([scale, scale / 8]), np.array([zero_point, zero_point]))
    assert found[0] == pytest.approx(exact, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("scheme", [UINT8, INT8, Scheme(8, symmetric=True), Scheme(8, signed=True)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_mse_is_as_good_as_brute_force_over_the_samples(kind, scheme):
    values = sample(kind)
    histogram = Histogram.of(values)
    found = true_error(values, find_range(histogram, "mse", scheme), scheme)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    factors = np.geomspace(0.02, 1, 30)
    pairs = [(f, f) for f in factors] if scheme.symmetric else itertools.product(factors if low else [1], factors)
    best = np.inf
    for one, other in pairs:
        grid = scheme.grid(low * one, high * other)
        best = min(best, float(np.mean((fake_quantized(values, grid, scheme) - values) ** 2)))
    assert found <= 1.03 * best
    assert expected_error(histogram, find_range(histogram, "mse", scheme), scheme) == pytest.approx(found, rel=0.06)


@pytest.mark.parametrize("scheme", [Scheme(8, False, False, True), Scheme(8, True, True, True)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_mse_of_powers_of_two_is_as_good_as_all_of_them(kind, scheme):
    values = sample(kind, 4000)
    found = find_range(Histogram.of(values), "mse", scheme)
    assert math.frexp(found.scale)[0] == 0.5
    whole = find_range(Histogram.of(values), "minmax", scheme)
    best = np.inf
    for octave in range(8):
        scale = whole.scale / 2**octave
        steps = np.rint(values / scale)
        for zero_point in [0] if scheme.symmetric else range(0, 256, 3):
            kept = np.clip(steps, scheme.quantized_min - zero_point, scheme.quantized_max - zero_point)
            best = min(best, float(np.mean((kept * scale - values) ** 2)))
    assert true_error(values, found, scheme) <= 1.03 * best


@given(numbers, schemes)
def test_mse_is_never_worse_than_minmax(values, scheme):
    histogram = Histogram.of(values)
    found = expected_error(histogram, find_range(histogram, "mse", scheme), scheme)
    assert found <= expected_error(histogram, find_range(histogram, "minmax", scheme), scheme)


def test_mse_clips_a_lone_outlier_and_keeps_what_counts():
    values = sample("outlier", 1_000_000)
    found = find_range(Histogram.of(values), "mse", INT8)
    assert found.high < 20
    assert found.clipped == pytest.approx(np.mean(np.abs(values) > found.high), rel=0.5)
    assert find_range(Histogram.of(sample("uniform")), "mse", UINT8).clipped < 2e-3


def divergence(values: list[float], start: int, stop: int, levels: int) -> float:
    """KL(P || Q) for one range of bins, word by word as in the source."""
    if not sum(values[start:stop]):
        return math.inf
    p = list(values[start:stop])
    p[0] += sum(values[:start])
    p[-1] += sum(values[stop:])
    q = [0.0] * len(p)
    for level in range(levels):
        members = [k for k in range(len(p)) if k * levels // len(p) == level]
        filled = [k for k in members if p[k] > 0]
        for k in filled:
            q[k] = max(sum(values[start + member] for member in members), EPSILON) / len(filled)
    inside = sum(values[start:stop])
    return sum(a / sum(p) * math.log(a / sum(p) / (b / inside)) for a, b in zip(p, q, strict=True) if a > 0)


@given(
    st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5, 7.0, 40.0]), min_size=12, max_size=30).filter(any),
    st.integers(0, 4),
    st.integers(2, 8),
)
def test_divergences_are_those_of_the_source(values, start, levels):
    stops = np.arange(start + levels, len(values) + 1)
    found = divergences(np.array(values), start, stops, levels)
    expected = [divergence(values, start, int(stop), levels) for stop in stops]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", ["normal", "relu", "heavy", "laplace", "leaky", "outlier"])
def test_entropy_finds_the_least_divergence_of_a_uniform_histogram(kind):
    """The histogram is of the samples themselves, every 64th threshold is tried, for time."""
    values = np.abs(sample(kind, 300_000).astype(np.float64))
    reach = values.max()
    bins = np.histogram(values[values > 0], 2048, (0, reach))[0].astype(float).tolist()
    found = find_range(Histogram.of(sample(kind, 300_000)), "entropy", INT8)
    tried = [divergence(bins, 0, stop, 128) for stop in range(128, 2049, 64)]
    ours = divergence(bins, 0, round(found.high / reach * 2048), 128)
    # In the tails the samples are scattered, the cells are even: that is the tolerance, and all that there is.
    assert ours <= 1.15 * min(tried) + 1e-4
    assert max(tried) > 8 * ours  # so that not just any threshold would do


@pytest.mark.parametrize("kind", ["normal", "heavy", "leaky", "laplace"])
def test_entropy_of_both_sides_is_a_least_one_along_each(kind):
    values = sample(kind, 300_000).astype(np.float64)
    low, high = min(values.min(), 0), max(values.max(), 0)
    bins = np.histogram(values, 2048, (low, high))[0].astype(float).tolist()
    found = find_range(Histogram.of(values.astype(np.float32)), "entropy", UINT8)
    start, stop = (round((edge - low) / (high - low) * 2048) for edge in (found.low, found.high))
    ours = divergence(bins, start, stop, 256)
    zero = round(-low / (high - low) * 2048)
    tried = [divergence(bins, start, end, 256) for end in range(max(zero, start + 256), 2049, 97)]
    tried += [divergence(bins, begin, stop, 256) for begin in range(0, min(zero, stop - 256) + 1, 97)]
    assert ours <= 1.3 * min(tried) + 1e-3
    assert max(tried) > 8 * ours


def test_entropy_clips_heavy_tails_and_nothing_of_an_even_spread():
    heavy = find_range(Histogram.of(sample("heavy", 300_000)), "entropy", INT8)
    assert heavy.high < 0.5 * find_range(Histogram.of(sample("heavy", 300_000)), "minmax", INT8).high
    even = np.arange(-(2**16), 2**16, dtype=np.float32)
    for scheme in (UINT8, INT8):
        assert find_range(Histogram.of(even), "entropy", scheme).clipped < 1e-3


def test_entropy_does_not_clip_all_that_matters_to_the_value_that_is_most_frequent():
    """As the source has it, a range that ends at 2 loses nothing: all of P and Q is in its last bin."""
    values = np.r_[np.full(10_000, 1.99), np.random.default_rng(0).uniform(2, 32, 10_000), 32].astype(np.float32)
    bins = ordered(Histogram.of(values)).shared(np.linspace(0, 32, 2049))
    assert divergences(bins, 0, np.array([128]), 128)[0] == pytest.approx(0, abs=1e-9)
    for tensor in (values, -values):
        assert find_range(Histogram.of(tensor), "entropy", INT8).clipped <= 0.1


def test_zeros_do_not_sway_entropy():
    values = sample("relu", 100_000)
    more = np.r_[values, np.zeros(10**6, dtype=np.float32)]
    for scheme in (UINT8, INT8):
        one, other = (find_range(Histogram.of(part), "entropy", scheme) for part in (values, more))
        assert (one.low, one.high) == (other.low, other.high)
        assert one.high < 1.01 * values.max()


@pytest.mark.parametrize("method", METHODS)
def test_one_sided_tensors_stay_one_sided(method):
    for kind in ("relu", "positive", "sigmoid"):
        assert find_range(Histogram.of(sample(kind)), method, UINT8).low == 0
    found = find_range(Histogram.of(sample("negative")), method, UINT8)
    assert (found.high, found.zero_point) == (0, 255)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["normal", "heavy", "leaky"])
def test_a_mirrored_tensor_has_the_mirrored_range(kind, method):
    values = sample(kind)
    one, other = (find_range(Histogram.of(part), method, UINT8) for part in (values, -values))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), rel=0.02, abs=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_tensors_without_spread(scheme, method):
    def found(*values):
        return find_range(Histogram.of(np.array(values, dtype=np.float32)), method, scheme)

    for nothing in ((), (math.nan,), (math.inf, -math.inf), (0.0,), (0.0, -0.0, 0.0)):
        assert found(*nothing) == Range(method, 0.0, 0.0, 1.0, 0, 0.0)
    for constant in (5.0, -0.3, 1e30, -1e-30):
        one = found(constant, constant)
        value = fake_quantized(np.array([constant]), scheme.grid(one.low, one.high), scheme)[0]
        assert abs(value - constant) <= 0.51 * one.scale
        assert one.clipped == 0 or scheme.power_of_two
        assert one == found(constant)


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_not_finite_change_nothing(method):
    values = sample("normal", 1000)
    more = np.r_[values, np.array([np.nan, np.inf, -np.inf], dtype=np.float32)]
    assert find_range(Histogram.of(more), method, UINT8) == find_range(Histogram.of(values), method, UINT8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-100, -30, 40, 123])
def test_a_scaled_tensor_has_the_scaled_range(exponent, method):
    """Bins are the same in each octave, and so is everything else: 2**123 takes the greatest value to 4e37."""
    values = sample("normal", 5000)
    factor = np.float32(2.0**exponent)
    for scheme in (UINT8, INT8, Scheme(8, False, False, True)):
        one, other = (find_range(Histogram.of(part), method, scheme) for part in (values, values * factor))
        assert other.low == pytest.approx(one.low * factor, rel=1e-5)
        assert other.high == pytest.approx(one.high * factor, rel=1e-5)
        assert other.zero_point == one.zero_point


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_sixteen_bits_clip_next_to_nothing(kind):
    values = sample(kind, 100_000)
    histogram = Histogram.of(values)
    scheme = Scheme(16)
    minmax = find_range(histogram, "minmax", scheme)
    entropy = find_range(histogram, "entropy", scheme)
    assert (entropy.low, entropy.high) == (minmax.low, minmax.high)
    mse = find_range(histogram, "mse", scheme)
    assert mse.clipped < 1e-4
    assert true_error(values, mse, scheme) < 1.1 * true_error(values, minmax, scheme)
    assert true_error(values, mse, scheme) < 1e-3 * true_error(values, find_range(histogram, "mse", UINT8), UINT8)


def test_what_cannot_be_asked_for():
    histogram = Histogram.of(sample("normal", 10))
    with pytest.raises(CalibrationError, match="'kl'; expected one of minmax, percentile, entropy, mse"):
        find_range(histogram, "kl", UINT8)
    for percentile in (0, -1, 100.1, math.nan):
        with pytest.raises(CalibrationError, match="expected more than 0 and at most 100"):
            find_range(histogram, "percentile", UINT8, percentile)
