"""Whatever stops an export, the same command gives what an undisturbed one gives, and does only what is left."""

import itertools
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from helpers.deaths import Killed, at_removal, at_write, full_disk
from helpers.exports import FORMS, assert_sound, contents, every_file, export, handed_over, write_spec
from helpers.trees import write_frame, write_split

import ncdb_dask
from ncdb_dask.errors import ExportError, NcdbError, PlanError, StorageError
from ncdb_dask.exporting import job as job_module
from ncdb_dask.exporting.finish import finish
from ncdb_dask.exporting.job import ExportJob
from ncdb_dask.exporting.manifest import LIST_FILES
from ncdb_dask.runtime.events import RunStarted, ShardDone
from ncdb_dask.store.folder import LocalFolder

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
        for name, about in every_file(out).items():
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


FRAME = {
    "images": "images/synced_data__b__0000000001.png",
    "linked": "images/synced_data__b__0000000001.png",
    "resized": "images/synced_data__b__0000000001.png",
    "npy": "tensors/synced_data__b__0000000001.npy",
    "raw": "raw/synced_data__b__0000000001.raw",
    "rknn": "images/synced_data__b__0000000001.png",
    "ncnn": "images/synced_data__b__0000000001.png",
    "stacked": "calibration.npy",
    "hailo": "calibration.npy",
    "pulsar2": "calibration.tar",
}
RUN = ("manifest.json", "_export/_manifest.json", "_export/shard-000001.parquet")
GONE = [
    (form, name)
    for form in FORMS
    for name in (*RUN, *LIST_FILES[FORMS[form]["format"]], *([FRAME[form]] if form in FRAME else []))
]


@pytest.mark.parametrize(("form", "name"), GONE)
def test_a_file_that_is_gone_after_the_end_is_mended(form, name, root, out):
    export(root, out, form)
    whole = handed_over(out)
    (out / name).unlink()
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


# A damaged document of the run is refused in words, and what a link leads to is the data set's.
@pytest.mark.parametrize(
    ("form", "name"),
    [(form, name) for form, name in GONE if name != RUN[1] and (form, name) != ("linked", FRAME["linked"])],
)
def test_a_file_that_is_cut_after_the_end_is_mended(form, name, root, out):
    export(root, out, form)
    whole = handed_over(out)
    (out / name).write_bytes((out / name).read_bytes()[:-2])
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


def test_only_the_shard_of_a_file_that_is_gone_is_done_again(root, out):
    export(root, out, "npy")
    (out / "tensors/synced_data__b__0000000001.npy").unlink()  # the fourth frame: shard 1
    assert shards_done(root, out, "npy") == [1]
    assert shards_done(root, out, "npy") == []


# What does not continue


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"form": "raw"}, "format was 'npy', now 'raw'"),
        ({"form": "stacked"}, "stack was False, now True"),
        ({"layout": "nhwc"}, "layout was 'nchw', now 'nhwc'"),
        ({"shard_size": 2}, "shard_size was 3, now 2"),
        ({"allow_root": "."}, "allow_root was [], now ["),
        ({"spec": {"name": None}}, "model name was 'image', now None"),
        ({"spec": {"mean": [0, 0, 0]}}, "model mean was [0.1, 0.2, 0.3], now [0.0, 0.0, 0.0]"),
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


@pytest.mark.parametrize("form", ["linked", "npy", "stacked", "pulsar2", "split"])
@pytest.mark.parametrize("before", ["images", "raw", "pulsar2", "split"])
def test_fresh_removes_the_export_before_and_nothing_else(form, before, root, out, keys):
    whole = undisturbed(root, out, form)
    write_split(root, [*keys, ("synced_data/c", "0000000007")])
    write_frame(root, "synced_data/c", "0000000007")
    export(root, out, before)
    mine = [out / name for name in ("notes.txt", "images/mine.png", "raw/mine.raw", "tensors/mine.npy", "sub/file")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    write_split(root, keys)
    export(root, out, form, fresh=True)
    for path in mine:
        assert path.read_text() == "mine"
        path.unlink()
    assert handed_over(out) == whole
    assert_sound(out)


@pytest.mark.parametrize("strike", [at_write, at_removal])
@pytest.mark.parametrize("form", ["images", "hailo"])
def test_a_death_while_starting_over(strike, form, root, out, keys):
    whole = undisturbed(root, out, form)
    for number in itertools.count(1):
        export(root, out, "raw")
        try:
            with strike(number):
                export(root, out, form, fresh=True)
            break
        except Killed:
            assert_manifest_is_last(out)
        export(root, out, form, fresh=True)
        assert handed_over(out) == whole
        assert_sound(out)
        out.rename(out.with_name(f"after-{number}"))
    assert number > 10


@pytest.mark.parametrize("damaged", ["_plan/plan.json", "_plan/items-000.plan"])
@pytest.mark.parametrize("form", ["images", "hailo"])
def test_fresh_starts_over_from_a_damaged_plan(damaged, form, root, out, keys):
    export(root, out, form)
    whole = handed_over(out)
    (out / "_export" / damaged).write_bytes(b"{")
    export(root, out, form, fresh=True)
    assert handed_over(out) == whole


def test_fresh_refuses_where_nothing_tells_which_files_are_the_exports(root, out):
    with pytest.raises(Killed), at_write(12):
        export(root, out, "images")
    (out / "_export/_plan/plan.json").write_bytes(b"{")
    before = contents(out)
    with pytest.raises(ExportError, match="damaged, so that nothing tells which files are its own; remove the folder"):
        export(root, out, "images", fresh=True)
    assert contents(out) == before


def test_a_damaged_plan_is_refused_in_words(root, out):
    export(root, out, "npy")
    (out / "_export/_plan/plan.json").write_bytes(b"{")
    with pytest.raises(PlanError, match=r"plan\.json is damaged .*--fresh starts over"):
        export(root, out, "npy")


@pytest.mark.parametrize("own", ["dataset.txt", "calibration.npy", "images/synced_data__a__0000000000.txt"])
def test_fresh_keeps_an_own_file_with_a_name_that_another_format_has(own, root, out):
    export(root, out, "images")
    (out / own).write_text("mine")
    export(root, out, "images", fresh=True)
    assert (out / own).read_text() == "mine"


@pytest.mark.parametrize("form", FORMS)
def test_the_lists_of_a_format_are_known_to_its_removal(form, root, out):
    export(root, out, form)
    known = {"manifest.json", "calibration.npy", "calibration.tar", *LIST_FILES[FORMS[form]["format"]]}
    assert {path.name for path in out.iterdir() if path.is_file()} <= known


def test_a_plan_that_another_run_has_overtaken_is_not_carried_out(root, out):
    plan = ncdb_dask.plan_export("train_split.json", out, root=root, format="images", shard_size=3)
    plan.write()
    export(root, out, "split", fresh=True)
    before = contents(out)
    with pytest.raises(PlanError, match="another run has begun in this folder"):
        ncdb_dask.run_export(plan)
    assert contents(out) == before


def late_job(root, out, before):
    """The task of a run that another one has overtaken, and its first shard."""
    plan = ncdb_dask.plan_export(
        "train_split.json", out, root=root, shard_size=3, model_spec=root.with_name("model.toml"), format=before
    )
    plan.write()
    job = ExportJob.of(plan.request, plan.run.plan.id, "run")
    return job, plan.left[0]


@pytest.mark.parametrize("form", ["npy", "stacked"])
def test_a_late_worker_of_an_overtaken_run_writes_nothing(form, root, out, tmp_path):
    other = write_spec(tmp_path / "bgr.toml", channels="bgr")
    job, shard = late_job(root, out, "npy")
    export(root, out, form, fresh=True, model_spec=other)
    before = contents(out)
    with pytest.raises(PlanError, match="another run has started over in this folder; this one gives up"):
        job(shard)
    assert contents(out) == before
    assert_sound(out)


@pytest.mark.parametrize("form", ["npy", "hailo"])
def test_a_worker_that_is_overtaken_in_the_middle_of_a_shard_stops(form, root, out, monkeypatch):
    monkeypatch.setattr(job_module, "CURRENT_SECONDS", 0.0)
    job, shard = late_job(root, out, form)
    made, count = ExportJob._made, itertools.count()

    def overtaken(self, *arguments):
        if self is job and next(count) == 1:
            export(root, out, "raw", fresh=True)
        return made(self, *arguments)

    monkeypatch.setattr(ExportJob, "_made", overtaken)
    with pytest.raises(PlanError, match="this one gives up"):
        job(shard)
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".part", ".tmp", ".npy"))}
    assert_sound(out)


@pytest.mark.parametrize("change", ["bytes", "size", "gone"])
@pytest.mark.parametrize("form", ["npy", "raw", "images", "rknn"])
def test_a_frame_that_was_written_over_before_the_end_is_found_and_written_again(change, form, root, out, monkeypatch):
    whole = undisturbed(root, out, form)
    name = FRAME[form]

    def late(event):
        if isinstance(event, ShardDone) and event.shard == 2:
            data = (out / name).read_bytes()
            if change == "gone":
                (out / name).unlink()
            else:
                (out / name).write_bytes(data[:-1] + (b"" if change == "size" else bytes([data[-1] ^ 1])))

    with pytest.raises(ExportError, match=r"1 files are gone or were changed since they were .*the same command"):
        export(root, out, form, observer=late)
    assert not (out / "manifest.json").exists()
    assert shards_done(root, out, form) == [1]
    assert handed_over(out) == whole


@pytest.mark.parametrize("form", ["npy", "hailo", "split"])
def test_nothing_is_written_at_the_end_before_all_shards_are_there(form, root, out):
    plan = ncdb_dask.plan_export(
        "train_split.json", out, root=root, format=form, shard_size=3, model_spec=root.with_name("model.toml")
    )
    plan.write()
    job = ExportJob.of(plan.request, plan.run.plan.id, "run")
    receipts = [job(shard) for shard in plan.left]
    before = contents(out)
    with pytest.raises(PlanError, match="1 shards are missing or cut; the same command does them again"):
        finish(plan, receipts[:2])
    (out / "_export/shard-000001.parquet").unlink()
    with pytest.raises(PlanError, match="1 shards are missing or cut"):
        finish(plan, receipts)
    assert contents(out).keys() == before.keys() - {"_export/shard-000001.parquet"}


@pytest.mark.parametrize("form", ["npy", "hailo"])
def test_what_another_run_is_writing_now_is_left_to_it(form, root, out):
    export(root, out, form)
    name = FRAME[form]
    target = (out / name).stat().st_mtime_ns
    dead, live = ((out / name).with_name(f".{Path(name).name}.{digit * 32}.tmp") for digit in "01")
    for path, offset in ((dead, -1), (live, 10**11)):
        path.write_bytes(b"half")
        os.utime(path, ns=(target + offset, target + offset))
    (out / "manifest.json").unlink()
    if form == "hailo":  # it is written again at the end
        os.utime(live, ns=(2**62, 2**62))
    export(root, out, form)
    assert (dead.exists(), live.exists()) == (False, True)


def test_a_shard_of_a_common_file_is_written_frame_by_frame(root, out):
    spec = write_spec(root.with_name("large.toml"), width=640, height=480)  # 3.7 MB a frame
    tracemalloc.start()
    try:
        plan = ncdb_dask.plan_export("train_split.json", out, root=root, format="hailo", shard_size=7, model_spec=spec)
        plan.write()
        job = ExportJob.of(plan.request, plan.run.plan.id, "run")
        tracemalloc.reset_peak()
        job(plan.left[0])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 3 * 640 * 480 * 4  # a frame at its stages, not seven


def test_a_finished_export_is_looked_at_folder_by_folder(root, out, monkeypatch):
    export(root, out, "npy")
    listed = []
    monkeypatch.setattr(LocalFolder, "list", spied(LocalFolder.list, listed))
    export(root, out, "npy")
    assert listed.count("tensors") == 1
    listed.clear()
    (out / "manifest.json").unlink()
    ncdb_dask.plan_export(
        "train_split.json", out, root=root, format="npy", shard_size=3, model_spec=root.with_name("model.toml")
    )
    assert listed.count("tensors") == 1


def spied(method, asked):
    def call(self, name="", *arguments, **options):
        asked.append(name)
        return method(self, name, *arguments, **options)

    return call


def test_a_common_piece_that_was_changed_is_done_again(root, out):
    with pytest.raises(Killed), at_write(8):
        export(root, out, "hailo")
    whole = undisturbed(root, out.with_name("o2t"), "hailo")
    part = out / "_export/_parts/shard-000000.part"
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
