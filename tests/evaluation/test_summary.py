"""What is made of the rows: means over frames, figures over all pixels, groups, and lines for people."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from helpers.depth_metrics import near
from helpers.evaluation_rows import RANGES, fault, figures, of_range, row, table
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.evaluation.frame import Frame, empty_row, judged
from ncdb_dask.evaluation.metrics import METRICS, measure
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.schema import SCHEMA
from ncdb_dask.evaluation.summary import Evaluation, figures_of, summarize

NETWORK = {"kind": "network", "model": "net.onnx", "spec": {}}
SETTINGS = {"protocol": Protocol.of("kitti-devkit").as_dict(), "predictor": NETWORK}

depths = st.floats(0.05, 250)
frames = st.lists(st.lists(st.tuples(depths, depths), min_size=1, max_size=8), min_size=1, max_size=6)


def joined(some):
    return [pair for one in some for pair in one]


# Shards are the whole


@settings(deadline=None)
@given(frames)
def test_pooled_figures_are_those_of_all_pixels(some):
    found = figures_of(table(row(pairs) for pairs in some))
    assert (found.frames, found.pixels) == (len(some), len(joined(some)))
    assert dict(found.pooled) == near(figures(joined(some)))
    assert dict(found.pooled) == near(measure(*map(np.array, zip(*joined(some), strict=True))))
    assert list(found.pooled) == list(found.mean) == list(METRICS)


@settings(deadline=None)
@given(st.lists(st.tuples(depths, depths), min_size=1, max_size=24), st.data())
def test_however_pixels_are_shared_out_to_frames_the_pool_is_the_same(pixels, data):
    places = data.draw(st.lists(st.integers(0, 5), min_size=len(pixels), max_size=len(pixels)))
    parts = [[pair for pair, place in zip(pixels, places, strict=True) if place == number] for number in range(6)]
    rows = [judged(*np.array([part]).transpose(2, 0, 1), Protocol.of("kitti-devkit")) for part in parts if part]
    frame = empty_row(Frame("split", 0, "a", "0001"))
    shared = table({**frame, **found, "status": "ok"} for found in rows)
    whole = table([{**frame, **judged(*np.array([pixels]).transpose(2, 0, 1), Protocol.of("kitti-devkit"))}])
    assert dict(figures_of(shared).pooled) == near(dict(figures_of(whole).pooled))
    for name in RANGES:
        assert dict(figures_of(shared, name).pooled) == near(dict(figures_of(whole, name).pooled))


@settings(deadline=None)
@given(frames)
def test_the_mean_counts_every_frame_once(some):
    found = figures_of(table(row(pairs) for pairs in some))
    each = [figures(pairs) for pairs in some]
    assert dict(found.mean) == near({name: statistics.fmean(one[name] for one in each) for name in METRICS})


@settings(deadline=None)
@given(frames, st.sampled_from([*RANGES]))
def test_a_range_is_made_of_the_frames_that_have_pixels_in_it(some, name):
    found = figures_of(table(row(pairs) for pairs in some), name)
    own = [part for part in (of_range(pairs, name) for pairs in some) if part]
    assert (found.frames, found.pixels) == (len(own), len(joined(own)))
    if not own:
        assert (found.mean, found.pooled) == ({}, {})
        return
    assert dict(found.pooled) == near(figures(joined(own)))
    each = [figures(part) for part in own]
    assert dict(found.mean) == near({metric: statistics.fmean(one[metric] for one in each) for metric in METRICS})


def test_the_spread_between_frames_is_part_of_the_pooled_one():
    """Each frame is off by a scale alone, so that its own error without scale is 0; together it is not."""
    found = figures_of(table([row([(1.0, 2.0), (5.0, 10.0)]), row([(8.0, 4.0), (2.0, 1.0)])]))
    assert found.mean["silog"] == pytest.approx(0, abs=1e-9)
    assert found.pooled["silog"] == pytest.approx(100 * math.log(2))
    assert found.pooled["silog_half"] == pytest.approx(math.log(2))
    assert found.pooled["log_bias"] == pytest.approx(0, abs=1e-12)


def test_big_and_small_frames():
    found = figures_of(table([row([(10.0, 13.0)]), row([(10.0, 6.0)] * 3)]))
    assert found.mean["rmse"] == 3.5
    assert found.pooled["rmse"] == pytest.approx(math.sqrt((9 + 3 * 16) / 4))
    assert found.mean["bias"] == -0.5
    assert found.pooled["bias"] == (3 - 3 * 4) / 4


def test_no_rows():
    for rows in (table([]), table([]).iloc[:0], table([row([(1.0, 2.0)], valid_pixels=0)])):
        found = figures_of(rows)
        assert (found.frames, found.pixels, found.mean, found.pooled) == (0, 0, {}, {})


# The whole summary

ROWS = [
    row([(2.0, 3.0), (10.0, 11.0)], dataset_root="a", scene_type="indoor", nan_pixels=1, nonpositive_pixels=2),
    row([(4.0, 3.0), (2.0, 2.0), (20.0, 30.0)], dataset_root="b", scene_type="outdoor_far", scale_ratio=1.5),
    row([(5.0, 4.0)], dataset_root="a", depth_variant="older", scale_ratio=2.5, infinite_pixels=4),
    fault("missing_depth", "no depth for 0002"),
    fault("no_valid_pixels", "0 pixels count"),
    fault("missing_depth", "no depth for 0003"),
]
PAIRS = [[(2.0, 3.0), (10.0, 11.0)], [(4.0, 3.0), (2.0, 2.0), (20.0, 30.0)], [(5.0, 4.0)]]


@pytest.fixture
def whole() -> Evaluation:
    return summarize(table(ROWS), SETTINGS, duplicates=7, extra=["stray.npy", "more.npy"])


def test_only_rows_that_are_ok_are_measured(whole):
    assert (whole.frames, whole.skipped, whole.duplicates) == (3, 3, 7)
    assert whole.status == {"ok": 3, "missing_depth": 2, "no_valid_pixels": 1}
    assert whole.examples == {"missing_depth": "no depth for 0002", "no_valid_pixels": "0 pixels count"}
    assert dict(whole.figures.pooled) == near(figures(joined(PAIRS)))
    assert (whole.figures.frames, whole.figures.pixels) == (3, 6)


def test_figures_of_a_row_that_is_not_ok_are_nothing():
    """A crash may leave some behind."""
    rows = [*ROWS, row([(1.0, 70.0)], status="crashed", detail="killed", scale_ratio=99.0, nan_pixels=50)]
    found = summarize(table(rows), SETTINGS)
    assert found.figures == summarize(table(ROWS), SETTINGS).figures
    assert found.scale_ratio == {"median": 2, "std": 0.5}
    assert found.invalid["nan_pixels"] == 1


def test_ranges(whole):
    counts = {name: (found.frames, found.pixels) for name, found in whole.ranges.items()}
    assert counts == {"near": (2, 2), "mid": (2, 2), "far": (1, 1), "very_far": (1, 1)}
    assert dict(whole.ranges["near"].mean) == near(
        {name: (figures([(2.0, 3.0)])[name] + figures([(2.0, 2.0)])[name]) / 2 for name in METRICS}
    )
    assert dict(whole.ranges["very_far"].pooled) == near(figures([(20.0, 30.0)]))


def test_a_range_that_no_frame_reaches():
    found = summarize(table([row([(2.0, 3.0)])]), SETTINGS)
    assert {name: one.frames for name, one in found.ranges.items()} == {"near": 1, "mid": 0, "far": 0, "very_far": 0}
    assert found.ranges["far"].mean == {}
    assert "far pixels" not in found.text()


def test_groups(whole):
    assert {name: [*found] for name, found in whole.groups.items()} == {
        "dataset_root": ["a", "b"],
        "depth_variant": ["maps", "older"],
        "scene_type": ["indoor", "outdoor_far"],
    }
    assert dict(whole.groups["dataset_root"]["a"].pooled) == near(figures(PAIRS[0] + PAIRS[2]))
    assert dict(whole.groups["dataset_root"]["b"].pooled) == near(figures(PAIRS[1]))
    assert dict(whole.groups["depth_variant"]["older"].mean) == near(figures(PAIRS[2]))
    assert whole.groups["scene_type"]["indoor"].frames == 1  # a frame without a scene is in none


def test_predictions_that_are_no_depth(whole):
    assert whole.invalid == {"frames": 2, "nan_pixels": 1, "infinite_pixels": 4, "nonpositive_pixels": 2}


def test_scales(whole):
    assert whole.scale_ratio == {"median": 2, "std": 0.5}
    assert summarize(table([row([(1.0, 2.0)])]), SETTINGS).scale_ratio is None


def test_json_and_back(whole):
    back = Evaluation.from_dict(json.loads(json.dumps(whole.as_dict(), allow_nan=False)))
    assert back == whole
    assert back.text() == whole.text()


def test_text_has_the_figures(whole):
    lines = whole.text().splitlines()
    assert lines[0] == "Frames        3 evaluated, 3 not"
    assert lines[1].split(maxsplit=2) == ["missing_depth", "2", "such as: no depth for 0002"]
    assert lines[2].split(maxsplit=2) == ["no_valid_pixels", "1", "such as: 0 pixels count"]
    assert lines[3] == "Duplicates    7  (kept once)"
    assert lines[4] == "Extra         2 predictions of no frame, such as stray.npy"
    assert lines[5].startswith("Protocol      kitti-devkit: 0 m to no limit (strict)")
    assert lines[6] == (
        "No depth      in 2 frames: 1 nan, 4 infinite, 2 nonpositive; counted as the least or greatest depth"
    )
    assert lines[7] == "Scale ratio   median 2.0000, standard deviation 0.5000"
    shown = {words[0]: words[1:] for words in map(str.split, lines) if words and words[0] in METRICS}
    for name, metric in METRICS.items():
        wanted = [f"{found[name]:.4f}" for found in (whole.figures.mean, whole.figures.pooled)]
        assert shown[name] == wanted + [metric.unit] * bool(metric.unit)
    assert whole.intervals == {}
    assert f"intervals: {whole.resampling}" in lines
    assert whole.resampling.startswith("none, ")


def test_text_has_the_intervals_where_there_are_many_frames():
    rng = np.random.default_rng(0)
    rows = [row([(10.0, 10 + rng.uniform(0, 3))], dataset_root=f"scene{number:02d}") for number in range(40)]
    found = summarize(table(rows), SETTINGS)
    low, high = found.intervals["abs_rel"]
    assert low < found.figures.mean["abs_rel"] < high
    (line,) = [one for one in found.text().splitlines() if one.startswith("abs_rel")]
    mean, pooled = found.figures.mean["abs_rel"], found.figures.pooled["abs_rel"]
    assert line.split(maxsplit=1)[1].split() == [f"{mean:.4f}", f"[{low:.4f},", f"{high:.4f}]", f"{pooled:.4f}"]
    assert Evaluation.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False))) == found


def test_files_that_can_hardly_be_metres_are_remarked_on():
    files = {"kind": "files", "raw": False, "spec": None}
    wrong, right = table([row([(2.0, 500.0)])]), table([row([(2.0, 3.0)])])
    for predictor, rows, remarked in (
        (files, wrong, True),
        (files, right, False),
        ({**files, "raw": True, "spec": {}}, wrong, False),
        (NETWORK, wrong, False),
    ):
        text = summarize(rows, {**SETTINGS, "predictor": predictor}).text()
        assert ("--values output" in text) == remarked
    # Where nothing was measured there is nothing to remark on.
    assert "--values" not in summarize(table(ROWS[3:]), {**SETTINGS, "predictor": files}).text()


def test_text_has_the_groups(whole):
    lines = whole.text().splitlines()

    def numbers(name: str) -> list[str]:
        (line,) = [one for one in lines if one.startswith(name)]
        return line.removeprefix(name).split()

    def wanted(found) -> list[str]:
        return [str(found.frames), *(f"{found.mean[name]:.4f}" for name in ("abs_rel", "rmse", "bias", "a1"))]

    assert numbers("mean over frames") == ["frames", "abs_rel", "rmse", "bias", "a1"]
    assert numbers("near pixels, 0-3 m") == wanted(whole.ranges["near"])
    assert numbers("mid pixels, 3-8 m") == wanted(whole.ranges["mid"])
    assert numbers("very_far pixels, 15 m and more") == wanted(whole.ranges["very_far"])
    assert numbers("  a") == wanted(whole.groups["dataset_root"]["a"])
    assert numbers("  outdoor_far") == wanted(whole.groups["scene_type"]["outdoor_far"])


def test_one_group_alone_is_not_shown():
    text = summarize(table([row([(2.0, 3.0)], scene_type="indoor")] * 2), SETTINGS).text()
    assert "by " not in text
    assert "indoor" not in text


def test_of_many_groups_the_worst_are_shown():
    rows = [row([(10.0, 10.0 + number)], dataset_root=f"scene{number:02d}") for number in range(20)]
    found = summarize(table(rows), SETTINGS)
    assert len(found.groups["dataset_root"]) == 20
    lines = found.text().splitlines()
    start = lines.index("by dataset_root")
    assert [line.split()[0] for line in lines[start + 1 : start + 13]] == [f"scene{n:02d}" for n in range(19, 7, -1)]
    assert lines[start + 13] == "  ... and 8 more (--json has all)"


def test_no_frame_was_measured():
    found = summarize(table(ROWS[3:]), SETTINGS)
    assert (found.frames, found.skipped) == (0, 3)
    assert (found.figures.frames, found.figures.mean, found.groups, found.scale_ratio) == (0, {}, {}, None)
    assert found.invalid == {"frames": 0, "nan_pixels": 0, "infinite_pixels": 0, "nonpositive_pixels": 0}
    assert Evaluation.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False))) == found
    text = found.text()
    assert text.startswith("Frames        0 evaluated, 3 not")
    assert "abs_rel" not in text


def test_an_empty_table():
    found = summarize(table([]), SETTINGS)
    assert (found.frames, found.skipped, found.status) == (0, 0, {})
    assert found.text().startswith("Frames        0 evaluated, 0 not")


def test_the_oracle_fills_every_column_of_the_table():
    """So that the rows above are of the form that is written."""
    assert list(ROWS[0]) == SCHEMA.names
    judged_row = judged(np.array([[2.0, 10.0]]), np.array([[3.0, 11.0]]), Protocol.of("kitti-devkit"))
    mine = row([(2.0, 3.0), (10.0, 11.0)])
    assert set(judged_row) <= set(SCHEMA.names)
    for name, value in judged_row.items():
        assert mine[name] == (value if value is None else pytest.approx(value, rel=1e-12, abs=1e-12)), name
    assert isinstance(table(ROWS), pd.DataFrame)
