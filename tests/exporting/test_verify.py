"""Verifying: what differs from the manifest, what differs from what the network takes, and why."""

import builtins
import errno
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from helpers.exports import (
    FORMS,
    contents,
    every_file,
    export,
    feed,
    frame_files,
    handed_over,
    manifest,
    pictures,
    sha256,
    spec_of,
    write_spec,
)
from helpers.trees import write_frame, write_split
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import ncdb_dask
from ncdb_dask.errors import ExportError, NcdbError
from ncdb_dask.exporting import causes

FIRST = "synced_data/a/0000000000"
FORMS_OF_FILES = ["images", "resized", "npy", "raw", "rknn", "ncnn"]


def differences(out, **options):
    """What a verification found, as `(name, what, detail)`."""
    found = ncdb_dask.verify_export(out, **options)
    assert json.dumps(found.as_dict())
    assert found.text().startswith("Verified ")
    return [(each.name, each.what, each.detail) for each in found.differences]


def frame_file(out, number=0):
    folder = manifest(out)["form"]["folder"]
    return out / folder / frame_files(out)[number]


@pytest.mark.parametrize("form", FORMS)
def test_an_export_that_was_not_touched_differs_in_nothing(form, root, out):
    export(root, out, form)
    found = ncdb_dask.verify_export(out)
    assert found.differences == ()
    assert (found.files, found.frames) == (len(every_file(out)), 7)
    assert found.text().endswith("; nothing differs")


@pytest.mark.parametrize("form", FORMS)
def test_every_file_is_looked_at(form, root, out):
    export(root, out, form)
    for name in every_file(out):
        whole = (out / name).read_bytes()
        if (out / name).is_symlink():
            continue
        (out / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        found = differences(out)
        assert (name, "changed", "has other bytes since it was exported") in found
        (out / name).write_bytes(whole + b"x")
        wanted = "has another size since it was exported"
        assert (name, "changed", wanted) in differences(out)
        (out / name).unlink()
        assert (name, "missing", "the manifest names it") in differences(out)
        (out / name).write_bytes(whole)
        assert differences(out) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_not_of_the_export_is_named(form, root, out):
    export(root, out, form)
    # Beside the frames, or hidden, it is nobody's business: notes, a converted network, what a desktop leaves.
    for name in ("README.md", "model.rknn", ".DS_Store"):
        (out / name).write_text("mine")
    folders = {path.parent for name in every_file(out) if (path := out / name).parent != out}
    for folder in folders:
        (folder / "stray.png").write_bytes(b"")
        (folder / ".DS_Store").write_bytes(b"")
    names = {f"{folder.name}/stray.png" for folder in folders}
    assert len(names) == (form not in ("split", "stacked", "hailo", "pulsar2"))
    assert {(name, what) for name, what, _ in differences(out)} == {(name, "extra") for name in names}


def test_a_link_that_leads_elsewhere_is_a_change(root, out):
    export(root, out, "linked")
    link = frame_file(out)
    other = frame_file(out, 1).resolve()
    link.unlink()
    link.symlink_to(other)
    assert [what for _, what, _ in differences(out)] == ["changed", "different"]


# Likely causes

SPEC = spec_of()
PIXELS = {"width": 8, "height": 6}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PLAIN = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
# What was done wrong: the model file of the network, that of the mistake, and what is said.
CAUSES = {
    "bgr": ({}, {"channels": "bgr"}, "channels in the order bgr instead of rgb"),
    "rgb": ({"channels": "bgr"}, {"channels": "rgb"}, "channels in the order rgb instead of bgr"),
    "bgr at the end": (
        {},
        {"channels": "bgr", "mean": [0.3, 0.2, 0.1], "std": [0.125, 0.25, 0.5]},
        "channels in the order bgr instead of rgb, swapped after normalising",
    ),
    "0-255": ({}, {"scale": 1}, "not divided by 255"),
    "divided": ({"scale": 1}, {"scale": 255}, "divided by 255"),
    "divided twice": ({}, {"scale": 255 * 255}, "divided by 255 twice"),
    "imagenet": (PLAIN, IMAGENET, "normalised with ImageNet's mean and std, which the model file does not have"),
    "not normalised": ({}, PLAIN, "not normalised"),
    "bilinear": ({}, {"resize": "bilinear"}, "resized with bilinear instead of lanczos"),
    "nearest": ({}, {"resize": "nearest"}, "resized with nearest instead of lanczos"),
    "bicubic": ({"resize": "nearest"}, {"resize": "bicubic"}, "resized with bicubic instead of nearest"),
    "two": (PLAIN, {"channels": "bgr", "scale": 1}, "channels in the order bgr instead of rgb and not divided by 255"),
    "three": (
        PLAIN,
        {"channels": "bgr", "resize": "bilinear", **IMAGENET},
        "resized with bilinear instead of lanczos and channels in the order bgr instead of rgb and normalised with",
    ),
}


def written(value, form, kind=np.float32):
    """A frame's file as a careless script writes it."""
    if form == "raw":
        return value.astype(kind).tobytes()
    buffer = io.BytesIO()
    np.save(buffer, value.astype(kind)[None])
    return buffer.getvalue()


def put(out, form, number, data):
    """Replace a frame of an export by other bytes."""
    if form in ("npy", "raw"):
        frame_file(out, number).write_bytes(data)
        return
    if form == "pulsar2":
        members = {}
        with tarfile.open(out / "calibration.tar") as tar:
            for member in tar.getmembers():
                members[member.name] = tar.extractfile(member).read()
        members[frame_files(out)[number]] = data
        with tarfile.open(out / "calibration.tar", "w") as tar:
            for name, content in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        return
    array = np.load(out / "calibration.npy")
    array[number] = np.load(io.BytesIO(data))[0].reshape(array.shape[1:])
    np.save(out / "calibration.npy", array)


def of_frames(found):
    """The findings about frames; files were named as changed besides."""
    assert all(what == "changed" for _, what, _ in found if what != "different")
    return [(name, detail) for name, what, detail in found if what == "different"]


@pytest.mark.parametrize("form", ["npy", "raw", "hailo", "stacked", "pulsar2"])
@pytest.mark.parametrize("mistake", CAUSES)
def test_the_usual_mistakes_are_named(mistake, form, root, out, keys, tmp_path):
    right, wrong, says = CAUSES[mistake]
    layout = "nhwc" if form in ("raw", "hailo") else "nchw"
    export(root, out, form, model_spec=write_spec(tmp_path / "right.toml", **right))
    value = feed(pictures(root, keys)[0], spec_of(**{**right, **wrong}, layout=layout))
    put(out, form, 0, written(value, form))
    ((name, detail),) = of_frames(differences(out))
    assert name == FIRST
    assert detail.startswith(f"likely cause: {says}")


@pytest.mark.parametrize("form", ["npy", "raw", "hailo", "stacked", "pulsar2"])
def test_another_order_of_the_axes_is_named(form, root, out, keys):
    own, other = ("nhwc", "nchw") if form in ("raw", "hailo") else ("nchw", "nhwc")
    export(root, out, form)
    put(out, form, 0, written(feed(pictures(root, keys)[0], spec_of(layout=other)), form))
    assert of_frames(differences(out)) == [(FIRST, f"likely cause: layout {other} instead of {own}")]


@pytest.mark.parametrize("form", ["npy", "raw"])
def test_a_second_normalisation_is_named(form, root, out, keys):
    export(root, out, form)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.125])
    once = feed(pictures(root, keys)[0], spec_of(layout="nhwc")).astype(np.float64)
    twice = (once - mean) / std
    put(out, form, 0, written(twice if form == "raw" else twice.transpose(2, 0, 1), form))
    assert of_frames(differences(out)) == [(FIRST, "likely cause: normalised twice")]


@pytest.mark.parametrize("form", ["npy", "raw"])
@pytest.mark.parametrize(
    ("kind", "scale", "says"),
    [("float16", 255, "float16"), ("float64", 255, "float64"), ("uint8", 1, "8-bit integers")],
)
def test_another_type_is_named(kind, scale, says, form, root, out, keys, tmp_path):
    layout = "nhwc" if form == "raw" else "nchw"
    export(root, out, form, model_spec=write_spec(tmp_path / "m.toml", scale=scale, **PLAIN))
    value = feed(pictures(root, keys)[0], spec_of(scale=scale, layout=layout, **PLAIN))
    put(out, form, 0, written(value, form, kind))
    said = {"npy": kind, "raw": says}[form]
    assert of_frames(differences(out)) == [(FIRST, f"likely cause: written as {said}")]


def test_pixels_as_8_bit_integers_in_npy_tell_that_they_were_not_divided(root, out, keys, tmp_path):
    export(root, out, "npy", model_spec=write_spec(tmp_path / "m.toml", **PLAIN))
    put(out, "npy", 0, written(feed(pictures(root, keys)[0], spec_of(scale=1, **PLAIN)), "npy", "uint8"))
    ((_, detail),) = of_frames(differences(out))
    assert detail == "likely cause: not divided by 255 and written as uint8"


@pytest.mark.parametrize("form", ["npy", "raw", "hailo", "pulsar2"])
@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
def test_where_no_mistake_explains_it_that_is_said(value, form, root, out):
    export(root, out, form)
    shape = (6, 8, 3) if form in ("raw", "hailo") else (3, 6, 8)
    put(out, form, 0, written(np.full(shape, value), form))
    ((name, detail),) = of_frames(differences(out))
    assert name == FIRST
    wanted = " x ".join(map(str, (1, *shape) if form in ("npy", "pulsar2") else shape))
    assert detail.startswith(f"no usual mistake explains it (float32, shape {wanted})")


def test_another_picture_is_no_usual_mistake(root, out):
    export(root, out, "npy")
    frame_file(out, 0).write_bytes(frame_file(out, 1).read_bytes())
    ((_, detail),) = of_frames(differences(out))
    assert "no usual mistake explains it" in detail


def test_every_frame_is_compared_and_equal_findings_are_one_line(root, out, keys):
    export(root, out, "raw")
    for number, data in enumerate(pictures(root, keys)):
        put(out, "raw", number, written(feed(data, spec_of(layout="nhwc", channels="bgr")), "raw"))
    found = ncdb_dask.verify_export(out)
    assert len(found.differences) == 14
    lines = found.text().splitlines()[1:]
    assert len(lines) == 2
    assert sorted(line.split()[0] for line in lines) == ["7", "7"]
    assert sum("channels in the order bgr instead of rgb" in line for line in lines) == 1
    assert sum(line.endswith(", ...)") for line in lines) == 2


# The right values, in a file that tools read as others


@pytest.mark.parametrize("form", ["npy", "pulsar2"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda right: right[0], "written without a batch axis"),
        (np.asfortranarray, "written in Fortran order"),
        (lambda right: right.reshape(1, 6, 8, 3), "shape 1 x 6 x 8 x 3 instead of 1 x 3 x 6 x 8"),
        (lambda right: right.reshape(-1), "shape 144 instead of 1 x 3 x 6 x 8"),
        (lambda right: right.astype(">f4"), "written as >f4"),
        (lambda right: np.asfortranarray(right[0]), "written without a batch axis and written in Fortran order"),
        (lambda right: right[0].transpose(1, 2, 0).copy(), "layout nhwc instead of nchw and written without a batch"),
        (
            lambda right: right[0, ::-1].copy(),
            "channels in the order bgr instead of rgb, swapped after normalising and",
        ),
    ],
    ids=["batch", "order", "shape", "flat", "endian", "two", "layout", "bgr"],
)
def test_what_differs_in_the_file_and_not_in_the_values_is_named(change, says, form, root, out, keys):
    export(root, out, form)
    buffer = io.BytesIO()
    np.save(buffer, change(feed(pictures(root, keys)[0], SPEC)[None]))
    put(out, form, 0, buffer.getvalue())
    ((name, detail),) = of_frames(differences(out))
    assert name == FIRST
    assert detail.startswith(f"likely cause: {says}")


@pytest.mark.parametrize("form", ["npy", "pulsar2"])
def test_the_same_array_under_another_header_is_no_difference_of_the_frame(form, root, out, keys):
    export(root, out, form)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, feed(pictures(root, keys)[0], SPEC)[None], version=(2, 0))
    put(out, form, 0, buffer.getvalue())
    assert [what for _, what, _ in differences(out)] == ["changed"]


# Pictures


def png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["rknn", "ncnn", "resized"])
def test_equal_pixels_in_other_bytes_are_no_difference_of_the_frame(form, root, out):
    export(root, out, form)
    path = frame_file(out)
    pixels = np.asarray(Image.open(path))
    path.write_bytes(png(pixels, compress_level=0))
    assert [(name, what) for name, what, _ in differences(out)] == [(f"images/{path.name}", "changed")]


@pytest.mark.parametrize("form", ["rknn", "ncnn", "resized"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda right, wrong: right[..., ::-1], "likely cause: red and blue swapped"),
        (lambda right, wrong: wrong, "likely cause: resized with bilinear instead of lanczos"),
        (
            lambda right, wrong: wrong[..., ::-1],
            "likely cause: resized with bilinear instead of lanczos and red and blue swapped",
        ),
        (lambda right, wrong: right // 2, "no usual mistake explains it (uint8, shape 6 x 8 x 3)"),
        (lambda right, wrong: right[:-1], "no usual mistake explains it (uint8, shape 5 x 8 x 3)"),
        (lambda right, wrong: right[..., 0], "no usual mistake explains it (uint8, shape 6 x 8)"),
        (lambda right, wrong: right[..., 0] > 99, "no usual mistake explains it (bool, shape 6 x 8)"),
    ],
    ids=["bgr", "filter", "both", "dark", "size", "grey", "bits"],
)
def test_the_mistakes_of_pictures_are_named(change, says, form, root, out, keys):
    from ncdb_dask.model.preprocess import resized

    export(root, out, form)
    data = pictures(root, keys)[0]
    frame_file(out).write_bytes(png(change(resized(data, SPEC), resized(data, spec_of(resize="bilinear")))))
    ((name, detail),) = of_frames(differences(out))
    assert name == FIRST
    assert detail.startswith(says)


def test_a_picture_that_is_no_png_any_more(root, out):
    export(root, out, "rknn")
    frame_file(out).write_bytes(b"x")
    ((_, detail),) = of_frames(differences(out))
    assert detail.startswith("has 1 bytes, not ")


@pytest.mark.parametrize("form", ["images", "linked"])
def test_a_copy_that_is_another_picture(form, root, out):
    export(root, out, form)
    path = frame_file(out)
    other = frame_file(out, 1).read_bytes()
    path.unlink()
    path.write_bytes(other)
    assert of_frames(differences(out)) == [(FIRST, "is not the picture's file byte for byte")]


# The data set


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_is_gone_from_the_data_set_is_told(form, root, out):
    export(root, out, form)
    (root / "synced_data/a/image_a6/0000000000.png").unlink()
    found = differences(out)
    assert (FIRST, "missing", f"its picture is gone from {root}") in found
    assert len(found) == (2 if form == "linked" else 1)  # a link to nothing is a missing file besides


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_was_damaged_in_the_data_set_is_told(form, root, out):
    export(root, out, form)
    (root / "synced_data/a/image_a6/0000000000.png").write_bytes(b"")
    found = differences(out)
    detail = "its picture synced_data/a/image_a6/0000000000.png is no PNG or JPEG (it is empty: 0 bytes)"
    assert (FIRST, "changed", detail) in found


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"split", "linked"}))
def test_a_picture_that_was_replaced_in_the_data_set_is_told(form, root, out):
    export(root, out, form)
    other = root / "synced_data/b/image_a6/0000000000.png"
    (root / "synced_data/a/image_a6/0000000000.png").write_bytes(other.read_bytes())
    assert [(name, what) for name, what, _ in differences(out)] == [(FIRST, "different")]


def test_a_data_set_that_moved_is_found_where_it_is_told_to_be(root, out):
    export(root, out, "npy")
    moved = root.rename(root.with_name("moved"))
    with pytest.raises(NcdbError, match="data: no such folder, or an empty one"):
        ncdb_dask.verify_export(out, root=root)
    assert differences(out, root=moved) == []


@pytest.mark.parametrize("form", sorted(set(FORMS)))
def test_an_export_that_moved_still_verifies(form, root, out):
    export(root, out, form)
    moved = out.with_name("moved")
    shutil.copytree(out, moved, symlinks=True)
    shutil.rmtree(out)
    with_paths = {"images", "linked", "resized", "raw", "rknn", "ncnn", "pulsar2"}
    found = differences(moved)
    assert [what for _, what, _ in found] == ["moved"] * (form in with_paths)
    assert all(str(out) in detail for _, _, detail in found)


@pytest.mark.parametrize("form", ["images", "raw", "pulsar2"])
def test_an_export_that_moved_is_mended_by_the_same_command(form, root, out):
    export(root, out, form)
    moved = out.rename(out.with_name("moved"))
    before = {name for name in contents(moved) if name.startswith(("images/", "raw/", "calibration"))}
    stamps = {name: (moved / name).stat().st_mtime_ns for name in before}
    export(root, moved, form)
    assert differences(moved) == []
    assert form == "pulsar2" or stamps == {name: (moved / name).stat().st_mtime_ns for name in before}


# Another model file


def test_another_model_file_is_compared_with(root, out, tmp_path):
    export(root, out, "npy")
    other = write_spec(tmp_path / "bgr.toml", channels="bgr")
    found = differences(out, model_spec=other)
    assert {detail for _, _, detail in found} == {"likely cause: channels in the order rgb instead of bgr"}
    assert len(found) == 7
    assert differences(out, model_spec=write_spec(tmp_path / "same.toml")) == []


def test_another_size_of_the_model_file_is_no_usual_mistake(root, out, tmp_path):
    export(root, out, "npy")
    other = write_spec(tmp_path / "large.toml", width=16)
    for name, _, detail in differences(out, model_spec=other):
        assert name.startswith("synced_data/")
        assert detail.startswith("no usual mistake explains it (float32, shape 1 x 3 x 6 x 8")


@pytest.mark.parametrize("form", ["images", "split"])
def test_a_model_file_for_what_holds_no_input_is_refused(form, root, out, tmp_path):
    export(root, out, form)
    with pytest.raises(ExportError, match=r"was exported as (images|split), which no model file describes"):
        ncdb_dask.verify_export(out, model_spec=write_spec(tmp_path / "m.toml"))


def test_a_list_in_a_folder_whose_name_is_no_ascii_is_told_when_it_moved(root, out):
    export(root, out.with_name("früher"), "pulsar2")
    moved = out.with_name("früher").rename(out)
    assert [(name, what) for name, what, _ in differences(moved)] == [("pulsar2.json", "moved")]


@pytest.mark.parametrize("form", FORMS)
def test_without_the_data_set_the_files_alone_are_verified_and_that_is_said(form, root, out):
    if form == "linked":
        pytest.skip("links lead to the data set")
    export(root, out, form)
    root.rename(root.with_name("elsewhere"))
    found = ncdb_dask.verify_export(out)
    assert (found.differences, found.frames, found.files) == ((), 0, len(every_file(out)))
    assert "data: no such folder, or an empty one" in found.as_dict()["not_compared"]
    first, second = found.text().splitlines()
    assert first == f"Verified      {found.files} files by their SHA-256; nothing differs"
    assert second.startswith(f"Not compared  the frames ({root}: no such folder")
    assert second.endswith("; --root says where the data set is now")
    name = next(iter(every_file(out)), None)
    if name is not None:
        (out / name).unlink()
        assert [(name, what) for name, what, _ in differences(out)] == [(name, "missing")]


def test_another_model_file_needs_the_data_set(root, out, tmp_path):
    export(root, out, "npy")
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(NcdbError, match="no such folder"):
        ncdb_dask.verify_export(out, model_spec=tmp_path / "model.toml")


def test_what_was_read_already_is_not_read_again(root, out):
    export(root, out, "npy")
    held = ncdb_dask.read_export(out)
    (out / "manifest.json").unlink()
    assert not ncdb_dask.verify_export(held).differences


@pytest.mark.parametrize("form", ["npy", "raw", "images", "hailo", "pulsar2", "rknn"])
def test_fresh_mends_what_verifying_calls_changed(form, root, out):
    export(root, out, form)
    whole = handed_over(out)
    for name in every_file(out):
        data = (out / name).read_bytes()
        (out / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    export(root, out, form)  # of the same size: it stands
    assert {what for _, what, _ in differences(out)} >= {"changed"}
    export(root, out, form, fresh=True)
    assert handed_over(out) == whole
    assert differences(out) == []


# Whatever lies there, it is told and never a crash


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"split"}))
def test_a_folder_in_the_place_of_a_file_is_told(form, root, out):
    export(root, out, form)
    name = next(iter(every_file(out)))
    (out / name).unlink()
    (out / name).mkdir()
    assert (name, "unreadable", "cannot be read (Is a directory)") in differences(out)


def test_a_file_in_the_place_of_the_frames_folder_is_told(root, out):
    export(root, out, "raw")
    shutil.rmtree(out / "raw")
    (out / "raw").write_text("")
    assert [what for _, what, _ in differences(out)] == ["unreadable"] * 7


@pytest.mark.parametrize("form", ["npy", "hailo", "pulsar2"])
def test_a_file_that_may_not_be_read_is_told(form, root, out, monkeypatch):
    export(root, out, form)
    name = next(iter(every_file(out)))
    whole = builtins.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(name):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    assert differences(out) == [(name, "unreadable", "cannot be read (Permission denied)")]


def test_a_picture_that_cannot_be_read_is_told(root, out):
    export(root, out, "npy")
    (root / "synced_data/a/image_a6/0000000000.png").unlink()
    (root / "synced_data/a/image_a6/0000000000.png").mkdir()
    ((name, what, detail),) = differences(out)
    assert (name, what) == (FIRST, "unreadable")
    assert detail == "its picture cannot be read (Is a directory)"


def test_a_tar_is_read_at_the_places_where_its_frames_are(root, out, keys, monkeypatch):
    write_frame(root, "s/" + "z" * 120, "0000000001", seed=77)  # whose name takes blocks of its own
    write_split(root, [*keys[:3], ("s/" + "z" * 120, "0000000001"), *keys[3:]])
    export(root, out, "pulsar2")

    def refuse(*_):
        raise AssertionError("the whole tar was indexed")

    monkeypatch.setattr(tarfile.TarFile, "getmembers", refuse)
    assert differences(out) == []


def test_a_tar_in_another_order_is_read_by_its_names(root, out):
    export(root, out, "pulsar2")
    with tarfile.open(out / "calibration.tar") as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar.getmembers()]
    with tarfile.open(out / "calibration.tar", "w") as tar:
        for member, data in reversed(members):
            tar.addfile(member, io.BytesIO(data))
    assert [(name, what) for name, what, _ in differences(out)] == [("calibration.tar", "changed")]


@pytest.mark.parametrize("form", ["npy", "raw", "rknn"])
@pytest.mark.parametrize("kind", ["<U3", "complex64", "bool", "V4", "O", "M8[s]", "zip", "empty", "scalar", "big"])
def test_arrays_of_any_kind_are_told(form, kind, root, out):
    export(root, out, form)
    buffer = io.BytesIO()
    if kind == "zip":
        np.savez(buffer, x=np.zeros(3))
    elif kind == "empty":
        np.save(buffer, np.zeros((0, 3), np.float32))
    elif kind == "scalar":
        np.save(buffer, np.float32(1))
    elif kind == "big":
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**20)})
    else:
        np.save(buffer, np.zeros((1, 3, 6, 8), dtype=kind), allow_pickle=True)
    frame_file(out).write_bytes(buffer.getvalue())
    ((name, detail),) = of_frames(differences(out))
    assert name == FIRST
    assert detail


@pytest.mark.parametrize("form", ["hailo", "stacked", "pulsar2"])
@pytest.mark.parametrize("length", [0, 1, 100, 600, -1, -2000])
def test_a_common_file_that_was_cut_is_told(form, length, root, out):
    export(root, out, form)
    name = "calibration.tar" if form == "pulsar2" else "calibration.npy"
    (out / name).write_bytes((out / name).read_bytes()[:length])
    assert (name, "changed") in [(name, what) for name, what, _ in differences(out)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """One finished export of each form that holds files of its own."""
    from helpers.trees import write_tree

    root = tmp_path_factory.mktemp("fuzz") / "data"
    root.mkdir()
    write_tree(root, 1)
    write_spec(root.with_name("model.toml"))
    for form in ("npy", "rknn", "pulsar2"):
        export(root, root.with_name(form), form)
    return root.parent


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), form=st.sampled_from(["npy", "rknn", "pulsar2"]))
def test_changed_bytes_are_told(data, form, corpus):
    out = corpus / form
    path = out / "calibration.tar" if form == "pulsar2" else frame_file(out)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 200))
    changed = whole[:place] + data.draw(st.binary(min_size=1, max_size=8)) + whole[place + 1 :]
    path.write_bytes(changed)
    try:
        found = [what for _, what, _ in differences(out)]
        assert ("changed" in found) == (changed != whole)
    finally:
        path.write_bytes(whole)


def test_verifying_writes_nothing(root, out):
    export(root, out, "hailo")
    before = {name: sha256(data) for name, data in contents(out).items()}
    differences(out)
    assert {name: sha256(data) for name, data in contents(out).items()} == before


@pytest.mark.parametrize(("form", "name"), [("rknn", "rknn_config.txt"), ("ncnn", "ncnn2table.txt")])
def test_options_of_another_model_file_are_told(form, name, root, out, tmp_path):
    export(root, out, form)
    other = write_spec(tmp_path / "other.toml", channels="bgr", scale=1.0)
    says = (name, "different", "says other things than the model file; export again with --fresh")
    assert differences(out, model_spec=other) == [says]
    assert differences(out, model_spec=root.with_name("model.toml")) == []


def test_many_files_of_one_fault_are_one_line(root, out):
    export(root, out, "rknn")
    for number, name in enumerate(frame_files(out)):
        (out / "images" / name).write_bytes(b"x" * (number + 1))
    lines = ncdb_dask.verify_export(out).text().splitlines()
    assert len([line for line in lines if "has another size since it was exported" in line]) == 1


def test_a_signalling_nan_is_like_nothing_and_no_warning() -> None:
    damaged = np.array([0x7F800001], dtype=np.uint32).view(np.float32)
    assert not causes._alike(damaged, np.ones(1, dtype=np.float32))
