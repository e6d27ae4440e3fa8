"""Whatever stops an export, the same command gives what an undisturbed one gives, and does only what is left."""

import itertools
import json

import pytest
from helpers.deaths import Killed, at_removal, at_write, full_disk
from helpers.exports import FORMS, assert_sound, contents, export, handed_over, manifest, write_spec
from helpers.trees import write_split

import ncdb_dask
from ncdb_dask.errors import ExportError, NcdbError, PlanError, StorageError
from ncdb_dask.runtime.events import RunStarted, ShardDone

COMMON = ("stacked", "hailo", "pulsar2")


def undisturbed(root, out, form, **options):
    """Export once, and put the folder out of the way."""
    export(root, out, form, **options)
    made = handed_over(out)
    out.rename(out.with_name("undisturbed"))
    return made


def assert_manifest_is_last(out):
    """Whoever sees a manifest sees everything that it names."""
    if (out / "manifest.json").exists():
        seen = handed_over(out)
        for name, about in manifest(out)["files"].items():
            assert len(seen[name]) == about["bytes"]


def shards_done(root, out, form, **options):
    """Export, and return the shards that were done for it."""
    events = []
    export(root, out, form, observer=events.append, **options)
    assert isinstance(events[0], RunStarted) if events else True
    return [event.shard for event in events if isinstance(event, ShardDone)]


@pytest.mark.parametrize("form", FORMS)
def test_a_death_at_any_write(form, root, out):
    whole = undisturbed(root, out, form)
    for number in itertools.count(1):
        try:
            with at_write(number) as done:
                export(root, out, form)
            break
        except Killed:
            assert_manifest_is_last(out)
        export(root, out, form)
        assert handed_over(out) == whole
        assert_sound(out)
        out.rename(out.with_name(f"after-{number}"))
    assert len(done) == number - 1 > 10  # every write was struck once


@pytest.mark.parametrize("form", FORMS)
def test_a_death_at_any_removal(form, root, out):
    whole = undisturbed(root, out, form)
    for number in itertools.count(1):
        try:
            with at_removal(number):
                export(root, out, form)
            break
        except Killed:
            assert_manifest_is_last(out)
        export(root, out, form)
        assert handed_over(out) == whole
        assert_sound(out)
        out.rename(out.with_name(f"after-{number}"))
    assert (number > 1) == (form in COMMON)


@pytest.mark.parametrize("form", ["images", "linked", "raw", "hailo", "pulsar2"])
def test_a_full_disk_at_any_write_is_told_and_leaves_no_manifest(form, root, out):
    whole, told = undisturbed(root, out, form), []
    for number in itertools.count(1):
        try:
            with at_write(number, full_disk):
                export(root, out, form)
            break
        except NcdbError as error:
            told.append(str(error))
            assert_manifest_is_last(out)
            assert not list(out.rglob("*.tmp"))
        export(root, out, form)
        assert handed_over(out) == whole
        out.rename(out.with_name(f"after-{number}"))
    assert all("No space left on device" in text for text in told)
    assert len(told) == number - 1


@pytest.mark.parametrize(("form", "write"), [("images", 12), ("npy", 12), ("hailo", 8), ("pulsar2", 8)])
def test_only_the_shards_that_are_left_are_done(form, write, root, out):
    with pytest.raises(Killed), at_write(write):
        export(root, out, form)
    left = [shard for shard in range(3) if not (out / f"_export/_plan/receipts/shard-{shard:06d}.json").exists()]
    assert 0 < len(left) < 3
    assert shards_done(root, out, form) == left


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_export_is_not_touched(form, root, out):
    first = export(root, out, form)
    before = {path: path.lstat().st_mtime_ns for path in out.rglob("*")}
    assert shards_done(root, out, form) == []
    assert export(root, out, form) == first
    assert {path: path.lstat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("form", "gone"),
    [
        (form, gone)
        for form in FORMS
        for gone in (
            "manifest.json",
            "_export/_manifest.json",
            "_export/shard-000001.parquet",
            {
                "images": "image_list.txt",
                "linked": "image_list.txt",
                "resized": "image_list.txt",
                "split": "data_root.txt",
                "raw": "input_list.txt",
                "rknn": "dataset.txt",
                "hailo": "calibration.alls",
                "ncnn": "ncnn2table.txt",
                "pulsar2": "pulsar2.json",
            }.get(form, "manifest.json"),
            {
                "images": "images/synced_data__b__0000000001.png",
                "linked": "images/synced_data__b__0000000001.png",
                "resized": "images/synced_data__b__0000000001.png",
                "npy": "tensors/synced_data__b__0000000001.npy",
                "raw": "raw/synced_data__b__0000000001.raw",
                "rknn": "images/synced_data__b__0000000001.png",
                "ncnn": "images/synced_data__b__0000000001.png",
                "split": "calibration_split.json",
                "pulsar2": "calibration.tar",
            }.get(form, "calibration.npy"),
        )
    ],
)
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_file_that_is_gone_or_cut_after_the_end_is_mended(form, gone, damage, root, out):
    export(root, out, form)
    whole = handed_over(out)
    if damage == "removed":
        (out / gone).unlink()
    elif gone.endswith(".json") and not gone.startswith("pulsar2"):
        pytest.skip("a document that is cut is refused in words, which is another test")
    elif form == "linked" and gone.startswith("images/"):
        pytest.skip("cutting a link's target is cutting the data set")
    else:
        (out / gone).write_bytes((out / gone).read_bytes()[:-1])
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


def test_only_the_shard_of_a_file_that_is_gone_is_done_again(root, out):
    export(root, out, "npy")
    (out / "tensors/synced_data__b__0000000001.npy").unlink()  # the fourth frame: shard 1
    assert shards_done(root, out, "npy") == [1]
    assert shards_done(root, out, "npy") == []


def test_a_damaged_manifest_is_written_again(root, out):
    export(root, out, "raw")
    whole = handed_over(out)
    (out / "manifest.json").write_text("{")
    export(root, out, "raw")
    assert handed_over(out) == whole


# What does not continue


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"form": "raw"}, "format was 'npy', now 'raw'"),
        ({"form": "stacked"}, "container was 'files', now 'array'"),
        ({"layout": "nhwc"}, "layout was 'nchw', now 'nhwc'"),
        ({"shard_size": 2}, "shard_size was 3, now 2"),
        ({"allow_root": "."}, "allow_root was [], now ["),
        ({"spec": {"mean": [0, 0, 0]}}, "model was {"),
    ],
    ids=str,
)
def test_other_options_are_named_and_nothing_is_touched(options, says, root, out, tmp_path):
    export(root, out, "npy")
    before = contents(out)
    options = {"form": "npy", **options}
    if "spec" in options:
        options["model_spec"] = write_spec(tmp_path / "other.toml", **options.pop("spec"))
    with pytest.raises(PlanError) as caught:
        export(root, out, **options)
    assert says in str(caught.value)
    assert "give the same ones to continue, or --fresh to start over" in str(caught.value)
    assert contents(out) == before


def test_links_and_copies_do_not_mix(root, out):
    export(root, out, "images")
    with pytest.raises(PlanError, match="link was False, now True"):
        export(root, out, "linked")


def test_another_content_of_the_split_is_refused(root, out, keys):
    export(root, out, "npy")
    before = contents(out)
    write_split(root, keys[:3])
    with pytest.raises(PlanError, match=r"with other contents of train_split\.json; --fresh starts over"):
        export(root, out, "npy")
    assert contents(out) == before


def test_another_split_is_refused(root, out, keys):
    export(root, out, "npy")
    write_split(root, keys, "val_split.json")
    with pytest.raises(PlanError, match=r"from train_split\.json, now from val_split\.json"):
        export(root, out, "npy", split="val_split.json")


def test_a_damaged_plan_is_refused_in_words(root, out):
    export(root, out, "npy")
    (out / "_export/_plan/plan.json").write_bytes(b"{")
    with pytest.raises(PlanError, match=r"plan\.json is damaged .*--fresh starts over"):
        export(root, out, "npy")


def test_a_common_piece_that_was_changed_is_done_again(root, out):
    with pytest.raises(Killed), at_write(8):
        export(root, out, "hailo")
    whole = undisturbed(root, out.with_name("o2t"), "hailo")
    part = out / "_export/parts/shard-000000.part"
    part.write_bytes(b"\0" * part.stat().st_size)
    with pytest.raises(ExportError, match="was changed since it was written; the same command does it again"):
        export(root, out, "hailo")
    assert not (out / "manifest.json").exists()
    export(root, out, "hailo")
    assert handed_over(out)["calibration.npy"] == whole["calibration.npy"]


def test_a_storage_that_fails_is_told_with_the_folder(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/out: cannot write \(Not a directory"):
        export(root, tmp_path / "file" / "out", "images")


def test_the_plan_tells_what_is_done(root, out):
    with pytest.raises(Killed), at_write(12):
        export(root, out, "images")
    plan = ncdb_dask.plan_export("train_split.json", out, root=root, format="images", shard_size=3)
    assert plan.as_dict()["shards_done"] == len(plan.run.done) == 3 - len(plan.left)
    assert json.dumps(plan.as_dict())
    assert "3, of which 1 are done" in plan.text()
