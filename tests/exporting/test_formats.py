"""Every format over a small tree, read back as its tool reads it, and compared with what the network is fed."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import (
    FORMS,
    PICTURES,
    assert_sound,
    contents,
    every_file,
    export,
    feed,
    frame_files,
    handed_over,
    manifest,
    pictures,
    png_pixels,
    sha256,
    spec_of,
    tar_members,
    write_spec,
)
from helpers.trees import write_frame, write_split
from PIL import Image

import ncdb_dask
from ncdb_dask.errors import ExportError
from ncdb_dask.model.preprocess import resized

NAMES = [f"synced_data__{'ab'[k % 2]}__{k // 2:010d}" for k in range(7)]


def tensors(root, keys, layout="nchw", **changes):
    spec = replace(spec_of(**changes), layout=layout)
    return [feed(data, spec) for data in pictures(root, keys)]


def lines(path):
    """Split a list as a tool does that knows no comments and no quotes; the last line ends too."""
    text = path.read_text()
    assert text.endswith("\n")
    return text.split("\n")[:-1]


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_is_right_and_nothing_else_lies_there(form, root, out, keys):
    exported = export(root, out, form)
    assert_sound(out)
    about = manifest(out)
    assert [(frame["dataset_root"], frame["filename"]) for frame in about["frames"]] == keys
    assert [frame["image"] for frame in about["frames"]] == [f"{a}/image_a6/{b}.png" for a, b in keys]
    assert (about["format"], about["left_out"]) == ("ncdb_dask export 1", [])
    assert (about["split"], about["split_sha256"]) == (
        "train_split.json",
        sha256((root / "train_split.json").read_bytes()),
    )
    assert about["form"]["name"] == FORMS[form]["format"]
    assert about["root"] == str(root)
    assert exported == ncdb_dask.read_export(out)
    assert not ncdb_dask.verify_export(out).differences


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"split", "images", "linked"}))
def test_the_manifest_tells_layout_dtype_and_normalisation(form, root, out):
    export(root, out, form)
    about = manifest(out)
    picture = form in (*PICTURES, "resized")
    last = form in ("raw", "hailo") or picture
    assert about["shape"] == ([6, 8, 3] if last else [3, 6, 8])
    assert about["dtype"] == ("uint8" if picture else "float32")
    assert about["form"]["layout"] == (None if picture else "nhwc" if last else "nchw")
    given = about["model"]["input"]
    assert (given["mean"], given["std"], given["scale"]) == ([0.1, 0.2, 0.3], [0.5, 0.25, 0.125], 255)


def test_images(root, out, keys):
    export(root, out, "images")
    assert lines(out / "image_list.txt") == [f"{out}/images/{name}.png" for name in NAMES]
    for path, data in zip(lines(out / "image_list.txt"), pictures(root, keys), strict=True):
        assert Path(path).read_bytes() == data
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_images_that_are_linked(root, out, keys):
    export(root, out, "linked")
    assert lines(out / "image_list.txt") == [f"{out}/images/{name}.png" for name in NAMES]
    for name, (scene, stem) in zip(NAMES, keys, strict=True):
        link = out / "images" / f"{name}.png"
        assert link.is_symlink()
        assert link.resolve() == root / scene / "image_a6" / f"{stem}.png"


def test_a_jpeg_keeps_its_suffix_and_its_bytes(root, out):
    path = root / "synced_data/a/image_a6/0000000000.png"
    Image.open(path).convert("RGB").save(path.with_suffix(".jpg"))
    path.unlink()
    export(root, out, "images")
    assert frame_files(out)[0] == "synced_data__a__0000000000.jpg"
    assert (out / "images" / frame_files(out)[0]).read_bytes() == path.with_suffix(".jpg").read_bytes()


def test_images_that_are_resized(root, out, keys):
    export(root, out, "resized")
    for path, data in zip(lines(out / "image_list.txt"), pictures(root, keys), strict=True):
        np.testing.assert_array_equal(png_pixels(Path(path).read_bytes()), resized(data, spec_of()))


def test_a_split_goes_in_and_comes_out(root, out):
    export(root, out, "split")
    assert json.loads((out / "calibration_split.json").read_text()) == json.loads(
        (root / "train_split.json").read_text()
    )
    assert (out / "data_root.txt").read_text() == f"{root}\n"
    assert set(contents(out)) >= {"calibration_split.json", "data_root.txt", "manifest.json"}
    assert not (out / "frames").exists()


@pytest.mark.parametrize("layout", [None, "nchw", "nhwc"])
def test_npy(layout, root, out, keys):
    export(root, out, "npy", layout=layout)
    for name, value in zip(NAMES, tensors(root, keys, layout or "nchw"), strict=True):
        read = np.load(out / "tensors" / f"{name}.npy", allow_pickle=False)
        assert (read.dtype, read.shape) == (np.dtype("<f4"), (1, *value.shape))
        assert read.tobytes() == value.tobytes()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_layout_of_npy_is_that_of_the_model_file(layout, root, out, keys, tmp_path):
    export(root, out, "npy", model_spec=write_spec(tmp_path / "other.toml", layout=layout))
    read = np.load(out / "tensors" / f"{NAMES[0]}.npy")
    assert read.tobytes() == tensors(root, keys, layout)[0].tobytes()


@pytest.mark.parametrize(
    ("form", "layout", "made"),
    [
        ("stacked", None, "nchw"),
        ("stacked", "nhwc", "nhwc"),
        ("hailo", None, "nhwc"),
        ("hailo", "nhwc", "nhwc"),
    ],
)
def test_one_array(form, layout, made, root, out, keys):
    export(root, out, form, layout=layout)
    read = np.load(out / "calibration.npy", allow_pickle=False, mmap_mode="r")
    wanted = np.stack(tensors(root, keys, made))
    assert (read.dtype, read.shape, read.flags.c_contiguous) == (np.dtype("<f4"), wanted.shape, True)
    assert read.tobytes() == wanted.tobytes()


def test_hailo_is_told_to_look_at_all_frames(root, out):
    export(root, out, "hailo")
    assert (out / "calibration.alls").read_text() == "model_optimization_config(calibration, calibset_size=7)\n"


@pytest.mark.parametrize("layout", [None, "nchw"])
def test_raw(layout, root, out, keys):
    export(root, out, "raw", layout=layout)
    listed = lines(out / "input_list.txt")
    assert listed == [f"image:={out}/raw/{name}.raw" for name in NAMES]
    for line, value in zip(listed, tensors(root, keys, layout or "nhwc"), strict=True):
        # SNPE cuts a line at spaces, and a token at the first ":=".
        (token,) = line.split(" ")
        name, _, path = token.partition(":=")
        assert name == "image"
        assert np.fromfile(path, dtype="<f4").tobytes() == value.tobytes()


def test_raw_without_the_name_of_the_input(root, out, tmp_path):
    export(root, out, "raw", model_spec=write_spec(tmp_path / "nameless.toml", name=None))
    assert lines(out / "input_list.txt") == [f"{out}/raw/{name}.raw" for name in NAMES]


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_rknn(channels, root, out, keys, tmp_path):
    export(root, out, "rknn", model_spec=write_spec(tmp_path / "m.toml", channels=channels))
    listed = lines(out / "dataset.txt")
    assert listed == [f"{out}/images/{name}.png" for name in NAMES]
    for path, data in zip(listed, pictures(root, keys), strict=True):
        # RGB whatever the network takes: the tool swaps by itself, as the option tells it.
        np.testing.assert_array_equal(png_pixels(Path(path).read_bytes()), resized(data, spec_of()))
    # The line is the arguments of rknn.config(...).
    options = eval(f"dict({(out / 'rknn_config.txt').read_text()})")
    assert set(options) == {"mean_values", "std_values", "quant_img_RGB2BGR"}
    assert options["quant_img_RGB2BGR"] is (channels == "bgr")
    (mean,), (std,) = options["mean_values"], options["std_values"]
    for path, value in zip(listed, tensors(root, keys, "nhwc", channels=channels), strict=True):
        pixels = png_pixels(Path(path).read_bytes()).astype(float)
        taken = pixels[..., ::-1] if options["quant_img_RGB2BGR"] else pixels
        np.testing.assert_allclose((taken - mean) / std, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_ncnn(channels, root, out, keys, tmp_path):
    export(root, out, "ncnn", model_spec=write_spec(tmp_path / "m.toml", channels=channels))
    listed = lines(out / "imagelist.txt")
    assert [line.split()[0] for line in listed] == listed == [f"{out}/images/{name}.png" for name in NAMES]
    options = dict(token.split("=") for token in (out / "ncnn2table.txt").read_text().split())
    assert (options["shape"], options["pixel"], options["method"]) == ("[8,6,3]", channels.upper(), "kl")
    numbers = {key: options[key].strip("[]").split(",") for key in ("mean", "norm")}
    assert all(len(text) < 19 for three in numbers.values() for text in three)
    mean, norm = ([float(text) for text in numbers[key]] for key in ("mean", "norm"))
    for path, value in zip(listed, tensors(root, keys, "nhwc", channels=channels), strict=True):
        pixels = png_pixels(Path(path).read_bytes()).astype(float)
        taken = pixels if options["pixel"] == "RGB" else pixels[..., ::-1]
        np.testing.assert_allclose((taken - mean) * norm, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["image", None])
def test_pulsar2(name, root, out, keys, tmp_path):
    export(root, out, "pulsar2", model_spec=write_spec(tmp_path / "m.toml", name=name))
    (entry,) = json.loads((out / "pulsar2.json").read_text())["quant"]["input_configs"]
    assert entry == {
        "tensor_name": name or "DEFAULT",
        "calibration_dataset": f"{out}/calibration.tar",
        "calibration_format": "Numpy",
        "calibration_size": 7,
    }
    members = tar_members(out / "calibration.tar")
    assert list(members) == [f"{name}.npy" for name in NAMES]
    for data, value in zip(members.values(), tensors(root, keys), strict=True):
        read = np.load(io.BytesIO(data), allow_pickle=False)
        assert (read.dtype, read.shape) == (np.dtype("<f4"), (1, 3, 6, 8))
        assert read.tobytes() == value.tobytes()


# What holds for all


@pytest.mark.parametrize("form", FORMS)
def test_shards_of_any_size_and_a_second_export_give_the_same_bytes(form, root, out):
    made = []
    for size in (1, 3, 1000):
        export(root, out, form, shard_size=size)
        made.append(handed_over(out))
        out.rename(out.with_name(f"by{size}"))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("form", ["images", "stacked", "pulsar2"])
def test_the_order_is_that_of_the_split(form, root, out, keys):
    write_split(root, keys[::-1])
    export(root, out, form)
    assert [(frame["dataset_root"], frame["filename"]) for frame in manifest(out)["frames"]] == keys[::-1]
    if form == "images":
        assert [path.rpartition("/")[2] for path in lines(out / "image_list.txt")] == frame_files(out)
        assert frame_files(out) == [f"{name}.png" for name in NAMES[::-1]]
    elif form == "pulsar2":
        assert list(tar_members(out / "calibration.tar")) == [f"{name}.npy" for name in NAMES[::-1]]
    else:
        wanted = np.stack(tensors(root, keys[::-1]))
        assert np.load(out / "calibration.npy").tobytes() == wanted.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_absolute_scenes_inside_the_root_are_as_relative_ones(form, root, out, keys):
    export(root, out, form)
    relative = handed_over(out)
    out.rename(out.with_name("relative"))
    write_split(root, [(f"{root}/{scene}", stem) for scene, stem in keys])
    export(root, out, form)
    absolute = handed_over(out)
    del relative["manifest.json"], absolute["manifest.json"]  # they tell the split's hash
    assert relative == absolute


@pytest.mark.parametrize("form", FORMS)
def test_scenes_in_an_allowed_folder(form, root, out, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    keys = [(f"{elsewhere}/run", "1"), ("synced_data/a", "0000000000")]
    write_frame(elsewhere, "run", "1", seed=99)
    write_split(root, keys)
    export(root, out, form, allow_root=elsewhere)
    assert_sound(out)
    about = manifest(out)
    assert about["frames"][0]["image"] == f"{elsewhere}/run/image_a6/1.png"
    assert not ncdb_dask.verify_export(out).differences
    if form == "split":
        assert json.loads((out / "calibration_split.json").read_text())[0]["dataset_root"] == f"{elsewhere}/run"


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"ncnn"}))
def test_scenes_with_long_names(form, root, out):
    keys = [(f"recordings/{'x' * 90}/{'y' * 90}", "0000000001"), ("s/" + "z" * 120, "0000000001")]
    for number, (scene, stem) in enumerate(keys):
        write_frame(root, scene, stem, seed=number)
    write_split(root, keys)
    export(root, out, form)
    assert_sound(out)
    assert not ncdb_dask.verify_export(out).differences
    if form == "pulsar2":
        assert list(tar_members(out / "calibration.tar")) == frame_files(out)


def test_paths_that_ncnn_would_cut_are_refused(root, out):
    write_frame(root, "s/" + "z" * 120, "0000000001")
    write_split(root, [("s/" + "z" * 120, "0000000001")])
    deep = out / ("d" * 120)
    with pytest.raises(ExportError, match=r"ncnn2table reads 255 bytes of a path; choose a shorter folder"):
        export(root, deep, "ncnn")
    assert not (deep / "manifest.json").exists()
    export(root, deep, "rknn", fresh=True)
    assert_sound(deep)


def test_a_frame_that_is_named_twice_is_exported_once(root, out, keys):
    write_split(root, [*keys, keys[0], (f"{root}/{keys[1][0]}", keys[1][1])])
    exported = export(root, out, "stacked")
    assert np.load(out / "calibration.npy").shape[0] == 7
    assert manifest(out)["duplicates"] == exported.as_dict()["duplicates"] == 2
    assert "Repeated      2 entries of the set named a frame again and were left out" in exported.text()


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_has_a_line_a_frame_and_tells_each_file_once(form, root, out):
    export(root, out, form)
    lines = (out / "manifest.json").read_text().splitlines()
    (first,) = (number for number, line in enumerate(lines) if line == '"frames": [')
    frames = [json.loads(line.removesuffix(",")) for line in lines[first + 1 : first + 8]]
    assert frames == manifest(out)["frames"]
    assert lines[first + 8] == "],"
    own = {"npy", "raw", "images", "linked", "resized", "rknn", "ncnn"}
    assert all("/" not in name for name in manifest(out)["files"])
    assert (len(every_file(out)) >= 7) == (form in own)


def test_image_paths_name_frames_too(root, out, keys):
    items = [{"image_path": f"{scene}/image_a6/{stem}.png"} for scene, stem in keys]
    (root / "train_split.json").write_text(json.dumps(items))
    export(root, out, "images")
    assert frame_files(out) == [f"{name}.png" for name in NAMES]


def test_the_text_says_what_was_written(root, out):
    text = export(root, out, "hailo").text()
    for part in ("7 as hailo", "6 x 8 x 3, float32", str(out), "calibration.npy, calibration.alls, manifest.json"):
        assert part in text
