"""Frames that cannot be exported: named, never half-written, mended by the same command or left out when asked."""

import json
import os

import numpy as np
import pytest
from helpers.exports import FORMS, assert_sound, contents, export, frame_files, handed_over, manifest, tar_members
from helpers.trees import write_frame, write_split

import ncdb_dask
from ncdb_dask.errors import ExportError, SplitError

BAD = "synced_data/b/image_a6/0000000001.png"  # the fourth frame


def missing(root):
    (root / BAD).unlink()
    return "1 missing_image (no image synced_data/b/image_a6/0000000001 with suffix .png or .jpg)"


def cut(root):
    path = root / BAD
    path.write_bytes(path.read_bytes()[:-40])
    return f"1 unreadable_image ({BAD}: does not decode: "


def empty(root):
    (root / BAD).write_bytes(b"")
    return f"1 unreadable_image ({BAD}: is no PNG or JPEG (it is empty: 0 bytes))"


def another_kind(root):
    (root / BAD).write_bytes(b"GIF89a" + bytes(100))
    return f"1 unreadable_image ({BAD}: is no PNG or JPEG (106 bytes, beginning with "


def a_link_to_nothing(root):
    (root / BAD).unlink()
    (root / BAD).symlink_to(root / "nowhere.png")
    return "1 missing_image ("


def a_link_out_of_the_root(root):
    (root / BAD).rename(root.with_name("outside.png"))
    (root / BAD).symlink_to(root.with_name("outside.png"))
    return f"1 unsafe_path ({BAD} is a link out of the root, to "


FAULTS = [missing, cut, empty, another_kind, a_link_to_nothing, a_link_out_of_the_root]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_faulty_picture_is_named_and_once_it_is_mended_the_same_command_finishes(fault, form, root, out):
    export(root, out, form)
    whole = handed_over(out)
    out.rename(out.with_name("whole"))
    sound = (root / BAD).read_bytes()
    says = fault(root)
    with pytest.raises(ExportError) as caught:
        export(root, out, form)
    assert str(caught.value).startswith(f"1 of 7 frames cannot be exported: {says}")
    assert str(caught.value).endswith("; mend them, or leave them out with --skip-bad, and run again")
    assert not (out / "manifest.json").exists()
    assert {path.name for path in out.iterdir()} <= {"_export", "images", "tensors", "raw"}
    (root / BAD).unlink(missing_ok=True)
    (root / BAD).write_bytes(sound)
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


def add_bad_entries(root):
    items = json.loads((root / "train_split.json").read_text())
    bad = [7, {"dataset_root": "../x", "new_filename": "1"}, {"new_filename": 3, "dataset_root": "a"}]
    (root / "train_split.json").write_text(json.dumps([bad[0], *items[:4], bad[1], *items[4:], bad[2]]))


@pytest.mark.parametrize("form", FORMS)
def test_entries_that_name_no_frame_are_told_with_their_place(form, root, out):
    add_bad_entries(root)
    with pytest.raises(ExportError) as caught:
        export(root, out, form)
    assert "3 of 10 frames cannot be exported: 2 bad_entry, 1 unsafe_path" in str(caught.value)
    assert "train_split.json: entry 0 is a JSON number, not an object: 7" in str(caught.value)
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["at once", "after it failed"])
def test_faulty_frames_are_left_out_and_reported_when_asked(order, form, root, out, keys):
    kept = [key for k, key in enumerate(keys) if k != 3]
    write_split(root, kept)
    export(root, out, form)
    whole = handed_over(out)
    out.rename(out.with_name("whole"))
    write_split(root, keys)
    cut(root)
    add_bad_entries(root)
    if order == "after it failed":
        with pytest.raises(ExportError):
            export(root, out, form)
    exported = export(root, out, form, skip_bad=True)
    about = manifest(out)
    assert [(frame["dataset_root"], frame["filename"]) for frame in about["frames"]] == kept
    assert [frame["status"] for frame in about["left_out"]] == [
        "bad_entry",
        "unreadable_image",
        "unsafe_path",
        "bad_entry",
    ]
    assert about["left_out"][1]["filename"] == "0000000001"
    assert "Left out      2 bad_entry, 1 unreadable_image, 1 unsafe_path (" in exported.text()
    # It is what a set without these frames gives: N, lists and calibration sizes follow.
    left, right = handed_over(out), whole
    assert {name: data for name, data in left.items() if name != "manifest.json"} == {
        name: data for name, data in right.items() if name != "manifest.json"
    }
    assert_sound(out)
    assert not ncdb_dask.verify_export(out).differences


def test_sizes_follow_what_is_left_out(root, tmp_path):
    missing(root)
    for form in ("stacked", "hailo", "pulsar2"):
        export(root, tmp_path / form, form, skip_bad=True)
    assert np.load(tmp_path / "stacked/calibration.npy").shape == (6, 3, 6, 8)
    assert np.load(tmp_path / "hailo/calibration.npy").shape == (6, 6, 8, 3)
    assert "calibset_size=6)" in (tmp_path / "hailo/calibration.alls").read_text()
    fragment = json.loads((tmp_path / "pulsar2/pulsar2.json").read_text())
    assert fragment["quant"]["input_configs"][0]["calibration_size"] == 6
    assert list(tar_members(tmp_path / "pulsar2/calibration.tar")) == frame_files(tmp_path / "pulsar2")


@pytest.mark.parametrize("form", FORMS)
def test_a_frame_that_was_left_out_comes_in_once_it_is_mended(form, root, out):
    export(root, out, form)
    whole = handed_over(out)
    out.rename(out.with_name("whole"))
    sound = (root / BAD).read_bytes()
    cut(root)
    export(root, out, form, skip_bad=True)
    (root / BAD).write_bytes(sound)
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


@pytest.mark.parametrize("form", FORMS)
def test_a_frame_that_is_mended_after_a_failed_run_comes_in_with_skip_bad_too(form, root, out):
    export(root, out, form)
    whole = handed_over(out)
    out.rename(out.with_name("whole"))
    sound = (root / BAD).read_bytes()
    cut(root)
    with pytest.raises(ExportError):
        export(root, out, form)
    (root / BAD).write_bytes(sound)
    export(root, out, form, skip_bad=True)
    assert handed_over(out) == whole


def test_a_frame_that_was_left_out_and_is_mended_comes_in_with_skip_bad_too(root, out):
    sound = (root / BAD).read_bytes()
    missing(root)
    export(root, out, "hailo", skip_bad=True)
    (root / BAD).write_bytes(sound)
    export(root, out, "hailo", skip_bad=True)
    assert not manifest(out)["left_out"]
    assert_sound(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", [missing, cut, add_bad_entries], ids=lambda fault: fault.__name__)
def test_a_finished_export_is_not_given_up_while_what_was_left_out_cannot_be_read(fault, form, root, out):
    fault(root)
    export(root, out, form, skip_bad=True)
    before = contents(out)
    with pytest.raises(ExportError) as caught:
        export(root, out, form)
    lost = 3 if fault is add_bad_entries else 1
    assert f"was finished without {lost} frames, and {lost} of them still cannot be read ({lost - 1 or 1}" in str(
        caught.value
    )
    assert "give --skip-bad to keep the export as it is (--fresh starts over)" in str(caught.value)
    assert contents(out) == before
    export(root, out, form, skip_bad=True)
    assert contents(out) == before


def test_a_finished_export_is_not_given_up_where_only_some_frames_are_mended(root, out):
    sound = (root / BAD).read_bytes()
    (root / "synced_data/a/image_a6/0000000000.png").unlink()
    missing(root)
    export(root, out, "npy", skip_bad=True)
    (root / BAD).write_bytes(sound)
    before = contents(out)
    with pytest.raises(ExportError, match="without 2 frames, and 1 of them still cannot be read"):
        export(root, out, "npy")
    assert contents(out) == before
    export(root, out, "npy", skip_bad=True)  # what is mended comes in
    assert [frame["filename"] for frame in manifest(out)["left_out"]] == ["0000000000"]
    assert_sound(out)


def test_what_killed_a_worker_is_not_tried_while_planning(root, out):
    from ncdb_dask.exporting.faults import CRASHED, mended

    request = ncdb_dask.plan_export("train_split.json", out, root=root, format="images").request
    frame = {"dataset_root": "synced_data/b", "filename": "0000000001"}
    assert mended(request, [frame | {"status": "missing_image"}, frame | {"status": CRASHED}]) == [True, False]


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_set_without_a_sound_frame(skip_bad, root, out):
    (root / "train_split.json").write_text("[1, 2]")
    with pytest.raises(ExportError, match="2 of 2 frames cannot be exported"):
        export(root, out, "stacked", skip_bad=skip_bad)
    assert not (out / "manifest.json").exists()


def test_only_some_of_many_faulty_frames_are_named(root, out):
    for path in (root / "synced_data").rglob("image_a6/*.png"):
        path.write_bytes(b"")
    with pytest.raises(ExportError) as caught:
        export(root, out, "npy")
    assert str(caught.value).count("is empty") == 3
    assert ", ...)" in str(caught.value)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (None, "no such split file"),
        ("[]", "is an empty list"),
        ("{}", "holds a JSON object"),
        ("nonsense", "is no JSON"),
    ],
)
def test_a_set_that_is_none(split, says, root, out):
    (root / "train_split.json").unlink()
    if split is not None:
        (root / "train_split.json").write_text(split)
    with pytest.raises(SplitError, match=says):
        export(root, out, "images")
    assert not out.exists()


def test_equal_stems_in_different_scenes_are_different_files(root, out):
    keys = [("a/b", "1"), ("a__b", "1"), ("a", "b__1"), ("A/b", "1"), ("a b", "1"), ("é", "1"), ("ü", "1"), ("-a", "1")]
    for number, (scene, stem) in enumerate(keys):
        write_frame(root, scene, stem, seed=number)
    write_split(root, keys)
    export(root, out, "images")
    assert len({name.casefold() for name in os.listdir(out / "images")}) == len(keys)
    for frame, (scene, stem) in zip(manifest(out)["frames"], keys, strict=True):
        picture = (root / scene / "image_a6" / f"{stem}.png").read_bytes()
        assert (out / "images" / frame["file"]).read_bytes() == picture


def test_a_data_set_that_goes_away_is_no_list_of_missing_pictures(root, out, monkeypatch):
    from ncdb_dask.exporting.job import ExportJob

    plan = ncdb_dask.plan_export("train_split.json", out, root=root, format="images", shard_size=3)
    plan.write()
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(OSError, match="the data set is gone"):
        ExportJob.of(plan.request, plan.run.plan.id, "run")(plan.left[0])


def test_where_no_frame_is_found_the_data_set_is_asked_for(root, out):
    (root.parent / "other" / "scene").mkdir(parents=True)
    with pytest.raises(ExportError, match=r"7 of 7 frames cannot be exported: .* is .*/other their data set\? Mend"):
        export(root.parent / "other", out, "images", split=str(root / "train_split.json"))
