"""One frame, one row: every status by a real file, faults of the environment, and damage of any kind."""

import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import pngs
from helpers.folders import CountingFolder, FailingFolder, MemoryFolder
from helpers.judging import judged
from helpers.networks import HEIGHT, KNOWN, WIDTH, describe
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import Frame, FrameOptions, Row, empty_row, evaluate_frame, require_same_view
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.predictor import FilePredictor, NetworkPredictor
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.schema import SCHEMA, STATUSES
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import read_spec
from ncdb_dask.store.folder import Folder, LocalFolder

FRAME = Frame("val_split.json", 3, "a", "0000000567")
IMAGE, DEPTH = "a/image_a6/0000000567.png", "a/newest/0000000567.png"
RULES = Protocol.of(min_depth=0.5, max_depth=30.0)
_rng = np.random.default_rng(5)
COLOUR = _rng.integers(30, 256, (HEIGHT, WIDTH, 3))
RAW = _rng.integers(200, 8000, (HEIGHT, WIDTH)) * (_rng.random((HEIGHT, WIDTH)) < 0.7)
SOUND = {IMAGE: pngs.encode(COLOUR, 8, pngs.RGB), DEPTH: pngs.encode(RAW)}
NAMING = {"dataset_root", "filename", "split", "entry", "status", "detail"}
FOUND = {"image_path", "prediction_path", "depth_path", "depth_variant", "height", "width"}


def put(root: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def local(path: Path) -> LocalFolder:
    return LocalFolder(str(path))


def network(path: Path, name: str = "quarter", flip: str = "none", **changes: object) -> NetworkPredictor:
    model = KNOWN[name].write(path / f"{name}.onnx", **changes)
    return NetworkPredictor(NetworkReference.of(model, read_spec(model.with_suffix(".toml"))), flip)


def evaluated(
    folder: Folder, predictor: NetworkPredictor | FilePredictor, frame: Frame = FRAME, **options: object
) -> tuple[Row, np.ndarray | None]:
    """Evaluate a frame and check what holds for every row."""
    rules = options.pop("rules", RULES)
    tree = Tree(folder, Roots.of(folder), ("newest", "older"))
    row, depth = evaluate_frame(frame, tree, predictor, FrameOptions(rules, **options))
    assert list(row) == SCHEMA.names
    (stored,) = pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
    assert row["status"] in STATUSES
    if row["status"] == "ok":
        assert row["detail"] is None
        assert all(np.isfinite(row[name]) for name in METRICS)
        assert depth is not None
    else:
        assert row["detail"]
        assert "\n" not in row["detail"]
        assert {name for name, value in row.items() if value is not None} <= NAMING | FOUND
    return stored, depth


# A sound frame


@pytest.mark.parametrize("name", ["quarter", "red", "ramp"])
def test_a_sound_frame_has_the_figures_of_the_definitions(name, tmp_path):
    put(tmp_path, SOUND)
    row, depth = evaluated(local(tmp_path), network(tmp_path, name))
    known = KNOWN[name].depth(COLOUR)
    np.testing.assert_allclose(depth, known, rtol=1e-5)
    expected = judged(RAW / 256, known)
    assert {column: row[column] for column in expected} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_a_sound_frame_is_named_and_located(tmp_path):
    put(tmp_path, SOUND)
    row, _ = evaluated(local(tmp_path), network(tmp_path))
    expected = {
        "dataset_root": "a",
        "filename": "0000000567",
        "split": "val_split.json",
        "entry": 3,
        "image_path": IMAGE,
        "depth_path": DEPTH,
        "depth_variant": "newest",
        "prediction_path": None,
        "height": HEIGHT,
        "width": WIDTH,
        "nan_pixels": 0,
        "infinite_pixels": 0,
        "nonpositive_pixels": 0,
        "scale_ratio": None,
        "status": "ok",
    }
    assert {column: row[column] for column in expected} == expected


def test_what_a_scan_knows_of_a_frame_is_kept(tmp_path):
    put(tmp_path, SOUND)
    frame = Frame("s", 0, "a", "0000000567", depth_range="far", scene_type="indoor", lighting="day")
    row, _ = evaluated(local(tmp_path), network(tmp_path), frame)
    assert (row["depth_range"], row["scene_type"], row["lighting"]) == ("far", "indoor", "day")
    assert empty_row(frame, "crashed", "it died")["lighting"] == "day"


def test_ranges_without_a_pixel_are_null_and_count_none(tmp_path):
    put(tmp_path, SOUND | {DEPTH: pngs.encode(np.full((HEIGHT, WIDTH), 256 * 5))})
    row, _ = evaluated(local(tmp_path), network(tmp_path))
    assert (row["valid_pixels_mid"], row["valid_pixels_near"]) == (HEIGHT * WIDTH, 0)
    assert row["abs_rel_mid"] == row["abs_rel"]
    empty = [name for name in SCHEMA.names if name.endswith(("_near", "_far")) and not name.startswith("valid")]
    assert {row[name] for name in empty} == {None}


def test_a_jpeg_will_do(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(COLOUR.astype(np.uint8)).save(stream, "JPEG")
    put(tmp_path, {IMAGE.replace(".png", ".jpg"): stream.getvalue(), DEPTH: SOUND[DEPTH]})
    row, _ = evaluated(local(tmp_path), network(tmp_path))
    assert (row["status"], row["image_path"]) == ("ok", IMAGE.replace(".png", ".jpg"))


def test_the_first_variant_that_has_the_frame_is_the_truth(tmp_path):
    put(tmp_path, {IMAGE: SOUND[IMAGE], DEPTH.replace("newest", "older"): SOUND[DEPTH]})
    assert evaluated(local(tmp_path), network(tmp_path))[0]["depth_variant"] == "older"
    put(tmp_path, {DEPTH: pngs.encode(RAW // 2)})
    assert evaluated(local(tmp_path), network(tmp_path))[0]["depth_variant"] == "newest"


@pytest.mark.parametrize("name", ["ramp", "red"])
def test_the_mirrored_picture_is_averaged(name, tmp_path):
    put(tmp_path, SOUND)
    _, depth = evaluated(local(tmp_path), network(tmp_path, name, flip="mean"))
    mirrored = KNOWN[name].depth(COLOUR[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(depth, (KNOWN[name].depth(COLOUR) + mirrored) / 2, rtol=1e-5)


def test_a_network_that_wants_its_colours_last_is_mirrored_along_the_width(tmp_path):
    import onnx

    model = KNOWN["red"].write(tmp_path / "red.onnx")
    helper, graph = onnx.helper, onnx.load(model).graph
    turn = helper.make_node("Transpose", ["pixels"], ["image"], perm=[0, 3, 1, 2])
    port = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, HEIGHT, WIDTH, 3])
    turned = helper.make_graph([turn, *graph.node], "g", [port], graph.output)
    onnx.save(helper.make_model(turned, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), model)
    spec = read_spec(describe(tmp_path / "red.toml", layout="nhwc"))
    put(tmp_path, SOUND)
    predictor = NetworkPredictor(NetworkReference.of(model, spec), "mean")
    _, depth = evaluated(local(tmp_path), predictor)
    np.testing.assert_allclose(depth, KNOWN["red"].depth(COLOUR), rtol=1e-5)


def test_pixels_without_a_depth_are_counted_and_no_crash(tmp_path):
    put(tmp_path, SOUND)
    row, depth = evaluated(local(tmp_path), network(tmp_path, "root"))
    chosen = (RAW / 256 > 0.5) & (RAW / 256 < 30)
    grey = COLOUR.astype(float).mean(axis=2) / 255
    assert 0 < row["nan_pixels"] == int((chosen & (grey < 0.5)).sum()) < row["valid_pixels"]
    assert np.isnan(depth).sum() == (grey < 0.5).sum()
    whole = np.where(grey < 0.5, 0.5, KNOWN["root"].depth(COLOUR))  # NaN counts as the least depth
    assert row["abs_rel"] == pytest.approx(judged(RAW / 256, whole)["abs_rel"], rel=1e-5)


# Frames that cannot be judged


def changed(**files: bytes | None) -> dict[str, bytes]:
    """The files of a sound frame, with other bytes, or without one."""
    named = {"image": IMAGE, "depth": DEPTH}
    files = SOUND | {named[what]: data for what, data in files.items()}
    return {path: data for path, data in files.items() if data is not None}


FAULTS = {
    "no image": (changed(image=None), "missing_image", "no image a/image_a6/0000000567 with suffix .png or .jpg"),
    "no depth": (changed(depth=None), "missing_depth", "no depth 0000000567.png in a under any of newest, older"),
    "cut image": (changed(image=SOUND[IMAGE][:-30]), "unreadable_image", IMAGE),
    "cut depth": (changed(depth=SOUND[DEPTH][:-30]), "unreadable_depth", DEPTH),
    "empty image": (changed(image=b""), "unreadable_image", "it is empty: 0 bytes"),
    "empty depth": (changed(depth=b""), "unreadable_depth", "it is empty: 0 bytes"),
    "text as image": (changed(image=b"no picture at all"), "unreadable_image", "is no PNG or JPEG"),
    "text as depth": (changed(depth=b"no picture at all"), "unreadable_depth", "is no PNG"),
    "8-bit depth": (changed(depth=pngs.encode(RAW % 256, 8)), "unsupported_depth", "--depth-scale"),
    "colour depth": (changed(depth=SOUND[IMAGE]), "unsupported_depth", "is an 8-bit RGB PNG"),
    "no valid depth": (changed(depth=pngs.encode(RAW * 0)), "no_valid_pixels", "the truth has no valid pixel"),
    "all too near": (
        changed(depth=pngs.encode(RAW * 0 + 64)),
        "no_valid_pixels",
        "0 pixels count, expected at least 1 from 0.5 m to 30 m (strict), crop none; the truth has 192 pixels from "
        "0.25 to 0.25 m",
    ),
    "turned picture": (
        changed(image=pngs.encode(COLOUR.transpose(1, 0, 2), 8, pngs.RGB)),
        "different_aspect",
        "the picture is 12 x 16 (aspect 0.750), the truth 16 x 12 (1.333)",
    ),
    "cropped truth": (
        changed(depth=pngs.encode(RAW[:6])),
        "different_aspect",
        "the picture is 16 x 12 (aspect 1.333), the truth 16 x 6 (2.667): one may be cropped or turned; where it is "
        "squeezed on purpose, give --stretch",
    ),
}


@pytest.mark.parametrize(("files", "status", "says"), FAULTS.values(), ids=FAULTS)
def test_every_fault_of_the_data_is_a_row(files, status, says, tmp_path):
    put(tmp_path, files)
    row, _ = evaluated(local(tmp_path), network(tmp_path))
    assert row["status"] == status
    assert says in row["detail"]


def test_the_row_of_a_fault_keeps_what_was_found_before_it(tmp_path):
    put(tmp_path, changed(image=None))
    row, depth = evaluated(local(tmp_path), network(tmp_path))
    assert (row["depth_path"], row["depth_variant"], row["height"], row["width"]) == (DEPTH, "newest", HEIGHT, WIDTH)
    assert depth is None


def test_a_prediction_that_cannot_be_judged_is_still_returned(tmp_path):
    put(tmp_path, changed(depth=pngs.encode(RAW * 0)))
    _, depth = evaluated(local(tmp_path), network(tmp_path))
    np.testing.assert_allclose(depth, KNOWN["quarter"].depth(COLOUR), rtol=1e-5)


@pytest.mark.parametrize("path", [IMAGE, DEPTH])
def test_a_link_out_of_the_root_is_unsafe(path, tmp_path):
    root = tmp_path / "root"
    put(root, SOUND)
    (root / path).rename(tmp_path / "elsewhere.png")
    (root / path).symlink_to(tmp_path / "elsewhere.png")
    row, _ = evaluated(local(root), network(tmp_path))
    assert row["status"] == "unsafe_path"
    assert "allow it with --allow-root" in row["detail"]


@pytest.mark.parametrize(("path", "what"), [(IMAGE, "image"), (DEPTH, "depth")])
def test_a_link_to_nothing_and_a_folder_are_no_files(path, what, tmp_path):
    put(tmp_path, SOUND)
    (tmp_path / path).unlink()
    (tmp_path / path).symlink_to("nowhere.png")
    assert evaluated(local(tmp_path), network(tmp_path))[0]["status"] == f"missing_{what}"
    (tmp_path / path).unlink()
    (tmp_path / path).mkdir()
    assert evaluated(local(tmp_path), network(tmp_path))[0]["status"] in (f"missing_{what}", f"unreadable_{what}")


@pytest.mark.parametrize("status", ["bad_entry", "unsafe_path"])
def test_an_entry_that_names_no_frame_is_a_row_and_nothing_is_read(status, tmp_path):
    put(tmp_path, SOUND)
    folder = CountingFolder(str(tmp_path))
    frame = Frame("val_split.json", 7, None, None, status=status, detail="val_split.json: entry 7 is a JSON number")
    row, depth = evaluated(folder, network(tmp_path), frame)
    assert (row["status"], row["detail"], row["entry"]) == (status, frame.detail, 7)
    assert depth is None
    assert not folder.calls


# The aspect


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((375, 1242), (375, 1242), True),
        ((375, 1242), (320, 1024), True),
        ((375, 1242), (352, 1216), False),
        ((480, 640), (640, 480), False),
        ((100, 104), (100, 100), True),
        ((100, 105), (100, 100), False),
    ],
)
def test_small_differences_of_aspect_are_squeezing_and_large_ones_another_view(one, other, same):
    for first, second in ((one, other), (other, one)):
        require_same_view("this", first, "that", second, stretch=True)
        if same:
            require_same_view("this", first, "that", second, stretch=False)
        else:
            with pytest.raises(DataFault, match=f"this is {first[1]} x {first[0]} .*--stretch") as caught:
                require_same_view("this", first, "that", second, stretch=False)
            assert caught.value.status == "different_aspect"


def test_stretch_accepts_a_picture_of_another_aspect(tmp_path):
    put(tmp_path, changed(depth=pngs.encode(RAW[:6])))
    row, _ = evaluated(local(tmp_path), network(tmp_path), stretch=True)
    assert row["status"] == "ok"
    assert row["abs_rel"] == pytest.approx(judged(RAW[:6] / 256, KNOWN["quarter"].depth(COLOUR))["abs_rel"], rel=1e-5)


def test_a_network_that_squeezes_its_picture_must_be_asked_for(tmp_path):
    put(tmp_path, SOUND)
    row, _ = evaluated(local(tmp_path), network(tmp_path, "squeezed"))
    assert row["status"] == "different_aspect"
    assert "the network's output is 4 x 12 (aspect 0.333), its input 16 x 12 (1.333)" in row["detail"]
    row, _ = evaluated(local(tmp_path), network(tmp_path, "squeezed"), stretch=True)
    assert row["abs_rel"] == pytest.approx(judged(RAW / 256, KNOWN["squeezed"].depth(COLOUR))["abs_rel"], rel=1e-5)


def test_the_network_may_squeeze_what_it_is_given(tmp_path):
    """Its input has its own aspect, and its output that of its input: the truth is not asked."""
    wide = {IMAGE: pngs.encode(np.tile(COLOUR, (1, 2, 1)), 8, pngs.RGB), DEPTH: pngs.encode(np.tile(RAW, (1, 2)))}
    put(tmp_path, wide)
    row, depth = evaluated(local(tmp_path), network(tmp_path))
    assert (row["status"], depth.shape) == ("ok", (HEIGHT // 4, WIDTH // 4))


# The unit of the truth


def test_the_unit_is_the_frames_own_or_else_that_of_the_options(tmp_path):
    put(tmp_path, SOUND)
    own = Frame("s", 0, "a", "0000000567", depth_scale=512.0)
    for frame, scale, unit in ((FRAME, 256.0, 256), (FRAME, 512.0, 512), (own, 256.0, 512)):
        row, _ = evaluated(local(tmp_path), network(tmp_path), frame, depth_scale=scale)
        assert row["abs_rel"] == pytest.approx(judged(RAW / unit, KNOWN["quarter"].depth(COLOUR))["abs_rel"], rel=1e-5)


def test_8_bit_depth_is_judged_once_its_unit_is_told(tmp_path):
    raw = RAW % 256
    put(tmp_path, changed(depth=pngs.encode(raw, 8)))
    row, _ = evaluated(local(tmp_path), network(tmp_path), depth_scale=10.0, allow_8bit=True)
    assert row["status"] == "ok"
    assert row["abs_rel"] == pytest.approx(judged(raw / 10, KNOWN["quarter"].depth(COLOUR))["abs_rel"], rel=1e-5)


def test_the_files_that_a_scan_found_are_read_where_it_found_them(tmp_path):
    put(tmp_path, {"x/picture.png": SOUND[IMAGE], "y/depth.png": SOUND[DEPTH]})
    frame = Frame("s", 0, "a", "0000000567", image="x/picture.png", depth="y/depth.png", variant="other")
    row, _ = evaluated(local(tmp_path), network(tmp_path), frame)
    assert row["status"] == "ok"
    assert (row["image_path"], row["depth_path"], row["depth_variant"]) == ("x/picture.png", "y/depth.png", "other")


@pytest.mark.parametrize("what", ["image", "depth"])
def test_a_file_that_is_gone_since_it_was_scanned_is_missing(what, tmp_path):
    put(tmp_path, {"x/image.png": SOUND[IMAGE], "x/depth.png": SOUND[DEPTH]})
    (tmp_path / "x" / f"{what}.png").unlink()
    frame = Frame("s", 0, "a", "0000000567", image="x/image.png", depth="x/depth.png", variant="x")
    row, _ = evaluated(local(tmp_path), network(tmp_path), frame)
    assert row["status"] == f"missing_{what}"
    assert f"x/{what}.png: is a link to nothing, or was removed since it was listed" in row["detail"]


# Predictions from files


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def files(
    folder: Path, data: bytes | None, name: str = "p.npy", spec: str | None = None
) -> tuple[FilePredictor, Frame]:
    """A folder of one prediction, and the frame that it is of."""
    folder.mkdir(exist_ok=True)
    (folder / "other.npy").touch()
    if data is not None:
        (folder / name).write_bytes(data)
    described = None if spec is None else read_spec(describe(folder.with_suffix(".toml"), output={"decode": spec}))
    return FilePredictor(local(folder), described, raw=described is not None), Frame(
        "s", 0, "a", "0000000567", files=[name]
    )


def test_predictions_from_files_need_no_picture(tmp_path):
    root = tmp_path / "root"
    put(root, changed(image=None))
    folder = CountingFolder(str(root))
    known = KNOWN["quarter"].depth(COLOUR)
    row, depth = evaluated(folder, *files(tmp_path / "made", npy(known)))
    assert (row["status"], row["image_path"], row["prediction_path"]) == ("ok", None, "p.npy")
    np.testing.assert_array_equal(depth, known)
    assert row["abs_rel"] == pytest.approx(judged(RAW / 256, known)["abs_rel"], rel=1e-9)
    assert not [name for _, name in folder.calls if "image" in name]


@pytest.mark.parametrize(
    ("data", "name", "status", "says"),
    [
        (None, "p.npy", "missing_prediction", "p.npy"),
        (b"", "p.npy", "unreadable_prediction", "p.npy: is empty; expected an array as np.save writes it"),
        (b"\x93NUMPY\x01\x00", "p.npy", "unreadable_prediction", "p.npy"),
        (npy(np.ones((3, 4)))[:-1], "p.npy", "unreadable_prediction", "p.npy: holds only 95 bytes of values"),
        (npy(np.ones((3, 4, 2))), "p.npy", "unreadable_prediction", "expected one map"),
        (npy(np.ones((12, 5))), "p.npy", "different_aspect", "the prediction is 5 x 12 (aspect 0.417), the truth 16 x"),
        (SOUND[IMAGE], "p.png", "unreadable_prediction", "p.png: is a PNG of 8 bits"),
    ],
)
def test_every_fault_of_a_prediction_is_a_row(data, name, status, says, tmp_path):
    root = tmp_path / "root"
    put(root, SOUND)
    row, _ = evaluated(local(root), *files(tmp_path / "made", data, name))
    assert row["status"] == status
    assert says in row["detail"]


def test_a_frame_without_a_prediction_is_a_row(tmp_path):
    put(tmp_path, SOUND)
    predictor, _ = files(tmp_path / "made", npy(RAW / 256))
    row, _ = evaluated(local(tmp_path), predictor)
    assert (row["status"], row["detail"]) == ("missing_prediction", "no prediction for 0000000567 of a")


def test_files_of_raw_output_are_decoded_and_may_be_squeezed_like_the_networks_input(tmp_path):
    root = tmp_path / "root"
    wide = np.tile(RAW, (1, 2))
    put(root, {DEPTH: pngs.encode(wide)})
    known = KNOWN["quarter"].depth(COLOUR)
    row, depth = evaluated(local(root), *files(tmp_path / "made", npy(1 / known), spec="reciprocal"))
    np.testing.assert_allclose(depth, known, rtol=1e-12)
    assert row["abs_rel"] == pytest.approx(judged(wide / 256, known)["abs_rel"], rel=1e-9)
    row, _ = evaluated(local(root), *files(tmp_path / "made", npy(np.ones((12, 5))), spec="reciprocal"))
    assert row["status"] == "different_aspect"
    assert "the prediction is 5 x 12 (aspect 0.417), the truth " in row["detail"]


def test_a_prediction_of_metres_must_be_as_wide_as_the_truth_or_be_stretched(tmp_path):
    root = tmp_path / "root"
    put(root, {DEPTH: pngs.encode(np.tile(RAW, (1, 2)))})
    made = files(tmp_path / "made", npy(KNOWN["quarter"].depth(COLOUR)))
    assert evaluated(local(root), *made)[0]["status"] == "different_aspect"
    assert evaluated(local(root), *made, stretch=True)[0]["status"] == "ok"


# The environment


@pytest.mark.parametrize("part", ["image_a6", "newest"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_fault_of_the_storage_is_raised_and_no_row(part, number, tmp_path):
    put(tmp_path, SOUND)
    folder = FailingFolder(str(tmp_path), part, OSError(number, os.strerror(number)))
    with pytest.raises(OSError, match=os.strerror(number)):
        evaluated(folder, network(tmp_path))


def test_a_fault_of_the_storage_of_predictions_is_raised(tmp_path):
    root = tmp_path / "root"
    put(root, SOUND)
    predictor, frame = files(tmp_path / "made", npy(RAW / 256))
    failing = FailingFolder(predictor.folder.path, "p.npy", OSError(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        evaluated(local(root), FilePredictor(failing), frame)


@pytest.mark.parametrize("gone", ["root", "made"])
def test_a_folder_that_goes_away_is_no_missing_frame(gone, tmp_path):
    put(tmp_path / "root", SOUND)
    made = files(tmp_path / "made", npy(RAW / 256))
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="gone"):
        evaluated(local(tmp_path / "root"), *made)


def test_a_file_that_may_not_be_read_is_its_own_fault(tmp_path):
    put(tmp_path, SOUND)
    folder = FailingFolder(str(tmp_path), "newest", PermissionError(errno.EACCES, "Permission denied"))
    row, _ = evaluated(folder, network(tmp_path))
    assert row["status"] == "unreadable_depth"
    assert "cannot be opened (Permission denied)" in row["detail"]


# Damage


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    return network(tmp_path_factory.mktemp("network"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_row(data, quarter):
    """Bytes that are changed, cut or added to, anywhere, never do more than spoil their own row."""
    path = data.draw(st.sampled_from([IMAGE, DEPTH]))
    damaged = bytearray(SOUND[path])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    evaluated(MemoryFolder(SOUND | {path: bytes(damaged[:cut])}), quarter)
