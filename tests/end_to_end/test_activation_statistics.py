"""Activation statistics by real processes and on real clusters: the same bits, whoever made them and whatever died."""

import itertools
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from distributed import Client
from helpers.activations import (
    activations,
    assert_same,
    bins_of,
    bits,
    frames_that_run,
    paint,
    picture,
    ranges_of,
    tensor_of,
    write_branches,
    write_fragile,
)
from helpers.deaths import Killed, at_write, full_disk
from helpers.faults import Deadly, always, once
from helpers.networks import write_network
from helpers.statistics_driver import die_at_frame
from helpers.trees import write_split, write_tree
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

import ncdb_dask
from ncdb_dask.calibration.ranges import METHODS
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.errors import CalibrationError, NcdbError, PlanError, SpecError
from ncdb_dask.runtime import settings
from ncdb_dask.runtime.events import ShardDone, ShardSuspected

TESTS = Path(__file__).parents[1]
FRAMES = 14
WORKERS = (2, 7)
Key = tuple[str, str]
Measure = Callable[..., ActivationStatistics]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture
def keys(root: Path) -> list[Key]:
    return [
        (item["dataset_root"], item["new_filename"]) for item in json.loads((root / "train_split.json").read_text())
    ]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_branches(tmp_path / "net.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def measure(root: Path, net: Path, out: Path) -> Measure:
    """Measure the network's activations over a set of frames, the whole split if none is given."""
    numbers = itertools.count()

    def measured(
        frames: list[Key] | None = None, model: Path = net, into: Path = out, **options: Any
    ) -> ActivationStatistics:
        split = "train_split.json" if frames is None else f"split-{next(numbers)}.json"
        if frames is not None:
            write_split(root, frames, split)
        return ncdb_dask.activation_statistics(model, into, **{"root": root, "split": split, **options})

    return measured


@pytest.fixture(scope="module", params=WORKERS, ids=lambda number: f"{number} workers")
def workers(request: pytest.FixtureRequest) -> Iterator[Client]:
    with ncdb_dask.open_client(workers=request.param) as client:
        assert len(client.nthreads()) == request.param
        yield client


def shards(found: ActivationStatistics) -> list[Path]:
    return sorted(Path(found.folder).glob("shard-*.parquet"))


def stamps(found: ActivationStatistics) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(found.folder).rglob("*") if path.is_file()}


# The figures


def test_statistics_are_those_of_onnxruntimes_own_tensors_put_together(measure, root, keys):
    found = measure()
    assert list(found.frames) == keys
    assert (found.skipped, found.not_finite) == ((), ())
    observed = Path(found.folder) / "_observed.onnx"
    each = [activations(observed, tensor_of(root, key)) for key in keys]
    assert list(found.tensors) == list(each[0])
    for name, tensor in found.tensors.items():
        values = np.concatenate([one[name].ravel() for one in each])
        np.testing.assert_array_equal(tensor.histogram.counts, bins_of(values))
        assert (tensor.histogram.low, tensor.histogram.high) == (values.min(), values.max())
        found_range = found.ranges("minmax")[name]
        assert (found_range.low, found_range.high) == (min(values.min(), 0), max(values.max(), 0))
        if tensor.channels.axis == 1:
            rows = np.concatenate([one[name] for one in each]).astype(np.float64)
            np.testing.assert_array_equal(tensor.channels.low, rows.min(axis=(0, 2, 3)))
            np.testing.assert_array_equal(tensor.channels.high, rows.max(axis=(0, 2, 3)))
            np.testing.assert_allclose(tensor.channels.mean, rows.mean(axis=(0, 2, 3)), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(tensor.channels.square, np.square(rows).mean(axis=(0, 2, 3)), rtol=1e-9)


def test_the_bits_are_the_same_for_any_workers_any_order_and_any_shards(measure, workers, keys, tmp_path):
    here = measure()
    there = measure(into=tmp_path / "there", client=workers)
    assert_same(there, here)
    assert [path.read_bytes() for path in shards(there)] == [path.read_bytes() for path in shards(here)]
    shuffled = random.Random(len(workers.nthreads())).sample(keys, len(keys))
    assert_same(measure(shuffled, into=tmp_path / "shuffled", client=workers), here, in_order=False)
    assert_same(measure(shuffled, client=workers), here, in_order=False)  # nothing is run
    # In another history, the shards are cut otherwise.
    for size in (5, 3, 9, FRAMES):
        last = measure(shuffled[:size], into=tmp_path / "grown", client=workers)
    assert len(shards(last)) != len(shards(here))
    assert_same(last, here, in_order=False)


def test_other_frames_give_other_bits(measure, keys):
    assert bits(measure()) != bits(measure(keys[1:]))


# Only what is missing


def test_a_subset_of_what_was_run_runs_nothing_and_writes_nothing(measure, keys, tmp_path, root):
    whole = measure()
    before, events = stamps(whole), []
    for path in root.rglob("*.png"):
        path.unlink()
    with frames_that_run() as ran:
        part = measure(keys[3:8][::-1], observer=events.append)
    assert (ran, events) == ([], [])
    assert stamps(part) == before
    assert list(part.frames) == keys[3:8][::-1]
    write_tree(root, FRAMES)
    assert_same(part, measure(keys[3:8][::-1], into=tmp_path / "alone"))


def test_a_superset_runs_only_what_is_missing(measure, keys, tmp_path):
    part, events = measure(keys[4:9]), []
    before = stamps(part)
    with frames_that_run() as ran:
        whole = measure(observer=events.append)
    assert sorted(ran) == sorted(keys[:4] + keys[9:])
    assert events[0].rows == len(ran) == sum(event.rows for event in events if isinstance(event, ShardDone))
    kept = stamps(whole)
    plan = Path(whole.folder) / "_plan" / "plan.json"
    assert {path: stamp for path, stamp in kept.items() if path in before} | {plan: before[plan]} == before
    assert_same(whole, measure(into=tmp_path / "at-once"))
    with frames_that_run() as ran:
        assert_same(measure(keys[4:9]), part)
    assert not ran


def test_after_a_run_that_was_cut_off_only_what_is_missing_and_wanted_runs(measure, keys, net, root, out):
    ran = drive(net, root, out, "receipts/shard-000002.json")
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with frames_that_run() as ran_now:
        measure(keys[3:8])  # of shards of two frames: two are done, two are left, and half of the second
    assert sorted(ran_now) == sorted(keys[4:8])
    with frames_that_run() as ran_now:
        whole = measure()
    assert sorted(ran_now) == sorted(keys[8:])
    assert_same(whole, measure(into=out.with_name("undisturbed")))


def test_a_picture_that_was_replaced_is_measured_on_a_cluster_too(measure, root, keys, out):
    measure()
    picture(root, keys[3]).write_bytes(picture(root, keys[9]).read_bytes())
    events = []
    with ncdb_dask.open_client(workers=2) as client:
        found = measure(client=client, observer=events.append)
    assert events[0].rows == 1
    assert_undisturbed(found, measure, out)


# Deaths


def drive(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.statistics_driver", *map(str, arguments)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_undisturbed(found: ActivationStatistics, measure: Measure, out: Path, **options: Any) -> None:
    """The same as in a fresh folder, and nothing half-written is left."""
    assert_same(found, measure(into=out.with_name("undisturbed"), **options))
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    "moment",
    ["_fp32.onnx", "_observed.onnx", "items-000.plan", "plan.json", "shard-000002.parquet", "shard-000002.json"],
)
def test_a_process_killed_at_any_rename(moment, measure, net, root, out):
    ran = drive(net, root, out, moment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert list(out.rglob("*.tmp"))  # it died before it could clear away
    assert_undisturbed(measure(), measure, out)


def test_a_process_killed_while_workers_work(measure, net, root, out):
    ran = drive(net, root, out, "first-shard", 2)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert list(out.rglob("receipts/*.json"))
    assert_same(measure(), measure(into=out.with_name("undisturbed")))


def test_a_worker_that_dies_once(measure, out, tmp_path):
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_frame, once, tmp_path / "died", "b/0000000003"))
        found = measure(client=client)
    assert (tmp_path / "died").exists()
    assert_undisturbed(found, measure, out)


def test_a_frame_that_kills_its_workers_is_refused_or_left_out_and_reported(measure, keys, out, monkeypatch):
    # Two deaths make a suspect here, to keep the test short; the product waits for four.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 1)
    events = []
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_frame, always, "b/0000000003"))
        with pytest.raises(CalibrationError, match=r"1 of 14 \(0000000003 of synced_data/b: crashed \(.*killed its wo"):
            measure(client=client, observer=events.append)
        found = measure(client=client, skip_bad=True)
    assert any(isinstance(event, ShardSuspected) for event in events)
    assert [(one.dataset_root, one.stem, one.status) for one in found.skipped] == [(*keys[7], "crashed")]
    others = keys[:7] + keys[8:]
    assert list(found.frames) == others
    assert bits(found) == bits(measure(others, into=out.with_name("others")))
    with frames_that_run() as ran:  # on a machine that bears it
        assert_same(measure(), measure(into=out.with_name("undisturbed")))
    assert ran == [keys[7], *keys]  # in the second folder, all of them


def test_two_runs_into_one_folder_do_not_disturb_each_other(measure, net, root, out):
    command = [sys.executable, "-m", "helpers.statistics_driver", net, root, out, "no such name"]
    processes = [subprocess.Popen([*map(str, command)], cwd=TESTS, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert 0 in [process.returncode for process in processes], said
    for text in filter(None, said):
        assert "PlanError: " in text, text
    assert_undisturbed(measure(), measure, out)


@pytest.mark.parametrize("death", ["killed", "full disk"])
def test_a_death_at_any_write(death, measure, out, keys):
    expected = measure(keys[:6], into=out.with_name("whole"))
    told = []
    for number in itertools.count(1):
        try:
            with at_write(number) if death == "killed" else at_write(number, full_disk) as done:
                measure(keys[:6])
            break
        except (Killed, NcdbError) as error:
            told.append(str(error))
        if death == "full disk":
            assert not list(out.rglob("*.tmp"))
        found = measure(keys[:6])
        assert_same(found, expected)
        assert not list(out.rglob("*.tmp"))
        out.rename(out.with_name(f"after-{number}"))
    assert len(done) == number - 1 == 4 + 2 * 3  # every write was struck once
    assert death == "killed" or all("No space left on device" in text and "\n" not in text for text in told)


def test_a_full_disk_on_a_cluster_is_one_error_and_can_be_continued(measure, out):
    with ncdb_dask.open_client(workers=2) as client:
        client.run(fill_disk)
        with pytest.raises(
            NcdbError, match=r"No space left on device.*; what is complete stays, the same command"
        ) as e:
            measure(client=client)
        assert "\n" not in str(e.value)
    assert_undisturbed(measure(), measure, out)


def fill_disk(dask_worker: Any) -> None:
    """Let this worker write no shard but one."""
    from ncdb_dask.store.folder import os

    replace, done = os.replace, []

    def struck(temporary: str, target: str) -> None:
        if "shard-" in target and len(done) == 2:
            raise full_disk(temporary)
        done.append(target)
        replace(temporary, target)

    os.replace = struck


# Frames that cannot be used


def test_a_frame_that_cannot_be_read_is_refused_or_left_out_and_comes_in_once_it_is_mended(measure, root, keys, out):
    data = picture(root, keys[5]).read_bytes()
    picture(root, keys[5]).write_bytes(data[:-40])
    picture(root, keys[2]).rename(root / "away.png")
    with pytest.raises(
        CalibrationError, match=r"2 of 14 \(0000000001 of synced_data/a: missing_image \(.*unreadable_i"
    ):
        measure()
    found = measure(skip_bad=True)
    assert [(one.dataset_root, one.stem, one.status) for one in found.skipped] == [
        (*keys[2], "missing_image"),
        (*keys[5], "unreadable_image"),
    ]
    others = [key for key in keys if key not in (keys[2], keys[5])]
    assert list(found.frames) == others
    assert bits(found) == bits(measure(others))
    picture(root, keys[5]).write_bytes(data)
    (root / "away.png").rename(picture(root, keys[2]))
    with frames_that_run() as ran:
        mended = measure()
    assert sorted(ran) == sorted([keys[2], keys[5]])
    assert_undisturbed(mended, measure, out)


def test_entries_that_name_no_frame_are_refused_before_anything_is_written(measure, root, keys, out):
    items = json.loads((root / "train_split.json").read_text())
    (root / "odd.json").write_text(json.dumps([7, *items[:3], {"dataset_root": "../x", "new_filename": "1"}, items[0]]))
    with pytest.raises(CalibrationError, match=r"2 of 5 \(bad_entry \(odd.*; unsafe_path \(odd.*leaves the root"):
        measure(split="odd.json")
    assert not out.exists()
    found = measure(split="odd.json", skip_bad=True)
    assert [one.status for one in found.skipped] == ["bad_entry", "unsafe_path"]
    assert list(found.frames) == keys[:3]
    (root / "none.json").write_text(json.dumps([7, 8]))
    with pytest.raises(CalibrationError, match=r"none of the 2 frames can be used \(.*bad_entry"):
        measure(split="none.json", skip_bad=True)


def test_where_no_frame_can_be_read_it_says_why(measure, root):
    for path in root.rglob("image_a6/*.png"):
        path.unlink()
    with pytest.raises(CalibrationError, match=r"none of the 14 frames can be used \(.*missing_image"):
        measure(skip_bad=True)


def test_nan_and_infinity_are_named_by_tensor_and_frame(measure, root, keys, tmp_path):
    for key in keys:
        paint(root, key, 200)
    paint(root, keys[4], 0)
    fragile = write_fragile(tmp_path / "fragile.onnx")
    with ncdb_dask.open_client(workers=2) as client:
        found = measure(model=fragile, client=client)
    assert [(one.tensor, one.dataset_root, one.stem, one.nan, one.infinite) for one in found.not_finite] == [
        ("root", *keys[4], 192, 0),
        ("inverse", *keys[4], 0, 192),
        ("depth", *keys[4], 192, 0),
    ]
    tensor = found.tensors["root"]
    assert (tensor.histogram.nan, tensor.histogram.total) == (192, 192 * (FRAMES - 1))
    others = measure(keys[:4] + keys[5:], model=fragile, into=tmp_path / "others")
    assert not others.not_finite
    assert found.ranges()["root"] == others.ranges()["root"]
    assert tensor.channels.mean.tobytes() == others.tensors["root"].channels.mean.tobytes()


# Several in one folder


def test_two_networks_in_one_folder_do_not_meet(measure, out, tmp_path):
    first, second = measure(), measure(model=write_branches(tmp_path / "second.onnx", seed=1))
    assert first.folder != second.folder
    assert {Path(first.folder), Path(second.folder)} == set(out.iterdir())
    assert bits(first) != bits(second)
    assert_same(first, measure(into=tmp_path / "first-alone"))
    assert_same(second, measure(model=tmp_path / "second.onnx", into=tmp_path / "second-alone"))


def test_a_network_by_another_name_is_the_same(measure, net, tmp_path):
    first = measure()
    with frames_that_run() as ran:
        second = measure(model=write_branches(tmp_path / "elsewhere" / "copy.onnx"))
    assert (ran, second.folder) == ([], first.folder)


@pytest.mark.parametrize(
    "change", [{"mean": [0.5, 0.5, 0.5]}, {"channels": "bgr"}, {"scale": 1.0}, {"resize": "nearest"}]
)
def test_other_preprocessing_is_another_folder(change, measure, tmp_path):
    first, second = measure(), measure(model=write_branches(tmp_path / "other" / "net.onnx", **change))
    assert first.folder != second.folder
    assert (bits(first) == bits(second)) == ("resize" in change)  # nothing is resized here


def test_what_shapes_nothing_is_the_same_folder(measure, tmp_path):
    first = measure()
    other = write_branches(tmp_path / "other" / "net.onnx", evaluation={"max_depth": 10.0})
    assert measure(model=other, threads=2).folder == first.folder


def test_another_data_root_is_another_folder(measure, tmp_path):
    first = measure()
    (tmp_path / "copy").mkdir()
    write_tree(tmp_path / "copy", FRAMES)
    second = measure(root=tmp_path / "copy")
    assert first.folder != second.folder
    assert_same(first, second)


# Damage


def test_a_shard_that_is_damaged_is_told_and_done_again(measure, keys, out):
    found = measure()
    shard = shards(found)[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(
        PlanError, match=rf"{shard} was overwritten since it was committed; the same command does it aga"
    ):
        measure()
    with frames_that_run() as ran:
        mended = measure()
    assert ran == keys[2:4]
    assert_undisturbed(mended, measure, out)


def test_a_shard_whose_end_is_damaged_is_told(measure, out):
    found = measure()
    shard = shards(found)[1]
    shard.write_bytes(shard.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(PlanError, match=rf"{shard} is damaged \(.*\); remove it and run the command"):
        measure()
    shard.unlink()
    assert_undisturbed(measure(), measure, out)


@pytest.mark.parametrize("gone", ["shard-000001.parquet", "_plan/receipts/shard-000001.json"])
def test_what_is_gone_is_done_again_and_nothing_else(gone, measure, keys, out):
    (Path(measure().folder) / gone).unlink()
    with frames_that_run() as ran:
        found = measure()
    assert ran == keys[2:4]
    assert_undisturbed(found, measure, out)


@pytest.mark.parametrize("network", ["_fp32.onnx", "_observed.onnx"])
def test_a_network_that_is_damaged_in_the_folder_is_written_again(network, measure, out, keys):
    found = measure(keys[:4])
    (Path(found.folder) / network).write_bytes(b"no network")
    assert_undisturbed(measure(), measure, out)


def test_a_plan_that_is_damaged_is_told(measure):
    found = measure()
    (Path(found.folder) / "_plan" / "plan.json").write_text("{")
    with pytest.raises(
        PlanError, match=rf"^{found.folder}: the plan of these statistics is damaged .* remove the folder"
    ):
        measure()


# Whoever reads the table


def test_the_table_tells_which_picture_was_measured(measure, root, keys):
    import hashlib

    found = measure()
    rows = [row for path in shards(found) for row in pq.read_table(path).to_pylist()]
    assert [(row["dataset_root"], row["filename"]) for row in rows] == keys
    for row, key in zip(rows, keys, strict=True):
        assert row["sha256"] == hashlib.sha256(picture(root, key).read_bytes()).hexdigest()
        assert (root / row["image"]).samefile(picture(root, key))


# The cache


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        (Scheme(), QuantType.QUInt8),
        (Scheme(signed=True), QuantType.QInt8),
        (Scheme(signed=True, symmetric=True), QuantType.QInt8),
        (Scheme(signed=True, symmetric=True, power_of_two=True), QuantType.QInt8),
        (Scheme(bits=16), QuantType.QUInt16),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_onnxruntime_builds_a_network_of_exactly_these_scales_from_the_cache(method, scheme, kind, measured, tmp_path):
    ranges = measured.ranges(method, scheme, percentile=99.0)
    measured.write_cache(tmp_path / "ranges.json", ranges)
    quantize_static(
        Path(measured.folder) / "_fp32.onnx",
        tmp_path / "int8.onnx",
        None,
        quant_format=QuantFormat.QDQ,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        calibration_cache_path=tmp_path / "ranges.json",
        extra_options={"ActivationSymmetric": scheme.symmetric},
    )
    made = onnx.load(tmp_path / "int8.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    quantizing = [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    found = {_named(made, node): tuple(values[name].item() for name in node.input[1:3]) for node in quantizing}
    assert {"image", "large", "both", "depth"} <= set(found) <= set(ranges)
    given = ranges | {"first": ranges["active"]}  # its own rule for what enters a Relu
    assert found == {name: (given[name].scale, given[name].zero_point) for name in found}


def _named(made: onnx.ModelProto, quantize: onnx.NodeProto) -> str:
    """Return which tensor a node rounds: an output of the network keeps its name behind the pair, others before it."""
    (dequantize,) = (node for node in made.graph.node if quantize.output[0] in node.input)
    outputs = [port.name for port in made.graph.output]
    return dequantize.output[0] if dequantize.output[0] in outputs else quantize.input[0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> ActivationStatistics:
    folder = tmp_path_factory.mktemp("measured")
    write_tree(folder, 4)
    net = write_branches(folder / "net.onnx")
    return ncdb_dask.activation_statistics(net, folder / "out", root=folder, split="train_split.json")


def test_a_cache_that_cannot_be_written_is_told_in_words(measured, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NcdbError, match=rf"{tmp_path}/file: cannot write"):
        measured.write_cache(tmp_path / "file" / "ranges.json", measured.ranges())


# What cannot be done


def cases(root: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """What each call is given, and what it says."""
    (root / "empty.json").write_text("[]")
    yield "an empty split", {"split": "empty.json"}, r"empty\.json: is an empty list; expected"
    yield "a missing split", {"split": "val_split.json"}, r"val_split\.json: no such split file"
    yield "a network that is not there", {"model": tmp_path / "nowhere.onnx"}, "nowhere"
    alone = write_branches(tmp_path / "alone" / "net.onnx")
    alone.with_suffix(".toml").unlink()
    yield "no size", {"model": alone}, "has no model file .* at least .input. width and height"
    sized = write_branches(tmp_path / "sized" / "net.onnx", width=32)
    yield "another size", {"model": sized}, "has the shape 1 x 3 x 12 x 16, but the model file describes"
    odd = onnx.helper.make_node("Fold", ["image"], ["depth"], domain="stranger")
    yield "an unknown operator", {"model": write_network(tmp_path / "odd.onnx", [odd])}, "Fold|stranger"
    yield "no threads", {"threads": 0}, r"threads = 0; expected 1 to"
    yield "an unknown provider", {"provider": "abacus"}, 'provider "abacus" is unknown'
    yield "a folder that is no local one", {"into": "memory://statistics"}, "expected a local folder"
    (tmp_path / "file").write_text("")
    yield "a network behind a URL", {"model": "memory://net.onnx"}, "networks lie on a mounted .* expected a local file"
    yield "a file in place of the folder", {"into": tmp_path / "file"}, "file: cannot write"


CASES = [
    "an empty split",
    "a missing split",
    "a network that is not there",
    "no size",
    "another size",
    "an unknown operator",
    "no threads",
    "an unknown provider",
    "a folder that is no local one",
    "a network behind a URL",
    "a file in place of the folder",
]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_measured_is_one_line_and_nothing_is_written(case, measure, root, tmp_path, out):
    named = {name: (options, says) for name, options, says in cases(root, tmp_path)}
    assert list(named) == CASES
    options, says = named[case]
    with pytest.raises(NcdbError, match=says) as caught:
        measure(**options)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_provider_that_is_not_there_is_told(measure):
    with pytest.raises(SpecError, match=r"has no QNNExecutionProvider .*install onnxruntime-qnn"):
        measure(provider="qnn")


def test_a_network_of_open_sizes_gets_the_model_files(measure, net, tmp_path):
    model = onnx.load(net)
    for at in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[at].dim_param = f"open{at}"
    (tmp_path / "open").mkdir()
    onnx.save(model, tmp_path / "open" / "net.onnx")
    (tmp_path / "open" / "net.toml").write_bytes(net.with_suffix(".toml").read_bytes())
    assert_same(measure(model=tmp_path / "open" / "net.onnx", into=tmp_path / "open-out"), measure())


def test_a_tensor_that_is_constant_has_a_range_that_says_so(measured):
    for ranges in ranges_of(measured):
        assert (ranges["silent"].scale, ranges["silent"].clipped) == (1.0, 0.0)


def test_events_tell_how_much_there_is_to_do(measure, keys):
    events = []
    measure(keys[:5], observer=events.append)
    assert [type(event).__name__ for event in events] == ["RunStarted", *["ShardDone"] * 3, "RunFinished"]
    assert (events[0].what, events[0].shards, events[0].rows) == ("activation statistics", 3, 5)
