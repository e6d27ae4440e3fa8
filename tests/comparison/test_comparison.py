"""What a comparison says, beside figures computed here from the pixels' own definition, and what it refuses."""

import json
import math

import numpy as np
import pytest
from helpers.evaluations import SETTINGS, faulty, forge, pair, row
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.comparison.against import LOSERS, RECORDINGS
from ncdb_dask.comparison.comparison import Comparison, compare_evaluations, labels_of
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.comparison.sentences import change
from ncdb_dask.errors import EvaluationError, PlanError
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.schema import RANGES
from ncdb_dask.store.folder import LocalFolder


def compared(*folders, **options) -> Comparison:
    request = CompareRequest.of(**{"resamples": 400, **options})
    return compare_evaluations([LocalFolder(str(folder)) for folder in folders], request)


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluations")
    good, bad = pair()
    return forge(out / "FP32", good), forge(out / "INT8", bad)


def shifted(base, amount, scenes=("a",), frames=12):
    """Frames of one pixel in each depth range, and the same with abs_rel larger by the amount of each range."""
    truth = np.array([2.0, 5.0, 10.0, 20.0])
    first, second = [], []
    for scene in scenes:
        for n in range(frames):
            key = scene, f"{n:04d}"
            first.append(row(*key, truth, truth * (1 + base)))
            second.append(row(*key, truth, truth * (1 + base + np.asarray(amount(n)))))
    return first, second


def test_the_sentence_of_a_loss(tmp_path):
    first, second = shifted(0.1, lambda n: [0, 0, 0, 0.08 if n % 2 else 0.12])
    found = compared(forge(tmp_path / "FP32", first), forge(tmp_path / "INT8", second), block=2)
    assert found.sentences == (
        "INT8 against FP32: abs_rel +0.0250 [+0.0250, +0.0250] over 12 frames; worse in 12; most of it beyond 15 m",
    )
    assert repr(found) == f"<{found.sentences[0]}>"


def test_the_sentence_of_no_difference(tmp_path):
    first, second = shifted(0.1, lambda n: [0.004 * (-1) ** n] * 4)
    (said,) = compared(forge(tmp_path / "FP32", first), forge(tmp_path / "INT8", second), block=1).sentences
    begin, end = "INT8 against FP32: abs_rel +0.0000 [-0.00", "] over 12 frames: no difference can be seen"
    assert said.startswith(begin)
    assert said.endswith(end)


@pytest.mark.parametrize(
    ("amount", "where"),
    [
        ([0.1, 0, 0, 0], "; most of it nearer than 3 m"),
        ([0, 0.1, 0, 0.02], "; most of it between 3 and 8 m"),
        ([0, 0, -0.05, 0.01], "; most of it between 8 and 15 m"),
        ([0.05, 0, 0, 0.05], ""),
    ],
)
def test_where_most_of_it_lies(amount, where, tmp_path):
    first, second = shifted(0.1, lambda n: np.array(amount) * (1 + n / 100))
    (said,) = compared(forge(tmp_path / "a", first), forge(tmp_path / "b", second), block=1).sentences
    worse = 0 if sum(amount) < 0 else 12
    assert said.endswith(f" over 12 frames; worse in {worse}{where}")


def test_one_recording_as_a_block_gives_no_interval(tmp_path):
    first, second = shifted(0.1, lambda n: [0.01] * 4)
    found = compared(forge(tmp_path / "a", first), forge(tmp_path / "b", second), block="recording")
    assert found.sentences == (
        "b against a: abs_rel +0.0100 over 12 frames; worse in 12; "
        "too few blocks for an interval (1 whole recording; at least 6 are needed)",
    )
    assert found.against[0].main.low is None
    assert "Intervals of b: too few blocks for an interval (1 whole recording;" in found.text()


def test_a_small_difference_that_can_be_seen_is_not_written_as_zero(tmp_path):
    first, second = shifted(0.1, lambda n: [(1 + n % 2) * 1e-5] * 4)
    (said,) = compared(forge(tmp_path / "a", first), forge(tmp_path / "b", second), block=1).sentences
    assert "abs_rel +0.00002 [+0.00001, +0.00002] over" in said


def test_a_difference_of_rounding_is_none(tmp_path):
    """Saved predictions are rounded: a network against its own is neither better nor worse."""
    first, second = shifted(0.1, lambda n: [(1 + n % 2) * 4e-6] * 4)
    found = compared(forge(tmp_path / "a", first), forge(tmp_path / "b", second), block=1)
    assert found.sentences[0].endswith("over 12 frames: no difference can be seen")
    assert not found.against[0].main.seen


def test_what_is_measured_over_fewer_frames_has_the_baseline_beside_it(tmp_path):
    good, bad = pair()
    found = compared(forge(tmp_path / "all", good), forge(tmp_path / "some", bad[:10]))
    abs_rel, frames = found.standing(found.evaluations[1])
    there = found.against[0].main.baseline
    assert (abs_rel, frames) == (found.against[0].main.other, 10)
    assert found.measured(found.evaluations[1]) == f"abs_rel {abs_rel:.4f} over 10 frames (all {there:.4f} there)"
    assert found.verdict(found.evaluations[1]).endswith(", without 14 frames of the baseline")
    assert "there" not in found.measured(found.evaluations[0])


@pytest.mark.parametrize(
    ("metric", "baseline", "low", "high", "says"),
    [
        ("abs_rel", 0.1, 0.01, 0.02, "worse"),
        ("abs_rel", 0.1, -0.02, -0.01, "better"),
        ("abs_rel", 0.1, -0.02, 0.01, ""),
        ("a1", 0.9, 0.01, 0.02, "better"),
        ("a1", 0.9, -0.02, -0.01, "worse"),
        ("bias", 0.1, 0.01, 0.02, "worse"),
        ("bias", -0.1, 0.05, 0.06, "better"),
        ("bias", -0.1, 0.15, 0.25, "changed"),
        ("bias", -0.1, 0.21, 0.25, "worse"),
        ("bias", -0.1, None, None, ""),
    ],
)
def test_marks(metric, baseline, low, high, says):
    moved = (low + high) / 2 if low is not None else 0.0
    assert change(Figure(baseline, baseline + moved, moved, low, high, 9, 5), metric) == says


def test_every_figure_is_that_of_the_frames(evaluations):
    good, bad = pair()
    (against,) = compared(*evaluations).against
    for metric, kind in METRICS.items():
        for figures, suffix in ((against.metrics, ""), *((against.ranges[name], f"_{name}") for name in RANGES.names)):
            pairs = [(a[metric + suffix], b[metric + suffix]) for a, b in zip(good, bad, strict=True)]
            pairs = [(a, b) for a, b in pairs if a is not None]
            worse = {"low": lambda a, b: b > a, "high": lambda a, b: b < a, "zero": lambda a, b: abs(b) > abs(a)}
            figure = figures[metric]
            assert figure.frames == len(pairs)
            assert figure.worse == sum(worse[kind.best](a, b) for a, b in pairs)
            assert figure.baseline == pytest.approx(np.mean([a for a, _ in pairs]))
            assert figure.other == pytest.approx(np.mean([b for _, b in pairs]))
            assert figure.difference == pytest.approx(np.mean([b - a for a, b in pairs]))
            assert figure.low <= figure.difference <= figure.high


@given(
    depths=st.lists(
        st.lists(st.tuples(st.floats(0.5, 70), st.floats(0.3, 80), st.floats(0.3, 80)), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=40, deadline=None)
def test_the_ranges_add_up_to_the_difference(depths, tmp_path_factory):
    out = tmp_path_factory.mktemp("split")
    first, second = (
        [row("a", f"{n}", [p[0] for p in frame], [p[side] for p in frame]) for n, frame in enumerate(depths)]
        for side in (1, 2)
    )
    (against,) = compared(forge(out / "a", first), forge(out / "b", second), resamples=100).against
    assert math.fsum(against.contributions.values()) == pytest.approx(against.main.difference, abs=1e-12)
    assert sum(against.shares.values()) == pytest.approx(1)


def test_the_order_of_rows_does_not_matter(tmp_path, evaluations):
    good, bad = pair()
    one = compared(*evaluations).as_dict()
    other = compared(forge(tmp_path / "FP32", good[::-1], 5), forge(tmp_path / "INT8", bad[::-1], 7)).as_dict()
    assert other["against"] == one["against"]


def test_frames_of_one_side_only_are_named_and_left_out(tmp_path):
    good, bad = pair()
    bad = [*bad[3:-2], faulty(*(good[-1][name] for name in ("dataset_root", "filename")), "missing_prediction")]
    bad += [faulty(None, None, "bad_entry"), row("new", "1", [2.0], [2.0])]
    found = compared(forge(tmp_path / "FP32", good), forge(tmp_path / "INT8", bad))
    (against,) = found.against
    assert (against.main.frames, against.only_baseline.frames, against.only_other.frames) == (19, 5, 1)
    scene = "synced_data/scene0/000000000"
    assert found.notes[:2] == (
        f"5 frames only in FP32 are not compared ({scene}0, {scene}1, {scene}2, ...; "
        "in INT8: 4 absent, 1 missing_prediction)",
        "1 frame only in INT8 is not compared (new/1; in FP32: 1 absent)",
    )


def test_groups_of_a_scan_and_recordings(tmp_path):
    good, bad = pair(scenes=4, frames=10)
    for k, (a, b) in enumerate(zip(good, bad, strict=True)):
        a.update(lighting="night" if k % 2 else "day", depth_range="far" if k % 4 else "near")
        b.update(lighting=a["lighting"])  # a scan of the one is enough
    (against,) = compared(forge(tmp_path / "a", good), forge(tmp_path / "b", bad)).against
    assert {group: list(values) for group, values in against.groups.items()} == {
        "depth_range": ["near", "far"],
        "lighting": ["day", "night"],
        "depth_variant": ["newest_depth_maps"],
    }
    night = against.groups["lighting"]["night"]["abs_rel"]
    assert night.frames == 20
    assert night.baseline == pytest.approx(np.mean([a["abs_rel"] for a in good[1::2]]))
    lost = [figures["abs_rel"].difference for figures in against.recordings.values()]
    assert lost == sorted(lost, reverse=True)
    assert len(lost) == against.all_recordings == 4


def test_only_the_worst_recordings_and_frames_are_listed(tmp_path):
    scenes = [f"s{k:02d}" for k in range(RECORDINGS + 3)]
    first, second = shifted(0.1, lambda n: [0.01 * n] * 4, scenes, 2)
    second[5] = row("s02", "0001", [2.0, 5, 10, 20], [4.0, 10, 20, 40])
    (against,) = compared(forge(tmp_path / "a", first), forge(tmp_path / "b", second)).against
    assert len(against.recordings) == RECORDINGS
    assert against.all_recordings == RECORDINGS + 3
    assert next(iter(against.recordings)) == "s02"
    assert len(against.losers) == LOSERS
    assert (against.losers[0]["dataset_root"], against.losers[0]["filename"]) == ("s02", "0001")
    assert against.blocks.text() == f"{RECORDINGS + 3} whole recordings"


@pytest.mark.parametrize(
    ("abs_rel", "options", "verdict"),
    [
        (0.0899, {}, "success"),
        (0.0901, {}, "enlarge the calibration set or use weight normalisation"),
        (0.0999, {}, "enlarge the calibration set or use weight normalisation"),
        (0.1001, {}, "look at the NPU or change the strategy"),
        (0.1001, {"good": 0.2, "poor": 0.3}, "success"),
    ],
)
def test_verdicts(abs_rel, options, verdict):
    assert CompareRequest.of(**options).verdict(abs_rel) == verdict


def test_a_verdict_of_each_and_where_its_thresholds_come_from(evaluations):
    found = compared(*evaluations)
    assert [each["verdict"] for each in found.as_dict()["evaluations"]] == [
        "baseline",
        "look at the NPU or change the strategy",
    ]
    strict = compared(*evaluations, good=0.01, poor=0.02)
    assert strict.verdict(strict.evaluations[0]) == "baseline, above 0.020 without quantization"
    assert found.verdict_note == (
        "Verdicts are by the guide's abs_rel of 0.090 and 0.100, for NCDB data under its protocol (here: ncdb)."
    )
    assert "as given; the guide has 0.090 and 0.100" in compared(*evaluations, good=0.05).verdict_note


def test_the_text_has_every_metric_and_range(evaluations):
    found = compared(*evaluations)
    text = found.text()
    assert text.splitlines()[0] == found.sentences[0]
    for word in (
        *METRICS,
        "nearer than 3 m",
        "beyond 15 m",
        "400 resamples of 9 blocks of up to 3 neighbouring frames",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) < 130


def test_json_has_no_nan(tmp_path):
    near = [row("a", f"{n}", [1.0, 2.0], [1.1, 2.2]) for n in range(3)]
    found = compared(forge(tmp_path / "a", near), forge(tmp_path / "b", near)).as_dict()
    answer = json.loads(json.dumps(found, allow_nan=False))
    assert set(answer["against"][0]["ranges"]) == {"near"}
    assert answer["against"][0]["metrics"]["abs_rel"]["low"] is None
    assert answer["against"][0]["mostly"] is None


def test_equal_evaluations_show_no_difference(tmp_path):
    good, _ = pair()
    (said,) = compared(forge(tmp_path / "a", good), forge(tmp_path / "b", good)).sentences
    assert said == "b against a: abs_rel +0.0000 [+0.0000, +0.0000] over 24 frames: no difference can be seen"


def test_a_data_set_that_has_moved_is_noted(tmp_path, evaluations):
    _, bad = pair()
    found = compared(evaluations[0], forge(tmp_path / "INT8", bad, root="/moved"))
    assert any("FP32 in /data/ncdb, INT8 in /moved" in note for note in found.notes)


def test_blocks_that_are_too_short_are_noted(tmp_path):
    first, second = shifted(0.1, lambda n: [0.01 * (1 + n // 15)] * 4, frames=60)
    folders = forge(tmp_path / "a", first), forge(tmp_path / "b", second)
    says = "so the interval is too narrow; give --block more than 4 frames"
    assert any(says in note for note in compared(*folders, block=4).notes)
    assert not any("--block" in note for note in compared(*folders, block="recording").notes)


def test_predictions_that_were_no_depth_are_noted(tmp_path, evaluations):
    _, bad = pair()
    bad[3]["nan_pixels"] = 1200
    found = compared(evaluations[0], forge(tmp_path / "INT8", bad))
    assert "INT8: 1,200 predictions in 1 frames were no depth (not finite, or <= 0)" in found.notes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depth_scale": 1000.0}, r"\(depth_scale 256.0 and 1000.0\)"),
        ({"protocol": {**SETTINGS["protocol"], "crop": "garg", "clamp": False}}, "crop 'none' and 'garg'; clamp True"),
    ],
)
def test_other_rules_are_refused_with_both_values(changes, says, tmp_path, evaluations):
    _, bad = pair()
    with pytest.raises(EvaluationError, match=says):
        compared(evaluations[0], forge(tmp_path / "INT8", bad, **changes))


def test_another_depth_variant_is_another_truth(tmp_path, evaluations):
    _, bad = pair(depth_variant="depth_maps")
    with pytest.raises(EvaluationError, match="is that of newest_depth_maps in FP32 and of depth_maps in INT8"):
        compared(evaluations[0], forge(tmp_path / "INT8", bad))


def test_how_predictions_were_made_to_fit_is_no_rule(tmp_path, evaluations):
    """A network squeezes its pictures; the files of its predictions need to be told so."""
    _, bad = pair()
    assert compared(evaluations[0], forge(tmp_path / "x", bad, stretch=True, variants=["other"])).sentences


def test_the_name_of_a_protocol_is_no_rule(tmp_path, evaluations):
    _, bad = pair()
    compared(evaluations[0], forge(tmp_path / "x", bad, protocol={**SETTINGS["protocol"], "name": "model file"}))


@pytest.mark.parametrize("swap", [False, True])
def test_another_truth_is_refused_with_its_frame(swap, tmp_path):
    good, bad = pair()
    bad[4] = row(bad[4]["dataset_root"], bad[4]["filename"], [2.0], [2.0])
    if swap:  # as many pixels, but at another depth
        good[4] = row(good[4]["dataset_root"], good[4]["filename"], [5.0], [5.0])
    says = "valid_pixels_near is 0 in a and 1 in b" if swap else "valid_pixels is 60 in a and 1 in b"
    with pytest.raises(EvaluationError, match=f"scene0/0000000004: {says}, so the two had another truth"):
        compared(forge(tmp_path / "a", good), forge(tmp_path / "b", bad))


def test_no_common_frame(tmp_path, evaluations):
    other = forge(tmp_path / "x", [row("else", "1", [2.0], [2.0])])
    with pytest.raises(EvaluationError, match="FP32 and x measured 24 and 1 frames, none of them in both"):
        compared(evaluations[0], other)


def test_what_cannot_be_compared_at_all(tmp_path, evaluations):
    with pytest.raises(EvaluationError, match="expected at least two"):
        compared(evaluations[0])
    (tmp_path / "link").symlink_to(evaluations[0])
    with pytest.raises(EvaluationError, match="link is given twice"):
        compared(evaluations[0], tmp_path / "link")
    with pytest.raises(PlanError, match="holds no"):
        compared(evaluations[0], tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resamples": 99}, "resamples 99: expected at least 100"),
        ({"seed": -1}, "seed -1"),
        ({"block": "scene"}, "block 'scene': expected a number of frames"),
        ({"block": 0}, "block 0: expected"),
        ({"good": 0.2}, "good 0.2, poor 0.1: expected two abs_rel above 0, good not above poor"),
        ({"poor": float("nan")}, "poor nan"),
    ],
)
def test_wrong_options(options, says):
    with pytest.raises(EvaluationError, match=says):
        CompareRequest.of(**options)


def test_labels():
    assert labels_of(["/out/a/eval/", "/out/b/eval", "/out/c"]) == ["a/eval", "b/eval", "c"]
    assert labels_of(["/a/x/eval", "/b/x/eval"]) == ["a/x/eval", "b/x/eval"]
    assert labels_of(["s3://a/eval", "/b/eval"], ["FP32", "INT8"]) == ["FP32", "INT8"]
    for given_labels in (["one"], ["one", "one"], ["one", " "]):
        with pytest.raises(EvaluationError, match="expected 2 different ones"):
            labels_of(["/a", "/b"], given_labels)
