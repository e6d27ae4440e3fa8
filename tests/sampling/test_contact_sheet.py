"""The contact sheet: what its thumbnails show, and what becomes of frames that are gone."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import write_tree
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ncdb_dask
from ncdb_dask.errors import SampleError
from ncdb_dask.sampling import contact_sheet
from ncdb_dask.sampling.contact_sheet import coloured, depth_thumbnail

pytest.importorskip("matplotlib")
SPAN = (0.5, 50.0)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    write_tree(tmp_path / "data", 12)
    ncdb_dask.scan(tmp_path / "data", tmp_path / "scan")
    return tmp_path / "data", tmp_path / "scan"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


# Thumbnails


@given(st.integers(0, 399), st.floats(0.1, 80))
def test_a_single_point_of_a_sparse_map_survives(place, depth):
    metres = np.zeros((200, 200))
    metres[place // 2, (place * 31) % 200] = depth
    small = depth_thumbnail(metres, (20, 10))
    assert small.shape == (10, 20)
    assert np.count_nonzero(small) == 1
    assert small.max() == pytest.approx(depth)
    row, column = (int(k[0]) for k in np.nonzero(small))
    assert (row, column) == (place // 2 // 20, (place * 31) % 200 // 10)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_a_thumbnail_holds_nothing_but_the_nearest_of_each_block(height, width, rows, columns, seed):
    rng = np.random.default_rng(seed)
    metres = np.where(rng.random((height, width)) < 0.4, rng.integers(1, 9, (height, width)), 0).astype(float)
    small = depth_thumbnail(metres, (columns, rows))
    assert small.shape == (rows, columns)
    assert set(np.unique(small)) <= set(np.unique(metres)) | {0.0}
    nearest = metres[metres > 0].min() if metres.any() else 0
    assert (small[small > 0].min() if small.any() else 0) == nearest
    if (rows, columns) == (height, width):
        assert np.array_equal(small, metres)


def test_the_mean_would_mix_what_the_nearest_keeps_apart():
    metres = np.asarray([[2.0, 10.0], [0.0, 10.0]])
    assert depth_thumbnail(metres, (1, 1)).tolist() == [[2.0]]
    assert depth_thumbnail(np.zeros((4, 4)), (2, 2)).tolist() == [[0, 0], [0, 0]]


def test_near_is_bright_far_is_dark_and_invalid_is_grey():
    depths = np.geomspace(*SPAN, 40)[None]
    light = coloured(depths, SPAN).sum(axis=2)[0].astype(int)
    assert (np.diff(light) <= 0).all()
    assert light[0] > 2 * light[-1]
    assert coloured(np.asarray([[0.0, 1.0]]), SPAN)[0, 0].tolist() == [64, 64, 64]
    assert coloured(np.asarray([[0.01, 900.0]]), SPAN).tolist() == coloured(np.asarray([list(SPAN)]), SPAN).tolist()
    assert coloured(depths, SPAN).shape == (1, 40, 3)
    colours = {tuple(colour) for colour in coloured(depths, SPAN)[0].tolist()}
    assert (64, 64, 64) not in colours
    assert len(colours) > 30


# The page


def test_every_frame_is_on_the_page(tree, tmp_path):
    data, scan = tree
    told = []
    chosen = ncdb_dask.sample(
        scan,
        tmp_path / "set.json",
        size=9,
        strategy="random",
        picture=False,
        contact_sheet=True,
        on_frame=lambda done, total: told.append((done, total)),
    )
    assert told == [(k, 9) for k in range(1, 10)]
    page = pixels(tmp_path / "set.sheet.png")
    groups = [chosen.ranges.count(name) for name in ("near", "mid", "far", "very_far") if name in chosen.ranges]
    rows = [-(-count // 5) for count in groups]
    # Pictures of 16 x 12 are shown as they are, in cells as high as 16 x 12 is at full width: 104.
    height = 58 + sum(30 + count * (104 + 30 + 8) for count in rows)
    assert page.shape == (height, 5 * (2 * 168 + 16) + 8, 3)
    for scene, stem in chosen.keys:
        with Image.open(data / scene / "image_a6" / f"{stem}.png") as image:
            assert _somewhere(page, np.asarray(image.convert("RGB")).astype(int)), (scene, stem)
        with Image.open(data / scene / "newest_depth_maps" / f"{stem}.png") as image:
            metres = np.asarray(image) / 256
        means = chosen.mean_depths[1]
        assert _somewhere(page, coloured(metres, (means.min() / 2, means.max() * 2)).astype(int)), (scene, stem)


def _somewhere(page: np.ndarray, picture: np.ndarray) -> bool:
    height, width = picture.shape[:2]
    corner = np.argwhere((page[: page.shape[0] - height, : page.shape[1] - width] == picture[0, 0]).all(axis=2))
    return any(np.array_equal(page[y : y + height, x : x + width], picture) for y, x in corner)


def test_a_set_too_large_for_a_page_shows_its_first_frames(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MOST_FRAMES", 4)
    told = []
    ncdb_dask.sample(
        tree[1],
        tmp_path / "set.json",
        size=9,
        picture=False,
        strategy="first",
        contact_sheet=True,
        on_frame=lambda *counts: told.append(counts),
    )
    assert told[-1] == (4, 4)


def test_a_scan_that_decoded_no_image_has_a_sheet_too(tmp_path):
    write_tree(tmp_path / "data", 6)
    ncdb_dask.scan(tmp_path / "data", tmp_path / "scan", image_stats=False)
    ncdb_dask.sample(tmp_path / "scan", tmp_path / "set.json", size=3, strategy="first", contact_sheet=True)
    assert pixels(tmp_path / "set.sheet.png").std() > 10


def test_a_data_set_that_has_moved(tree, tmp_path):
    data, scan = tree
    data.rename(tmp_path / "moved")
    options = {"size": 3, "strategy": "first", "picture": False, "contact_sheet": True}
    with pytest.raises(SampleError, match="is gone from"):
        ncdb_dask.sample(scan, tmp_path / "set.json", **options)
    ncdb_dask.sample(scan, tmp_path / "set.json", root=tmp_path / "moved", **options)
    assert pixels(tmp_path / "set.sheet.png").std() > 10


@pytest.mark.parametrize("folder", ["image_a6", "newest_depth_maps"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "was there when it was scanned and is gone from"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "it was sound when it was scanned: scan again"),
        (lambda path: path.write_bytes(b""), "it was sound when it was scanned: scan again"),
        (lambda path: (path.unlink(), path.mkdir()), r"cannot be read from .* \(Is a directory\)"),
    ],
    ids=["gone", "cut", "empty", "folder"],
)
def test_a_frame_that_vanished_or_broke_is_named_and_nothing_is_written(folder, damage, says, tree, tmp_path):
    data, scan = tree
    damage(data / "synced_data" / "b" / folder / "0000000002.png")
    before = names(tmp_path)
    with pytest.raises(SampleError, match=says) as error:
        ncdb_dask.sample(scan, tmp_path / "set.json", size=12, strategy="random", contact_sheet=True)
    assert str(error.value).startswith(f"synced_data/b/{folder}/0000000002.png: ")
    assert names(tmp_path) == before


def test_the_picture_is_of_the_documented_size_and_not_empty(tree, tmp_path):
    ncdb_dask.sample(tree[1], tmp_path / "set.json", size=8, strategy="matched")
    page = pixels(tmp_path / "set.png")
    assert page.shape == (900, 1500, 3)
    panels = [panel for half in np.split(page, 2) for panel in np.split(half, 3, axis=1)]
    assert all(panel.std() > 10 for panel in panels)


def test_pictures_of_a_set_of_someone_else(tree, tmp_path):
    ncdb_dask.sample_report(
        "train_split.json", tree[1], picture=tmp_path / "p.png", contact_sheet=tmp_path / "made" / "s.png"
    )
    assert pixels(tmp_path / "p.png").shape == (900, 1500, 3)
    assert pixels(tmp_path / "made" / "s.png").std() > 10
