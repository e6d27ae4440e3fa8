"""Which pixels count, what their predictions are made of, and what becomes of predictions that are no depth."""

import math
from itertools import product

import numpy as np
import pytest
from helpers.pngs import encode
from helpers.resizing import bilinear, inverted, nearest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import Frame, FrameOptions, judged, read_truth
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.pixels import GREATEST, LEAST, chosen, crop_window, paired, sampled
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.store.folder import LocalFolder

NO_LIMIT = {"min_depth": 0.0, "max_depth": math.inf}


def floats(values) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def rules(**options) -> Protocol:
    return Protocol.of(None, None, **options)


def of(truth, prediction, **options):
    return paired(floats([truth]), floats([prediction]), rules(**options))


def figures(truth, prediction, **options) -> dict:
    return judged(floats([truth]), floats([prediction]), rules(**options))


# Clamp and scale


def test_predictions_are_clamped_or_not():
    assert figures([10, 20], [100, 20])["abs_rel"] == 3.5
    assert figures([10, 20], [100, 20], clamp=False)["abs_rel"] == 4.5
    assert of([10, 20], [0.1, 20], min_depth=0.5).prediction.tolist() == [0.5, 20]
    assert of([10, 20], [0.1, 20], min_depth=0.5, clamp=False).prediction.tolist() == [0.1, 20]


def test_scaling_comes_before_the_clamp():
    found = figures([10, 20, 40], [30, 60, 120], scaling="median")
    assert found["abs_rel"] == pytest.approx(0, abs=1e-15)  # the other order: 0.111
    assert found["scale_ratio"] == pytest.approx(1 / 3)
    beyond = of([10, 20, 40], [1, 2, 40], scaling="median")
    assert beyond.ratio == 10
    assert beyond.prediction.tolist() == [10, 20, 80]
    assert of([10, 20, 40], [1, 2, 40], scaling="median", clamp=False).prediction.tolist() == [10, 20, 400]


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    found = figures([2, 8], [4, 4], scaling="median")
    assert found["scale_ratio"] == 1.25
    assert found["abs_rel"] == 0.9375  # the lower of the middle two, as in PyTorch: 0.375
    assert of([1, 2, 6, 9], [4, 1, 2, 8], scaling="median").ratio == 4 / 3


def test_the_median_of_an_odd_number_is_the_middle_one():
    assert of([1, 5, 70], [2, 2.5, 60], scaling="median").ratio == 2


def test_without_scaling_there_is_no_ratio():
    assert figures([2, 8], [4, 4])["scale_ratio"] is None


def test_medians_are_of_the_pixels_that_count():
    truth, prediction = [0, 10, 20, 30, 90, 0], [1, 5, 10, 15, 1, 1]
    found = of(truth, prediction, scaling="median")
    assert (found.ratio, found.prediction.tolist()) == (2, [10, 20, 30])


@given(st.lists(st.tuples(st.floats(0.1, 79), st.floats(0.1, 79)), min_size=1, max_size=9), st.floats(0.01, 100))
def test_under_median_scaling_a_factor_is_nothing(some, factor):
    truth, prediction = map(floats, zip(*some, strict=True))
    plain = of(truth, prediction, scaling="median")
    scaled = of(truth, prediction * factor, scaling="median")
    assert scaled.prediction == pytest.approx(plain.prediction, rel=1e-9)
    assert scaled.ratio == pytest.approx(plain.ratio / factor, rel=1e-9)


# Which pixels count

RAW = np.array([[128, 129, 3839, 3840, 0, 1, 65535]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("bounds", "kept"), [("strict", [0.50390625, 14.99609375]), ("inclusive", [0.5, 0.50390625, 14.99609375, 15])]
)
def test_bounds_are_strict_or_inclusive(bounds, kept):
    found = paired(RAW / 256, np.full(RAW.shape, 3.0), rules(min_depth=0.5, max_depth=15.0, bounds=bounds))
    assert found.truth.tolist() == kept
    assert len(found.prediction) == len(kept)


@pytest.mark.parametrize("bounds", ["strict", "inclusive"])
def test_a_truth_of_0_never_counts(bounds):
    found = paired(RAW / 256, np.full(RAW.shape, 3.0), rules(**NO_LIMIT, bounds=bounds))
    assert found.truth.tolist() == [0.5, 0.50390625, 14.99609375, 15, 1 / 256, 65535 / 256]


def read(folder, raw, depth_scale=256.0, frame_scale=None):
    (folder / "truth.png").write_bytes(encode(np.array(raw, dtype=np.uint16)))
    frame = Frame("split", 0, "scene", "0001", depth="truth.png", variant="maps", depth_scale=frame_scale)
    root = LocalFolder(str(folder))
    tree = Tree(root, Roots.of(root), ("maps",))
    return read_truth(frame, tree, FrameOptions(rules(), depth_scale))[1]


def test_depth_is_256_units_a_metre_however_near_the_frame(tmp_path):
    assert read(tmp_path, [[0, 1, 256], [5120, 65535, 0]]).tolist() == [[0, 0.00390625, 1], [20, 255.99609375, 0]]
    assert read(tmp_path, [[255, 0, 3]]).max() == 0.99609375
    assert read(tmp_path, [[5120]], depth_scale=1000).tolist() == [[5.12]]
    assert read(tmp_path, [[5120]], depth_scale=256, frame_scale=1000).tolist() == [[5.12]]


# Rows and columns, both half open: KITTI's five sizes, its benchmark's and NCDB's.
WINDOWS = {
    (375, 1242): ((153, 371, 44, 1197), (124, 342, 44, 1197)),
    (370, 1224): ((151, 366, 43, 1180), (122, 337, 43, 1180)),
    (370, 1226): ((151, 366, 44, 1181), (122, 337, 44, 1181)),
    (374, 1238): ((152, 370, 44, 1193), (124, 341, 44, 1193)),
    (376, 1241): ((153, 372, 44, 1196), (124, 343, 44, 1196)),
    (352, 1216): ((143, 349, 43, 1172), None),
    (384, 640): ((156, 380, 23, 616), (127, 350, 23, 616)),
}
COUNTS = [
    ("garg", (375, 1242), 251354),
    ("garg", (384, 640), 132832),
    ("garg", (352, 1216), 232574),
    ("eigen", (375, 1242), 251354),
    ("eigen", (384, 640), 132239),
    ("nyu", (480, 640), 238560),
    ("none", (480, 640), 480 * 640),
]


@pytest.mark.parametrize("shape", WINDOWS)
def test_crops_of_kitti(shape):
    for crop, wanted in zip(("garg", "eigen"), WINDOWS[shape], strict=True):
        rows, columns = crop_window(crop, shape)
        if wanted is not None:
            assert (rows.start, rows.stop, columns.start, columns.stop) == wanted, crop


@pytest.mark.parametrize(("crop", "shape", "count"), COUNTS)
def test_pixels_in_crops(crop, shape, count):
    rows, columns = chosen(np.ones(shape), rules(crop=crop))
    assert len(rows) == len(columns) == count
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == count


def test_the_crop_of_nyu_is_one_of_pixels():
    rows, columns = chosen(np.ones((480, 640)), rules(crop="nyu"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 470, 41, 600)


def test_pixels_are_paired_where_they_lie():
    """Both maps number their pixels, so that a crop that shifts one of them against the other is seen."""
    numbers = 1 + np.arange(480 * 640.0).reshape(480, 640) / (480 * 640)
    for crop in ("none", "garg", "eigen", "nyu"):
        found = paired(numbers, numbers, rules(crop=crop))
        assert (found.prediction == found.truth).all(), crop


@pytest.mark.parametrize("shape", [(640, 480), (240, 320), (480, 641), (375, 1242)])
def test_the_crop_of_nyu_on_another_size_is_a_fault_of_the_data(shape):
    with pytest.raises(DataFault) as caught:
        paired(np.ones(shape), np.ones(shape), rules(crop="nyu"))
    assert caught.value.status == "unsupported_depth"
    assert f"the truth is {shape[1]} x {shape[0]}" in caught.value.detail
    assert "defined for 640 x 480" in caught.value.detail


def test_too_few_pixels_is_a_fault_that_says_what_was_found_and_expected():
    with pytest.raises(DataFault) as caught:
        of([0, 0.25, 0.5, 90, 2, 3], [1] * 6, min_depth=0.5, min_pixels=3)
    assert caught.value.status == "no_valid_pixels"
    assert caught.value.detail == (
        "2 pixels count, expected at least 3 from 0.5 m to 80 m (strict), crop none; "
        "the truth has 5 pixels from 0.25 to 90.00 m"
    )
    assert len(of([0, 0.25, 0.5, 90, 2, 3], [1] * 6, min_depth=0.5, min_pixels=2).truth) == 2


def test_a_truth_without_any_pixel():
    with pytest.raises(DataFault) as caught:
        of([0, 0], [1, 1], **NO_LIMIT, bounds="inclusive")
    assert caught.value.status == "no_valid_pixels"
    assert caught.value.detail == (
        "0 pixels count, expected at least 1 from 0 m without limit (inclusive), crop none; "
        "the truth has no valid pixel"
    )


def test_ranges_are_of_the_true_depth():
    found = figures([2.9, 3, 7.9, 8, 14.9, 15, 79], [50] * 7)
    counts = {name: found[f"valid_pixels_{name}"] for name in ("near", "mid", "far", "very_far")}
    assert counts == {"near": 1, "mid": 2, "far": 2, "very_far": 2}
    assert found["bias_near"] == pytest.approx(47.1)
    assert "bias_far" in found
    none = figures([2, 20], [2, 20])
    assert none["valid_pixels_mid"] == 0
    assert none.get("abs_rel_mid") is None


# Predictions that are no depth

KINDS = {
    "nan": (math.nan, "nan", "least"),
    "infinite": (math.inf, "infinite", "greatest"),
    "minus infinite": (-math.inf, "infinite", "least"),
    "zero": (0.0, "nonpositive", "least"),
    "minus zero": (-0.0, "nonpositive", "least"),
    "negative": (-3.0, "nonpositive", "least"),
    "tiny": (1e-300, "nonpositive", "least"),
    "huge": (1e300, "infinite", "greatest"),
}
LIMITS = [(0.5, 15.0), (0.0, 15.0), (0.5, math.inf), (0.0, math.inf), (0.001, 80.0)]
TRUTH = [1.0, 2.0, 4.0, 8.0, 0.0, 12.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", ["none", "median"])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("limits", LIMITS)
def test_a_prediction_that_is_no_depth_gets_one_and_is_counted(kind, scaling, clamp, limits):
    value, count, side = KINDS[kind]
    low, high = limits
    options = {"min_depth": low, "max_depth": high, "clamp": clamp, "scaling": scaling}
    bound = {"least": low or LEAST, "greatest": high if math.isfinite(high) else GREATEST}[side]
    for place in range(5):
        prediction = [0.5 * depth for depth in TRUTH if depth]
        prediction[place] = value
        found = of(TRUTH, [*prediction[:4], 7.0, prediction[4]], **options)
        counts = {"nan": found.nan, "infinite": found.infinite, "nonpositive": found.nonpositive}
        assert counts == {**dict.fromkeys(counts, 0), count: 1}
        ratio = found.ratio if scaling == "median" else 1.0
        expected = [bound if k == place else ratio * one for k, one in enumerate(prediction)]
        if clamp:
            expected = [min(max(one, low), high) for one in expected]
        assert found.prediction.tolist() == expected
        row = figures(TRUTH, [*prediction[:4], 7.0, prediction[4]], **options)
        assert all(math.isfinite(row[name]) for name in METRICS)
        assert row[f"{count}_pixels"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("limits", LIMITS)
def test_no_prediction_is_a_depth(kind, clamp, limits):
    options = {"min_depth": limits[0], "max_depth": limits[1], "clamp": clamp, "scaling": "median"}
    found = figures(TRUTH, [KINDS[kind][0]] * 6, **options)
    assert found["scale_ratio"] is None
    assert found[f"{KINDS[kind][1]}_pixels"] == found["valid_pixels"] == 5
    assert all(math.isfinite(found[name]) for name in METRICS)


def test_what_lies_elsewhere_is_not_counted():
    bad = [math.nan, math.inf, -math.inf, 0.0, -1.0]
    found = of([0, 100, 0, 0.0001, 0, 4], [*bad, 5])
    assert (found.nan, found.infinite, found.nonpositive) == (0, 0, 0)
    assert found.prediction.tolist() == [5]


def test_all_kinds_at_once():
    found = of([4] * 9, [math.nan, math.nan, math.inf, -math.inf, -math.inf, 0, -1, -2, 4], min_depth=0.5)
    assert (found.nan, found.infinite, found.nonpositive) == (2, 3, 3)
    assert found.prediction.tolist() == [0.5, 0.5, 80, 0.5, 0.5, 0.5, 0.5, 0.5, 4]


def test_medians_are_of_sound_predictions():
    found = of([1, 2, 3], [math.inf, 1, 0], scaling="median")
    assert (found.ratio, found.prediction.tolist()) == (2, [80, 2, 0.001])
    found = of([1, 2, 3, 9, 10], [math.nan, 1, 1.5, 4.5, -math.inf], scaling="median")
    assert (found.ratio, found.prediction.tolist()) == (2, [0.001, 2, 3, 9, 0.001])


def test_both_medians_are_of_the_same_pixels():
    """A prediction that is right but for its scale, and none at the far pixels: what it does predict stays right."""
    found = of([1, 2, 3, 10, 20, 30], [0.5, 1, 1.5, math.nan, math.inf, 0], scaling="median")
    assert found.ratio == 2
    assert found.prediction.tolist() == [1, 2, 3, 0.001, 80, 0.001]


def test_to_fail_on_a_pixel_never_looks_better_than_to_see_it():
    for value, _, _ in KINDS.values():
        assert figures(TRUTH, [*TRUTH[:3], value, 1, 12])["abs_rel"] > figures(TRUTH, [*TRUTH[:4], 1, 12])["abs_rel"]


# Resizing

sides = st.integers(1, 7)
depths = st.floats(0.125, 200)
maps = st.tuples(sides, sides).flatmap(
    lambda shape: st.lists(st.lists(depths, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0])
)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def resized(prediction, shape, **options) -> np.ndarray:
    rows, columns = (index.ravel() for index in np.indices(shape))
    return sampled(floats(prediction), rows, columns, shape, rules(**options)).reshape(shape)


def test_two_pixels_become_four():
    assert resized([[0, 10]], (1, 4), align_corners=True)[0] == pytest.approx([0, 10 / 3, 20 / 3, 10])
    assert resized([[0, 10]], (1, 4), align_corners=False)[0] == pytest.approx([0, 2.5, 7.5, 10])
    assert resized([[0], [10]], (4, 1), align_corners=True)[:, 0] == pytest.approx([0, 10 / 3, 20 / 3, 10])
    assert resized([[0], [10]], (4, 1), align_corners=False)[:, 0] == pytest.approx([0, 2.5, 7.5, 10])
    assert resized([[0, 10]], (1, 4), resize="nearest").tolist() == [[0, 0, 10, 10]]


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_middle_of_two_depths_and_of_two_inverse_depths(align_corners):
    for resize_of, middle in (("depth", 2.5), ("inverse", 1.6)):
        found = resized([[1, 4]], (1, 3), align_corners=align_corners, resize_of=resize_of)
        assert found[0] == pytest.approx([1, middle, 4])


@given(maps, shapes, st.booleans())
@example([[1.0, 2.0], [3.0, 5.0]], (1, 1), True)
@example([[1.0, 2.0], [3.0, 5.0]], (1, 1), False)
@example([[7.0]], (3, 4), True)
def test_bilinear_as_defined(prediction, shape, align_corners):
    found = resized(prediction, shape, align_corners=align_corners)
    assert found == pytest.approx(floats(bilinear(prediction, shape, align_corners)), rel=1e-9)
    inverse = resized(prediction, shape, align_corners=align_corners, resize_of="inverse")
    assert inverse == pytest.approx(floats(inverted(bilinear(inverted(prediction), shape, align_corners))), rel=1e-9)


@given(maps, shapes, st.booleans(), st.sampled_from(["depth", "inverse"]))
def test_nearest_as_defined(prediction, shape, align_corners, resize_of):
    found = resized(prediction, shape, align_corners=align_corners, resize="nearest", resize_of=resize_of)
    wanted = nearest(prediction, shape, align_corners)
    for row, column in product(*map(range, shape)):
        assert any(math.isclose(found[row, column], value, rel_tol=1e-12) for value in wanted[row][column])


@given(maps, st.integers(0, 9), st.integers(0, 9))
def test_enlarged_as_pillow_enlarges(prediction, taller, wider):
    picture = Image.fromarray(np.array(prediction, dtype=np.float32))
    shape = (picture.height + taller, picture.width + wider)
    wanted = np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
    assert resized(np.asarray(picture), shape) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["bilinear", "nearest"])
@pytest.mark.parametrize("resize_of", ["depth", "inverse"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_a_prediction_of_the_same_size_is_left_alone(kind, resize_of, align_corners):
    prediction = np.random.default_rng(0).uniform(0.1, 90, (9, 13))
    prediction[3, 4], prediction[0, 0], prediction[8, 12] = math.nan, math.inf, 0
    found = resized(prediction, (9, 13), resize=kind, resize_of=resize_of, align_corners=align_corners)
    assert np.array_equal(found, prediction, equal_nan=True)


@given(maps, shapes, st.booleans(), st.sampled_from(["bilinear", "nearest"]))
def test_to_resize_the_inverse_is_to_resize_1_by_x(prediction, shape, align_corners, kind):
    inverse = resized(prediction, shape, align_corners=align_corners, resize=kind, resize_of="inverse")
    plain = resized(inverted(prediction), shape, align_corners=align_corners, resize=kind)
    assert inverse == pytest.approx(1 / plain, rel=1e-12)


@given(maps, shapes, st.booleans(), st.sampled_from(["depth", "inverse"]))
def test_nothing_new_appears_between_the_least_and_the_greatest(prediction, shape, align_corners, resize_of):
    found = resized(prediction, shape, align_corners=align_corners, resize_of=resize_of)
    values = [value for row in prediction for value in row]
    assert (found >= min(values) * (1 - 1e-12)).all()
    assert (found <= max(values) * (1 + 1e-12)).all()


@given(maps, shapes, st.booleans())
def test_a_mirrored_prediction_is_resized_to_the_mirrored_one(prediction, shape, align_corners):
    shape = (shape[0] + 1, shape[1] + 1)  # a single pixel cannot lie on both corners, and takes the first
    found = resized(prediction, shape, align_corners=align_corners)
    mirrored = resized(floats(prediction)[:, ::-1], shape, align_corners=align_corners)
    assert mirrored[:, ::-1] == pytest.approx(found, rel=1e-9)
    turned = resized(floats(prediction).T, shape[::-1], align_corners=align_corners).T
    assert turned == pytest.approx(found, rel=1e-9)


def test_only_the_pixels_that_count_are_sampled():
    rng = np.random.default_rng(3)
    truth = rng.uniform(1, 70, (40, 60)) * (rng.random((40, 60)) < 0.1)
    prediction = rng.uniform(1, 70, (13, 17))
    for align_corners, kind, crop in product((True, False), ("bilinear", "nearest"), ("none", "garg")):
        options = {"align_corners": align_corners, "resize": kind, "crop": crop}
        found = paired(truth, prediction, rules(**options))
        rows, columns = chosen(truth, rules(**options))
        assert found.prediction.tolist() == resized(prediction, truth.shape, **options)[rows, columns].tolist()


# Predictions that are no depth, in a prediction of another size


def test_a_neighbour_without_weight_does_not_spoil_a_sound_pixel():
    """With aligned corners every second of five places is a source pixel: only there the prediction is what it was."""
    for bad in (math.inf, -math.inf, math.nan):
        found = resized([[1, 2, bad]], (1, 5), align_corners=True)
        assert found[0, :3].tolist() == [1, 1.5, 2], bad
        found = resized([[bad], [2], [1]], (5, 1), align_corners=True)
        assert found[2:, 0].tolist() == [2, 1.5, 1], bad


@pytest.mark.parametrize("align_corners", [True, False])
def test_infinite_stays_infinite(align_corners):
    """It counts as the greatest depth, NaN as the least."""
    found = resized([[math.inf, 2], [1, 3]], (4, 4), align_corners=align_corners)
    assert found[0, 0] == math.inf
    assert found[1, 1] == math.inf
    pixels = paired(floats([[4, 0, 0, 0]] + [[0] * 4] * 3), floats([[math.inf, 2], [1, 3]]), rules())
    assert (pixels.nan, pixels.infinite, pixels.prediction.tolist()) == (0, 1, [80.0])


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_map_that_is_infinite_everywhere_is_infinite_at_every_size(align_corners):
    assert (resized([[math.inf] * 3] * 2, (5, 7), align_corners=align_corners) == math.inf).all()
    # In inverse depth, as far as can be, and as near.
    assert (resized([[math.inf] * 3] * 2, (5, 7), align_corners=align_corners, resize_of="inverse") == math.inf).all()
    assert (resized([[0.0] * 3] * 2, (5, 7), align_corners=align_corners, resize_of="inverse") == 0).all()


def test_in_inverse_depth_infinite_is_only_far():
    assert resized([[math.inf, 2]], (1, 3), align_corners=True, resize_of="inverse").tolist() == [[math.inf, 4, 2]]
