"""Metrics: figures worked out by hand, definitions in exact sums, and the laws that follow from them."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers.depth_metrics import measured, near, within
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ncdb_dask.evaluation.metrics import METRICS, measure, measure_with_ranges
from ncdb_dask.evaluation.summary import figures_of
from ncdb_dask.model.decode import decode
from ncdb_dask.model.spec import OutputSpec

depths = st.floats(0.01, 250) | st.integers(1, 65535).map(lambda raw: raw / 256)
pairs = st.lists(st.tuples(depths, depths), min_size=1, max_size=20)
factors = st.floats(0.05, 20)

ERRORS = [name for name in METRICS if name not in ("a1", "a2", "a3")]
ACCURACIES = ["a1", "a2", "a3"]
# What becomes of each metric where truth and prediction are multiplied by c: it is multiplied by c to this power.
POWERS = {
    **dict.fromkeys(
        ("abs_rel", "kitti_sq_rel", "rmse_log", "log10", "silog", "silog_half", "log_bias", *ACCURACIES), 0
    ),
    **dict.fromkeys(("sq_rel", "rmse", "mae", "bias"), 1),
    **dict.fromkeys(("irmse", "imae"), -1),
}
SYMMETRIC = ("rmse", "rmse_log", "mae", "log10", "silog", "silog_half", "irmse", "imae", *ACCURACIES)


def floats(values) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def of(truth, prediction) -> dict[str, float]:
    return measure(floats(truth), floats(prediction))


def of_pairs(some) -> dict[str, float]:
    return of(*zip(*some, strict=True))


# Figures worked out by hand


def test_a_perfect_prediction():
    found = of([0.3, 7, 79.9], [0.3, 7, 79.9])
    assert found == {**dict.fromkeys(ERRORS, 0.0), **dict.fromkeys(ACCURACIES, 1.0)}


def test_a_ratio_of_exactly_the_threshold_is_not_within_it():
    found = of([4], [5])
    wanted = {
        "abs_rel": 0.25,
        "sq_rel": 0.25,
        "kitti_sq_rel": 0.0625,
        "rmse": 1,
        "rmse_log": 0.223143551,
        "mae": 1,
        "log10": 0.096910013,
        "silog": 0,
        "silog_half": 0.223143551 / math.sqrt(2),
        "irmse": 50,
        "imae": 50,
        "bias": 1,
        "log_bias": 0.223143551,
    }
    assert {name: found[name] for name in wanted} == {name: pytest.approx(value) for name, value in wanted.items()}
    assert [found[name] for name in ACCURACIES] == [0, 1, 1]
    assert [of([5], [4])[name] for name in ACCURACIES] == [0, 1, 1]
    assert [of([16], [25])[name] for name in ACCURACIES] == [0, 0, 1]
    assert [of([64], [125])[name] for name in ACCURACIES] == [0, 0, 0]
    assert [of([125], [64])[name] for name in ACCURACIES] == [0, 0, 0]
    assert [of([4], [math.nextafter(5, 0)])[name] for name in ACCURACIES] == [1, 1, 1]


@pytest.mark.parametrize(
    ("truth", "prediction", "wanted", "accuracies"),
    [
        (
            [2, 8],
            [4, 4],
            {
                "abs_rel": 0.75,
                "sq_rel": 2,
                "kitti_sq_rel": 0.625,
                "mae": 3,
                "rmse": 3.162277660,
                "rmse_log": 0.693147181,
                "silog": 69.314718056,
                "log10": 0.301029996,
                "irmse": 197.642353761,
                "imae": 187.5,
                "bias": -1,
                "log_bias": 0,
            },
            [0, 0, 0],
        ),
        (
            [1, 2, 3, 4],
            [1.1, 2.2, 3.3, 4.4],
            {
                "abs_rel": 0.1,
                "sq_rel": 0.025,
                "kitti_sq_rel": 0.01,
                "rmse": 0.273861279,
                "rmse_log": 0.09531018,
                "log10": 0.041392685,
                "silog": 0,
                "silog_half": 0.067394474,
                "bias": 0.25,
                "log_bias": 0.09531018,
            },
            [1, 1, 1],
        ),
        (
            [1, 2, 4, 8],
            [1.2, 2.6, 4, 4],
            {
                "abs_rel": 0.25,
                "sq_rel": 0.555,
                "kitti_sq_rel": 0.095,
                "mae": 1.2,
                "rmse": 2.024845673,
                "rmse_log": 0.381617993,
                "log10": 0.123538649,
                "silog": 37.652885331,
                "irmse": 119.076012745,
                "imae": 101.762820513,
                "bias": -0.8,
            },
            [0.5, 0.75, 0.75],
        ),
    ],
)
def test_figures_by_hand(truth, prediction, wanted, accuracies):
    found = of(truth, prediction)
    assert {name: found[name] for name in wanted} == {
        name: pytest.approx(value, rel=1e-8, abs=1e-13) for name, value in wanted.items()
    }
    assert [found[name] for name in ACCURACIES] == accuracies
    assert list(found) == list(METRICS)


def frame(truth, prediction) -> dict[str, object]:
    return {"valid_pixels": len(truth), **of(truth, prediction)}


def test_frames_count_alike_in_the_mean_and_pixels_alike_in_the_pool():
    rows = pd.DataFrame([frame([1.0], [1.5]), frame([2.0, 3.0, 4.0], [2.0, 3.0, 4.0])])
    found = figures_of(rows)
    assert (found.frames, found.pixels) == (2, 4)
    assert found.mean["abs_rel"] == 0.25  # a third frame without a pixel to judge changes neither
    assert found.pooled["abs_rel"] == 0.125
    roots = figures_of(pd.DataFrame([frame([10.0], [13.0]), frame([10.0], [6.0])]))
    assert roots.mean["rmse"] == 3.5
    assert roots.pooled["rmse"] == pytest.approx(3.535533906)


def test_rounding_the_output_of_a_network_to_8_bits_costs_this():
    depth = np.linspace(0.5, 15, 200_001)
    sigmoid = (1 / depth - 1 / 15) / (1 / 0.5 - 1 / 15)
    back = decode([np.rint(sigmoid[None] * 255) / 255], OutputSpec(decode="inverse-sigmoid", min=0.5, max=15.0))
    found = measure(depth, back[0])
    assert found["abs_rel"] == pytest.approx(0.0147, rel=0.02)
    assert found["rmse"] == pytest.approx(0.224, rel=0.02)
    linear = np.rint((depth - 0.5) / 14.5 * 255)[None]
    found = measure(depth, decode([linear], OutputSpec(factor=14.5 / 255, offset=0.5))[0])
    assert found["abs_rel"] == pytest.approx(0.0033, rel=0.02)
    assert found["rmse"] == pytest.approx(0.016, rel=0.04)


# Definitions and laws


@given(pairs)
@example([(4.0, 5.0), (5.0, 4.0), (16.0, 25.0), (64.0, 125.0)])
def test_every_metric_is_what_its_definition_says(some):
    assert of_pairs(some) == near(measured(*zip(*some, strict=True)))


@given(pairs.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_pixels_is_nothing(both):
    some, other = both
    assert of_pairs(some) == near(of_pairs(other))


def test_every_metric_has_a_law_of_scale():
    assert set(POWERS) == set(METRICS)


@given(pairs, factors)
def test_another_unit(some, factor):
    # Not within rounding of a threshold, where accuracies may go either way.
    assume(
        not any(
            within(g, p, 1.25**k * (1 + 1e-9)) != within(g, p, 1.25**k * (1 - 1e-9)) for g, p in some for k in (1, 2, 3)
        )
    )
    found = of_pairs([(g * factor, p * factor) for g, p in some])
    assert found == near({name: value * factor ** POWERS[name] for name, value in of_pairs(some).items()})


@given(pairs, st.integers(-8, 8))
def test_another_unit_that_costs_no_rounding(some, power):
    found = of_pairs([(math.ldexp(g, power), math.ldexp(p, power)) for g, p in some])
    before = of_pairs(some)
    assert found == {name: math.ldexp(value, power * POWERS[name]) for name, value in before.items()}


@given(pairs)
def test_truth_and_prediction_change_places(some):
    found, swapped = of_pairs(some), of_pairs([(p, g) for g, p in some])
    assert {name: swapped[name] for name in SYMMETRIC} == near({name: found[name] for name in SYMMETRIC})
    assert [swapped[name] for name in ACCURACIES] == [found[name] for name in ACCURACIES]
    for name in ("bias", "log_bias"):
        assert swapped[name] == pytest.approx(-found[name], rel=1e-9, abs=1e-9)


def test_errors_relative_to_the_truth_do_change_with_the_places():
    assert of([2], [4])["abs_rel"] == 1
    assert of([4], [2])["abs_rel"] == 0.5
    assert of([2], [4])["sq_rel"] == 2
    assert of([4], [2])["sq_rel"] == 1


@given(pairs)
def test_bounds(some):
    found = of_pairs(some)
    assert all(math.isfinite(value) for value in found.values())
    assert all(found[name] >= 0 for name in METRICS if name not in ("bias", "log_bias"))
    assert 0 <= found["a1"] <= found["a2"] <= found["a3"] <= 1
    slack = 1e-9
    assert abs(found["bias"]) <= found["mae"] + slack <= found["rmse"] + 2 * slack
    assert found["imae"] <= found["irmse"] * (1 + slack)
    assert found["silog"] / 100 <= found["silog_half"] + slack <= found["rmse_log"] + 2 * slack
    assert found["log10"] * math.log(10) <= found["rmse_log"] + slack


@given(pairs, st.integers(2, 4))
def test_repeated_pixels_change_nothing(some, times):
    assert of_pairs(some * times) == near(of_pairs(some))


# A constant error of scale


RANDOM = np.random.default_rng(0)
DEPTHS = [*np.arange(1, 80, 3.0), *RANDOM.uniform(0.1, 80, 20)]
FACTORS = [*np.arange(1.01, 2.0, 0.02), *RANDOM.uniform(0.3, 3, 20)]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 3, 7, 1000])
def test_a_constant_error_of_scale_has_no_spread(kind, count):
    for g in DEPTHS:
        for factor in FACTORS:
            truth = np.full(count, g, dtype=kind)
            found = measure(truth.astype(np.float64), (truth * kind(factor)).astype(np.float64))
            assert 0 <= found["silog"] < 1e-11, (g, factor)
            assert found["silog_half"] == pytest.approx(found["rmse_log"] / math.sqrt(2)), (g, factor)


@pytest.mark.parametrize(("kind", "factor", "most"), [(np.float64, 1.06, 1e-12), (np.float32, 1.01, 1e-4)])
def test_a_constant_error_of_scale_over_many_depths(kind, factor, most):
    assert measure(floats([7] * 3), floats([7 * 1.06] * 3))["silog"] == pytest.approx(0, abs=1e-12)
    truth = np.linspace(0.5, 80, 5000).astype(kind)
    found = measure(truth.astype(np.float64), (truth * kind(factor)).astype(np.float64))
    assert 0 <= found["silog"] < most


# Depth ranges

ranged = st.lists(st.tuples(depths, depths, st.integers(0, 3)), min_size=1, max_size=30)


@given(ranged)
def test_ranges_are_measured_as_if_alone_and_the_whole_as_if_undivided(some):
    truth, prediction, ranges = zip(*some, strict=True)
    whole, parts = measure_with_ranges(floats(truth), floats(prediction), np.array(ranges), 4)
    assert whole == near(of(truth, prediction))
    assert list(whole) == list(METRICS)
    assert len(parts) == 4
    for number, (size, found) in enumerate(parts):
        own = [(g, p) for g, p, k in some if k == number]
        assert size == len(own)
        assert found == (near(of_pairs(own)) if own else {})


def test_ranges_without_a_pixel_are_empty():
    whole, parts = measure_with_ranges(floats([4.0]), floats([5.0]), np.array([2]), 4)
    assert parts == [(0, {}), (0, {}), (1, whole), (0, {})]


def test_many_ranges_and_many_pixels():
    rng = np.random.default_rng(1)
    truth, prediction, ranges = rng.uniform(1, 80, 5000), rng.uniform(1, 80, 5000), rng.integers(0, 256, 5000)
    whole, parts = measure_with_ranges(truth, prediction, ranges, 256)
    assert whole == near(measured(truth.tolist(), prediction.tolist()))
    assert sum(size for size, _ in parts) == 5000
    for number in (0, 1, 127, 128, 255):
        assert parts[number][1] == near(measure(truth[ranges == number], prediction[ranges == number]))
