"""The pictures of single frames: which are chosen, and what their pixels show."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.pictures import maps
from ncdb_dask.evaluation.pictures.layout import MAPS, Layout, depth_ticks
from ncdb_dask.evaluation.pictures.panels import chosen_frames, panel
from ncdb_dask.evaluation.pixels import crop_window
from ncdb_dask.evaluation.protocol import Protocol

pytest.importorskip("matplotlib")
KEY = ("synced_data/scene", "0000000001")
WIDE_OPEN = Protocol(clamp=False)
FIGURES = {"abs_rel": 0.1234, "rmse": 4.5, "a1": 0.9}


def drawn(truth, prediction, protocol=WIDE_OPEN, key=KEY, figures=FIGURES, picture=None) -> dict[str, np.ndarray]:
    """Draw a panel, and cut its maps out of the file."""
    picture = picture or Image.new("RGB", (truth.shape[1], truth.shape[0]), (10, 200, 30))
    layout = Layout.of(truth.shape)
    with Image.open(io.BytesIO(panel(key, "worst 1 of 25", picture, truth, prediction, protocol, figures))) as image:
        assert image.format == "PNG"
        assert image.size == layout.size
        page = np.asarray(image.convert("RGB")).astype(int)
    boxes = {name: layout.maps[name] for name in MAPS}
    parts = {name: page[y : y + height, x : x + width] for name, (x, y, width, height) in boxes.items()}
    return {"page": page, **parts}


def is_grey(colours) -> np.ndarray:
    return (colours == maps.NO_VALUE).all(axis=-1)


# Which frames


@given(st.lists(st.floats(0, 9) | st.just(0.5) | st.just(np.nan), max_size=40), st.integers(0, 9))
def test_the_frames_chosen(values, count):
    keys = [("s", f"{(7 * row) % 41:03d}") for row in range(len(values))]
    found = chosen_frames(values, keys, count)
    rows = [row for _, row in found]
    sound = [row for row, value in enumerate(values) if not np.isnan(value)]
    assert len(set(rows)) == len(rows) == min(3 * count, len(sound))
    kinds = {kind: [row for place, row in found if place.startswith(kind)] for kind in ("worst", "median", "best")}
    assert [place for place, _ in found] == [
        f"{kind}-{place}" for kind, part in kinds.items() for place in range(1, len(part) + 1)
    ]
    sizes = [len(kinds[kind]) for kind in ("worst", "best", "median")]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1
    order = sorted(sound, key=lambda row: (-values[row], keys[row]))
    assert kinds["worst"] == order[: sizes[0]]
    assert kinds["best"] == order[::-1][: sizes[1]]
    middle = np.median([values[row] for row in sound]) if sound else 0
    apart = [abs(values[row] - middle) for row in kinds["median"]]
    rest = set(sound) - set(rows)
    assert apart == sorted(apart)
    assert all(abs(values[row] - middle) >= max(apart, default=0) for row in rest if count)


@given(st.permutations(list(enumerate([0.1, 0.1, 0.3, 0.3, 0.3, 0.7, 0.9]))), st.integers(1, 3))
def test_the_order_of_the_table_does_not_matter(frames, count):
    keys = [("s", str(name)) for name, _ in frames]
    found = [(place, keys[row]) for place, row in chosen_frames([value for _, value in frames], keys, count)]
    first = [("s", str(name)) for name in range(7)]
    values = [0.1, 0.1, 0.3, 0.3, 0.3, 0.7, 0.9]
    assert found == [(place, first[row]) for place, row in chosen_frames(values, first, count)]


def test_few_frames_get_one_place_each():
    keys = [("s", name) for name in "abcd"]
    assert chosen_frames([], [], 3) == []
    assert chosen_frames([0.2], keys[:1], 3) == [("worst-1", 0)]
    assert chosen_frames([0.2, 0.1], keys[:2], 3) == [("worst-1", 0), ("best-1", 1)]
    four = [("worst-1", 3), ("worst-2", 2), ("median-1", 1), ("best-1", 0)]
    assert chosen_frames([0.1, 0.2, 0.3, 0.4], keys, 2) == four


# What a panel shows


@pytest.mark.parametrize(
    "shape", [(480, 640), (375, 1242), (48, 64), (900, 300), (100, 900), (3, 4), (1, 1), (1, 2000)]
)
def test_every_shape_has_a_page_on_which_nothing_overlaps(shape):
    layout = Layout.of(shape)
    taken = np.zeros(layout.size[::-1], dtype=int)
    for left, top, width, height in (*layout.maps.values(), layout.depth_bar, layout.error_bar):
        assert min(left, top) >= 0
        assert min(width, height) >= 10
        taken[top : top + height, left : left + width] += 1
        assert left + width <= layout.size[0]
        assert top + height <= layout.size[1]
    assert taken.max() == 1
    assert layout.size[0] < 1800
    truth = np.full(shape, 4.0)
    assert drawn(truth, truth)["rgb"][0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize("shape", [(480, 640), (375, 1242)])
def test_a_file_is_small_enough_for_a_page_of_many(shape):
    rng = np.random.default_rng(3)
    truth = np.add.outer(np.geomspace(20, 2, shape[0]), np.linspace(0, 3, shape[1]))
    noise = Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8))  # what no PNG can pack
    png = panel(KEY, "best 1 of 1", noise, truth, truth * 1.1, WIDE_OPEN, FIGURES)
    assert len(png) < 1_500_000
    assert Layout.of((375, 1242)).maps["rgb"][2] >= 700


def test_too_far_is_red_and_too_near_is_blue():
    truth = np.full((48, 64), 5.0)
    prediction = truth.copy()
    prediction[:, :20], prediction[:, 44:] = 4.0, 6.0
    error = drawn(truth, prediction)["error"]
    near, right, far = (error[error.shape[0] // 2, int(error.shape[1] * x)] for x in (0.1, 0.5, 0.9))
    assert near[2] > near[0] + 40
    assert far[0] > far[2] + 40
    assert right.min() > 240
    assert not is_grey(error).any()


def test_errors_beyond_the_scale_have_its_last_colours():
    ends = maps.error_colours(np.asarray([-0.5, 0.5]))
    assert maps.error_colours(np.asarray([-0.999, 7e30])).tolist() == ends.tolist()
    assert maps.error_colours(np.asarray([np.nan])).tolist() == [list(maps.NO_VALUE)]
    steps = maps.error_colours(np.linspace(-0.5, 0.5, 101)).astype(int)
    assert (np.diff(steps[:, 0] - steps[:, 2]) >= 0).all()
    assert steps.sum(axis=1).min() > 1.3 * sum(maps.NO_VALUE)


def test_equal_depths_have_equal_colours_in_truth_and_prediction():
    truth = np.geomspace(1, 60, 48 * 64).reshape(48, 64)
    shown = drawn(truth, truth)
    assert np.array_equal(shown["truth"], shown["prediction"])
    assert len(np.unique(shown["truth"].reshape(-1, 3), axis=0)) >= 150
    light = shown["truth"].sum(axis=2)
    assert light[0].mean() > 2 * light[-1].mean()


def test_the_prediction_is_shown_as_it_is_judged():
    truth = np.full((48, 64), 5.0)
    truth[:24] = 10.0
    protocol = Protocol(scaling="median", max_depth=20, clamp=True)
    assert np.array_equal(*(drawn(truth, 3 * truth, protocol)[name] for name in ("truth", "prediction")))
    whole = maps.whole_prediction(np.full((4, 4), 90.0), (8, 8), protocol, 0.5)
    assert whole.tolist() == np.full((8, 8), 20.0).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_where_the_network_gave_no_depth_the_prediction_is_grey_and_the_error_large(bad):
    truth = np.full((48, 64), 5.0)
    prediction = truth.copy()
    prediction[:, :32] = bad
    shown = drawn(truth, prediction)
    half = shown["prediction"].shape[1] // 2
    assert is_grey(shown["prediction"][:, :half]).all()
    assert not is_grey(shown["prediction"][:, half:]).any()
    end = maps.error_colours(np.asarray([9.0 if bad == np.inf else -9.0]))[0]
    assert (shown["error"][:, :half] == end).all()


def test_a_prediction_without_any_depth():
    truth = np.full((48, 64), 5.0)
    shown = drawn(truth, np.full((12, 16), np.nan), Protocol(scaling="median"))
    assert is_grey(shown["prediction"]).all()


def test_invalid_regions_are_grey_and_keep_their_size():
    truth = np.full((48, 64), 5.0)
    truth[:24] = 0
    shown = drawn(truth, np.full((48, 64), 5.0))
    for name in ("truth", "error"):
        height = shown[name].shape[0]
        assert is_grey(shown[name][: height // 2]).all()
        assert not is_grey(shown[name][height // 2 :]).any()
    with pytest.raises(DataFault, match="0 pixels count"):
        drawn(np.zeros((48, 64)), np.full((48, 64), 5.0))


def test_pixels_that_are_not_judged_have_no_error_and_the_crop_is_framed():
    truth = np.full((100, 300), 5.0)
    truth[70:80, 100:120] = 30.0
    shown = drawn(truth, truth, Protocol(crop="garg", max_depth=20))
    height, width = shown["error"].shape[:2]
    window = crop_window("garg", truth.shape)
    judged = np.zeros(truth.shape, dtype=bool)
    judged[window] = True
    judged[70:80, 100:120] = False
    seen = judged[np.arange(height) * 100 // height][:, np.arange(width) * 300 // width]
    wrong = is_grey(shown["error"]) == seen
    frame = shown["error"][..., 1] > shown["error"][..., [0, 2]].max(axis=2) + 20
    assert wrong[~frame].mean() < 0.002
    assert 0.5 * (width + height) < frame.sum() < 6 * (width + height)


def test_lone_points_are_enlarged_and_show_depths_that_are_there():
    rng = np.random.default_rng(5)
    truth = np.where(rng.random((375, 1242)) < 0.01, rng.choice([4.0, 9.0, 30.0], (375, 1242)), 0.0)
    shown = drawn(truth, np.full((48, 160), 9.0))
    for name, known in (
        ("truth", maps.depth_colours(np.asarray([4.0, 9.0, 30.0]), maps.depth_span(truth[truth > 0]))),
        ("error", maps.error_colours((9 - np.asarray([4.0, 9.0, 30.0])) / [4.0, 9.0, 30.0])),
    ):
        there = ~is_grey(shown[name])
        assert 0.15 < there.mean() < 0.6
        seen = {tuple(colour) for colour in shown[name][there].tolist()}
        assert seen == {tuple(colour) for colour in known.tolist()}


@settings(max_examples=40)
@given(
    st.integers(8, 60), st.integers(8, 60), st.integers(8, 90), st.integers(8, 90), st.floats(0, 1), st.integers(0, 9)
)
def test_a_pixel_drawn_is_never_far_from_its_place(rows, columns, height, width, share, seed):
    valid = np.random.default_rng(seed).random((rows, columns)) < share
    places = np.nonzero(valid)
    index, larger = maps.drawn_pixels(*places, (rows, columns), (height, width))
    assert index.shape == (height, width)
    assert (index >= 0).any() == valid.any()
    y, x = np.nonzero(index >= 0)
    for have, size, at, place in ((rows, height, y, places[0]), (columns, width, x, places[1])):
        step = max(1.0, have / size)
        apart = np.abs((at + 0.5) * have / size - (place[index[y, x]] + 0.5))
        assert (apart <= (3 if larger else 1) * step + 1e-9).all()
    if (rows, columns) == (height, width):
        assert np.array_equal(index[places], np.arange(len(places[0])))
        assert larger or np.array_equal(index >= 0, valid)


@pytest.mark.parametrize("key", [("$x^2$/a_{b", "$"), ("very/long" * 60, "stem"), ("räume/größe", "0")])
def test_any_name_can_be_written(key):
    truth = np.full((48, 64), 5.0)
    page = drawn(truth, truth, key=key, figures={})["page"]
    assert (page[:40] < 128).any()
    assert (page[:, -4:] == 255).all()


@given(st.floats(1e-3, 200), st.floats(1.5, 1e4))
def test_a_scale_of_depth_has_a_few_round_ticks_inside(low, ratio):
    ticks = list(depth_ticks((low, low * ratio)))
    assert 2 <= len(ticks) <= 10
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_ticks_as_a_person_would_write_them():
    assert list(depth_ticks((3.2, 71.0)).values()) == ["5 m", "10 m", "20 m", "50 m"]
    assert list(depth_ticks((2.06, 5.9)).values()) == ["3 m", "4 m", "5 m"]
    assert list(depth_ticks((0.01, 90.0)).values()) == [
        "0.01 m",
        "0.03 m",
        "0.1 m",
        "0.3 m",
        "1 m",
        "3 m",
        "10 m",
        "30 m",
    ]
    assert maps.depth_span(np.full(9, 6.0)) == pytest.approx((6 / 1.5**0.5, 6 * 1.5**0.5))
