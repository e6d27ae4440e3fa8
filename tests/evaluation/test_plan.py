"""What will be done, as frozen data: every frame with all that is known of it; another request does not continue it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.networks import KNOWN, describe
from helpers.scans import faulty, forge, row
from helpers.trees import write_split

import ncdb_dask
from ncdb_dask.errors import EvaluationError, NcdbError, PlanError, SplitError
from ncdb_dask.evaluation.frame import Frame
from ncdb_dask.evaluation.plan import MAX_SHARD_SIZE, EvaluationPlan, shard_frames

Plan = Callable[..., EvaluationPlan]
Key = tuple[str, str]


@pytest.fixture
def plan(root: Path, net: Path, out: Path) -> Plan:
    """Plan the evaluation of a network over the tree's split, in shards of three."""

    def planned(model: Path = net, **options: Any) -> EvaluationPlan:
        usual = {} if "scan" in options else {"root": root, "split": "train_split.json"}
        return ncdb_dask.plan_evaluation(model, out, **{**usual, "shard_size": 3, **options})

    return planned


@pytest.fixture
def begun(plan: Plan) -> Plan:
    """The same, after the plan was put on disk."""
    plan().write()
    return plan


@pytest.fixture
def made(tmp_path: Path, keys: list[Key]) -> Path:
    """Predictions of all frames, a folder a scene."""
    for scene, stem in keys:
        path = tmp_path / "made" / scene / f"{stem}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((3, 4), 2.0))
    return tmp_path / "made"


def frames(plan: EvaluationPlan) -> list[Frame]:
    """Write a plan, and read its frames back."""
    plan.write()
    return [frame for task in plan.run.plan.assignments() for frame in shard_frames(plan.request.out, task)]


# A new plan


def test_a_plan_says_what_would_be_done_and_writes_nothing(plan, net, out, root):
    planned = plan()
    values = json.loads(json.dumps(planned.as_dict()))
    about = ("frames", "duplicates", "shards", "shards_done", "finished", "extra_predictions", "root", "out")
    assert [values[name] for name in about] == [7, 0, 3, 0, False, 0, str(root), str(out)]
    assert values["settings"]["predictor"]["model"] == str(net)
    for part in (
        str(net),
        str(root),
        str(out),
        "7 from train_split.json",
        "model file: 0.5 m to 30 m",
        "3, of which 0",
    ):
        assert part in planned.text()
    assert "7 frames" in repr(planned)
    assert not out.exists()


def test_every_frame_is_planned_in_order_under_a_name_of_its_own(plan, keys):
    found = frames(plan())
    assert found == [
        Frame("train_split.json", number, scene, stem, name=f"{scene.replace('/', '__')}__{stem}")
        for number, (scene, stem) in enumerate(keys)
    ]


def test_entries_that_name_no_frame_are_planned_too_and_repeated_ones_are_not(plan, root, keys):
    items = [{"dataset_root": scene, "new_filename": stem} for scene, stem in (keys[0], keys[1], keys[0])]
    (root / "odd.json").write_text(json.dumps([items[0], 7, *items[1:], {"dataset_root": "../x", "new_filename": "1"}]))
    planned = plan(split="odd.json")
    found = frames(planned)
    assert [frame.status for frame in found] == [None, "bad_entry", None, "unsafe_path"]
    assert [frame.entry for frame in found] == [0, 1, 2, 4]
    assert [frame.name is None for frame in found] == [False, True, False, True]
    assert found[1].detail == "odd.json: entry 1 is a JSON number, not an object: 7"
    assert planned.run.plan.duplicates == 1


def test_the_frames_of_a_scan_are_planned_with_all_that_it_knows(plan, root, tmp_path):
    paths = {"image_path": "i.png", "depth_path": "d.png", "split": "s.json", "entry": 5, "depth_scale": 1000.0}
    rows = [row("a", "1", 10.0, lighting=None, **paths), faulty("a", "2"), row("a", "3", 1.0, **paths)]
    scan = forge(tmp_path / "scan", rows, root=str(root), depth_scale=None, variants=["depth_maps"])
    found = frames(plan(scan=scan, where="depth_range == 'far'"))
    assert found == [
        Frame(
            "s.json",
            5,
            "a",
            "1",
            name="a__1",
            image="i.png",
            depth="d.png",
            variant="newest_depth_maps",
            depth_scale=1000.0,
            depth_range="far",
            scene_type=rows[0]["scene_type"],
            lighting=None,
        )
    ]


def test_predictions_are_planned_with_their_frames(plan, made, keys):
    (made / keys[3][0] / f"{keys[3][1]}.npy").unlink()
    found = frames(plan(made))
    assert [frame.files for frame in found] == [None if key == keys[3] else [f"{key[0]}/{key[1]}.npy"] for key in keys]


def test_integer_and_fraction_are_planned_as_two_files(plan, tmp_path, keys):
    for part in ("integer", "fraction"):
        (tmp_path / "made" / part).mkdir(parents=True)
        for scene, stem in keys:
            np.save(tmp_path / "made" / part / f"{scene.replace('/', '__')}__{stem}.npy", np.ones((3, 4)))
    output = {"name": ["integer", "fraction"], "decode": "integer-fraction", "max": 16.0}
    spec = describe(tmp_path / "pair.toml", output=output)
    found = frames(plan(tmp_path / "made", model_spec=spec, values="output"))
    assert found[1].files == [f"{part}/synced_data__b__0000000000.npy" for part in ("integer", "fraction")]


def test_predictions_of_no_frame_are_named(plan, made, keys):
    np.save(made / "stray.npy", np.ones((3, 4)))
    (made / "notes.txt").touch()
    planned = plan(made)
    assert planned.extra == ("stray.npy",)
    assert planned.as_dict()["extra_predictions"] == 1


def test_a_shard_of_an_evaluation_is_seconds_of_work(plan, root):
    write_split(root, [("synced_data/a", f"{number:010d}") for number in range(40_000)], "many.json")
    sizes = {task.rows for task in plan(split="many.json", shard_size=None).left}
    assert max(sizes) == MAX_SHARD_SIZE == 128


# What is refused before anything is written


def test_what_cannot_be_evaluated_is_refused_and_nothing_is_written(plan, root, out, tmp_path, net):
    write_split(root, [], "empty.json")
    (tmp_path / "void").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "photo.jpg").touch()
    for kind, says, options in (
        (SplitError, "no such split file", {"split": "val_split.json"}),
        (SplitError, "empty.json: is an empty list; expected a JSON list of", {"split": "empty.json"}),
        (PlanError, "no such folder, or an empty one; expected a folder that holds a data set", {"root": "/nowhere"}),
        (PlanError, "no such folder, or an empty one", {"allow_root": tmp_path / "void"}),
        (EvaluationError, "holds no prediction|no such folder, or an empty one", {"model": tmp_path / "void"}),
        (EvaluationError, "holds no prediction; expected files with suffix", {"model": tmp_path / "foreign"}),
        (EvaluationError, "no such file; expected an ONNX network or a folder", {"model": tmp_path / "nowhere"}),
        (EvaluationError, "values 'depth': expected metres or output", {"values": "depth"}),
        (EvaluationError, "protocol 'kitti': expected one of ncdb, kitti-eigen", {"protocol": "kitti"}),
        (EvaluationError, "crop 'half': expected one of none, garg", {"crop": "half"}),
        (NcdbError, "threads = 0; expected 1 to 1024", {"threads": 0}),
        (NcdbError, "leaves the scene's folder", {"variants": "../depth"}),
    ):
        with pytest.raises(kind, match=says) as caught:
            plan(**options)
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_raw_output_needs_a_model_file(plan, made):
    with pytest.raises(EvaluationError, match="values output: give --model-spec, which says how the network's output"):
        plan(made, values="output")


def test_what_files_hold_is_not_asked_of_a_network(plan):
    with pytest.raises(EvaluationError, match="values output"):
        plan(values="output")


def test_another_kind_of_run_is_not_touched(plan, root, out, net):
    ncdb_dask.scan(root, out)
    for fresh in (False, True):
        with pytest.raises(PlanError, match="holds a run of kind 'scan', not an evaluation; choose another folder"):
            plan(fresh=fresh)
    ncdb_dask.read_scan(out)


def test_a_folder_with_other_peoples_files_is_not_touched(plan, out):
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(PlanError, match=r"holds what is not of an evaluation \(thesis\.tex, \.\.\.\)"):
        plan()


# Going on


def test_the_same_request_goes_on_with_the_plan(begun):
    again = begun()
    assert again.run.plan == begun(threads=3).run.plan == begun(shard_size=None).run.plan
    assert len(again.left) == 3
    assert again.run.new_items is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stretch": True}, "stretch was False, now True"),
        ({"depth_scale": 512.0}, "depth_scale was 256.0, now 512.0"),
        ({"save_predictions": "npy"}, "save_predictions was None, now 'npy'"),
        ({"variants": "depth_maps"}, "variants was ["),
        ({"shard_size": 2}, "shard_size was 3, now 2"),
        ({"allow_root": "."}, "allow_root was [], now ["),
        ({"protocol": "kitti-eigen"}, "kitti-eigen"),
        ({"max_depth": 40.0}, "40.0"),
        ({"flip": "mean"}, "'mean'"),
        ({"crop": "garg"}, "'garg'"),
        ({"provider": "cuda"}, "CUDAExecutionProvider"),
    ],
    ids=str,
)
def test_other_options_are_named_and_nothing_is_touched(options, says, begun, out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(PlanError) as caught:
        begun(**options)
    assert says in str(caught.value)
    assert "give the same ones to continue, or --fresh to start over" in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert begun(fresh=True, **options).run.fresh


def test_another_model_file_is_another_request(begun, net):
    before = net.with_suffix(".toml").read_text()
    for output, evaluation in (({"factor": 10.0}, None), (None, {"min_depth": 0.5, "max_depth": 31.0})):
        describe(net.with_suffix(".toml"), output, evaluation)
        with pytest.raises(PlanError, match="was begun with other options"):
            begun()
    net.with_suffix(".toml").write_text(before)
    assert len(begun().left) == 3


def test_another_network_under_the_same_path_is_refused(begun, net):
    KNOWN["red"].write(net)
    with pytest.raises(PlanError, match=r"other contents of .*net\.onnx; --fresh starts over"):
        begun()


def test_another_network_is_refused(begun, net, tmp_path):
    with pytest.raises(PlanError, match=r"red\.onnx"):
        begun(KNOWN["red"].write(tmp_path / "red.onnx"))


def test_another_content_of_the_split_is_refused(begun, root, keys):
    write_split(root, keys[:5])
    with pytest.raises(PlanError, match=r"with other contents of train_split\.json; --fresh starts over"):
        begun()


def test_another_split_is_refused(begun, root, keys):
    write_split(root, keys, "val_split.json")
    with pytest.raises(PlanError, match=r"was planned from train_split\.json, .*, now from val_split\.json"):
        begun(split="val_split.json")


@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
def test_other_predictions_are_refused(change, plan, made, keys):
    plan(made).write()
    assert len(plan(made).left) == 3
    file = made / keys[0][0] / f"{keys[0][1]}.npy"
    if change == "replaced":
        about = file.stat()
        np.save(file, np.full((3, 4), 3.0))
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    elif change == "added":
        np.save(made / "more.npy", np.ones((3, 4)))
    else:
        file.unlink()
    with pytest.raises(PlanError, match=r"other contents of .*made; --fresh starts over"):
        plan(made)


def test_another_scan_under_the_same_path_is_refused(plan, root, tmp_path):
    paths = {"image_path": "i.png", "depth_path": "d.png", "split": "s.json", "entry": 5, "depth_scale": 256.0}
    rows = [row("a", "1", 10.0, **paths), row("a", "2", 10.0, **paths)]
    scan = forge(tmp_path / "scan", rows, root=str(root), depth_scale=None, variants=["depth_maps"])
    plan(scan=scan).write()
    with pytest.raises(PlanError, match="where was None, now 'mean_depth > 2'"):
        plan(scan=scan, where="mean_depth > 2")
    scan.rename(tmp_path / "before")
    forge(tmp_path / "scan", rows[:1], root=str(root), depth_scale=None, variants=["depth_maps"])
    with pytest.raises(PlanError, match=r"other contents of .*scan; --fresh starts over"):
        plan(scan=scan)


# Which run is meant


def test_the_same_files_under_another_manifest_are_other_predictions(plan, made, keys, tmp_path, root):
    """The manifest says whose a file is: a run is not continued under another one."""
    ncdb_dask.export("train_split.json", tmp_path / "exported", root=root, format="images")
    (tmp_path / "flat").mkdir()
    exported = ncdb_dask.read_export(tmp_path / "exported").manifest.frames
    for frame in exported:
        name = frame["file"].rsplit(".", 1)[0]
        np.save(tmp_path / "flat" / f"{name}.npy", np.full((3, 4), 2.0))
    plan(tmp_path / "flat").write()
    assert not plan(tmp_path / "flat").run.fresh
    # The same names lead to the same files: that is no other run.
    assert plan(tmp_path / "flat", manifest=tmp_path / "exported").run.plan == plan(tmp_path / "flat").run.plan
    for frame in exported:  # what the export calls it is believed first
        scene = tmp_path / "flat" / frame["dataset_root"]
        scene.mkdir(parents=True, exist_ok=True)
        np.save(scene / f"{frame['filename']}.npy", np.full((3, 4), 3.0))
    with pytest.raises(PlanError, match="--fresh starts over"):
        plan(tmp_path / "flat", manifest=tmp_path / "exported")


def test_predictions_are_not_asked_for_a_provider(plan, made):
    for options in ({"provider": "cuda"}, {"threads": 2}):
        with pytest.raises(EvaluationError, match="provider and threads are for networks"):
            plan(made, **options)


def test_a_scan_knows_its_variants(plan, tmp_path, root):
    scan = ncdb_dask.scan(root, tmp_path / "scan")
    assert scan.samples
    assert plan(scan=tmp_path / "scan").run.plan.settings["variants"][0] == "newest_depth_maps"
    with pytest.raises(EvaluationError, match="--variants is for --split"):
        plan(scan=tmp_path / "scan", variants="depth_maps")


def test_a_difference_in_a_group_of_settings_is_named_alone(begun):
    with pytest.raises(PlanError) as caught:
        begun(crop="garg")
    assert "(protocol crop was 'none', now 'garg')" in str(caught.value)


def test_shards_are_small_enough_for_a_few_workers(plan, root, keys):
    assert len(plan(shard_size=None).left) == -(-len(keys) // 8)
