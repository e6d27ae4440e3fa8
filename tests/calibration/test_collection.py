"""What a folder of statistics holds, and what is left to run for a set of frames; nothing here needs Dask."""

import dataclasses
import itertools
import json
import pickle
from pathlib import Path
from unittest import mock

import onnxruntime
import pytest
from helpers.activations import assert_same, bits, frames_that_run, write_branches
from helpers.trees import write_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from ncdb_dask.calibration.collection import FP32_FILE, MAX_SHARD_SIZE, OBSERVED_FILE, Collection
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.job import StatisticsJob
from ncdb_dask.calibration.statistics import added_up, stored
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import CalibrationError, PlanError
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import read_spec
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.plan import read_items

FRAMES = 12


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture(scope="module")
def keys(tree):
    items = json.loads((tree / "train_split.json").read_text())
    return [(item["dataset_root"], item["new_filename"]) for item in items]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    path = write_branches(folder / "net.onnx")
    spec = check_graph(path, read_spec(path.with_suffix(".toml")))
    return prepared(load(path), spec.input, folder), spec


@pytest.fixture
def collection(tree, network, tmp_path):
    def at(place=tmp_path / "statistics", model=network[0], root=tree, provider="CPUExecutionProvider", **changes):
        spec = dataclasses.replace(network[1], input=dataclasses.replace(network[1].input, **changes))
        data = LocalFolder(str(root))
        reader = FrameReader(data, Roots.of(data), spec.input, run="now")
        return Collection.at(LocalFolder(str(place)), model, spec, reader, provider, 1)

    return at


def key_of(row):
    return row["dataset_root"], row["filename"]


def frames_of(keys):
    return [CalibrationFrame(*key) for key in keys]


def run(collection, keys, shards=None):
    """Plan, and run all of its shards or the first few; return the plan."""
    plan = collection.plan(frames_of(keys))
    plan.write()
    job = StatisticsJob.of(collection, plan.run.plan.id)
    for assignment in plan.left()[:shards]:
        job(assignment)
    return plan


def statistics_of(collection, keys):
    with frames_that_run() as ran:
        run(collection, keys)
    plan = collection.plan(frames_of(keys))
    assert not plan.left()
    rows = plan.rows(plan.run.done.values())
    observed = collection.observed
    found = added_up(observed.tensors, observed.axes, frames_of(keys), rows, collection.out.url, skip_bad=False)
    return found, ran


def planned_keys(plan):
    return [(item["dataset_root"], item["stem"]) for each in plan.left() for item in read_items(plan.out, each)]


# The folder


def test_the_folder_holds_the_network_and_the_one_that_is_run(collection, network):
    import onnx

    made = collection()
    assert onnx.load(Path(made.out.path) / FP32_FILE) == network[0]
    shown = onnx.load(Path(made.out.path) / OBSERVED_FILE)
    assert tuple(port.name for port in shown.graph.output) == made.observed.tensors[1:]
    assert made.observed.network.path == f"{made.out.path}/{OBSERVED_FILE}"
    assert made.observed.network.sha256 != made.settings["network"]


def test_what_shapes_the_rows_names_the_folder(collection, network, tmp_path):
    other = type(network[0])()
    other.CopyFrom(network[0])
    other.graph.node.append(helper.make_node("Relu", [other.graph.output[0].name], ["more"]))
    (tmp_path / "data").mkdir()
    changes = [
        {},
        {"model": other},
        {"root": tmp_path / "data"},
        {"provider": "CUDAExecutionProvider"},
        {"resize": "nearest"},
        {"mean": (0.1, 0.0, 0.0)},
        {"channels": "bgr"},
    ]
    folders = [collection(**change).out.path for change in changes]
    assert len(set(folders)) == len(changes)
    assert [collection(**change).out.path for change in changes] == folders
    assert {str(Path(folder).parent) for folder in folders} == {str(tmp_path / "statistics")}


def test_a_plan_of_other_settings_is_refused(collection, keys):
    made = collection()
    run(made, keys[:2])
    with pytest.raises(PlanError, match="was begun with other options"):
        dataclasses.replace(made, settings={**made.settings, "root": "/elsewhere"}).plan(frames_of(keys[:2]))


# What is left


def test_planning_writes_nothing(collection, keys):
    made = collection()
    plan = made.plan(frames_of(keys))
    assert {path.name for path in Path(made.out.path).iterdir()} == {FP32_FILE, OBSERVED_FILE}
    plan.write()
    assert planned_keys(plan) == keys


def test_shards_are_small_and_no_smaller_than_need_be(collection, keys):
    many = [("synced_data/a", f"{number:010d}") for number in range(5000)]
    assert max(each.rows for each in collection().plan(frames_of(many)).left()) == MAX_SHARD_SIZE
    assert [each.rows for each in collection().plan(frames_of(keys[:5])).left()] == [2, 2, 1]


def test_frames_that_name_nothing_are_not_planned(collection, keys):
    bad = CalibrationFrame(None, None, "bad_entry", "no name")
    plan = collection().plan([bad, *frames_of(keys[:3]), bad])
    plan.write()
    assert planned_keys(plan) == keys[:3]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_in_any_history_only_missing_frames_run_and_the_bits_are_the_same(data, collection, keys, tmp_path):
    """Sets in any order, runs that are cut off after some shards: a frame runs once, and only where it is asked for."""
    place = tmp_path / f"history-{next(NUMBERS)}"
    made, known = collection(place), set()
    subsets = st.lists(st.sampled_from(keys), min_size=1, max_size=FRAMES, unique=True)
    for wanted, shards in data.draw(st.lists(st.tuples(subsets, st.none() | st.integers(0, 2)), max_size=4)):
        with frames_that_run() as ran:
            run(made, wanted, shards)
        assert len(ran) == len(set(ran))
        assert set(ran) <= set(wanted) - known
        assert shards is not None or set(ran) == set(wanted) - known
        known |= set(ran)
    wanted = data.draw(subsets)
    found, ran = statistics_of(made, wanted)
    assert sorted(ran) == sorted(set(wanted) - known)
    assert list(found.frames) == wanted
    assert_same(
        found, statistics_of(collection(tmp_path / f"alone-{next(NUMBERS)}"), sorted(wanted))[0], in_order=False
    )


NUMBERS = itertools.count()


def test_a_frame_that_several_runs_were_cut_off_before_runs_once(collection, keys):
    made = collection()
    for wanted in (keys[:2], keys[:1], keys[1:2]):
        run(made, wanted, shards=0)
    _, ran = statistics_of(made, keys[:3])
    assert sorted(ran) == sorted(keys[:3])


def test_a_row_that_is_ok_counts_although_a_later_one_is_not(collection, keys, tmp_path):
    write_tree(tmp_path, FRAMES)
    made = collection(root=tmp_path)
    run(made, keys[:2], shards=0)
    picture = tmp_path / keys[0][0] / "image_a6" / f"{keys[0][1]}.png"
    data = picture.read_bytes()
    picture.write_bytes(b"no picture")
    run(made, keys[:1])  # in a shard of its own, after the one that is still to be run
    picture.write_bytes(data)
    made = dataclasses.replace(made, reader=dataclasses.replace(made.reader, run="later"))
    _, ran = statistics_of(made, keys[:2])
    assert sorted(ran) == sorted(keys[:2])
    _, ran = statistics_of(made, keys[:1])
    assert not ran


def test_a_picture_that_was_replaced_is_measured_and_the_row_of_the_present_one_counts(collection, keys, tmp_path):
    write_tree(tmp_path / "data", FRAMES)
    made = collection(root=tmp_path / "data")
    picture, other = (tmp_path / "data" / root / "image_a6" / f"{stem}.png" for root, stem in (keys[0], keys[5]))
    first, second = picture.read_bytes(), other.read_bytes()
    run(made, keys[:2], shards=0)  # its shard comes before those of all that follow
    known = {}
    for content, expected in (
        (first, keys[:1]),
        (second, keys[:1]),
        (first, []),
        (second, []),
        (first + b"!", keys[:1]),
        (second, []),
    ):
        picture.write_bytes(content)
        found, ran = statistics_of(made, keys[:1])
        assert ran == expected
        assert_same(found, known.setdefault(content, found))
    assert bits(known[first]) != bits(known[second])
    picture.write_bytes(first + b"?")
    _, ran = statistics_of(made, keys[:2])
    assert ran == keys[:2]
    picture.write_bytes(b"no picture")  # what was measured of another one does not stand for it
    run(made, keys[:1])
    plan = made.plan(frames_of(keys[:1]))
    (row,) = plan.rows(plan.run.done.values())
    assert row["status"] == "unreadable_image"


def test_a_picture_that_is_gone_says_nothing_against_its_statistics(collection, keys, tmp_path):
    write_tree(tmp_path / "data", FRAMES)
    made = collection(root=tmp_path / "data")
    found, _ = statistics_of(made, keys[:2])
    (tmp_path / "data" / keys[0][0] / "image_a6" / f"{keys[0][1]}.png").unlink()
    again, ran = statistics_of(made, keys[:2])
    assert not ran
    assert_same(again, found)


def test_only_pictures_of_wanted_frames_that_have_a_row_are_read(collection, keys):
    made, seen = collection(), []
    run(made, keys[:4])

    def watched(digest, frames):
        seen.extend(frame.key for frame in frames)
        return map(pickle.loads(pickle.dumps(digest)), frames)

    made.plan(frames_of(keys[2:6]), watched)
    assert seen == keys[2:4]


def test_rows_of_two_versions_of_onnxruntime_lie_in_two_folders(collection):
    made = collection()
    assert made.settings["onnxruntime"] == onnxruntime.__version__
    with mock.patch.object(onnxruntime, "__version__", "0.0.1"):
        assert collection().out.path != made.out.path


def test_of_several_rows_of_a_frame_the_last_one_that_is_ok_counts(collection, keys, tree, tmp_path):
    write_tree(tmp_path, FRAMES)
    made = collection(root=tmp_path)
    picture = tmp_path / keys[0][0] / "image_a6" / f"{keys[0][1]}.png"
    data = picture.read_bytes()
    statuses = []
    for content in (b"no picture", b"neither", data):
        picture.write_bytes(content)
        # A reader of another run: what an earlier one has listed must not serve.
        made = dataclasses.replace(made, reader=dataclasses.replace(made.reader, run=str(len(statuses))))
        run(made, keys[:2])
        plan = made.plan(frames_of(keys[:2]))
        rows = list(plan.rows(plan.run.done.values()))
        assert sorted((row["dataset_root"], row["filename"]) for row in rows) == sorted(keys[:2])
        statuses.append(
            [row["status"] for row in sorted(rows, key=lambda row: keys.index((row["dataset_root"], row["filename"])))]
        )
        shards = len(plan.run.done)
    assert statuses == [["unreadable_image", "ok"], ["unreadable_image", "ok"], ["ok", "ok"]]
    assert shards == 3
    with frames_that_run() as ran:
        run(made, keys[:2])
    assert not ran


def test_a_plan_made_before_another_one_was_written_gives_up(collection, keys):
    made = collection()
    run(made, keys[:2])
    one, other = made.plan(frames_of(keys[:4])), made.plan(frames_of(keys[:6]))
    one.write()
    with pytest.raises(PlanError, match="another run has begun in this folder since; give the command again"):
        other.write()


def test_a_damaged_list_of_frames_is_told(collection, keys):
    made = collection()
    run(made, keys, shards=2)
    Path(made.out.path, "_plan", "items-000.plan").write_bytes(b"no list")
    with pytest.raises(PlanError, match=r"the plan of these statistics is damaged .* remove the folder") as caught:
        made.plan(frames_of(keys))
    assert "\n" not in str(caught.value)


def test_a_frame_that_killed_its_worker_is_a_row_and_is_not_touched(collection, keys):
    made = collection()
    plan = made.plan(frames_of(keys[:3]))
    plan.write()
    job = StatisticsJob.of(made, plan.run.plan.id)
    (first, *_) = plan.left()
    assert job(dataclasses.replace(first, probe=(0, 1))) is None
    assert not list(Path(made.out.path).glob("shard-*"))
    receipt = job(dataclasses.replace(first, crashed=(1,)))
    assert dict(receipt.counts) == {"ok": 1, "crashed": 1}
    crashed = [row for row in plan.rows([receipt]) if row["status"] == "crashed"]
    assert [key_of(row) for row in crashed] == [keys[1]]
    assert "give the workers more memory" in crashed[0]["detail"]


# What is stored


def test_what_is_stored_is_added_up_without_a_run(collection, keys):
    made = collection()
    whole, _ = statistics_of(made, keys)
    with frames_that_run() as ran:
        assert_same(stored(made.out, keys, input_name="image", layout="nchw"), whole)
        part = stored(made.out, keys[2:5], input_name="image", layout="nchw")
    assert not ran
    assert list(part.frames) == keys[2:5]
    assert_same(part, statistics_of(made, keys[2:5])[0])


def test_frames_that_are_not_stored_are_told(collection, keys):
    made = collection()
    run(made, keys[:4])
    for wanted, lost in ((keys[:6], "2 of 6"), (keys[8:], "4 of 4")):
        with pytest.raises(CalibrationError, match=rf"{made.out.path}: holds no statistics of {lost} frames; quantize"):
            stored(made.out, wanted, input_name="image", layout="nchw")


@pytest.mark.parametrize("what", ["nothing", "scan"])
def test_a_folder_without_statistics_is_told(what, keys, tree, tmp_path):
    if what == "scan":
        from helpers.scans import forge, row

        forge(tmp_path, [row(*keys[0])])
    with pytest.raises(CalibrationError, match="holds no activation statistics; quantize again to make them"):
        stored(LocalFolder(str(tmp_path)), keys, input_name="image", layout="nchw")


def test_another_network_in_the_folder_is_told(collection, keys, network):
    made = collection()
    run(made, keys[:2])
    Path(made.out.path, FP32_FILE).write_bytes(b"no network")
    with pytest.raises(PlanError, match=rf"{FP32_FILE} is not the network of these statistics"):
        stored(made.out, keys[:2], input_name="image", layout="nchw")


def test_a_row_that_is_lost_is_an_error_and_not_a_smaller_set(collection, keys):
    made = collection()
    plan = run(made, keys[:4])
    rows = list(plan.rows(made.plan(frames_of(keys[:4])).run.done.values()))
    observed = made.observed
    with pytest.raises(CalibrationError, match="holds no statistics of 1 of 4 frames"):
        added_up(observed.tensors, observed.axes, frames_of(keys[:4]), rows[1:], plan.out.url, skip_bad=True)


def test_faults_are_told_in_the_order_of_the_set(collection, keys):
    made = collection()
    wanted = [CalibrationFrame(None, None, "bad_entry", "a number"), *frames_of(keys[:3])]
    rows = [
        {"dataset_root": root, "filename": stem, "status": "missing_image", "detail": f"no {stem}"}
        for root, stem in reversed(keys[:3])
    ]
    observed = made.observed
    with pytest.raises(
        CalibrationError, match=r"none of the 4 frames can be used \(bad_entry \(a number\)\); mend them"
    ):
        added_up(observed.tensors, observed.axes, wanted, rows, "folder", skip_bad=True)
    with pytest.raises(
        CalibrationError, match=r"4 of 4 \(bad_entry .*; 0000000000 of synced_data/a: .*; \.\.\.\); mend"
    ):
        added_up(observed.tensors, observed.axes, wanted, rows, "folder", skip_bad=False)


def test_two_runs_of_a_frame_give_the_same_bytes(collection, keys, tmp_path):
    folders = [Path(collection(tmp_path / name).out.path) for name in ("one", "two")]
    for name in ("one", "two"):
        run(collection(tmp_path / name), keys[:2])
    one, two = ((folder / "shard-000000.parquet").read_bytes() for folder in folders)
    assert one == two
