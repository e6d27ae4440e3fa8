"""A scan in this process, without Dask: its table, its continuation, and what it refuses."""

import hashlib
import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import pngs
from helpers.folders import CountingFolder, InterruptedFolder
from helpers.trees import write_frame, write_split, write_tree

from ncdb_dask.errors import NcdbError, PlanError, SplitError
from ncdb_dask.sampling.quotas import GUIDE_RANGES
from ncdb_dask.scanning import table
from ncdb_dask.scanning.job import ScanJob
from ncdb_dask.scanning.plan import ScanPlan, make_plan
from ncdb_dask.scanning.request import ScanRequest, checked_scale
from ncdb_dask.scanning.schema import SCHEMA
from ncdb_dask.scanning.summary import Summary
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import MANIFEST_FILE
from ncdb_dask.store.plan import PLAN_FILE, default_shard_size, read_plan
from ncdb_dask.store.remote import RemoteFolder
from ncdb_dask.store.shards import shard_file

FRAMES = 10
SHARD_SIZE = 3  # 10 frames: shards of 3, 3, 3 and 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    write_tree(tmp_path / "data", FRAMES)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "scan"


def request(root: Path | Folder, out: Path | Folder, **changes: object) -> ScanRequest:
    options = {
        "allowed": (),
        "splits": ("train_split.json",),
        "variants": ("newest_depth_maps", "depth_maps"),
        "depth_scale": None,
        "image_stats": True,
        "shard_size": SHARD_SIZE,
    }
    return ScanRequest.of(root=opened(root), out=opened(out), **(options | changes))


def opened(place: Path | Folder) -> Folder:
    return LocalFolder(str(place)) if isinstance(place, Path) else place


def begin(plan: ScanPlan) -> ScanJob:
    plan.write()
    return ScanJob.of(plan.request, plan.plan.id, run=uuid.uuid4().hex, ranges=GUIDE_RANGES)


def carry_out(plan: ScanPlan) -> Summary:
    job = begin(plan)
    return table.finish(plan.request.out, plan.plan, [*plan.done.values(), *map(job, plan.left)])


def scan(root: Path | Folder, out: Path | Folder, **changes: object) -> Summary:
    return carry_out(make_plan(request(root, out, **changes)))


def leave_unfinished(root: Path, out: Path) -> None:
    """Do every shard and stop before the table is published."""
    plan = make_plan(request(root, out))
    job = begin(plan)
    for assignment in plan.left:
        job(assignment)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(plan: ScanPlan) -> list[int]:
    return [assignment.shard for assignment in plan.left]


# The table


def test_every_entry_is_one_row_in_the_order_of_the_split(root, out):
    summary = scan(root, out)
    split = json.loads((root / "train_split.json").read_text())
    frames = table.read_table(LocalFolder(str(out)))
    assert list(frames["dataset_root"]) == [item["dataset_root"] for item in split]
    assert list(frames["filename"]) == [item["new_filename"] for item in split]
    assert list(frames["entry"]) == list(range(FRAMES))
    assert set(frames["status"]) == {"ok"}
    assert (summary.samples, summary.skipped) == (FRAMES, 0)


def test_faulty_entries_keep_their_place_between_sound_ones(root, out):
    sound = json.loads((root / "train_split.json").read_text())
    items = [
        sound[0],
        7,
        sound[1],
        {"dataset_root": "../x", "new_filename": "1"},
        sound[0],
        sound[2] | {"new_filename": "9"},
    ]
    (root / "train_split.json").write_text(json.dumps(items))
    summary = scan(root, out, shard_size=2)
    frames = table.read_table(LocalFolder(str(out)))
    assert list(frames["status"]) == ["ok", "bad_entry", "ok", "unsafe_path", "missing_image"]
    assert list(frames["entry"]) == [0, 1, 2, 3, 5]
    assert summary.status == {"ok": 2, "bad_entry": 1, "unsafe_path": 1, "missing_image": 1}
    assert (summary.samples, summary.skipped, summary.duplicates) == (2, 3, 1)


def test_a_split_of_nothing_but_faults_is_a_table_too(root, out):
    (root / "train_split.json").write_text("[1, 2, 3, null]")
    summary = scan(root, out)
    assert (summary.samples, summary.skipped, summary.mean_of_means) == (0, 4, None)
    assert set(table.read_table(LocalFolder(str(out)))["status"]) == {"bad_entry"}


def test_the_shards_have_the_schema_whatever_they_hold(root, out):
    (root / "train_split.json").write_text(json.dumps([1, *json.loads((root / "train_split.json").read_text())]))
    scan(root, out, shard_size=1)
    for shard in range(FRAMES + 1):
        schema = pq.read_schema(out / shard_file(shard))
        assert {field.name: str(field.type).replace("element", "item") for field in schema} == {
            field.name: str(field.type) for field in SCHEMA
        }
        assert schema.metadata[b"ncdb_dask.schema"] == b"scan/1"


def test_pandas_reads_the_folder_and_stems_stay_text(root, out):
    scan(root, out)
    frames = pd.read_parquet(out)
    assert list(frames.columns) == SCHEMA.names
    assert len(frames) == FRAMES
    assert set(frames["filename"]) == {f"{number:010d}" for number in range(FRAMES // 2)}


def test_the_summary_agrees_with_the_table(root, out):
    summary = scan(root, out)
    frames = pd.read_parquet(out)
    assert summary.mean_of_means == pytest.approx(frames["mean_depth"].mean())
    assert summary.std_of_means == pytest.approx(frames["mean_depth"].std(ddof=1))
    assert (summary.min_depth, summary.max_depth) == (frames["min_depth"].min(), frames["max_depth"].max())
    assert summary.scene_types == frames["scene_type"].value_counts().to_dict()
    assert summary.variants == {"newest_depth_maps": FRAMES}
    assert summary.lighting == frames["lighting"].value_counts().to_dict()
    np.testing.assert_array_equal(summary.pixel_histogram, np.sum(list(frames["depth_hist"]), axis=0))
    assert sum(summary.pixel_histogram) == frames["valid_pixels"].sum()


def test_the_published_summary_is_the_one_that_was_returned(root, out):
    assert scan(root, out) == table.published_summary(LocalFolder(str(out)))


def test_the_size_of_shards_changes_no_row(root, tmp_path):
    tables = []
    for size in (1, 4, 100, None):
        scan(root, tmp_path / str(size), shard_size=size)
        tables.append(table.read_table(LocalFolder(str(tmp_path / str(size)))))
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0])


def test_columns_can_be_chosen_and_unknown_ones_are_named(root, out):
    scan(root, out)
    folder = LocalFolder(str(out))
    assert list(table.read_table(folder, ["filename", "mean_depth"]).columns) == ["filename", "mean_depth"]
    with pytest.raises(PlanError, match="no column 'depth'"):
        table.read_table(folder, ["filename", "depth"])


def test_two_splits_are_one_table(root, out):
    write_frame(root, "c", "1", seed=50)
    write_split(root, [("c", "1"), ("synced_data/a", "0000000000")], "val_split.json")
    summary = scan(root, out, splits=("train_split.json", "val_split.json"))
    frames = table.read_table(LocalFolder(str(out)))
    assert list(frames["split"]) == ["train_split.json"] * FRAMES + ["val_split.json"]
    assert summary.duplicates == 1


def test_splits_of_the_same_name_are_told_apart_by_their_folders(root, out, tmp_path):
    for folder, scene in (("one", "synced_data/a"), ("two", "synced_data/b")):
        (tmp_path / folder).mkdir()
        write_split(tmp_path / folder, [(scene, "0000000000")], "split.json")
    splits = tuple(str(tmp_path / folder / "split.json") for folder in ("one", "two"))
    scan(root, out, splits=splits)
    assert tuple(table.read_table(LocalFolder(str(out)))["split"]) == splits


def test_a_split_whose_name_is_no_utf_8_is_scanned_or_refused_in_words(root, out):
    name = os.fsdecode(b"tr\xff.json")
    (root / "train_split.json").rename(root / name)
    try:
        summary = scan(root, out, splits=(name,))
    except NcdbError:
        assert not out.exists()
    else:
        assert summary.samples == FRAMES


def test_without_image_statistics_rows_are_ok_and_have_no_lighting(root, out):
    summary = scan(root, out, image_stats=False)
    assert (summary.samples, summary.lighting) == (FRAMES, {})


@pytest.mark.parametrize(
    ("scale", "status", "metres"), [(None, "unsupported_depth", None), (10, "ok", 20.0), ("auto", "ok", 200.0)]
)
def test_8_bit_maps_are_depth_once_their_scale_is_declared(root, out, scale, status, metres):
    write_frame(root, "c", "1")
    (root / "c/newest_depth_maps/1.png").write_bytes(pngs.encode(np.full((12, 16), 200), 8))
    write_split(root, [("c", "1")])
    scan(root, out, depth_scale=scale)
    (row,) = table.read_table(LocalFolder(str(out))).to_dict("records")
    assert row["status"] == status
    assert row["mean_depth"] == metres or (metres is None and np.isnan(row["mean_depth"]))


def test_frames_in_an_allowed_folder_are_scanned(root, out, tmp_path):
    write_frame(tmp_path / "elsewhere", "c", "1")
    write_split(root, [(str(tmp_path / "elsewhere/c"), "1")])
    assert scan(root, tmp_path / "refused").status == {"unsafe_path": 1}
    assert scan(root, out, allowed=(LocalFolder(str(tmp_path / "elsewhere")),)).status == {"ok": 1}


def test_positions_that_crashed_are_rows_and_their_files_stay_closed(root, out):
    counting = CountingFolder(str(root))
    plan = make_plan(request(counting, out))
    job = begin(plan)
    counting.calls.clear()
    receipt = job(replace(plan.left[0], crashed=(1,)))
    assert receipt.counts == {"ok": 2, "crashed": 1}
    assert len(counting.names("read", ".png")) == 4
    assert pq.read_table(out / shard_file(0))["status"].to_pylist() == ["ok", "crashed", "ok"]


def test_a_probe_scans_its_positions_and_writes_nothing(root, out):
    counting = CountingFolder(str(root))
    plan = make_plan(request(counting, out))
    job = begin(plan)
    before = contents(out)
    counting.calls.clear()
    assert job(replace(plan.left[0], probe=(1, 3))) is None
    assert len(counting.names("read", ".png")) == 4
    assert contents(out) == before


# The plan


def test_a_plan_writes_nothing_until_it_is_told_to(root, out):
    plan = make_plan(request(root, out))
    assert not out.exists()
    assert (plan.plan.entries, plan.plan.shards, plan.finished) == (FRAMES, 4, False)
    assert [assignment.rows for assignment in plan.left] == [3, 3, 3, 1]
    assert "10 entries" in repr(plan)
    assert json.loads(json.dumps(plan.as_dict()))["shards_done"] == 0


@pytest.mark.parametrize("entries", [1, 7, 8, 511, 512, 513, 32_768, 10_240_000, 100_000_000])
def test_the_default_size_of_shards_keeps_their_number_bounded(entries):
    size = default_shard_size(entries)
    assert 1 <= -(-entries // size) <= 20_000
    assert size >= 8
    assert size <= 512 or entries > 20_000 * 512


@pytest.mark.parametrize("given", [None, "auto"])
def test_a_scale_may_be_left_out_or_automatic(given):
    assert checked_scale(given) == given


@pytest.mark.parametrize(("given", "scale"), [(256, 256.0), ("1000", 1000.0), ("0.5", 0.5)])
def test_a_scale_is_a_positive_number(given, scale):
    assert checked_scale(given) == scale


@pytest.mark.parametrize("given", [0, -1, "0", "-256", "nan", "inf", "x", "", float("nan"), "5e-324"])
def test_another_scale_is_refused_with_what_was_given(given):
    with pytest.raises(PlanError) as caught:
        checked_scale(given)
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize("changes", [{"shard_size": 0}, {"shard_size": -3}, {"splits": ()}])
def test_options_outside_their_range_are_refused(root, out, changes):
    with pytest.raises(PlanError, match="expected at least"):
        request(root, out, **changes)


def test_a_root_that_is_not_there_is_refused(tmp_path, out):
    with pytest.raises(PlanError, match="no such folder"):
        make_plan(request(tmp_path / "nowhere", out))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]"])
def test_a_split_that_cannot_be_used_leaves_no_trace(root, out, data):
    (root / "train_split.json").write_bytes(data)
    with pytest.raises(SplitError, match=r"train_split\.json"):
        make_plan(request(root, out))
    assert not out.exists()


# Going on


def test_a_finished_scan_reads_no_picture_and_writes_nothing(root, out):
    scan(root, out)
    before = contents(out)
    counting = CountingFolder(str(root))
    plan = make_plan(request(counting, out))
    assert plan.finished
    assert left(plan) == []
    assert counting.names("read", ".png") == counting.names("list") == []
    assert contents(out) == before


@pytest.mark.parametrize("shard", range(4))
@pytest.mark.parametrize(
    "damage",
    [
        lambda out, shard: (out / f"_plan/receipts/shard-{shard:06d}.json").unlink(),
        lambda out, shard: (out / f"_plan/receipts/shard-{shard:06d}.json").write_bytes(b""),
        lambda out, shard: (out / f"_plan/receipts/shard-{shard:06d}.json").write_bytes(b'{"plan": "'),
        lambda out, shard: (out / f"_plan/receipts/shard-{shard:06d}.json").write_bytes(b"[]"),
        lambda out, shard: (out / f"_plan/receipts/shard-{shard:06d}.json").write_bytes(b"\0" * 200),
        lambda out, shard: (out / shard_file(shard)).unlink(),
        lambda out, shard: (out / shard_file(shard)).write_bytes(b""),
        lambda out, shard: (out / shard_file(shard)).write_bytes((out / shard_file(shard)).read_bytes()[:-1]),
    ],
    ids=[
        "receipt-gone",
        "receipt-empty",
        "receipt-cut",
        "receipt-list",
        "receipt-zeros",
        "shard-gone",
        "shard-empty",
        "shard-cut",
    ],
)
def test_only_the_damaged_shard_is_done_again(root, out, tmp_path, damage, shard):
    leave_unfinished(root, out)
    damage(out, shard)
    counting = CountingFolder(str(root))
    plan = make_plan(request(counting, out))
    assert left(plan) == [shard]
    carry_out(plan)
    assert len(counting.names("read", ".png")) == 2 * plan.left[0].rows
    scan(root, tmp_path / "again")
    pd.testing.assert_frame_equal(
        table.read_table(LocalFolder(str(out))), table.read_table(LocalFolder(str(tmp_path / "again")))
    )


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")], ids=["gone", "cut"])
def test_a_finished_scan_that_lost_a_shard_does_it_again(root, out, damage):
    scan(root, out)
    damage(out / shard_file(1))
    plan = make_plan(request(root, out))
    assert not plan.finished
    assert left(plan) == [1]


@pytest.mark.parametrize("write", range(11))  # the plan's items, the plan, four shards and receipts, the manifest
def test_a_scan_that_failed_at_any_write_goes_on_to_the_same_table(root, out, tmp_path, write):
    with pytest.raises(OSError, match="Input/output"):
        scan(root, InterruptedFolder(str(out), [write]))
    done = len(list(out.glob("_plan/receipts/*.json")))
    plan = make_plan(request(root, out))
    assert len(plan.left) == 4 - done
    carry_out(plan)
    scan(root, tmp_path / "again")
    pd.testing.assert_frame_equal(
        table.read_table(LocalFolder(str(out))), table.read_table(LocalFolder(str(tmp_path / "again")))
    )


def test_an_unfinished_scan_is_no_table_yet(root, out):
    leave_unfinished(root, out)
    (out / "_plan/receipts/shard-000002.json").unlink()
    with pytest.raises(PlanError, match="3 of 4 shards are done"):
        table.read_table(LocalFolder(str(out)))


def test_a_folder_without_a_scan_is_no_table(tmp_path):
    with pytest.raises(PlanError, match="holds no scan"):
        table.published_summary(LocalFolder(str(tmp_path)))


def test_a_table_is_not_published_while_shards_are_missing(root, out):
    plan = make_plan(request(root, out))
    job = begin(plan)
    receipts = [job(assignment) for assignment in plan.left[:2]]
    with pytest.raises(PlanError, match="2 of 4 shards are done"):
        table.finish(plan.request.out, plan.plan, receipts)
    assert not (out / MANIFEST_FILE).exists()


def test_the_order_of_completion_changes_nothing(root, out, tmp_path):
    plan = make_plan(request(root, out))
    job = begin(plan)
    table.finish(plan.request.out, plan.plan, [job(assignment) for assignment in reversed(plan.left)])
    scan(root, tmp_path / "again")
    pd.testing.assert_frame_equal(
        table.read_table(LocalFolder(str(out))), table.read_table(LocalFolder(str(tmp_path / "again")))
    )


def test_a_shard_that_is_done_twice_is_there_once(root, out):
    plan = make_plan(request(root, out))
    job = begin(plan)
    receipts = [job(assignment) for assignment in plan.left]
    receipts[1] = job(plan.left[1])
    table.finish(plan.request.out, plan.plan, receipts)
    assert len(pd.read_parquet(out)) == FRAMES


# Other options


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"depth_scale": 1000}, "depth_scale was None, now 1000.0"),
        ({"depth_scale": "auto"}, "depth_scale was None, now 'auto'"),
        ({"image_stats": False}, "image_stats was True, now False"),
        ({"variants": ("depth_maps",)}, "variants was ['newest_depth_maps', 'depth_maps'], now ['depth_maps']"),
        ({"shard_size": 4}, "shard_size was 3, now 4"),
        ({"allowed": (LocalFolder("/mnt"),)}, "allow_root was [], now ['/mnt']"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_option_is_refused_with_its_name_and_both_values(root, out, changes, named, finished):
    (scan if finished else leave_unfinished)(root, out)
    before = contents(out)
    with pytest.raises(PlanError) as caught:
        make_plan(request(root, out, **changes))
    assert named in str(caught.value)
    assert contents(out) == before


def test_another_root_is_refused_with_both_roots(root, out, tmp_path):
    scan(root, out)
    root.rename(tmp_path / "moved")
    with pytest.raises(PlanError) as caught:
        make_plan(request(tmp_path / "moved", out))
    assert f"root was '{root}', now '{tmp_path}/moved'" in str(caught.value)


def test_a_size_of_shards_that_is_left_out_is_the_one_of_the_plan(root, out):
    leave_unfinished(root, out)
    assert left(make_plan(request(root, out, shard_size=None))) == []


# Splits that have changed


def grow(root: Path, *new: tuple[str, str], first: bool = False) -> None:
    split = root / "train_split.json"
    items = [{"dataset_root": scene, "new_filename": stem} for scene, stem in new]
    for number, (scene, stem) in enumerate(new):
        write_frame(root, scene, stem, seed=100 + number)
    old = json.loads(split.read_text())
    split.write_text(json.dumps(items + old if first else old + items))


@pytest.mark.parametrize("first", [False, True], ids=["at-the-end", "in-front"])
def test_a_grown_split_is_refused_and_update_scans_only_what_is_new(root, out, first):
    scan(root, out)
    before = table.read_table(LocalFolder(str(out)))
    grow(root, ("c", "1"), ("c", "2"), first=first)
    with pytest.raises(PlanError, match=r"other contents of train_split\.json.*--update"):
        make_plan(request(root, out))
    counting = CountingFolder(str(root))
    plan = make_plan(request(counting, out), update=True)
    assert left(plan) == [4]
    carry_out(plan)
    assert {name.split("/")[0] for name in counting.names("read", ".png")} == {"c"}
    after = table.read_table(LocalFolder(str(out)))
    pd.testing.assert_frame_equal(after[:FRAMES], before)
    assert list(after["filename"][FRAMES:]) == ["1", "2"]
    assert set(after["status"]) == {"ok"}


def test_a_scan_grows_more_than_once(root, out):
    scan(root, out)
    for scene in "cde":
        grow(root, *((scene, str(number)) for number in range(4)))
        carry_out(make_plan(request(root, out), update=True))
    assert len(pd.read_parquet(out)) == FRAMES + 12
    assert make_plan(request(root, out)).finished


def test_an_unfinished_scan_can_grow(root, out):
    leave_unfinished(root, out)
    (out / shard_file(1)).unlink()
    grow(root, ("c", "1"))
    plan = make_plan(request(root, out), update=True)
    assert left(plan) == [1, 4]
    assert carry_out(plan).samples == FRAMES + 1


def test_growing_writes_nothing_before_it_is_told_to(root, out):
    scan(root, out)
    grow(root, ("c", "1"))
    before = contents(out)
    make_plan(request(root, out), update=True)
    assert contents(out) == before


def test_a_table_that_is_growing_is_not_taken_for_the_grown_one(root, out):
    scan(root, out)
    grow(root, ("c", "1"))
    begin(make_plan(request(root, out), update=True))
    assert not (out / MANIFEST_FILE).exists()
    with pytest.raises(PlanError, match="4 of 5 shards are done"):
        table.read_table(LocalFolder(str(out)))


@pytest.mark.parametrize("write", range(5))
def test_growing_that_failed_at_any_write_goes_on(root, out, write):
    scan(root, out)
    grow(root, ("c", "1"))
    with pytest.raises(OSError, match="Input/output"):
        carry_out(make_plan(request(root, InterruptedFolder(str(out), [write])), update=True))
    assert carry_out(make_plan(request(root, out), update=True)).samples == FRAMES + 1
    assert len(pd.read_parquet(out)) == FRAMES + 1


def test_a_split_that_was_only_reformatted_needs_update_and_no_work(root, out):
    scan(root, out)
    split = root / "train_split.json"
    split.write_text(json.dumps(json.loads(split.read_text()), indent=8))
    plan = make_plan(request(root, out), update=True)
    assert left(plan) == []
    assert carry_out(plan).samples == FRAMES
    assert make_plan(request(root, out)).finished


def test_a_faulty_item_is_not_scanned_again_when_its_split_grows(root, out):
    split = root / "train_split.json"
    split.write_text(json.dumps([3, 3, *json.loads(split.read_text())]))
    scan(root, out)
    grow(root, ("c", "1"), first=True)
    plan = make_plan(request(root, out), update=True)
    assert sum(assignment.rows for assignment in plan.left) == 1


@pytest.mark.parametrize("update", [True, False])
def test_a_shrunk_split_is_refused(root, out, update):
    scan(root, out)
    split = root / "train_split.json"
    items = json.loads(split.read_text())
    split.write_text(json.dumps(items[:-1]))
    gone = f"{items[-1]['dataset_root']}/{items[-1]['new_filename']}"
    with pytest.raises(PlanError, match=f"1 entries that were planned.*{gone}" if update else "other contents"):
        make_plan(request(root, out), update=update)


def test_another_split_is_refused_and_update_adds_it(root, out):
    scan(root, out)
    write_frame(root, "c", "1")
    write_split(root, [("c", "1")], "val_split.json")
    both = ("train_split.json", "val_split.json")
    with pytest.raises(PlanError, match=r"val_split\.json"):
        make_plan(request(root, out, splits=both))
    assert left(make_plan(request(root, out, splits=both), update=True)) == [4]


# Starting over, and other people's folders


def test_fresh_removes_the_scans_own_files_and_nothing_else(root, out):
    scan(root, out, shard_size=1)
    own = {"_notes.txt": b"mine", ".keep": b"", "_sub/shard-000009.parquet": b"mine", "_plan/receipts/x/y": b"mine"}
    for name, data in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
    carry_out(make_plan(request(root, out, depth_scale=1000), fresh=True))
    assert own.items() <= contents(out).items()
    assert {path.name for path in out.glob("shard-*")} == {shard_file(shard) for shard in range(4)}
    assert set(pd.read_parquet(out / shard_file(0))["depth_scale"]) == {1000.0}


def test_fresh_scans_every_frame_again(root, out):
    scan(root, out)
    counting = CountingFolder(str(root))
    carry_out(make_plan(request(counting, out), fresh=True))
    assert len(counting.names("read", ".png")) == 2 * FRAMES


def test_planning_afresh_removes_nothing_yet(root, out):
    scan(root, out)
    before = contents(out)
    make_plan(request(root, out), fresh=True)
    assert contents(out) == before


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", ["photo.jpg", "shard-000000.parquet", "train_split.json"])
def test_a_folder_with_other_files_is_refused(root, out, name, fresh):
    out.mkdir()
    (out / name).write_bytes(b"mine")
    with pytest.raises(PlanError, match=name):
        make_plan(request(root, out), fresh=fresh)
    assert contents(out) == {name: b"mine"}


def test_fresh_refuses_a_scan_to_which_other_files_were_added(root, out):
    scan(root, out)
    (out / "thesis.tex").write_bytes(b"mine")
    with pytest.raises(PlanError, match=r"thesis\.tex"):
        make_plan(request(root, out), fresh=True)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_run_of_another_kind_is_refused(root, out, fresh):
    scan(root, out)
    document = json.loads((out / PLAN_FILE).read_text())
    (out / PLAN_FILE).write_text(json.dumps(document | {"kind": "evaluation"}))
    with pytest.raises(PlanError, match="'evaluation'"):
        make_plan(request(root, out), fresh=fresh)
    with pytest.raises(PlanError, match="'evaluation'"):
        table.published(LocalFolder(str(out)))


def test_the_data_set_itself_is_refused_as_output(root):
    with pytest.raises(PlanError, match="choose a new or empty folder"):
        make_plan(request(root, root))


def test_a_late_task_of_a_plan_that_was_replaced_writes_nothing(root, out):
    old = make_plan(request(root, out))
    late = begin(old)
    begin(make_plan(request(root, out), fresh=True))
    before = contents(out)
    with pytest.raises(PlanError, match="another run has started over"):
        late(old.left[0])
    assert contents(out) == before


def test_a_late_task_of_a_plan_that_was_removed_writes_nothing(root, out):
    old = make_plan(request(root, out))
    late = begin(old)
    (out / PLAN_FILE).unlink()
    before = contents(out)
    with pytest.raises(OSError, match="plan is gone"):
        late(old.left[0])
    assert contents(out) == before


def test_receipts_of_a_plan_that_was_replaced_are_not_believed(root, out):
    leave_unfinished(root, out)
    document = json.loads((out / PLAN_FILE).read_text())
    (out / PLAN_FILE).write_text(json.dumps(document | {"id": "another"}))
    assert left(make_plan(request(root, out))) == [0, 1, 2, 3]


# What dead attempts leave


def test_half_written_files_are_never_read_and_gone_after_publishing(root, out):
    leave_unfinished(root, out)
    mark = "0a" * 16
    for name in (".shard-000000.parquet", "_plan/.plan.json", "_plan/receipts/.shard-000001.json"):
        (out / f"{name}.{mark}.tmp").write_bytes(b"half")
    assert len(pd.read_parquet(out)) == FRAMES
    carry_out(make_plan(request(root, out)))
    assert list(out.rglob("*.tmp")) == []
    assert len(pd.read_parquet(out)) == FRAMES


def test_shards_beyond_the_plan_are_gone_after_publishing(root, out):
    leave_unfinished(root, out)
    pq.write_table(pa.table({"status": ["ok"]}), out / "shard-000099.parquet")
    carry_out(make_plan(request(root, out)))
    assert not (out / "shard-000099.parquet").exists()
    assert len(pd.read_parquet(out)) == FRAMES


def test_nothing_but_the_table_and_its_plan_is_left(root, out):
    scan(root, out)
    assert {path.name for path in out.iterdir()} == {*map(shard_file, range(4)), "_plan", MANIFEST_FILE}


def test_the_manifest_names_every_shard_with_its_hash(root, out):
    scan(root, out)
    manifest = json.loads((out / MANIFEST_FILE).read_text())
    assert manifest["rows"] == FRAMES
    assert manifest["plan"]["id"] == read_plan(LocalFolder(str(out))).id
    for shard in manifest["shards"]:
        data = (out / shard["file"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


# Damaged documents

DAMAGE = [b"", b"{", b"\0" * 100, b"[]", b"null", b"3", b'"x"', b"{}", b'{"format": 1}', b'{"format": 2}', b"\xff\xfe"]


@pytest.mark.parametrize("data", DAMAGE, ids=ascii)
def test_a_damaged_plan_is_refused_in_words_and_fresh_starts_over(root, out, data):
    scan(root, out)
    (out / PLAN_FILE).write_bytes(data)
    for use in (lambda: make_plan(request(root, out)), lambda: table.published(LocalFolder(str(out)))):
        with pytest.raises(PlanError, match=str(out)):
            use()
    assert carry_out(make_plan(request(root, out), fresh=True)).samples == FRAMES


@pytest.mark.parametrize("damage", [{"parts": [{"file": "x"}]}, {"parts": 3}, {"extra": 1}, {"id": None}], ids=str)
def test_a_plan_with_wrong_fields_is_refused_in_words(root, out, damage):
    scan(root, out)
    document = json.loads((out / PLAN_FILE).read_text()) | damage
    (out / PLAN_FILE).write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    with pytest.raises(PlanError, match=str(out)):
        make_plan(request(root, out))


@pytest.mark.parametrize("data", DAMAGE, ids=ascii)
def test_a_damaged_manifest_is_refused_in_words(root, out, data):
    scan(root, out)
    (out / MANIFEST_FILE).write_bytes(data)
    for use in (lambda: make_plan(request(root, out)), lambda: table.published(LocalFolder(str(out)))):
        with pytest.raises(PlanError, match=str(out)):
            use()


def test_a_manifest_that_was_removed_is_written_again_without_any_work(root, out):
    scan(root, out)
    expected = pd.read_parquet(out)
    (out / MANIFEST_FILE).unlink()
    plan = make_plan(request(root, out))
    assert left(plan) == []
    carry_out(plan)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected)
    assert make_plan(request(root, out)).finished


def test_a_data_set_that_goes_away_is_no_list_of_missing_images(root, out):
    plan = make_plan(request(root, out))
    task = begin(plan)
    assert task(plan.left[0]).counts == {"ok": 3}
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(OSError, match="the data set is gone"):
        ScanJob.of(plan.request, plan.plan.id, "another run", GUIDE_RANGES)(plan.left[1])


def test_a_plan_that_another_run_has_overtaken_is_not_carried_out(root, out):
    leave_unfinished(root, out)
    overtaken = make_plan(request(root, out))
    carry_out(make_plan(request(root, out, depth_scale=1000), fresh=True))
    before = contents(out)
    with pytest.raises(PlanError, match="another run has begun in this folder"):
        overtaken.write()
    assert contents(out) == before


def test_a_shard_that_was_overwritten_with_equal_size_is_found_and_done_again(root, out):
    leave_unfinished(root, out)
    plan = make_plan(request(root, out))
    path = out / shard_file(0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PlanError, match="was overwritten since"):
        carry_out(plan)
    carry_out(make_plan(request(root, out)))
    assert set(pd.read_parquet(out)["status"]) == {"ok"}


@pytest.mark.parametrize("damage", [b"", b"PAR1"])
def test_damaged_items_of_the_plan_are_refused_in_words(root, out, damage):
    plan = make_plan(request(root, out))
    task = begin(plan)
    (out / "_plan" / "items-000.plan").write_bytes(damage)
    with pytest.raises(PlanError, match=r"items-000\.plan is damaged"):
        task(plan.left[0])


def test_fresh_and_update_together_are_refused(root, out):
    with pytest.raises(PlanError, match="give one of them"):
        make_plan(request(root, out), fresh=True, update=True)


def test_an_allowed_root_of_another_kind_of_storage_is_refused(root, out):
    with pytest.raises(PlanError, match="expected the same kind of storage"):
        request(root, out, allowed=[RemoteFolder("memory://x")])


def test_a_picture_of_an_older_table_goes_with_it(root, out):
    carry_out(make_plan(request(root, out)))
    (out / "_overview.png").write_bytes(b"old")
    make_plan(request(root, out), fresh=True).write()
    assert not (out / "_overview.png").exists()


def test_a_damaged_shard_is_named_when_the_table_is_read(root, out):
    carry_out(make_plan(request(root, out)))
    path = out / shard_file(1)
    data = bytearray(path.read_bytes())
    data[4:-200] = bytes(len(data) - 204)
    path.write_bytes(data)
    with pytest.raises(
        PlanError, match=r"shard-000001\.parquet is damaged .*; remove it and run the command that wrote"
    ):
        table.read_table(LocalFolder(str(out)))


def test_one_column_may_be_named_by_itself(root, out):
    carry_out(make_plan(request(root, out)))
    assert list(table.read_table(LocalFolder(str(out)), "status").columns) == ["status"]
