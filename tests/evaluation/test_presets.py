"""Presets against the evaluators that they stand for, and where they differ on purpose."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers import published

from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import judged
from ncdb_dask.evaluation.protocol import PRESETS, Protocol
from ncdb_dask.evaluation.summary import figures_of

KITTI, NYU = (375, 1242), (480, 640)
SEEDS = range(3)


def truth_map(rng, shape, share: float, high: float, step: float = 256) -> np.ndarray:
    """Depths of a PNG, some of them beyond every range, and this share of them valid."""
    depth = np.rint(np.exp(rng.uniform(math.log(0.3), math.log(high), shape)) * step) / step
    return depth * (rng.random(shape) < share)


def prediction_map(rng, truth: np.ndarray, shape) -> np.ndarray:
    """Smooth, and off by up to a factor of three, so that clamp and thresholds have work."""
    rows, columns = (np.linspace(0, size - 1, of).astype(int) for size, of in zip(truth.shape, shape, strict=True))
    seen = truth[np.ix_(rows, columns)]
    return np.where(seen > 0, seen, 10) * np.exp(rng.uniform(-1.1, 1.1, shape))


def ours(preset: str, truth, prediction, **options) -> dict:
    return judged(truth, prediction, Protocol.of(preset, None, **options))


def assert_equal(found: dict, wanted: dict) -> None:
    assert {name: found[name] for name in wanted} == {name: pytest.approx(wanted[name], rel=1e-9) for name in wanted}


SMALL, NCDB = (96, 321), (384, 640)
# Preset, its evaluator, the truth's sizes, those of predictions (None: the same), and the greatest true depth.
COMPARED = [
    ("kitti-eigen", published.kitti_eigen, [KITTI], [(352, 1216), (48, 160), None], 100),
    ("nyu", published.nyu, [NYU], [None, (60, 80), (57, 77)], 12),
    ("packnet", published.packnet, [KITTI, SMALL], [(48, 160), None], 100),
    ("monodepth2", published.monodepth2, [KITTI, SMALL], [(48, 160), None], 100),
    ("depth-anything", published.depth_anything, [KITTI, SMALL], [(37, 123), None], 100),
    ("ncdb", published.ncdb, [NCDB, SMALL], [None], 20),
    ("kitti-devkit", published.kitti_devkit, [SMALL], [None], 250),
]
CASES = [
    pytest.param(preset, reference, shape, size or shape, high, id=f"{preset}-{shape}-{size}")
    for preset, reference, shapes, sizes, high in COMPARED
    for shape in shapes
    for size in sizes
]


def test_every_preset_is_compared():
    assert {case[0] for case in COMPARED} == set(PRESETS)


@pytest.mark.parametrize("share", [0.05, 1.0], ids=["sparse", "dense"])
@pytest.mark.parametrize(("preset", "reference", "shape", "size", "high"), CASES)
def test_a_preset_gives_what_its_evaluator_gives(preset, reference, shape, size, high, share):
    for seed in SEEDS:
        rng = np.random.default_rng([seed, int(share)])
        truth = truth_map(rng, shape, share, high)
        prediction = prediction_map(rng, truth, size)
        assert_equal(ours(preset, truth, prediction), reference(truth, prediction))


@pytest.mark.parametrize(
    ("preset", "high"), [("kitti-eigen", 80), ("packnet", 80), ("monodepth2", 80), ("ncdb", 15), ("depth-anything", 80)]
)
def test_depths_at_the_limits(preset, high):
    """On a 25 x 33 map all of whose true depths lie on or beside a limit."""
    rng = np.random.default_rng(0)
    reference = {"kitti-eigen": published.kitti_eigen, "packnet": published.packnet, "monodepth2": published.monodepth2}
    reference |= {"ncdb": published.ncdb, "depth-anything": published.depth_anything}
    truth = rng.choice([0, 0.001, 0.002, 0.5, 0.501, high - 0.001, high, high + 0.001], (25, 33))
    prediction = rng.choice([0.1, 0.4, 1, 5, 16, 81, 200], (25, 33))
    assert_equal(ours(preset, truth, prediction), reference[preset](truth, prediction))


def test_every_preset_has_its_own_figures():
    """Else a comparison above could pass with the wrong preset. Packnet and kitti-eigen differ below 1 mm only."""
    rng = np.random.default_rng(5)
    truth = truth_map(rng, NYU, 0.5, 100)
    prediction = prediction_map(rng, truth, (48, 64))
    found = {preset: ours(preset, truth, prediction)["abs_rel"] for preset in PRESETS}
    assert found.pop("packnet") == found["kitti-eigen"]
    assert len(set(found.values())) == len(PRESETS) - 1
    truth[truth == 0] = 0.0005
    assert ours("packnet", truth, prediction)["valid_pixels"] > ours("kitti-eigen", truth, prediction)["valid_pixels"]


# What is added to a preset


def test_ncdb_with_the_clamp_of_other_commits():
    rng = np.random.default_rng(6)
    truth = truth_map(rng, (96, 160), 0.3, 20)
    prediction = prediction_map(rng, truth, (96, 160))
    wanted = published.packnet(truth, prediction, low=0.5, high=15.0, crop=False)
    assert_equal(ours("ncdb", truth, prediction, clamp=True), wanted)
    assert wanted["abs_rel"] < ours("ncdb", truth, prediction)["abs_rel"]


def test_monodepth2_of_two_cameras_is_not_scaled():
    rng = np.random.default_rng(7)
    truth = truth_map(rng, (96, 321), 0.3, 100)
    prediction = prediction_map(rng, truth, (48, 160))
    wanted = published.monodepth2(truth, prediction, scaled=False)
    assert_equal(ours("monodepth2", truth, prediction, scaling="none"), wanted)


def test_depth_anything_on_hypersim_ends_at_20_m():
    rng = np.random.default_rng(8)
    truth = truth_map(rng, (96, 128), 0.9, 30)
    prediction = prediction_map(rng, truth, (48, 64))
    wanted = published.depth_anything(truth, prediction, high=20.0)
    assert wanted is not None
    assert_equal(ours("depth-anything", truth, prediction, max_depth=20.0), wanted)


# Where they differ on purpose


@pytest.mark.parametrize(("preset", "reference"), [("packnet", published.packnet), ("ncdb", published.ncdb)])
def test_scaled_rows_of_packnet_take_the_lower_median(preset, reference):
    """Of an even number of pixels theirs is the lower of the middle two, ours their mean. Of an odd one, the same."""
    rng = np.random.default_rng(9)
    different = 0
    for _ in range(12):
        truth = truth_map(rng, (48, 80), 0.2, 14)
        prediction = prediction_map(rng, truth, (48, 80))
        found = ours(preset, truth, prediction, scaling="median")
        wanted = reference(truth, prediction, scaled=True)
        if found["valid_pixels"] % 2:
            assert_equal(found, wanted)
        else:
            different += found["abs_rel"] != pytest.approx(wanted["abs_rel"], rel=1e-9)
            assert found["abs_rel"] == pytest.approx(wanted["abs_rel"], rel=0.05)
    assert different


def test_a_frame_without_valid_pixels_is_left_out():
    """PackNet counts it as without error and without accuracy; Monodepth2, BTS and ZoeDepth turn all to NaN."""
    rng = np.random.default_rng(10)
    frames = [truth_map(rng, (48, 80), share, 60) for share in (0.5, 0.01, 0)]
    predictions = [prediction_map(rng, truth, (48, 80)) for truth in frames]
    pairs = list(zip(frames, predictions, strict=True))
    rows = pd.DataFrame([ours("packnet", *pair) for pair in pairs[:2]])
    with pytest.raises(DataFault, match="no_valid_pixels"):
        ours("packnet", *pairs[2])
    theirs = [published.packnet(*pair) for pair in pairs]
    for name in published.SEVEN:
        assert figures_of(rows).mean[name] == pytest.approx(sum(one[name] for one in theirs) / 2)
    assert all(theirs[2][name] == 0 for name in published.SEVEN)


def test_a_frame_of_nine_pixels_is_left_out_by_depth_anything():
    truth = np.zeros((48, 80))
    prediction = np.full((48, 80), 3.0)
    truth[5, :9] = 2.0
    assert published.depth_anything(truth, prediction) is None
    with pytest.raises(DataFault, match="9 pixels count, expected at least 10"):
        ours("depth-anything", truth, prediction)
    truth[6, 0] = 80.0  # a limit belongs to the range
    wanted = published.depth_anything(truth, prediction)
    assert wanted is not None
    assert_equal(ours("depth-anything", truth, prediction), wanted)


def test_the_mean_is_over_frames_as_in_every_table():
    rng = np.random.default_rng(11)
    truths = [truth_map(rng, (96, 321), share, 100) for share in (0.9, 0.2, 0.03)]
    predictions = [prediction_map(rng, truth, (48, 160)) for truth in truths]
    pairs = list(zip(truths, predictions, strict=True))
    found = figures_of(pd.DataFrame([ours("monodepth2", *pair) for pair in pairs]))
    theirs = pd.DataFrame([published.monodepth2(*pair) for pair in pairs])
    assert_equal(dict(found.mean), theirs.mean().to_dict())


def test_holes_in_predictions_are_not_filled():
    """The development kit always fills them, mostly from the nearer neighbour; here they count as the least depth."""
    truth = np.full((3, 5), 10.0)
    prediction = np.full((3, 5), 10.0)
    prediction[1, 2] = 0
    assert published.kitti_devkit(truth, prediction)["abs_rel"] == 0
    found = ours("kitti-devkit", truth, prediction)
    assert found["nonpositive_pixels"] == 1
    assert found["abs_rel"] == pytest.approx((10 - 0.001) / 10 / 15)
    # With holes that are filled by the same rule beforehand, all is equal.
    rng = np.random.default_rng(12)
    truth = truth_map(rng, (40, 60), 0.3, 250)
    prediction = prediction_map(rng, truth, (40, 60)) * (rng.random((40, 60)) < 0.7)
    whole = published.filled(np.where(prediction > 0, prediction, -1))
    assert (whole > 0).all()
    assert_equal(ours("kitti-devkit", truth, whole), published.kitti_devkit(truth, prediction))


def test_predictions_of_another_size_are_resized_for_the_development_kit():
    truth, prediction = np.full((4, 6), 8.0), np.full((2, 3), 10.0)
    with pytest.raises(ValueError, match="sizes differ"):
        published.kitti_devkit(truth, prediction)
    assert ours("kitti-devkit", truth, prediction)["abs_rel"] == 0.25


BAD = (math.nan, math.inf, -math.inf, 0.0, -5.0)


@pytest.mark.parametrize(
    ("preset", "reference", "shape"), [("kitti-eigen", published.kitti_eigen, (40, 60)), ("nyu", published.nyu, NYU)]
)
def test_what_is_no_depth_gets_a_bound_as_in_zoedepth(preset, reference, shape):
    rng = np.random.default_rng(13)
    truth = truth_map(rng, shape, 0.8, 12)
    prediction = prediction_map(rng, truth, shape)
    for value in BAD:
        prediction[rng.random(shape) < 0.02] = value
    assert_equal(ours(preset, truth, prediction), reference(truth, prediction))


@pytest.mark.parametrize(
    ("preset", "reference"),
    [
        ("packnet", published.packnet),
        ("ncdb", published.ncdb),
        ("depth-anything", published.depth_anything),
        ("monodepth2", published.monodepth2),
    ],
)
def test_what_is_no_depth_spoils_a_frame_elsewhere_but_not_here(preset, reference):
    rng = np.random.default_rng(14)
    truth = truth_map(rng, (40, 60), 1.0, 14)
    truth[30, 30] = 5.0
    for value in (math.nan, -math.inf):
        prediction = prediction_map(rng, truth, (40, 60))
        prediction[30, 30] = value
        found = ours(preset, truth, prediction)
        assert math.isfinite(found["abs_rel"])
        assert math.isfinite(found["rmse_log"])
        assert found["nan_pixels"] + found["infinite_pixels"] == 1
        with np.errstate(all="ignore"):
            theirs = reference(truth, prediction)
        if math.isnan(value):
            assert math.isnan(theirs["abs_rel"])
            assert math.isnan(theirs["rmse_log"])
