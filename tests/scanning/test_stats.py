"""Depth statistics against a plain implementation in metres, and the histogram against single pixels."""

import numpy as np
import pytest
from helpers.oracle import QUANTILES, bin_of, depth_statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ncdb_dask.scanning import stats
from ncdb_dask.scanning.schema import scene_type
from ncdb_dask.scanning.stats import HIST_BINS, DepthStats, depth_stats, histogram_edges

SCALES = (256.0, 1000.0, 1.0, 5000.0)
LEVELS = st.sampled_from([0, 1, 2, 255, 256, 257, 32768, 65534, 65535]) | st.integers(0, 65535)
MAPS = npst.arrays(
    np.uint16, npst.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=LEVELS, fill=st.just(0) | LEVELS
)


def raw_map(*values: int) -> np.ndarray:
    return np.array([values], dtype=np.uint16)


def columns(stats: DepthStats) -> dict[str, float]:
    return {
        "mean_depth": stats.mean,
        "std_depth": stats.std,
        "min_depth": stats.minimum,
        "max_depth": stats.maximum,
        **stats.quantiles,
    }


def check(raw: np.ndarray, scale: float) -> None:
    stats = depth_stats(raw, scale)
    assert columns(stats) == pytest.approx(depth_statistics(raw, scale), rel=1e-6, abs=1e-9)
    assert (stats.valid, stats.total) == (int((raw > 0).sum()), raw.size)
    assert int(stats.histogram.sum()) == stats.valid


# Moments and order statistics


@settings(deadline=None, max_examples=150)
@given(MAPS, st.sampled_from(SCALES))
def test_any_map_agrees_with_the_plain_implementation(raw, scale):
    if raw.any():
        check(raw, scale)
    else:
        assert depth_stats(raw, scale) is None


def sparse(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, 65536, (375, 1242)) * (rng.random((375, 1242)) < 0.04)


def dense(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(300, 1100, (480, 640))


def one_pixel(rng: np.random.Generator) -> np.ndarray:
    raw = np.zeros((300, 200))
    raw[17, 99] = 5120
    return raw


def constant(rng: np.random.Generator) -> np.ndarray:
    return np.full((384, 640), 921)


def extremes(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([1, 65535], (384, 640))


def nearly_constant(rng: np.random.Generator) -> np.ndarray:
    raw = np.full((384, 640), 65535)
    raw[0, 0] = 65534
    return raw


def far_and_large(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(60_000, 65_536, (1536, 1920))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [sparse, dense, one_pixel, constant, extremes, nearly_constant])
def test_typical_maps_agree_with_the_plain_implementation(make, scale):
    check(make(np.random.default_rng(7)).astype(np.uint16), scale)


def test_sums_beyond_64_bits_stay_exact():
    raw = far_and_large(np.random.default_rng(7)).astype(np.uint16)
    wide = raw.astype(np.int64)
    assert raw.size * int((wide * wide).sum()) > 2**63
    check(raw, 256.0)


def test_the_order_of_pixels_changes_nothing():
    raw = dense(np.random.default_rng(1)).astype(np.uint16)
    shuffled = np.random.default_rng(2).permutation(raw.ravel()).reshape(640, 480)
    assert columns(depth_stats(raw, 256.0)) == columns(depth_stats(shuffled, 256.0))


def test_a_map_without_a_valid_pixel_has_no_statistics():
    assert depth_stats(np.zeros((4, 5), dtype=np.uint16), 256.0) is None
    assert depth_stats(np.zeros((4, 5), dtype=np.uint16), None) is None


def test_invalid_pixels_count_in_the_total_only():
    stats = depth_stats(raw_map(0, 256, 0, 512), 256.0)
    assert (stats.valid, stats.total, stats.mean, stats.minimum) == (2, 4, 1.5, 1.0)


def test_vector_21_of_the_conventions():
    stats = depth_stats(raw_map(1, 2, 3, 4), 1.0)
    assert stats.quantiles["median_depth"] == 2.5
    assert stats.quantiles["p90"] == pytest.approx(3.7)
    assert stats.quantiles["p95"] == pytest.approx(3.85)
    assert stats.std == pytest.approx(1.118033989)


@pytest.mark.parametrize(
    ("raw", "metres"), [(1, 0.00390625), (255, 0.99609375), (256, 1.0), (5120, 20.0), (65535, 255.99609375)]
)
def test_vector_15_of_the_conventions(raw, metres):
    stats = depth_stats(raw_map(0, raw), 256.0)
    assert columns(stats) == dict.fromkeys(columns(stats), metres) | {"std_depth": 0.0}


@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_map_has_no_spread(scale):
    assert depth_stats(np.full((100, 100), 777, dtype=np.uint16), scale).std == 0.0


def test_the_quantiles_are_those_that_the_table_names():
    assert set(depth_stats(raw_map(1), 256.0).quantiles) == set(QUANTILES)


# The histogram


def test_the_edges_are_sixteen_to_the_octave_around_one_metre():
    edges = histogram_edges()
    assert edges.shape == (HIST_BINS + 1,) == (257,)
    assert edges[[0, 128, 144, 256]].tolist() == [2.0**-8, 1.0, 2.0, 256.0]
    np.testing.assert_allclose(edges, [2 ** (-8 + k / 16) for k in range(257)], rtol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_every_raw_value_falls_into_the_bin_whose_edges_hold_it(scale):
    edges = histogram_edges()
    values = np.unique(np.concatenate([np.arange(1, 600), np.arange(600, 65536, 97), 2 ** np.arange(16), [65535]]))
    for value in values:
        (filled,) = np.flatnonzero(depth_stats(raw_map(value), scale).histogram)
        assert filled == bin_of(value / scale, edges), value


@settings(deadline=None, max_examples=60)
@given(MAPS.filter(np.any), st.sampled_from(SCALES))
def test_the_histogram_counts_each_valid_pixel_once(raw, scale):
    edges = histogram_edges()
    expected = np.zeros(HIST_BINS, dtype=int)
    for value in raw[raw > 0]:
        expected[bin_of(value / scale, edges)] += 1
    np.testing.assert_array_equal(depth_stats(raw, scale).histogram, expected)


@settings(deadline=None, max_examples=60)
@given(MAPS.filter(np.any), st.integers(0, 14), st.sampled_from(SCALES))
def test_histograms_of_parts_add_up_to_that_of_the_whole(raw, cut, scale):
    parts = [depth_stats(part, scale) for part in (raw[:cut], raw[cut:]) if part.any()]
    np.testing.assert_array_equal(sum(part.histogram for part in parts), depth_stats(raw, scale).histogram)


# The unit


@pytest.mark.parametrize(
    ("values", "scale", "ambiguous"),
    [
        ([255], 1.0, True),
        ([1, 2, 3], 1.0, True),
        ([256], 256.0, False),
        ([5120, 3000, 400], 256.0, False),
        ([255] * 999 + [256], 256.0, True),
        ([100] * 999 + [65535], 256.0, True),
        ([100] * 97 + [5000] * 3, 256.0, False),
        ([255] * 50 + [4000] * 50, 256.0, False),
    ],
    ids=["255", "small", "256", "clear", "one-above", "hot-pixel", "three-in-a-hundred", "half"],
)
def test_auto_applies_the_guides_rule_and_marks_the_maps_where_it_hangs_on_few_pixels(values, scale, ambiguous):
    stats = depth_stats(raw_map(0, *values), None)
    assert (stats.scale, stats.ambiguous) == (scale, ambiguous)
    assert stats.maximum == max(values) / scale


@settings(deadline=None, max_examples=60)
@given(MAPS.filter(np.any))
def test_auto_gives_the_statistics_of_the_scale_that_it_chose(raw):
    automatic = depth_stats(raw, None)
    assert automatic.scale == (256.0 if raw.max() > 255 else 1.0)
    assert columns(automatic) == columns(depth_stats(raw, automatic.scale))


@pytest.mark.parametrize("scale", SCALES)
def test_a_declared_unit_is_never_in_doubt(scale):
    assert depth_stats(raw_map(1, 2, 255), scale).ambiguous is False


# Scenes


@pytest.mark.parametrize(
    ("mean", "kind"),
    [
        (0.004, "indoor"),
        (4.999, "indoor"),
        (5.0, "outdoor_near"),
        (14.999, "outdoor_near"),
        (15.0, "outdoor_far"),
        (256.0, "outdoor_far"),
        (65535.0, "outdoor_far"),
    ],
)
def test_scene_types_have_the_guides_bounds(mean, kind):
    assert scene_type(mean) == kind


def test_counting_in_blocks_changes_nothing(monkeypatch):
    raw = np.random.default_rng(0).integers(0, 2**16, (40, 50)).astype(np.uint16)
    whole = depth_stats(raw, 256.0)
    monkeypatch.setattr(stats, "COUNTED_AT_ONCE", 300)
    blocks = depth_stats(raw, 256.0)
    assert (blocks.mean, blocks.std, blocks.quantiles) == (whole.mean, whole.std, whole.quantiles)
    np.testing.assert_array_equal(blocks.histogram, whole.histogram)
