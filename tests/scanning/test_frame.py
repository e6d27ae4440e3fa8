"""One entry, one row: every status by a real file, faults of the environment, and damage of any kind."""

import errno
import io
import math
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import pngs
from helpers.folders import CountingFolder, FailingFolder, MemoryFolder
from helpers.oracle import depth_statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import MAX_FILE_BYTES
from ncdb_dask.dataset.split import Entry, Roots
from ncdb_dask.scanning.frame import IMAGE_HEAD_BYTES, FrameOptions, Row, empty_row, scan_frame
from ncdb_dask.scanning.schema import SCHEMA, STATUSES
from ncdb_dask.store.folder import Folder, Listing, LocalFolder

ENTRY = Entry("train_split.json", 3, "a", "0000000567")
IMAGE, DEPTH = "a/image_a6/0000000567.png", "a/newest/0000000567.png"
RAW = np.arange(12).reshape(3, 4) * 700
COLOUR = np.arange(60).reshape(4, 5, 3) * 4
SOUND = {IMAGE: pngs.encode(COLOUR, 8, pngs.RGB), DEPTH: pngs.encode(RAW)}
IMAGE_COLUMNS = {"luma_mean", "luma_std", "dark_fraction", "bright_fraction", "lighting", "phash"}
NAMING = {"dataset_root", "filename", "split", "entry", "status", "detail", "image_path", "depth_path", "depth_variant"}


def put(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def scanned(folder: Folder, entry: Entry = ENTRY, **options: object) -> Row:
    """Scan a frame and check what holds for every row."""
    row = scan_frame(entry, Tree(folder, Roots.of(folder), ("newest", "older")), FrameOptions(**options))
    assert list(row) == SCHEMA.names
    table = pa.Table.from_pylist([row], schema=SCHEMA)
    assert table.num_rows == 1
    assert row["status"] in STATUSES
    if row["status"] == "ok":
        assert row["detail"] is None
    else:
        assert row["detail"]
        assert {name for name, value in row.items() if value is not None} <= NAMING
    return table.to_pylist()[0]


def local(path: Path) -> LocalFolder:
    return LocalFolder(str(path))


# A sound frame


def test_a_sound_frame_fills_every_column(tmp_path):
    put(tmp_path, SOUND)
    row = scanned(local(tmp_path))
    assert row["status"] == "ok"
    assert [name for name, value in row.items() if value is None] == ["detail"]


def test_a_sound_frame_is_named_and_measured(tmp_path):
    put(tmp_path, SOUND)
    row = scanned(local(tmp_path))
    expected = {
        "dataset_root": "a",
        "filename": "0000000567",
        "split": "train_split.json",
        "entry": 3,
        "image_path": IMAGE,
        "depth_path": DEPTH,
        "depth_variant": "newest",
        "height": 3,
        "width": 4,
        "valid_pixels": 11,
        "total_pixels": 12,
        "valid_fraction": 11 / 12,
        "depth_scale": 256.0,
        "scale_ambiguous": False,
        "scene_type": "outdoor_far",
        "depth_bytes": len(SOUND[DEPTH]),
        "image_mode": "RGB",
        "image_width": 5,
        "image_height": 4,
        "image_bytes": len(SOUND[IMAGE]),
    }
    assert {name: row[name] for name in expected} == expected
    statistics = depth_statistics(RAW, 256.0)
    assert {name: row[name] for name in statistics} == pytest.approx(statistics)
    assert row["p50"] == row["median_depth"]
    assert len(row["depth_hist"]) == 256
    assert sum(row["depth_hist"]) == 11


def test_the_first_variant_that_has_the_frame_is_measured_and_named(tmp_path):
    older = "a/older/0000000567.png"
    put(tmp_path, {IMAGE: SOUND[IMAGE], older: pngs.encode(RAW * 2)})
    row = scanned(local(tmp_path))
    assert (row["depth_variant"], row["depth_path"], row["max_depth"]) == ("older", older, 2 * 7700 / 256)
    put(tmp_path, SOUND)
    assert scanned(local(tmp_path))["depth_variant"] == "newest"


@pytest.mark.parametrize(
    ("scale", "metres", "stored"), [(1000.0, 7.7, 1000.0), (1.0, 7700.0, 1.0), (None, 7700 / 256, 256.0)]
)
def test_the_scale_divides_and_is_written_down(tmp_path, scale, metres, stored):
    put(tmp_path, SOUND)
    row = scanned(local(tmp_path), depth_scale=scale)
    assert (row["max_depth"], row["depth_scale"]) == (metres, stored)


@pytest.mark.parametrize("scale", [1e-3, 1e-300, 1e300])
def test_an_unusual_scale_still_gives_a_row(tmp_path, scale):
    put(tmp_path, SOUND)
    assert scanned(local(tmp_path), depth_scale=scale)["status"] == "ok"


def test_a_map_of_doubtful_unit_is_marked_under_auto(tmp_path):
    put(tmp_path, SOUND | {DEPTH: pngs.encode(np.full((3, 4), 200))})
    row = scanned(local(tmp_path), depth_scale=None)
    assert (row["scale_ambiguous"], row["depth_scale"], row["mean_depth"]) == (True, 1.0, 200.0)


def test_an_8_bit_map_is_depth_where_its_scale_was_declared(tmp_path):
    put(tmp_path, SOUND | {DEPTH: pngs.encode(np.full((3, 4), 200), 8)})
    assert scanned(local(tmp_path))["status"] == "unsupported_depth"
    assert scanned(local(tmp_path), depth_scale=10.0, allow_8bit=True)["mean_depth"] == 20.0


# Every status


def remove(path: Path) -> None:
    path.unlink()


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def to_outer_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def holding(data: bytes):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("place", "spoil", "status"),
    [
        (IMAGE, remove, "missing_image"),
        (IMAGE, to_folder, "missing_image"),
        (IMAGE, to_pipe, "missing_image"),
        (IMAGE, to_dangling_link, "missing_image"),
        (IMAGE, to_outer_link, "unsafe_path"),
        (IMAGE, holding(b""), "unreadable_image"),
        (IMAGE, holding(SOUND[IMAGE][:60]), "unreadable_image"),
        (IMAGE, holding(b"not a picture"), "unreadable_image"),
        (DEPTH, remove, "missing_depth"),
        (DEPTH, to_folder, "missing_depth"),
        (DEPTH, to_pipe, "missing_depth"),
        (DEPTH, to_dangling_link, "missing_depth"),
        (DEPTH, to_outer_link, "unsafe_path"),
        (DEPTH, holding(b""), "unreadable_depth"),
        (DEPTH, holding(SOUND[DEPTH][:50]), "unreadable_depth"),
        (DEPTH, holding(b"\xff\xd8\xff\xe0" + bytes(50)), "unreadable_depth"),
        (DEPTH, holding(pngs.encode(RAW % 256, 8)), "unsupported_depth"),
        (DEPTH, holding(pngs.encode(COLOUR, 16, pngs.RGB)), "unsupported_depth"),
        (DEPTH, holding(pngs.encode(0 * RAW)), "no_valid_depth"),
    ],
)
def test_every_fault_of_a_file_is_a_status(tmp_path, place, spoil, status):
    put(tmp_path, SOUND)
    spoil(tmp_path / place)
    row = scanned(local(tmp_path))
    assert row["status"] == status
    assert place.removesuffix(".png").rpartition("/")[2] in row["detail"]


def test_a_fault_of_content_names_the_file_and_keeps_the_paths(tmp_path):
    put(tmp_path, SOUND | {DEPTH: b"junk"})
    row = scanned(local(tmp_path))
    assert row["detail"].startswith(f"{DEPTH}: ")
    assert (row["image_path"], row["depth_path"], row["depth_variant"]) == (IMAGE, DEPTH, "newest")


@pytest.mark.parametrize(
    ("status", "detail"), [("bad_entry", "train_split.json: entry 3 is ..."), ("unsafe_path", "entry 3 leaves ...")]
)
def test_a_faulty_entry_becomes_a_row_and_touches_no_file(tmp_path, status, detail):
    folder = CountingFolder(str(tmp_path))
    row = scanned(folder, Entry("train_split.json", 3, None, None, status, detail, "{}"))
    assert (row["status"], row["detail"], row["entry"]) == (status, detail, 3)
    assert folder.calls == []


def test_a_crashed_frame_has_a_row_of_its_own():
    row = empty_row(ENTRY, "crashed", "killed its worker")
    assert list(row) == SCHEMA.names
    assert (row["status"], row["detail"], row["filename"]) == ("crashed", "killed its worker", "0000000567")


def test_the_tests_above_produce_every_status():
    (marks,) = [mark for mark in test_every_fault_of_a_file_is_a_status.pytestmark if mark.name == "parametrize"]
    assert {status for *_, status in marks.args[1]} | {"ok", "bad_entry", "crashed"} == set(STATUSES)


# Faults of the environment


@pytest.mark.parametrize("image_stats", [True, False])
@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE], ids=errno.errorcode.get
)
@pytest.mark.parametrize("part", ["image_a6", "newest"])
def test_a_fault_of_the_environment_is_raised(tmp_path, part, code, image_stats):
    put(tmp_path, SOUND)
    with pytest.raises(OSError, match="gone") as caught:
        scanned(FailingFolder(str(tmp_path), part, OSError(code, "gone")), image_stats=image_stats)
    assert caught.value.errno == code


@pytest.mark.parametrize("image_stats", [True, False])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "missing"),
        (PermissionError(errno.EACCES, "Permission denied"), "unreadable"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "unreadable"),
    ],
    ids=["removed", "forbidden", "folder"],
)
@pytest.mark.parametrize(("part", "what"), [("image_a6", "image"), ("newest", "depth")])
def test_a_file_that_was_listed_but_cannot_be_opened_is_a_fault_of_the_data(
    tmp_path, part, what, error, kind, image_stats
):
    put(tmp_path, SOUND)
    row = scanned(FailingFolder(str(tmp_path), part, error), image_stats=image_stats)
    assert row["status"] == f"{kind}_{what}"


class UnlistableFolder(LocalFolder):
    """Refuses to list the scene ``a``."""

    error: Exception = PermissionError(errno.EACCES, "Permission denied")  # as a folder of mode 000 does

    def list(self, name: str = "", sizes: bool = False):
        if name.startswith("a/"):
            raise self.error
        return super().list(name, sizes)


def test_a_listing_that_fails_is_a_fault_of_the_environment(tmp_path, monkeypatch):
    put(tmp_path, SOUND)
    monkeypatch.setattr(UnlistableFolder, "error", OSError(errno.EIO, "gone"))
    with pytest.raises(OSError, match="gone"):
        scanned(UnlistableFolder(str(tmp_path)))


def test_a_scene_that_may_not_be_listed_costs_its_own_frames_only(tmp_path):
    put(tmp_path, SOUND | {path.replace("a/", "b/", 1): data for path, data in SOUND.items()})
    folder = UnlistableFolder(str(tmp_path))
    assert scanned(folder, Entry("s", 0, "b", ENTRY.stem))["status"] == "ok"
    assert scanned(folder, ENTRY)["status"] in ("unreadable_image", "missing_image")


# Only the header


def large_header_jpeg() -> bytes:
    buffer = io.BytesIO()
    profile = np.random.default_rng(0).bytes(3 * IMAGE_HEAD_BYTES)
    Image.fromarray(COLOUR.astype(np.uint8)).save(buffer, "JPEG", icc_profile=profile)
    return buffer.getvalue()


def test_without_image_statistics_only_the_images_head_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3))
    put(tmp_path, SOUND | {IMAGE: pngs.encode(noise, 8, pngs.RGB)})
    folder = CountingFolder(str(tmp_path))
    row = scanned(folder, image_stats=False)
    assert folder.names("read") == [DEPTH]
    assert folder.names("head") == [IMAGE]
    assert (row["status"], row["image_mode"], row["image_width"], row["image_height"]) == ("ok", "RGB", 300, 200)
    assert row["image_bytes"] == (tmp_path / IMAGE).stat().st_size > IMAGE_HEAD_BYTES
    assert {name for name, value in row.items() if value is None} == IMAGE_COLUMNS | {"detail"}


def test_with_image_statistics_each_file_is_read_once(tmp_path):
    put(tmp_path, SOUND)
    folder = CountingFolder(str(tmp_path))
    scanned(folder)
    assert folder.names("read") == [IMAGE, DEPTH]
    assert folder.names("head") == []


def test_a_jpeg_whose_header_is_longer_than_the_head_is_read_whole(tmp_path):
    path = IMAGE.replace(".png", ".jpg")
    data = large_header_jpeg()
    put(tmp_path, {path: data, DEPTH: SOUND[DEPTH]})
    folder = CountingFolder(str(tmp_path))
    row = scanned(folder, image_stats=False)
    assert (row["status"], row["image_width"], row["image_height"], row["image_bytes"]) == ("ok", 5, 4, len(data))
    assert folder.names("read") == [path, DEPTH]


@pytest.mark.parametrize("data", [b"junk", b"junk" * IMAGE_HEAD_BYTES], ids=["short", "long"])
def test_without_image_statistics_junk_is_still_unreadable(tmp_path, data):
    put(tmp_path, SOUND | {IMAGE: data})
    row = scanned(local(tmp_path), image_stats=False)
    assert row["status"] == "unreadable_image"
    assert row["detail"].startswith(f"{IMAGE}: ")


# Whatever a file holds


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    result = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(0, len(result) - 1)))
        result[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    return bytes(result[: data.draw(st.integers(0, len(result)) | st.just(len(result)))])


JPEG = io.BytesIO()
Image.fromarray(COLOUR.astype(np.uint8)).save(JPEG, "JPEG")
PICTURES = [
    SOUND[IMAGE],
    JPEG.getvalue(),
    pngs.example(pngs.PALETTE, 4),
    pngs.example(pngs.RGB_ALPHA, 16),
    pngs.example(pngs.GREY, 16),
]


@settings(deadline=None, max_examples=250)
@given(st.data(), st.sampled_from(PICTURES), st.booleans(), st.booleans())
def test_damaged_files_always_give_a_row(data, picture, image_stats, allow_8bit):
    files = {IMAGE: damaged(data, picture), DEPTH: damaged(data, SOUND[DEPTH])}
    row = scanned(MemoryFolder(files), image_stats=image_stats, allow_8bit=allow_8bit)
    if row["status"] == "ok":
        assert 0 < row["min_depth"] <= row["median_depth"] <= row["max_depth"] < math.inf


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_give_a_row(image, depth):
    assert scanned(MemoryFolder({IMAGE: image, DEPTH: depth}))["status"] == "unreadable_image"
    assert scanned(MemoryFolder({IMAGE: SOUND[IMAGE], DEPTH: depth}))["status"] == "unreadable_depth"


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=30)


@settings(deadline=None, max_examples=100)
@given(NAMES, NAMES)
def test_any_names_give_a_row(tmp_path_factory, dataset_root, stem):
    root = tmp_path_factory.getbasetemp()
    (root / "kept").touch()
    row = scanned(local(root), Entry("s", 0, f"x/{dataset_root}", stem))
    assert row["status"] == "missing_image"


# Sizes


@pytest.mark.parametrize(("path", "status"), [(IMAGE, "unreadable_image"), (DEPTH, "unreadable_depth")])
def test_a_file_larger_than_any_picture_is_not_read_into_memory(tmp_path, path, status):
    put(tmp_path, SOUND)
    os.truncate(tmp_path / path, MAX_FILE_BYTES + 1)
    tracemalloc.start()
    row = scanned(LocalFolder(str(tmp_path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (row["status"], peak < 2**23) == (status, True)
    assert f"the limit is {MAX_FILE_BYTES}" in row["detail"]


def test_a_listing_that_tells_the_size_saves_the_reading(tmp_path):
    class Telling(MemoryFolder):
        def list(self, name: str = "", sizes: bool = False) -> Listing:
            return Listing(dict.fromkeys(super().list(name).sizes, MAX_FILE_BYTES + 1))

    assert scanned(Telling(SOUND))["status"] == "unreadable_image"


def test_a_data_set_that_vanished_while_it_was_read_is_no_missing_file(tmp_path):
    put(tmp_path, SOUND)
    folder = LocalFolder(str(tmp_path))
    tree = Tree(folder, Roots.of(folder), ("newest",))
    assert scan_frame(ENTRY, tree, FrameOptions())["status"] == "ok"
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(OSError, match="the data set is gone"):
        scan_frame(ENTRY, tree, FrameOptions())


def test_the_largest_map_allowed_stays_within_what_the_limit_promises(tmp_path):
    side = 8192  # 64 megapixels
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), 700, dtype=np.uint16)).save(file, "PNG", compress_level=1)
    put(tmp_path, SOUND | {DEPTH: file.getvalue()})
    tracemalloc.start()  # counts what NumPy and Python hold; Pillow's own picture is not among it
    row = scanned(LocalFolder(str(tmp_path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert row["status"] == "ok"
    assert row["mean_depth"] == 700 / 256
    assert peak < 400 * 2**20
