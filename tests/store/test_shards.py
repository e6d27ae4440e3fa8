"""Plans, receipts and the manifest by themselves, without any frame."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.folders import InterruptedFolder
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.errors import PlanError
from ncdb_dask.store import plan as plan_module
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.manifest import clear, publish, read_manifest
from ncdb_dask.store.plan import Part, Plan, cut_parts, read_items, read_plan, write_parts, write_plan
from ncdb_dask.store.shards import RECEIPT_FOLDER, Receipt, commit, read_receipts, read_shards, shard_file

PLAN = Plan("p1", "scan", {"scale": 256.0, "variants": ["a", "b"]}, {"s.json": "00"}, 2, cut_parts(5, 2))


def rows(count: int, status: str = "ok") -> pa.Table:
    return pa.table({"status": [status] * count, "value": list(range(count))})


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    result = LocalFolder(str(tmp_path))
    write_parts(result, PLAN.parts, pa.table({"item": list(range(5))}))
    write_plan(result, PLAN)
    return result


def commit_all(folder: LocalFolder, plan: Plan = PLAN) -> list[Receipt]:
    return [commit(folder, plan.id, task.shard, rows(task.rows), 0.1) for task in plan.assignments()]


# Plans


def test_a_plan_survives_its_file(folder):
    assert read_plan(folder) == PLAN


def test_a_folder_without_a_plan_has_none(tmp_path):
    assert read_plan(LocalFolder(str(tmp_path))) is None
    (tmp_path / "_plan").touch()
    assert read_plan(LocalFolder(str(tmp_path))) is None


def test_each_assignment_reads_its_own_items(folder):
    items = [[row["item"] for row in read_items(folder, task)] for task in PLAN.assignments()]
    assert items == [[0, 1], [2, 3], [4]]


@given(st.integers(1, 500), st.integers(1, 60))
def test_the_shards_of_a_part_hold_every_item_once(items, size):
    tasks = list(Part("x", 7, items, size).assignments())
    assert sum(task.rows for task in tasks) == items
    assert [task.shard for task in tasks] == list(range(7, 7 + len(tasks)))
    assert all(1 <= task.rows <= size for task in tasks)


def test_a_plan_that_grows_keeps_its_shards_and_numbers_on():
    grown = PLAN.extended(3, {"s.json": "01"}, 4)
    assert list(grown.assignments())[:3] == list(PLAN.assignments())
    assert [(task.shard, task.rows, task.part) for task in grown.assignments()][3:] == [
        (3, 2, "_plan/items-001.plan"),
        (4, 1, "_plan/items-001.plan"),
    ]
    assert (grown.id, grown.entries, grown.shards, grown.duplicates) == ("p1", 8, 5, 4)


def test_a_plan_that_grows_by_nothing_has_no_new_part():
    assert PLAN.extended(0, {"s.json": "01"}, 2).parts == PLAN.parts


# Receipts


def test_a_commit_is_a_file_and_a_receipt_that_describes_it(folder):
    table = pa.table({"status": ["ok", "missing_depth"]})
    receipt = commit(folder, "p1", 1, table, 1.23456)
    assert (receipt.rows, receipt.counts, receipt.seconds) == (2, {"ok": 1, "missing_depth": 1}, 1.2346)
    assert pq.read_table(Path(folder.url, shard_file(1))).equals(table)
    assert read_receipts(folder, PLAN) == {1: receipt}


def test_the_file_is_there_before_its_receipt(folder):
    interrupted = InterruptedFolder(folder.url, [1])
    with pytest.raises(OSError, match="Input/output"):
        commit(interrupted, "p1", 0, rows(2), 0.1)
    assert Path(folder.url, shard_file(0)).exists()
    assert read_receipts(folder, PLAN) == {}


@pytest.mark.parametrize("plan", ["p0", ""])
def test_a_commit_under_another_plan_writes_nothing(folder, plan):
    before = sorted(Path(folder.url).rglob("*"))
    with pytest.raises(PlanError, match="another run"):
        commit(folder, plan, 0, rows(2), 0.1)
    assert sorted(Path(folder.url).rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "p0"},
        {"rows": 3},
        {"bytes": 1},
        {"shard": 2},
        {"shard": 99},
        {"shard": -1},
        {"shard": "1"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_receipt_that_does_not_fit_its_shard_is_not_believed(folder, change):
    receipts = commit_all(folder)
    path = Path(folder.url, RECEIPT_FOLDER, "shard-000001.json")
    path.write_text(json.dumps(asdict(receipts[1]) | change))
    assert set(read_receipts(folder, PLAN)) == {0, 2}


def test_receipts_beyond_the_plan_are_not_counted(folder):
    commit_all(folder)
    commit(folder, "p1", 7, rows(2), 0.1)
    assert set(read_receipts(folder, PLAN)) == {0, 1, 2}


# The manifest


def test_a_manifest_lists_the_shards_in_order_whatever_the_order_of_receipts(folder):
    receipts = commit_all(folder)
    publish(folder, PLAN, reversed(receipts), {"samples": 5})
    manifest = read_manifest(folder)
    assert (manifest.plan, manifest.receipts, manifest.summary) == (PLAN, tuple(receipts), {"samples": 5})
    assert [table.num_rows for table in read_shards(folder, manifest.receipts)] == [2, 2, 1]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_manifest_with_a_gap_is_refused(folder, missing):
    receipts = [receipt for receipt in commit_all(folder) if receipt.shard != missing]
    with pytest.raises(PlanError, match="2 of 3 shards"):
        publish(folder, PLAN, receipts, {})
    assert read_manifest(folder) is None


def test_receipts_twice_are_no_cover_for_a_gap(folder):
    first, second, _ = commit_all(folder)
    with pytest.raises(PlanError):
        publish(folder, PLAN, [first, second, second], {})


@pytest.mark.parametrize(
    "successor", [replace(PLAN, id="p2"), PLAN.extended(3, {"s.json": "01"}, 2)], ids=["another", "grown"]
)
def test_the_manifest_of_an_earlier_plan_is_not_the_folders(folder, successor):
    publish(folder, PLAN, commit_all(folder), {})
    write_plan(folder, successor)
    assert read_manifest(folder) is None


def test_only_the_wanted_columns_are_read(folder):
    receipts = commit_all(folder)
    (table,) = read_shards(folder, receipts[:1], ["value"])
    assert table.column_names == ["value"]


# Clearing


def test_clearing_takes_the_plan_away_last(folder, monkeypatch):
    publish(folder, PLAN, commit_all(folder), {})
    folder.write("_plan/zones.parquet", b"")
    removed = []
    remove = LocalFolder.remove
    monkeypatch.setattr(LocalFolder, "remove", lambda self, name: (removed.append(name), remove(self, name)))
    clear(folder)
    assert removed[-1] == "_plan/plan.json"
    assert removed[0] == "_manifest.json"
    assert [path for path in Path(folder.url).rglob("*") if path.is_file()] == []


def test_clearing_an_empty_or_missing_folder_does_nothing(tmp_path):
    clear(LocalFolder(str(tmp_path)))
    clear(LocalFolder(str(tmp_path / "missing")))
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_plan_has_a_bounded_number_of_shards(monkeypatch, tmp_path):
    monkeypatch.setattr(plan_module, "MAX_PART_SHARDS", 2)
    parts = cut_parts(11, 2)
    assert [(part.first_shard, part.rows, part.shards) for part in parts] == [(0, 4, 2), (2, 4, 2), (4, 3, 2)]
    folder = LocalFolder(str(tmp_path))
    write_parts(folder, parts, pa.table({"item": list(range(11))}))
    assignments = [assignment for part in parts for assignment in part.assignments()]
    assert [assignment.shard for assignment in assignments] == list(range(6))
    read = [row["item"] for assignment in assignments for row in read_items(folder, assignment)]
    assert read == list(range(11))


@pytest.mark.parametrize(
    ("items", "most", "size"),
    [(100, 512, 32), (100, 6, 6), (100_000, 512, 512), (100_000, 45, 45), (2_000_000, 45, 100)],
)
def test_items_that_are_large_make_small_shards_as_long_as_these_are_not_too_many(items, most, size):
    assert plan_module.default_shard_size(items, most) == size
