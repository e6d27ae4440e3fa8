"""`ncdb_dask.sample` on a forged scan of thousands of rows, against the definitions in plain Python.

- ``rows``: what the scan holds
- ``scan``: its folder
"""

import json
import math
import random
from collections import Counter
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import sampling_oracle as oracle
from helpers.scans import Row, faulty, forge, key, row, videos, write_keys

import ncdb_dask
from ncdb_dask.errors import NcdbError, PlanError, SampleError, SplitError
from ncdb_dask.sampling.allocate import quotas
from ncdb_dask.scanning.stats import histogram_edges

EDGES, NAMES = (0.0, 3.0, 8.0, 15.0, math.inf), ("near", "mid", "far", "very_far")
RATIOS = [Fraction(1, 4), Fraction(2, 5), Fraction(1, 4), Fraction(1, 10)]
STRATEGIES = ["stratified", "balanced", "matched", "random", "uniform", "first"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return videos()


@pytest.fixture(scope="module")
def scan(rows, tmp_path_factory) -> Path:
    return forge(tmp_path_factory.mktemp("forged") / "scan", rows)


@pytest.fixture(scope="module")
def by_key(rows) -> dict[tuple[str, str], Row]:
    return {key(row): row for row in rows}


def priority(row: Row, seed: int = 42) -> int:
    text = "\0".join([str(seed), *key(row)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def eligible(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "ok" and not row["scale_ambiguous"]]


def number(row: Row) -> int:
    return int(row["filename"])


def first(rows: list[Row], count: int) -> set[tuple[str, str]]:
    return {key(row) for row in sorted(rows, key=priority)[:count]}


def stratified(rows: list[Row], size: int) -> set[tuple[str, str]]:
    ranges = {
        name: [row for row in rows if oracle.depth_range(row["mean_depth"], EDGES, NAMES) == name] for name in NAMES
    }
    granted = quotas(RATIOS, [len(ranges[name]) for name in NAMES], size)
    return set().union(*(first(ranges[name], count) for name, count in zip(NAMES, granted, strict=True)))


def figures(chosen) -> dict:
    return {name: value for name, value in chosen.report.as_dict().items() if name != "scan"}


# What is chosen


def test_stratified_is_its_definition(scan, rows):
    chosen = ncdb_dask.sample(scan, size=200)
    assert len(chosen.keys) == 200
    assert set(chosen.keys) == stratified(eligible(rows), 200)
    assert [stratum.granted for stratum in chosen.report.strata] == [50, 80, 50, 20]


def test_the_guides_example(tmp_path):
    counts, means = (1823, 2456, 492, 85), (1.0, 5.0, 10.0, 20.0)
    kinds = enumerate(zip(counts, means, strict=True))
    rows = [row(f"scene{part}", f"{n:010d}", mean) for part, (count, mean) in kinds for n in range(count)]
    chosen = ncdb_dask.sample(forge(tmp_path / "scan", rows, 1000))
    found = [(s.name, s.share, s.requested, s.available, s.granted) for s in chosen.report.strata]
    assert found == [
        ("near", 0.25, 75, 1823, 75),
        ("mid", 0.4, 120, 2456, 120),
        ("far", 0.25, 75, 492, 75),
        ("very_far", 0.1, 30, 85, 30),
    ]
    assert Counter(scene for scene, _ in chosen.keys) == {"scene0": 75, "scene1": 120, "scene2": 75, "scene3": 30}


def test_random_is_its_definition(scan, rows):
    assert set(ncdb_dask.sample(scan, size=77, strategy="random").keys) == first(eligible(rows), 77)


def test_first_takes_the_first_rows(scan, rows):
    assert list(ncdb_dask.sample(scan, size=77, strategy="first").keys) == [key(row) for row in eligible(rows)[:77]]


@pytest.mark.parametrize("size", [1, 7, 300])
def test_uniform_walks_in_equal_steps(size, scan, rows):
    order = {key(row): place for place, row in enumerate(sorted(eligible(rows), key=key))}
    places = [order[pair] for pair in ncdb_dask.sample(scan, size=size, strategy="uniform").keys]
    steps = np.diff(places)
    assert len(set(places)) == size
    assert steps.max(initial=0) - steps.min(initial=len(order)) <= 1 or size == 1
    assert abs(places[0] - (len(order) - 1 - places[-1])) <= 1  # in the middle of the first and of the last step


def test_matched_has_the_proportions_of_the_data_set(scan, rows):
    chosen = ncdb_dask.sample(scan, size=150, strategy="matched", by="scene_type,lighting")
    held = Counter((row["scene_type"], row["lighting"]) for row in eligible(rows))
    shares = {f"{scene}/{light}": Fraction(150 * count, held.total()) for (scene, light), count in held.items()}
    assert {stratum.name for stratum in chosen.report.strata} == set(shares)
    assert all(abs(stratum.granted - shares[stratum.name]) < 1 for stratum in chosen.report.strata)


def test_balanced_gives_each_cell_that_holds_frames_the_same(scan, rows, by_key):
    chosen = ncdb_dask.sample(scan, size=120, strategy="balanced", by="lighting,depth_range")
    assert {stratum.name for stratum in chosen.report.strata} == {
        f"{a}/{b}" for a in ("day", "dusk", "night") for b in NAMES
    }
    counts = Counter(
        f"{by_key[pair]['lighting']}/{oracle.depth_range(by_key[pair]['mean_depth'], EDGES, NAMES)}"
        for pair in chosen.keys
    )
    assert counts == {stratum.name: stratum.granted for stratum in chosen.report.strata}
    strata = chosen.report.strata
    due = oracle.water_filled([Fraction(1)] * len(strata), [s.available for s in strata], 120)
    assert all(abs(s.granted - share) < 1 for s, share in zip(strata, due, strict=True))


def test_balanced_by_a_weight_table(scan, by_key):
    weights = {"day": 3, "night": 1, "dusk": 0}
    chosen = ncdb_dask.sample(scan, size=40, strategy="balanced", by="lighting", weights=weights)
    assert Counter(by_key[pair]["lighting"] for pair in chosen.keys) == {"day": 30, "night": 10}
    assert chosen.report.settings["weights"] == {"day": 3.0, "night": 1.0, "dusk": 0.0}
    with pytest.raises(SampleError, match=r"has no weight for dusk, which holds \d+ frames; add it"):
        ncdb_dask.sample(scan, size=40, strategy="balanced", by="lighting", weights={"day": 3, "night": 1})


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", [1, 33, 500])
def test_the_size_is_exact_and_no_frame_comes_twice(strategy, size, scan, by_key):
    chosen = ncdb_dask.sample(scan, size=size, strategy=strategy)
    assert len(chosen.keys) == len(set(chosen.keys)) == len(chosen.rows) == len(chosen.ranges) == size
    assert all(by_key[pair]["status"] == "ok" for pair in chosen.keys)
    assert sum(stratum.granted for stratum in chosen.report.strata) == chosen.report.size == size
    assert all(stratum.granted <= stratum.available for stratum in chosen.report.strata)


@pytest.mark.parametrize("strategy", ["stratified", "balanced", "matched", "random"])
@pytest.mark.parametrize("options", [{}, {"min_gap": 4}])
def test_larger_sets_contain_smaller_ones(strategy, options, scan):
    sets = [set(ncdb_dask.sample(scan, size=size, strategy=strategy, **options).keys) for size in (10, 100, 101, 300)]
    assert all(small < large for small, large in pairwise(sets))


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "first"])
def test_order_and_shards_do_not_matter(strategy, scan, rows, tmp_path):
    shuffled = rows.copy()
    random.Random(3).shuffle(shuffled)
    other = forge(tmp_path / "scan", shuffled, shard_size=701)
    options = {"size": 150, "strategy": strategy, "min_gap": 3}
    one, two = ncdb_dask.sample(scan, **options), ncdb_dask.sample(other, **options)
    assert one.keys == two.keys
    assert figures(one) == figures(two)


def test_another_seed_is_another_set_and_the_same_seed_the_same(scan):
    sets = [ncdb_dask.sample(scan, size=100, seed=seed).keys for seed in (42, 42, 43)]
    assert sets[0] == sets[1]
    assert set(sets[0]) != set(sets[2])


def test_a_grown_data_set_keeps_most_of_the_set(rows, tmp_path):
    before = ncdb_dask.sample(forge(tmp_path / "before", rows[:2000]), size=200, strategy="random").keys
    after = ncdb_dask.sample(forge(tmp_path / "after", rows), size=200, strategy="random").keys
    new = {key(row) for row in rows[2000:]}
    assert len(set(before) - set(after)) == len(new & set(after))
    assert set(after) - new <= set(before)


@pytest.mark.parametrize("options", [{}, {"min_gap": 4}, {"bins": "0,1,2,40,inf", "ratios": ".4,.4,.1,.1"}])
@pytest.mark.parametrize("strategy", ["stratified", "balanced", "matched", "random", "first"])
def test_a_set_begins_with_every_smaller_one(strategy, options, scan):
    options = {name: value for name, value in options.items() if strategy == "stratified" or name != "ratios"}
    keys = ncdb_dask.sample(scan, size=300, strategy=strategy, **options).keys
    for size in (1, 7, 32, 64, 100, 299):
        assert ncdb_dask.sample(scan, size=size, strategy=strategy, **options).keys == keys[:size]


def test_a_stratum_that_runs_out_does_not_reorder_the_list(tmp_path):
    rows = [row("s", f"{n:04d}", mean) for n, mean in enumerate([1.0] * 50 + [5.0] * 50 + [10.0] * 4 + [20.0] * 5)]
    scan = forge(tmp_path / "scan", rows)
    keys = ncdb_dask.sample(scan, size=109).keys
    assert all(ncdb_dask.sample(scan, size=size).keys == keys[:size] for size in range(1, 110, 4))


def test_a_shortage_is_spread_and_told(tmp_path):
    rows = [row("s", f"{n:04d}", mean) for n, mean in enumerate([1.0] * 500 + [5.0] * 500 + [10.0] * 4 + [20.0] * 50)]
    report = ncdb_dask.sample(forge(tmp_path / "scan", rows), size=100).report
    assert [(s.requested, s.available, s.granted) for s in report.strata] == [
        (25, 500, 32),
        (40, 500, 51),
        (25, 4, 4),
        (10, 50, 13),
    ]
    assert "far holds 4 of 25 frames; others give 21 more" in report.notes


# What is left out


def test_the_gap_holds_between_all_chosen_frames(scan, rows, by_key):
    gap = 7
    pool = eligible(rows)
    frames = [(row["dataset_root"], number(row), priority(row)) for row in pool]
    kept = [row for row, stays in zip(pool, oracle.thinned(frames, gap), strict=True) if stays]
    chosen = ncdb_dask.sample(scan, size=150, min_gap=gap)
    assert set(chosen.keys) == stratified(kept, 150)
    assert sum(stratum.available for stratum in chosen.report.strata) == len(kept)
    assert chosen.report.left_out["too near to a frame of higher priority"] == len(pool) - len(kept)
    assert chosen.report.crowded == 0
    by_scene: dict[str, list[int]] = {}
    for scene, stem in chosen.keys:
        by_scene.setdefault(scene, []).append(int(stem))
    assert min(np.diff(sorted(numbers)).min() for numbers in by_scene.values()) >= gap


def test_exclusion_and_gap_together_are_their_definitions(scan, rows, tmp_path):
    gap = 3
    kept_out = [row for row in rows if number(row) % 30 == 4]
    names = {key(row) for row in kept_out}
    hashes = [int(row["phash"], 16) for row in kept_out if row["phash"]]
    left_out, pool = Counter(), []
    for one in eligible(rows):
        apart = min(abs(number(one) - number(o)) for o in kept_out if o["dataset_root"] == one["dataset_root"])
        if key(one) in names:
            continue
        if any(oracle.bits_apart(int(one["phash"], 16), other) <= 4 for other in hashes):
            left_out["same picture as an excluded frame"] += 1
        elif apart < gap:
            left_out["too near to an excluded frame"] += 1
        else:
            pool.append(one)
    frames = [(row["dataset_root"], number(row), priority(row)) for row in pool]
    kept = [row for row, stays in zip(pool, oracle.thinned(frames, gap), strict=True) if stays]
    left_out["too near to a frame of higher priority"] = len(pool) - len(kept)
    exclude = write_keys(tmp_path / "val_split.json", sorted(names))
    chosen = ncdb_dask.sample(scan, size=150, exclude=exclude, min_gap=gap)
    assert set(chosen.keys) == stratified(kept, 150)
    assert min(left_out.values()) > 0
    assert left_out.items() <= chosen.report.left_out.items()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gap_and_exclusion_hold_for_every_strategy(strategy, scan, rows, tmp_path):
    kept_out = [key(row) for row in rows if number(row) % 40 == 5]
    exclude = write_keys(tmp_path / "val_split.json", kept_out)
    chosen = ncdb_dask.sample(scan, size=90, strategy=strategy, exclude=exclude, min_gap=3)
    assert not set(chosen.keys) & set(kept_out)
    apart = [
        abs(int(stem) - int(other))
        for scene, stem in chosen.keys
        for place, other in (*chosen.keys, *kept_out)
        if place == scene and other != stem
    ]
    assert min(apart) >= 3
    assert chosen.report.leaks == {"excluded": 0, "same_picture": 0, "near": 0}


@pytest.fixture
def leaking(tmp_path) -> tuple[Path, str, set, set, set]:
    """A scan with copies and neighbours of excluded frames; also frames of both kinds that only look like it."""
    rng = np.random.default_rng(8)
    hashes = [int(value) for value in rng.integers(2**63, size=60)]
    rows = [row("train", f"{10 * n:06d}", phash=f"{value:016x}") for n, value in enumerate(hashes)]
    excluded = [("train", f"{10 * n:06d}") for n in (3, 20, 41)]
    copies = [row("copy", f"{n:06d}", phash=f"{hashes[n] ^ 0b1001011:016x}") for n in (3, 20)]  # 4 bits
    unlike = [row("copy", "000099", phash=f"{hashes[41] ^ 0b11111 << 20:016x}")]  # 5 bits
    near = [row("train", "000031", phash="f" * 16), row("train", "000199", phash="0" * 16)]
    far = [row("train", "000033", phash="1" * 16), row("other", "000031", phash="2" * 16)]  # another recording
    scan = forge(tmp_path / "leaking", [*rows, *copies, *unlike, *near, *far], shard_size=16)
    split = write_keys(tmp_path / "val_split.json", [*excluded, ("elsewhere", "000001")])
    return scan, split, set(excluded), {key(row) for row in copies}, {key(row) for row in near}


def test_without_a_gap_leaks_are_reported(leaking):
    scan, split, excluded, copies, near = leaking
    chosen = ncdb_dask.sample(scan, size=64, strategy="random", exclude=split)
    assert copies | near <= set(chosen.keys)
    assert not excluded & set(chosen.keys)
    assert chosen.report.left_out == {"excluded": 3}
    assert chosen.report.leaks == {"excluded": 0, "same_picture": 2, "near": 2}
    alike, neighbour = (
        next(note for note in chosen.report.notes if what in note) for what in ("look the same", "neighbours")
    )
    first = {
        name: next(pair for pair in chosen.keys if pair in some) for name, some in {"a": copies, "n": near}.items()
    }
    assert alike == (
        f"2 frames of the set look the same as one of {split} (the first: {'/'.join(first['a'])}); "
        "--min-gap 1 leaves such frames out"
    )
    assert neighbour == (
        f"2 frames of the set are neighbours of one of {split} (the first: {'/'.join(first['n'])}); "
        "--min-gap leaves such frames out"
    )
    assert chosen.report.uncompared == 1


def test_with_a_gap_leaks_are_left_out(leaking):
    scan, split, excluded, copies, near = leaking
    chosen = ncdb_dask.sample(scan, size=60, strategy="random", exclude=[split], min_gap=2)
    assert not (excluded | copies | near) & set(chosen.keys)
    left_out = {"excluded": 3, "same picture as an excluded frame": 2, "too near to an excluded frame": 2}
    assert chosen.report.left_out == left_out
    assert chosen.report.leaks == {"excluded": 0, "same_picture": 0, "near": 0}


def test_every_row_is_counted_once(scan, rows, tmp_path):
    kept_out = {key(row) for row in rows if number(row) % 25 == 0}
    exclude = write_keys(tmp_path / "val_split.json", sorted(kept_out))
    options = {"bins": "0.5,3,30", "ratios": "0.5,0.5", "min_valid": "25%", "synthetic": "leave-out", "min_gap": 2}
    report = ncdb_dask.sample(scan, size=50, exclude=exclude, **options).report
    expected = Counter()
    for one in rows:
        if one["status"] != "ok":
            expected["without statistics"] += 1
        elif key(one) in kept_out:
            expected["excluded"] += 1
        elif 4 * one["valid_pixels"] < 192:
            expected["too few valid pixels"] += 1
        elif one["scale_ambiguous"]:
            expected["unit of depth in doubt"] += 1
        elif "synthetic" in one["depth_variant"]:
            expected["synthetic depth only"] += 1
        elif not 0.5 <= one["mean_depth"] < 30:
            expected["beyond all depth ranges"] += 1
        else:
            expected["population"] += 1
    assert report.population == expected.pop("population")
    assert min(expected.values()) > 0
    assert expected.items() <= report.left_out.items()
    assert sum(report.left_out.values()) + sum(stratum.available for stratum in report.strata) == len(rows)


@pytest.mark.parametrize(
    ("min_valid", "least"), [(0, 0), (100, 100), ("96", 96), ("50%", 96), ("100%", 192), (192, 192), ("7%", 13.44)]
)
def test_least_valid_pixels(min_valid, least, scan, rows):
    enough = [row for row in eligible(rows) if row["valid_pixels"] >= least]
    report = ncdb_dask.sample(scan, size=1, strategy="random", min_valid=min_valid).report
    assert report.population == len(enough)
    assert report.left_out.get("too few valid pixels", 0) == sum(
        row["status"] == "ok" and row["valid_pixels"] < least for row in rows
    )


def test_a_share_of_valid_pixels_is_exact(tmp_path):
    """0.07 * 100 is more than 7 in binary."""
    rows = [row("s", f"{n:03d}", valid_pixels=n, total_pixels=100) for n in range(1, 101)]
    scan = forge(tmp_path / "scan", rows)
    for percent in range(1, 101):
        assert (
            ncdb_dask.sample(scan, size=1, strategy="first", min_valid=f"{percent}%").report.population == 101 - percent
        )


@pytest.mark.parametrize("ambiguous", ["keep", "leave-out"])
@pytest.mark.parametrize("synthetic", ["keep", "leave-out"])
def test_frames_in_doubt_and_synthetic_ones(ambiguous, synthetic, scan, rows):
    allowed = [
        row
        for row in rows
        if row["status"] == "ok"
        and (ambiguous == "keep" or not row["scale_ambiguous"])
        and (synthetic == "keep" or "synthetic" not in row["depth_variant"])
    ]
    chosen = ncdb_dask.sample(scan, size=len(allowed), strategy="random", ambiguous=ambiguous, synthetic=synthetic)
    assert set(chosen.keys) == {key(row) for row in allowed}
    holds = sum("synthetic" in row["depth_variant"] for row in allowed)
    told = [note for note in chosen.report.notes if "synthetic depth only" in note]
    assert told == (
        [f"{holds} frames of the set have synthetic depth only, which decided their depth range"] if holds else []
    )


def test_frames_beyond_the_ranges(scan, rows):
    pool = eligible(rows)
    inside = [row for row in pool if 1 <= row["mean_depth"] < 10]
    below, above = (sum(row["mean_depth"] < 1 for row in pool), sum(row["mean_depth"] >= 10 for row in pool))
    assert below
    assert above
    options = {"size": 100, "bins": "1,3,10", "ratios": "0.5,0.5", "names": "close,distant"}
    report = ncdb_dask.sample(scan, **options).report
    assert report.left_out["beyond all depth ranges"] == below + above
    assert report.population == len(inside)
    near = sum(1 <= row["mean_depth"] < 3 for row in pool)
    assert [(s.name, s.available) for s in report.strata] == [("close", near), ("distant", len(inside) - near)]
    report = ncdb_dask.sample(scan, **options, beyond="nearest").report
    assert "beyond all depth ranges" not in report.left_out
    assert [s.available for s in report.strata] == [near + below, len(inside) - near + above]


def test_what_lies_beyond_all_ranges_counts_alike_for_every_strategy(scan, rows):
    inside = sum(1 <= row["mean_depth"] < 10 for row in eligible(rows))
    for strategy in ("stratified", "matched", "random", "uniform", "first"):
        ratios = {"ratios": ".5,.5"} if strategy == "stratified" else {}
        report = ncdb_dask.sample(scan, size=30, strategy=strategy, bins="1,3,10", **ratios).report
        assert report.population == inside
        assert report.left_out["beyond all depth ranges"] == len(eligible(rows)) - inside
        nearest = ncdb_dask.sample(scan, size=30, strategy=strategy, bins="1,3,10", beyond="nearest", **ratios).report
        assert nearest.population == len(eligible(rows))


# Figures


def test_distances_are_their_definitions(scan, rows, by_key):
    chosen = ncdb_dask.sample(scan, size=60)
    pool, picked = eligible(rows), [by_key[pair] for pair in chosen.keys]
    found = {name: distance.value for name, distance in chosen.report.distances.items()}
    depths = [[row["mean_depth"] for row in some] for some in (pool, picked)]
    assert found["mean_depth"] == pytest.approx(oracle.earth_mover(*depths))
    for column in ("scene_type", "lighting"):
        values = [[row[column] for row in some] for some in (pool, picked)]
        assert found[column] == pytest.approx(oracle.shares_apart(*values))
    pooled = [np.sum([row["depth_hist"] for row in some], axis=0, dtype=np.int64) for some in (pool, picked)]
    assert [list(counts) for counts in chosen.report.pixel_histogram] == [counts.tolist() for counts in pooled]
    edges = histogram_edges()
    centres, shares = np.sqrt(edges[1:] * edges[:-1]), [np.cumsum(counts) / counts.sum() for counts in pooled]
    area = sum(abs(a - b) * (right - left) for a, b, left, right in zip(*shares, centres, centres[1:], strict=False))
    assert found["pixel_depth"] == pytest.approx(area)
    assert chosen.report.effective_frames == pytest.approx(
        oracle.effective([int(row["phash"], 16) for row in picked], 8)
    )


def test_a_set_of_all_frames_is_at_distance_zero_and_so_are_random_ones(scan, rows):
    report = ncdb_dask.sample(scan, size=len(eligible(rows)), strategy="matched").report
    for distance in report.distances.values():
        assert (distance.value, distance.random_median, distance.random_worst) == pytest.approx((0, 0, 0), abs=1e-12)


def test_random_sets_are_a_fair_comparison(scan):
    """A random set is one of its kind: it is among the twenty, not far outside them; a biased set is outside."""
    honest = ncdb_dask.sample(scan, size=100, strategy="random").report.distances["mean_depth"]
    assert 0 < honest.random_median < honest.random_worst
    assert honest.value < 2 * honest.random_worst
    biased = ncdb_dask.sample(scan, size=100, ratios="0,0,0,1").report.distances["mean_depth"]
    assert biased.value > 3 * biased.random_worst


def test_counts_by_kind(scan, rows, by_key):
    chosen = ncdb_dask.sample(scan, size=80)
    picked = [by_key[pair] for pair in chosen.keys]
    for counts, column in ((chosen.report.scene_types, "scene_type"), (chosen.report.lighting, "lighting")):
        everything, of_set = (Counter(row[column] for row in some) for some in (eligible(rows), picked))
        assert counts == {name: (everything[name], of_set[name]) for name in everything}
    assert chosen.mean_depths[1].tolist() == [row["mean_depth"] for row in picked]
    assert sorted(chosen.mean_depths[0]) == sorted(row["mean_depth"] for row in eligible(rows))


def test_a_scan_without_image_statistics(tmp_path):
    rows = [row("s", f"{n:03d}", 1 + n % 20, lighting=None) for n in range(100)]
    exclude = write_keys(tmp_path / "val.json", [("s", "050")])
    report = ncdb_dask.sample(forge(tmp_path / "scan", rows), size=20, exclude=exclude, min_gap=2).report
    assert report.effective_frames is None
    assert report.distances["lighting"].value is None
    assert report.lighting == {}
    assert report.uncompared == 1
    assert any("nothing is known of lighting" in note for note in report.notes)
    assert "Lighting" not in report.text()
    assert (
        ncdb_dask.sample(tmp_path / "scan", size=4, strategy="balanced", by="lighting").report.strata[0].name == "none"
    )


# What is refused


def test_too_few_frames_names_the_ranges_and_writes_nothing(tmp_path):
    rows = [row("s", f"{n:03d}", mean) for n, mean in enumerate([1.0] * 7 + [5.0] * 4 + [20.0] * 2)]
    rows += [faulty("s", "x"), faulty(None, None, "bad_entry"), row("s", "y", scale_ambiguous=True)]
    scan = forge(tmp_path / "scan", rows)
    target = tmp_path / "sets" / "set.json"
    with pytest.raises(SampleError) as error:
        ncdb_dask.sample(scan, target, size=14)
    assert str(error.value) == (
        "14 frames are wanted and 13 can be chosen (near 7, mid 4, far 0, very_far 2); "
        "left out: 2 without statistics, 1 unit of depth in doubt; ask for at most 13 or leave out fewer"
    )
    assert not target.parent.exists()
    assert len(ncdb_dask.sample(scan, size=13).keys) == 13


def test_weightless_ranges_do_not_count_as_held(tmp_path):
    scan = forge(tmp_path / "scan", [row("s", f"{n}", 1.0 if n < 3 else 5.0) for n in range(9)])
    with pytest.raises(SampleError, match=r"4 frames are wanted and 3 can be chosen \(near 3, far 0\)"):
        ncdb_dask.sample(scan, size=4, ratios="0.5,0,0.5,0")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_scan_without_a_frame_that_can_be_chosen(strategy, tmp_path):
    scan = forge(tmp_path / "scan", [faulty("s", "a"), faulty("s", "b")])
    with pytest.raises(
        SampleError, match=r"5 frames are wanted and 0 can be chosen.*left out: 2 without statistics; leave out fewer"
    ):
        ncdb_dask.sample(scan, size=5, strategy=strategy)


def test_an_unfinished_scan(rows, tmp_path):
    scan = forge(tmp_path / "scan", rows[:300], shard_size=100, unfinished=True)
    with pytest.raises(PlanError, match="2 of 3 shards are done; run its scan again to finish it"):
        ncdb_dask.sample(scan, tmp_path / "set.json", size=5)
    assert not (tmp_path / "set.json").exists()


def test_a_scan_of_another_schema(rows, tmp_path):
    scan = forge(tmp_path / "scan", rows[:300], schema=0)
    with pytest.raises(PlanError, match="is a scan of schema 0; expected 1: give its command again with --fresh"):
        ncdb_dask.sample(scan, size=5)


def test_a_folder_that_is_no_scan(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PlanError, match="holds no scan"):
            ncdb_dask.sample(place, size=5)


def test_a_damaged_shard(rows, tmp_path):
    scan = forge(tmp_path / "scan", rows[:300], shard_size=100)
    shard = scan / "shard-000001.parquet"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(PlanError, match=r"shard-000001\.parquet is damaged"):
        ncdb_dask.sample(scan, size=5)


def test_an_excluded_split_that_is_not_there_or_none(scan, tmp_path):
    with pytest.raises(SplitError, match="no such split file"):
        ncdb_dask.sample(scan, size=5, exclude="nowhere.json")
    (tmp_path / "val.json").write_text("{}")
    with pytest.raises(SplitError, match="expected a JSON list"):
        ncdb_dask.sample(scan, size=5, exclude=str(tmp_path / "val.json"))


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([{"dataset_root": "s", "new_filename": 12}], "entry 0 has the number 12 as 'new_filename'"),
        ([{"dataset_root": "s", "new_filename": "1"}, 3], "entry 1 is a JSON number"),
        ([{"dataset_root": "/elsewhere/s", "new_filename": "1"}], "has a dataset_root outside the root"),
    ],
)
def test_an_excluded_item_that_would_keep_nothing_out_is_an_error(items, says, scan, tmp_path):
    (tmp_path / "val.json").write_text(json.dumps(items))
    with pytest.raises(SampleError, match=says) as error:
        ncdb_dask.sample(scan, tmp_path / "set.json", size=5, exclude=str(tmp_path / "val.json"))
    assert f"1 of {len(items)} items name no frame here, and would keep none out" in str(error.value)
    assert not (tmp_path / "set.json").exists()


def test_a_data_set_that_moved_is_still_known_by_its_old_place(rows, tmp_path):
    scan = forge(tmp_path / "scan", rows[:200], root="/old/place")
    kept_out = [key(row) for row in rows[:200] if row["status"] == "ok"][:20]
    exclude = write_keys(tmp_path / "val.json", [(f"/old/place/{scene}", stem) for scene, stem in kept_out])
    (tmp_path / "new").mkdir()
    report = ncdb_dask.sample(scan, size=20, exclude=exclude, root=tmp_path / "new").report
    assert report.left_out["excluded"] == 20


def test_frames_of_a_set_that_could_not_have_been_chosen_leak_too(tmp_path):
    rows = [row("s", f"{n:04d}", 2.0, scale_ambiguous=n % 4 < 2, phash=f"{n:016x}") for n in range(40)]
    scan = forge(tmp_path / "scan", rows)
    exclude = write_keys(tmp_path / "val.json", [key(one) for one in rows[1::2]])
    split = write_keys(tmp_path / "set.json", [key(one) for one in rows[::2]])
    report = ncdb_dask.sample_report(split, scan, exclude=exclude).report
    assert report.leaks == {"excluded": 0, "same_picture": 20, "near": 20}


def test_a_report_looks_at_the_data_set_as_asked(scan, tmp_path):
    options = {"min_valid": 50, "ambiguous": "keep", "synthetic": "leave-out", "bins": "1,3,10", "beyond": "nearest"}
    chosen = ncdb_dask.sample(scan, tmp_path / "set.json", size=60, ratios=".5,.5", picture=False, **options)
    again = ncdb_dask.sample_report(tmp_path / "set.json", scan, **options).report
    assert (again.population, again.left_out) == (chosen.report.population, chosen.report.left_out)
    assert {n: d.value for n, d in again.distances.items()} == {n: d.value for n, d in chosen.report.distances.items()}


def test_entries_that_repeat_are_told(scan, rows, tmp_path):
    frames = [key(one) for one in rows if one["status"] == "ok"][:10]
    report = ncdb_dask.sample_report(write_keys(tmp_path / "set.json", [*frames, *frames[:3]]), scan).report
    assert (report.size, report.repeated) == (10, 3)
    assert "3 entries of the set repeat an earlier one and are counted once" in report.notes


def test_near_duplicates_are_counted_among_the_pictures_that_are_known(tmp_path):
    hashes = [None, "0" * 16, "0" * 16, "f" * 16]
    scan = forge(tmp_path / "scan", [row("s", str(n), 2.0, phash=one) for n, one in enumerate(hashes)])
    report = ncdb_dask.sample(scan, size=4, strategy="random").report
    assert (report.effective_frames, report.compared_frames) == (2.0, 3)
    assert "1 frames of the set have no picture hash in the scan" in report.notes


def test_frames_that_share_a_number_are_told_where_a_gap_is_set(tmp_path):
    scan = forge(tmp_path / "scan", [row("s", f"{n:04d}_v2", 2.0) for n in range(9)] + [row("s", "x", 2.0)])
    report = ncdb_dask.sample(scan, size=2, strategy="random", min_gap=1).report
    wanted = (
        "9 frames share their number, the last in the stem, with another of their recording; the gap keeps one of each"
    )
    assert wanted in report.notes
    assert not [note for note in ncdb_dask.sample(scan, size=2, strategy="random").report.notes if "share" in note]


def test_a_value_that_reads_none_is_one_cell_with_the_missing_ones(tmp_path):
    lights = ["none", None, "day"] * 4
    scan = forge(tmp_path / "scan", [row("s", str(n), 2.0, lighting=one) for n, one in enumerate(lights)])
    chosen = ncdb_dask.sample(scan, size=12, strategy="balanced", by="lighting")
    assert len(set(chosen.keys)) == 12
    assert {stratum.name: stratum.available for stratum in chosen.report.strata} == {"day": 4, "none": 8}


def test_too_many_cells(tmp_path):
    rows = [row(f"s{n // 32}", str(n), 2.0, depth_variant=f"v{n % 32}") for n in range(32 * 32)]
    with pytest.raises(SampleError, match="dataset_root x depth_variant: 1024 cells hold frames; expected at most 500"):
        ncdb_dask.sample(forge(tmp_path / "scan", rows), size=9, strategy="balanced", by="dataset_root,depth_variant")


def test_a_column_of_too_many_values(scan):
    with pytest.raises(NcdbError, match="column filename has 200 different values; expected at most 64"):
        ncdb_dask.sample(scan, size=5, strategy="balanced", by="filename")


@pytest.mark.parametrize("name", ["dataset_root", "scale_ambiguous", "status", "image_width"])
def test_any_other_column_can_be_crossed(name, scan):
    assert len(ncdb_dask.sample(scan, size=24, strategy="balanced", by=name).keys) == 24


def test_a_histogram_is_no_column_to_cross(scan):
    with pytest.raises(SampleError, match="by 'depth_hist' is no column"):
        ncdb_dask.sample(scan, size=24, strategy="balanced", by="depth_hist")


def test_a_huge_gap_leaves_one_frame_a_recording(scan):
    chosen = ncdb_dask.sample(scan, size=12, strategy="random", min_gap=10**20)
    assert len({scene for scene, _ in chosen.keys}) == 12


def test_a_gap_of_one_keeps_one_of_equal_numbers_and_leaves_copies_out(leaking, tmp_path):
    scan, split, excluded, copies, _ = leaking
    chosen = ncdb_dask.sample(scan, size=40, strategy="random", exclude=Path(split), min_gap=1)
    assert not set(chosen.keys) & (excluded | copies)
    assert chosen.report.left_out["same picture as an excluded frame"] == len(copies)
    eyes = forge(tmp_path / "scan", [row("a", f"{eye}_{n:04d}", 2.0) for n in range(9) for eye in ("left", "right")])
    pair = ncdb_dask.sample(eyes, size=9, strategy="random", min_gap=1)
    assert sorted(stem[-4:] for _, stem in pair.keys) == [f"{n:04d}" for n in range(9)]
