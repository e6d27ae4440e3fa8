"""The task of an evaluation: a shard of frames becomes a shard of rows, whoever does it and however often."""

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.folders import CountingFolder, FailingFolder
from helpers.judging import judged, pixels_of, truth_of
from helpers.networks import KNOWN
from PIL import Image

import ncdb_dask
from ncdb_dask.errors import PlanError, SpecError
from ncdb_dask.evaluation.job import EvaluationJob, tree_of
from ncdb_dask.evaluation.plan import EvaluationPlan
from ncdb_dask.evaluation.schema import SCHEMA
from ncdb_dask.model import session

Begin = Callable[..., tuple[EvaluationPlan, EvaluationJob]]


@pytest.fixture(autouse=True)
def _nothing_is_open():
    session._open.cache_clear()
    tree_of.cache_clear()


@pytest.fixture
def begin(root: Path, net: Path, out: Path) -> Begin:
    """Write a plan in shards of three, and return it with its task."""

    def begun(model: Path = net, **options: Any) -> tuple[EvaluationPlan, EvaluationJob]:
        options = {"root": root, "split": "train_split.json", "shard_size": 3} | options
        plan = ncdb_dask.plan_evaluation(model, out, **options)
        plan.write()
        return plan, EvaluationJob.of(plan.request, plan.run.plan.id, "run")

    return begun


def rows_of(out: Path, shard: int) -> pd.DataFrame:
    return pd.read_parquet(out / f"shard-{shard:06d}.parquet")


def test_a_shard_becomes_a_row_a_frame(begin, out, root, keys):
    plan, job = begin()
    receipt = job(plan.left[1])
    assert (receipt.shard, receipt.rows, receipt.counts) == (1, 3, {"ok": 3})
    rows = rows_of(out, 1)
    assert list(rows.columns) == SCHEMA.names
    assert list(zip(rows["dataset_root"], rows["filename"], strict=True)) == keys[3:6]
    for (_, row), key in zip(rows.iterrows(), keys[3:6], strict=True):
        expected = judged(truth_of(root, key), KNOWN["quarter"].depth(pixels_of(root, key)))
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_a_shard_that_is_done_twice_is_the_same(begin, out):
    plan, job = begin()
    first, data = job(plan.left[0]), (out / "shard-000000.parquet").read_bytes()
    assert job(plan.left[0]).sha256 == first.sha256
    assert (out / "shard-000000.parquet").read_bytes() == data


def test_the_task_travels_and_is_small(begin, out):
    plan, job = begin(save_predictions="npy")
    sent = pickle.dumps(job)
    assert len(sent) < 4000
    arrived = pickle.loads(sent)
    assert arrived == job
    assert hash(arrived) == hash(job)
    assert arrived(plan.left[0]).rows == 3


def test_faulty_frames_are_rows_among_the_others(begin, out, root, keys):
    (root / keys[0][0] / "image_a6" / f"{keys[0][1]}.png").unlink()
    (root / keys[1][0] / "newest_depth_maps" / f"{keys[1][1]}.png").write_bytes(b"")
    plan, job = begin()
    assert job(plan.left[0]).counts == {"missing_image": 1, "unreadable_depth": 1, "ok": 1}
    rows = rows_of(out, 0)
    assert list(rows["status"]) == ["missing_image", "unreadable_depth", "ok"]
    assert list(rows["abs_rel"].isna()) == [True, True, False]


def test_a_frame_that_kills_its_worker_is_a_row_and_is_not_looked_at(begin, out, root, keys):
    plan, job = begin(save_predictions="npy")
    counting = CountingFolder(str(root))
    job = replace(job, root=counting)
    job(replace(plan.left[0], crashed=(1,)))
    rows = rows_of(out, 0)
    assert list(rows["status"]) == ["ok", "crashed", "ok"]
    assert rows["detail"][1] == "evaluating this frame killed its worker every time; look at its files"
    assert (rows["dataset_root"][1], rows["filename"][1], rows["entry"][1]) == (*keys[1], 1)
    assert not [name for name in counting.names("read") if name.startswith(f"{keys[1][0]}/")]
    assert len(list((out / "_predictions").iterdir())) == 2


def test_a_probe_evaluates_its_frames_and_writes_nothing(begin, out, root, keys):
    plan, job = begin(save_predictions="npy")
    counting = CountingFolder(str(root))
    before = {path for path in out.rglob("*") if path.is_file()}
    assert replace(job, root=counting)(replace(plan.left[0], probe=(1, 2))) is None
    assert {path for path in out.rglob("*") if path.is_file()} == before
    read = {name.rpartition("/")[2] for name in counting.names("read")}
    assert read == {f"{keys[1][1]}.png"}


def test_a_folder_of_the_data_set_is_listed_once_for_all_shards(begin, root):
    plan, job = begin()
    counting = CountingFolder(str(root))
    job = replace(job, root=counting)
    for task in plan.left:
        job(task)
    listed = counting.names("list")
    assert len(listed) == len(set(listed))


# Predictions that are kept


@pytest.mark.parametrize("form", ["npy", "png"])
def test_predictions_are_kept_under_the_frames_name(form, begin, out, root, keys):
    plan, job = begin(save_predictions=form)
    for task in plan.left:
        job(task)
    kept = sorted((out / "_predictions").iterdir())
    assert {path.stem: path.suffix for path in kept} == {
        f"{scene.replace('/', '__')}__{stem}": f".{form}" for scene, stem in keys
    }
    for scene, stem in keys:
        data = (out / "_predictions" / f"{scene.replace('/', '__')}__{stem}.{form}").read_bytes()
        known = KNOWN["quarter"].depth(pixels_of(root, (scene, stem)))
        if form == "npy":
            values = np.load(io.BytesIO(data))
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, known, rtol=1e-5)
        else:
            np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(data))) / 256, known, atol=1 / 511)


def test_only_what_was_predicted_is_kept(begin, out, root, keys):
    (root / keys[0][0] / "image_a6" / f"{keys[0][1]}.png").unlink()
    Image.fromarray(np.zeros((12, 16), np.uint16)).save(root / keys[1][0] / "newest_depth_maps" / f"{keys[1][1]}.png")
    plan, job = begin(save_predictions="npy")
    assert job(plan.left[0]).counts == {"missing_image": 1, "no_valid_pixels": 1, "ok": 1}
    kept = {path.stem for path in (out / "_predictions").iterdir()}
    assert kept == {f"{scene.replace('/', '__')}__{stem}" for scene, stem in keys[1:3]}


def test_nothing_is_kept_unless_asked_for(begin, out):
    plan, job = begin()
    job(plan.left[0])
    assert not (out / "_predictions").exists()


# What stops a task


def test_a_fault_of_the_storage_is_raised_and_nothing_is_committed(begin, out, root, keys):
    plan, job = begin()
    failing = FailingFolder(str(root), f"{keys[2][1]}.png", OSError(5, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        replace(job, root=failing)(plan.left[0])
    assert not list(out.glob("shard-*"))
    assert not list(out.rglob("receipts/*"))


def test_a_data_set_that_goes_away_is_no_list_of_missing_frames(begin, root):
    plan, job = begin()
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(OSError, match="the data set is gone"):
        job(plan.left[0])


def test_a_network_that_is_replaced_while_it_is_evaluated_is_refused(begin, net, out):
    plan, job = begin()
    KNOWN["red"].write(net)
    with pytest.raises(SpecError, match="is not the file that the run was planned with"):
        job(plan.left[0])
    assert not list(out.glob("shard-*"))


@pytest.mark.parametrize("save", [None, "npy"])
def test_a_task_of_an_overtaken_run_writes_nothing(save, begin, out):
    plan, job = begin(save_predictions=save)
    begin(fresh=True, stretch=True)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with pytest.raises(PlanError, match="another run has started over in this folder; this one gives up"):
        job(plan.left[0])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_damaged_plan_is_told(begin, out):
    plan, job = begin()
    (out / "_plan" / "items-000.plan").write_bytes(b"PAR1")
    with pytest.raises(PlanError, match=r"items-000\.plan is damaged"):
        job(plan.left[0])


def test_every_row_tells_where_it_came_from(begin, out, root, keys):
    items = [{"dataset_root": scene, "new_filename": stem} for scene, stem in (keys[0], keys[1], keys[0])]
    (root / "odd.json").write_text(json.dumps([items[0], {"new_filename": 7}, *items[1:]]))
    plan, job = begin(split="odd.json")
    job(plan.left[0])
    rows = rows_of(out, 0)
    assert list(rows["entry"]) == [0, 1, 2]
    assert set(rows["split"]) == {"odd.json"}
    assert list(rows["status"]) == ["ok", "bad_entry", "ok"]
