"""What a folder tells of its run, compared with what was committed there."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.folders import CountingFolder
from helpers.trees import write_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ncdb_dask
from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import LocalFolder, open_folder
from ncdb_dask.store.plan import read_plan
from ncdb_dask.store.progress import LATEST_FAULTS, WINDOW_SECONDS, read_progress

SHARD = 4


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """An unfinished scan of 24 frames in shards of 4, three of them faulty."""
    data, out = (tmp_path_factory.mktemp("progress") / name for name in ("data", "scan"))
    for scene, stem in write_tree(data, 24)[:3]:
        (data / scene / "image_a6" / f"{stem}.png").unlink()
    ncdb_dask.scan(data, out, shard_size=SHARD)
    (out / "_manifest.json").rename(out / "manifest")
    return out


def receipts(out: Path) -> list[Path]:
    return sorted((out / "_plan" / "receipts").glob("*.json"))


def test_a_folder_without_a_plan(tmp_path):
    assert read_progress(LocalFolder(str(tmp_path))) is None
    assert read_progress(LocalFolder(str(tmp_path / "none"))) is None


def test_all_that_receipts_tell(out):
    found = read_progress(LocalFolder(str(out)))
    told = [json.loads(path.read_bytes()) for path in receipts(out)]
    assert (found.what, found.run) == ("scan", read_plan(LocalFolder(str(out))).id)
    assert (found.shards, found.shards_done, found.entries, found.entries_done) == (6, 6, 24, 24)
    assert found.counts == {"ok": 21, "missing_image": 3}
    assert found.latest == max(each["at"] for each in told)
    assert (found.finished, found.entries_per_second, found.remaining_seconds) == (0.0, None, None)
    assert {fault.status for fault in found.faults} == {"missing_image"}
    assert 0 < len(found.faults) <= LATEST_FAULTS
    first = min(each["at"] - each["seconds"] for each in told)
    assert found.entries_per_second_mean == pytest.approx(24 / (found.latest - first))
    assert json.loads(json.dumps(found.as_dict()))["entries_done"] == 24


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(done=st.sets(st.integers(0, 5)), ages=st.lists(st.floats(0, 1e5), min_size=6, max_size=6), running=st.booleans())
def test_any_shards_at_any_time(out, tmp_path_factory, done, ages, running):
    copy = tmp_path_factory.mktemp("copy")
    (copy / "_plan" / "receipts").mkdir(parents=True)
    (copy / "_plan" / "plan.json").write_bytes((out / "_plan" / "plan.json").read_bytes())
    now, counts = time.time(), Counter()
    for number, path in enumerate(receipts(out)):
        told = {**json.loads(path.read_bytes()), "at": now - ages[number]}
        other = {**told, "plan": "another run's"}
        (copy / "_plan" / "receipts" / path.name).write_text(json.dumps(told if number in done else other))
        if number in done:
            counts.update(told["counts"])
    found = read_progress(LocalFolder(str(copy)), running=running)
    assert found.shards_done == len(done)
    assert found.counts == counts
    assert found.entries_done == SHARD * len(done)
    rates = [found.entries_per_second, found.entries_per_second_mean]
    assert all(rate is None or 0 <= rate < float("inf") for rate in rates)
    assert (found.entries_per_second is None) == (not running or not done)


def at(out: Path, ages: list[float]) -> None:
    now = time.time()
    for path, age in zip(receipts(out), ages, strict=True):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "at": now - age, "seconds": 1.0}))


def test_the_rate_of_now_and_of_this_driver(out):
    before = [path.read_bytes() for path in receipts(out)]
    day = 86400.0
    at(out, [2 * day, 2 * day, 2 * day, WINDOW_SECONDS * 4 - 1, 20.0, 10.0])
    folder = LocalFolder(str(out))
    found = read_progress(folder, since=time.time() - day, running=True)
    # Three shards in 20 minutes: the window spans all of them. What was done two days ago counts for none.
    assert found.entries_per_second_mean == pytest.approx(3 * SHARD / (WINDOW_SECONDS * 4), rel=0.01)
    assert found.entries_per_second == pytest.approx(found.entries_per_second_mean)
    at(out, [4 * day, 4 * day - 1, 4 * day - 2, 30.0, 20.0, 10.0])
    assert read_progress(folder, running=True).entries_per_second == pytest.approx(6 * SHARD / (4 * day), rel=0.01)
    for path, data in zip(receipts(out), before, strict=True):
        path.write_bytes(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"plan": 1}', b"\xff"])
def test_a_damaged_receipt_is_a_shard_that_is_not_done(data, out):
    path = receipts(out)[2]
    before = path.read_bytes()
    path.write_bytes(data)
    found = read_progress(LocalFolder(str(out)))
    path.write_bytes(before)
    assert (found.shards_done, found.entries_done) == (5, 20)


def test_of_a_finished_run_one_file_tells_all(tmp_path, data):
    ncdb_dask.scan(data, tmp_path / "scan", shard_size=SHARD)
    folder = CountingFolder(str(tmp_path / "scan"))
    found = read_progress(folder, since=time.time() - 100)
    assert found.finished == pytest.approx(time.time(), abs=60)
    assert (found.shards_done, found.entries_done, found.counts) == (6, 24, {"ok": 24})
    assert not folder.names("read", "shard-000000.json")
    assert folder.names("read") == ["_plan/plan.json", "_manifest.json"]


def test_a_manifest_of_an_earlier_plan_finishes_nothing(tmp_path, data):
    for name in ("before", "after"):
        ncdb_dask.scan(data, tmp_path / name, shard_size=SHARD)
    (tmp_path / "after" / "_manifest.json").write_bytes((tmp_path / "before" / "_manifest.json").read_bytes())
    found = read_progress(LocalFolder(str(tmp_path / "after")))
    assert (found.finished, found.shards_done) == (0.0, 6)


def test_a_damaged_manifest_says_so(tmp_path):
    out = tmp_path / "scan"
    write_tree(tmp_path / "data", 4)
    ncdb_dask.scan(tmp_path / "data", out)
    (out / "_manifest.json").write_text("{")
    with pytest.raises(PlanError, match="is damaged"):
        read_progress(LocalFolder(str(out)))


def test_receipts_behind_a_url(data):
    import fsspec

    ncdb_dask.scan(data, "memory://progress/scan", shard_size=SHARD)
    fsspec.filesystem("memory").rm("/progress/scan/_manifest.json")
    found = read_progress(open_folder("memory://progress/scan"))
    assert (found.shards_done, found.counts) == (6, {"ok": 24})
