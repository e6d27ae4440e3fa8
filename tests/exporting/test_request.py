"""What an export refuses before anything is written."""

from importlib.util import find_spec

import pytest
from helpers.exports import export, write_spec
from helpers.trees import write_split

import ncdb_dask
from ncdb_dask.errors import ExportError, NcdbError
from ncdb_dask.exporting.formats import FORMATS
from ncdb_dask.store.folder import LocalFolder


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "tensorrt"}, "format 'tensorrt': expected one of images, split, npy, raw, rknn, hailo, ncnn, puls"),
        ({"format": ""}, "format '': expected one of"),
        ({"format": "raw", "stack": True}, "stack is for --format npy; raw has one form"),
        ({"format": "hailo", "stack": True}, "stack is for --format npy; hailo has one form"),
        ({"format": "npy", "resized": True}, "resized is for --format images"),
        ({"format": "images", "layout": "nchw"}, "layout is for formats of tensors; --format images has none"),
        ({"format": "rknn", "layout": "nhwc"}, "layout is for formats of tensors; --format rknn has none"),
        ({"format": "npy", "layout": "nwhc"}, "layout 'nwhc': expected nchw or nhwc"),
        ({"format": "npy", "link": True}, "link is for --format images from a local data set"),
        ({"format": "images", "resized": True, "link": True}, "link is for --format images"),
        ({"format": "images", "link": True, "root": "memory://data"}, "link is for --format images from a local data"),
        *(
            (
                {"format": name, "model_spec": None},
                f"format {name} needs to know the network's input; give --model-spec",
            )
            for name, form in FORMATS.items()
            if form.payload in ("tensor", "pixels")
        ),
        ({"format": "images", "resized": True, "model_spec": None}, "format images needs to know the network's input"),
        (
            {"format": "npy", "model_spec": "nosuch.toml"},
            "nosuch.toml: cannot be read (No such file or directory); expected a model file",
        ),
        pytest.param(
            {"format": "images", "out": "s3://bucket/x"},
            "s3://bucket/x: expected a local folder",
            marks=pytest.mark.skipif(find_spec("s3fs") is None, reason="no s3fs"),
        ),
        ({"format": "images", "out": "memory://x"}, "memory://x: expected a local folder"),
        *(
            ({"format": name, "out": f"/nowhere/{space}x"}, f"holds a space, where {name}'s list would be cut")
            for name in ("raw", "rknn", "ncnn")
            for space in (" ", "\t")
        ),
        ({"format": "ncnn", "out": "/nowhere/a,b"}, "holds a comma, where ncnn2table would begin a second list"),
        ({"format": "hailo", "layout": "nchw"}, "layout nchw: hailo reads nhwc only; leave the option out"),
        *(({"format": name, "out": "/nowhere/a\nb"}, "holds a line break, where lists") for name in FORMATS),
        ({"format": "images", "root": "/nowhere"}, "/nowhere: no such folder, or an empty one"),
        ({"format": "images", "allow_root": "/nowhere"}, "/nowhere: no such folder, or an empty one"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_words(options, says, root, out):
    given = {"root": root, "out": out, "model_spec": root.with_name("model.toml"), **options}
    with pytest.raises(NcdbError) as caught:
        ncdb_dask.export("train_split.json", **given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("form", ["images", "split", "npy", "hailo", "pulsar2"])
def test_formats_whose_paths_may_hold_spaces(form, root, tmp_path):
    export(root, tmp_path / "an out", form)
    assert not ncdb_dask.verify_export(tmp_path / "an out").differences


def test_a_folder_with_a_comma_is_for_the_others(root, tmp_path):
    for form in sorted(set(FORMATS) - {"ncnn"}):
        spec = None if form in ("images", "split") else root.with_name("model.toml")
        out = tmp_path / "a,b" / form
        ncdb_dask.export("train_split.json", out, root=root, format=form, model_spec=spec)


def test_paths_that_ncnn_would_cut_are_refused_before_anything_is_written(root, out):
    deep = out / ("d" * 200)
    with pytest.raises(ExportError, match="ncnn2table reads 255 bytes of a path; choose a shorter folder"):
        ncdb_dask.plan_export(
            "train_split.json", deep, root=root, format="ncnn", model_spec=root.with_name("model.toml")
        )
    assert not out.exists()


def test_an_export_that_moved_where_ncnn_would_cut_its_paths_is_left_alone(root, out):
    export(root, out, "ncnn")
    before = (out / "manifest.json").read_bytes()
    (out.parent / ("d" * 200)).mkdir()
    moved = out.rename(out.parent / ("d" * 200) / "out")
    with pytest.raises(ExportError, match="ncnn2table reads 255 bytes of a path"):
        export(root, moved, "ncnn")
    assert (moved / "manifest.json").read_bytes() == before


def test_a_split_behind_a_url_is_opened_with_the_storage_options(root, out, monkeypatch):
    from ncdb_dask.dataset import split_file

    asked = []

    def opened(place, options=None):
        asked.append((place, dict(options or {})))
        return LocalFolder(str(root))

    monkeypatch.setattr(split_file, "open_folder", opened)
    options = {"key": "me"}
    ncdb_dask.plan_export("s3://b/train_split.json", out, root=root, format="images", storage_options=options)
    assert asked == [("s3://b", options)]


@pytest.mark.parametrize(
    ("size", "form", "rows"),
    [((8, 6), "raw", 32), ((640, 192), "raw", 32), ((1280, 720), "raw", 6), ((1280, 720), "ncnn", 24)],
)
def test_a_shard_of_large_frames_is_small(size, form, rows, root, out, keys):
    write_split(root, [(scene, f"{stem}{k}") for k in range(10) for scene, stem in keys])
    spec = write_spec(root.with_name("large.toml"), width=size[0], height=size[1])
    plan = ncdb_dask.plan_export("train_split.json", out, root=root, format=form, model_spec=spec)
    assert plan.run.plan.parts[0].shard_size == rows


def test_an_out_that_is_a_file(root, out):
    out.write_text("mine")
    with pytest.raises(ExportError, match="out is a file; expected a folder"):
        export(root, out, "images")
    assert out.read_text() == "mine"


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["photo.png", "images/photo.png", "manifest.json", "_overview.png"])
def test_an_out_that_holds_other_files_is_left_alone(name, fresh, root, out):
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(ExportError, match="holds what is not of an export"):
        export(root, out, "images", fresh=fresh)
    assert [path for path in out.rglob("*") if path.is_file()] == [out / name]


def test_a_scan_in_out_is_left_alone(root, out):
    from ncdb_dask.scanning.plan import make_plan
    from ncdb_dask.scanning.request import ScanRequest

    make_plan(
        ScanRequest.of(
            root=LocalFolder(str(root)),
            out=LocalFolder(str(out)),
            allowed=(),
            splits=("train_split.json",),
            variants=("newest_depth_maps",),
            depth_scale=None,
            image_stats=False,
            shard_size=3,
        )
    ).write()
    with pytest.raises(ExportError, match="holds what is not of an export"):
        export(root, out, "images")


def test_an_out_that_is_the_data_set_is_left_alone(root):
    with pytest.raises(ExportError, match="holds what is not of an export"):
        export(root, root, "images")


def test_an_empty_folder_is_welcome(root, out):
    out.mkdir()
    export(root, out, "images")


@pytest.mark.parametrize("out", ["manifest", "nothing"])
def test_what_is_no_finished_export_is_neither_read_nor_verified(out, tmp_path):
    if out == "manifest":
        (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    for use in (ncdb_dask.read_export, ncdb_dask.verify_export):
        with pytest.raises(ExportError, match=str(tmp_path)):
            use(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"format": "ncdb_dask export 1"}', "\xff"])
def test_a_damaged_manifest_is_refused_in_words(text, root, out):
    export(root, out, "images")
    (out / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ExportError, match=r"manifest\.json is damaged or of another version .*; export again"):
        ncdb_dask.verify_export(out)


def test_a_plan_alone_writes_nothing(root, out):
    plan = ncdb_dask.plan_export("train_split.json", out, root=root, format="images")
    assert (plan.as_dict()["frames"], plan.as_dict()["shards"], plan.finished) == (7, 1, False)
    assert "7 frames as images" in repr(plan)
    assert not out.exists()


def test_the_order_of_the_model_files_keys_is_no_other_option(root, out, tmp_path):
    export(root, out, "npy")
    other = write_spec(tmp_path / "other.toml")
    lines = other.read_text().splitlines()
    other.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    export(root, out, "npy", model_spec=other)


def test_the_name_of_an_input_that_would_cut_the_list(root, out):
    spec = write_spec(root.with_name("spaced.toml"), name="the image")
    with pytest.raises(ExportError, match=r"\[input\] name 'the image': holds a space, where raw's list would be cut"):
        export(root, out, "raw", model_spec=spec)
    export(root, out, "npy", model_spec=spec)
