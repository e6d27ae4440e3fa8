"""Measuring a set that someone else made."""

import json
from pathlib import Path

import pytest
from helpers.scans import Row, forge, key, row, videos, write_keys

import ncdb_dask
from ncdb_dask.errors import PlanError, SampleError, SplitError


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return videos()


@pytest.fixture(scope="module")
def scan(rows, tmp_path_factory) -> Path:
    return forge(tmp_path_factory.mktemp("forged") / "scan", rows)


FIGURES = (
    "size",
    "population",
    "left_out",
    "distances",
    "effective_frames",
    "depth_ranges",
    "scene_types",
    "lighting",
    "pixel_histogram",
    "leaks",
    "crowded",
)


def test_it_says_of_our_own_set_what_sample_said(scan, tmp_path, rows):
    exclude = write_keys(tmp_path / "val.json", [key(row) for row in rows[::37]])
    made = ncdb_dask.sample(scan, tmp_path / "set.json", size=150, exclude=exclude, picture=False)
    measured = ncdb_dask.sample_report(tmp_path / "set.json", scan, exclude=exclude)
    assert measured.keys == made.keys
    assert measured.ranges == made.ranges
    for name in FIGURES:
        assert getattr(measured.report, name) == getattr(made.report, name), name
    assert made.report.leaks["near"] > 0
    found = [(s.name, s.available, s.granted) for s in measured.report.strata]
    assert found == [(s.name, s.available, s.granted) for s in made.report.strata]
    assert all(s.share is None and s.requested is None for s in measured.report.strata)
    assert measured.report.split == "set.json"


def test_crowded_frames_of_a_set_are_those_that_would_have_to_leave(scan, rows, tmp_path):
    scene = [row for row in rows if row["dataset_root"].endswith("scene03") and row["status"] == "ok"]
    keys = [key(row) for row in scene if int(row["filename"]) < 40]
    split = write_keys(tmp_path / "set.json", keys)
    report = ncdb_dask.sample_report(split, scan, min_gap=10).report
    numbers, kept = [int(stem) for _, stem in keys], []
    for number in numbers:
        if all(abs(number - other) >= 10 for other in kept):
            kept.append(number)
    assert report.crowded == len(keys) - len(kept) > 0
    assert f"{report.crowded} frames of the set are nearer than 10 to another of it" in report.notes
    without = ncdb_dask.sample_report(split, scan).report
    assert without.crowded == 0
    assert report.left_out == without.left_out  # a set that is there already is only measured by the gap


def test_unknown_frames_are_counted(scan, rows, tmp_path):
    ok = [key(row) for row in rows if row["status"] == "ok"][:5]
    bad = [key(row) for row in rows if row["status"] != "ok"][:2]
    split = write_keys(tmp_path / "set.json", [*ok, *bad, ("elsewhere", "0000000001"), ok[0]])
    report = ncdb_dask.sample_report(split, scan).report
    assert (report.size, report.unknown) == (5, 3)
    assert "3 frames of the set are not in the scan, or have no statistics there" in report.notes


def test_a_set_of_which_nothing_is_known(scan, tmp_path):
    split = write_keys(tmp_path / "set.json", [("elsewhere", "1"), ("elsewhere", "2")])
    with pytest.raises(SampleError, match=r"none of the 2 frames of set\.json is in .* with statistics"):
        ncdb_dask.sample_report(split, scan)


def test_frames_that_are_kept_out_are_counted(scan, rows, tmp_path):
    keys = [key(row) for row in rows if row["status"] == "ok" and not row["scale_ambiguous"]][:200:10]
    split = write_keys(tmp_path / "set.json", keys)
    report = ncdb_dask.sample_report(split, scan, exclude=write_keys(tmp_path / "val.json", keys[:3])).report
    assert report.leaks["excluded"] == 3
    assert any(note.startswith("3 frames of the set are in ") for note in report.notes)


@pytest.mark.parametrize("count", [5, 6])
def test_a_set_larger_than_what_it_is_to_represent(count, tmp_path):
    """Nothing random can be drawn beside it; the rest is still told."""
    pytest.importorskip("matplotlib")
    rows = [row("s", f"{n}", 1.0 + n, scale_ambiguous=n >= 5, phash=f"{n:016x}") for n in range(10)]
    scan = forge(tmp_path / "scan", rows)
    split = write_keys(tmp_path / "set.json", [key(row) for row in rows[:count]])
    report = ncdb_dask.sample_report(split, scan, picture=tmp_path / "set.png").report
    assert (report.size, report.population) == (count, 5)
    assert (report.distances["mean_depth"].random_median is None) == (count > 5)
    assert "Mean depth" in report.text()
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_set_beside_a_data_set_of_which_nothing_may_be_chosen(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row("s", f"{n}", 1.0 + n, scale_ambiguous=True) for n in range(10)]
    scan = forge(tmp_path / "scan", rows)
    split = write_keys(tmp_path / "set.json", [key(row) for row in rows[:4]])
    report = ncdb_dask.sample_report(split, scan, picture=tmp_path / "set.png").report
    assert (report.size, report.population, report.left_out) == (4, 0, {"unit of depth in doubt": 10})
    assert all(distance.value is None for distance in report.distances.values())
    json.dumps(report.as_dict(), allow_nan=False)
    assert "Frames        4 of 0" in report.text()


def test_other_ranges_describe_it(scan, rows, tmp_path):
    made = ncdb_dask.sample(scan, size=40, strategy="random")
    split = write_keys(tmp_path / "set.json", made.keys)
    report = ncdb_dask.sample_report(split, scan, bins="2,6", names="middle").report
    depth = {key(row): row["mean_depth"] for row in rows}
    inside = sum(2 <= depth[pair] < 6 for pair in made.keys)
    assert [(s.name, s.granted) for s in report.strata] == [("middle", inside), ("beyond", 40 - inside)]


def test_what_cannot_be_used(scan, tmp_path):
    with pytest.raises(SplitError, match="no such split file"):
        ncdb_dask.sample_report("nowhere.json", scan)
    with pytest.raises(PlanError, match="holds no scan"):
        ncdb_dask.sample_report(write_keys(tmp_path / "set.json", [("a", "b")]), tmp_path)
    with pytest.raises(SampleError, match="expected depths in metres that rise"):
        ncdb_dask.sample_report("nowhere.json", scan, bins="3,2")


def test_the_report_as_text_and_as_values(scan):
    report = ncdb_dask.sample(scan, size=60).report
    text = report.text()
    near = next(s for s in report.strata if s.name == "near")
    assert text.splitlines()[0] == f"Frames        60 of {report.population}  (strategy stratified, seed 42)"
    line = next(line for line in text.splitlines() if line.startswith("  near "))
    assert line.split() == ["near", "25.0%", str(near.requested), str(near.granted), str(near.available)]
    moved = report.distances["mean_depth"]
    assert f"Mean depth    {moved.value:.3f} m  (random {moved.random_median:.3f}, {moved.random_worst:.3f})" in text
    assert f"Distinct      {report.effective_frames:.1f} of 60 (" in text
    document = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert document["strata"][0] == near.as_dict()
    assert document["settings"]["bins"] == [0, 3, 8, 15, "inf"]
    assert document["settings"]["ratios"] == [0.25, 0.4, 0.25, 0.1]
    assert document["distances"]["mean_depth"]["value"] == moved.value
    assert len(document["pixel_histogram"][0]) == 256
