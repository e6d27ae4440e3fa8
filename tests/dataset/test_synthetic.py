"""The synthetic tree: geometry against closed forms, pictures against depth, faults against their bytes."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncdb_dask.dataset.synthetic import SyntheticTree, write_tree
from ncdb_dask.dataset.synthetic.geometry import Shape, Solid, Solids, camera, trace
from ncdb_dask.dataset.synthetic.render import FOCAL, Renderer
from ncdb_dask.dataset.synthetic.rooms import room
from ncdb_dask.dataset.synthetic.scene import named
from ncdb_dask.dataset.synthetic.sensor import dense, encoded, rings
from ncdb_dask.dataset.synthetic.streets import street
from ncdb_dask.dataset.synthetic.surface import surface_at
from ncdb_dask.dataset.synthetic.tree import VARIANTS, build_scene, depth_maps, split_frames

SIZE = {"width": 96, "height": 64}
BANDS = {"day": (95, 255), "dusk": (60, 85), "night": (10, 60)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> SyntheticTree:
    """Six small scenes with faults."""
    return write_tree(tmp_path_factory.mktemp("tree"), scenes=6, frames=8, faults=True, **SIZE)


def read_bytes(root: Path) -> dict[str, bytes]:
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def raw_depth(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(np.int64)


def first_depth(root: Path, entry: dict[str, str]) -> Path:
    places = (root / entry["dataset_root"] / variant / f"{entry['new_filename']}.png" for variant in VARIANTS)
    return next(place for place in places if place.exists())


def luma(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image.convert("L"), np.float64).mean())


# The tree


def test_equal_seeds_give_equal_bytes(tmp_path):
    trees = [write_tree(tmp_path / name, scenes=2, frames=2, faults=True, seed=7, **SIZE) for name in "ab"]
    assert read_bytes(trees[0].root) == read_bytes(trees[1].root)
    other = write_tree(tmp_path / "c", scenes=2, frames=2, seed=8, **SIZE)
    name = f"{other.scenes[1]}/image_a6/0000000000.png"
    assert read_bytes(other.root)[name] != read_bytes(trees[0].root)[name]


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path):
    few = read_bytes(write_tree(tmp_path / "few", scenes=2, frames=2, **SIZE).root)
    more = read_bytes(write_tree(tmp_path / "more", scenes=3, frames=2, **SIZE).root)
    pictures = {name: data for name, data in few.items() if name.startswith("synced_data")}
    assert len(pictures) == 8
    assert all(more[name] == data for name, data in pictures.items())


def test_layout_and_counts(tree):
    train = json.loads((tree.root / "train_split.json").read_text("utf-8"))
    val = json.loads((tree.root / "val_split.json").read_text("utf-8"))
    assert tree.frames == 48
    assert tree.val == len(val)
    keys = [(e["dataset_root"], e["new_filename"]) for e in val + train[: tree.train - 2]]
    assert len(set(keys)) == len(keys)
    assert len({stem for _, stem in keys}) < len(keys)
    for entry in val + train[: tree.train - 2]:
        with Image.open(tree.root / entry["dataset_root"] / "image_a6" / f"{entry['new_filename']}.png") as image:
            assert (image.mode, image.size) == ("RGB", (96, 64))
        with Image.open(first_depth(tree.root, entry)) as image:
            assert (image.mode, image.size) == ("I;16", (96, 64))


def test_every_variant_occurs_from_four_scenes_on(tree):
    held = [{v for v in VARIANTS if (tree.root / scene / v).is_dir()} for scene in tree.scenes]
    assert set().union(*held[:4]) == set(VARIANTS)
    assert {len(variants) for variants in held} == {1, 2}
    counts = {v: len(list((tree.root / tree.scenes[2] / v).iterdir())) for v in held[2]}
    assert sorted(counts.values()) == [5, 8]


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 40, 300])
@pytest.mark.parametrize("number", [0, 1])
def test_train_and_validation_are_blocks_with_a_gap(number, frames):
    train, val = (list(range(frames)[part]) for part in split_frames(number, frames))
    assert train
    assert bool(val) == (frames > 1)
    for block in (train, val):
        assert block == list(range(block[0], block[0] + len(block))) if block else True
    if val:
        distance = min(abs(a - b) for a in (train[0], train[-1]) for b in (val[0], val[-1]))
        assert distance == 1 + min(4, frames // 8)


def test_progress_counts_every_frame(tmp_path):
    seen = []
    write_tree(tmp_path / "t", scenes=2, frames=3, on_frame=lambda done, total: seen.append((done, total)), **SIZE)
    assert seen == [(k, 6) for k in range(1, 7)]


@pytest.mark.parametrize(
    "wrong",
    [{"scenes": 0}, {"frames": 0}, {"seed": -1}, {"width": 8}, {"height": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}; expected .* or more"):
        write_tree(tmp_path / "t", **wrong)
    assert not (tmp_path / "t").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="name a new folder or empty this one"):
        write_tree(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        write_tree(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# Geometry against closed forms


def view(yaw=0.0, pitch=0.0, position=(0.0, 1.5, 0.0), width=64, height=48):
    return camera(position, yaw, pitch, width=width, height=height, focal=40.0)


@pytest.mark.parametrize("yaw", [0.0, 0.4, -1.1])
@pytest.mark.parametrize("pitch", [0.0, -0.2, 0.15])
def test_z_depth_of_a_ground_plane(yaw, pitch):
    ground = Solid(Shape.BOX, (0, -0.5, 0), (5000, 0.5, 5000), named("matt"))
    depth, index = trace(Solids([ground]), view(yaw, pitch))
    v = (np.arange(48) + 0.5 - 24) / 40.0
    # A row v (downwards) of a camera at height h and elevation p meets the ground where z (v cos p - sin p) = h.
    slope = v * math.cos(pitch) - math.sin(pitch)
    below = slope > 0.01
    expected = np.broadcast_to(1.5 / slope[below][:, None], (below.sum(), 64))
    np.testing.assert_allclose(depth[below], expected, rtol=2e-4)
    assert np.isinf(depth[slope < 0]).all()
    assert (index[slope < 0] == -1).all()


def test_z_depth_of_a_wall_is_constant_and_not_the_ray_length():
    wall = Solid(Shape.BOX, (0, 0, 7.5), (100, 100, 0.5), named("matt"))
    depth, _ = trace(Solids([wall]), view())
    np.testing.assert_allclose(depth, 7.0, rtol=1e-5)


def test_the_inside_of_a_room():
    walls = Solid(Shape.ROOM, (0, 1.5, 0), (2, 1.5, 4), named("matt"))
    depth, _ = trace(Solids([walls]), view(position=(0.3, 1.2, -1.0)))
    u, v = (np.arange(64) + 0.5 - 32) / 40.0, (np.arange(48) + 0.5 - 24) / 40.0
    aside = np.where(u > 0, 1.7 / np.abs(u), 2.3 / np.abs(u))
    above = np.where(v > 0, 1.2 / np.abs(v), 1.8 / np.abs(v))
    np.testing.assert_allclose(depth, np.minimum(np.minimum(aside[None, :], above[:, None]), 5.0), rtol=1e-5)


def test_a_turned_box_sphere_and_cylinder():
    # Each is met on the optical axis, where the depth is the distance to the near side.
    grid = camera((0, 0, 0), 0.0, 0.0, width=65, height=49, focal=60.0)
    cases = [
        (Solid(Shape.SPHERE, (0, 0, 9), (1, 1, 2), named("matt")), 7.0),
        (Solid(Shape.CYLINDER, (0, 0, 9), (1.5, 3, 1.5), named("matt")), 7.5),
        (Solid(Shape.CYLINDER, (0, 0, 9), (1.5, 3, 1.5), named("matt"), turn=math.pi / 2, lying=True), 6.0),
        (Solid(Shape.BOX, (0, 0, 9), (1, 1, 1), named("matt"), turn=math.pi / 4), 9 - math.sqrt(2)),
    ]
    for solid, expected in cases:
        depth, _ = trace(Solids([solid]), grid)
        assert depth[24, 32] == pytest.approx(expected, abs=1e-4)


def test_the_nearest_solid_wins_whatever_the_order():
    near = Solid(Shape.BOX, (0, 1.5, 4), (0.5, 0.5, 0.5), named("matt"))
    far = Solid(Shape.BOX, (0, 1.5, 9), (4, 4, 0.5), named("matt"))
    one, first = trace(Solids([near, far]), view())
    other, second = trace(Solids([far, near]), view())
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first == 0, second == 1)
    assert one.min() == pytest.approx(3.5, abs=1e-4)


def test_normals_face_the_camera_and_textures_start_at_the_corner():
    grid = view()
    table = Solids(
        [
            Solid(Shape.ROOM, (0, 1.5, 0), (3, 1.5, 8), named("matt")),
            Solid(Shape.BOX, (-1, 0.5, 3), (0.5, 0.5, 0.4), named("matt"), turn=0.6),
            Solid(Shape.SPHERE, (1, 1, 3), (0.6, 0.4, 0.5), named("matt")),
            Solid(Shape.CYLINDER, (0, 0.4, 4), (0.3, 0.4, 0.3), named("matt"), turn=0.3, lying=True),
        ]
    )
    depth, index = trace(table, grid)
    points = grid.points(depth)
    surface = surface_at(table, points, index.ravel())
    assert set(index.ravel()) == {0, 1, 2, 3}
    np.testing.assert_allclose((surface.normal**2).sum(axis=0), 1, atol=1e-4)
    away = points - np.array([[0], [1.5], [0]])
    assert ((away * surface.normal).sum(axis=0) < 1e-3).mean() > 0.999
    assert (surface.uv > -1e-3).all()
    assert (surface.uv < surface.extent + 1e-3).all()


def test_points_project_back_to_their_pixels():
    grid = view(yaw=0.3, pitch=-0.1)
    depth = np.full((48, 64), 5, np.float32)
    u, v, t = grid.project(grid.points(depth)).reshape(3, 48, 64)
    np.testing.assert_allclose(u, np.broadcast_to(grid.u, u.shape), atol=1e-5)
    np.testing.assert_allclose(v, np.broadcast_to(grid.v[:, None], v.shape), atol=1e-5)
    np.testing.assert_allclose(t, 5, rtol=1e-5)


# Pictures belong to depth


@pytest.fixture(scope="module")
def frames():
    """Frames 0 and 12 of a room and a street by day, as (rgb, depth, reach)."""
    found = []
    for number in (0, 1):
        scene = build_scene(number, 40, 42)
        renderer = Renderer(scene, 224, 128, (42, number))
        found.append([(f.rgb, f.depth, scene.reach) for f in (renderer.frame(0), renderer.frame(12))])
    return found


def edge_strength(rgb, depth, reach):
    """Mean colour step across the depth's occlusion edges, relative to the mean colour step everywhere."""
    grey = rgb.astype(np.float64).mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1))
    near = np.minimum(depth, reach).astype(np.float64)
    jumps = np.abs(np.diff(np.log(near), axis=1)) > 0.15
    assert jumps.sum() > 100
    return steps[jumps].mean() / steps.mean()


@pytest.mark.parametrize("kind", [0, 1], ids=["room", "street"])
def test_colour_edges_lie_on_occlusion_edges(frames, kind):
    (rgb, depth, reach), (later, _, _) = frames[kind]
    true = edge_strength(rgb, depth, reach)
    assert true > 3
    for shift in (-10, -3, 3, 10):
        assert edge_strength(np.roll(rgb, shift, axis=1), depth, reach) < 0.6 * true
        assert edge_strength(np.roll(rgb, shift, axis=0), depth, reach) < 0.85 * true
    assert edge_strength(later, depth, reach) < 0.6 * true


@pytest.mark.parametrize("number", [0, 1])
def test_the_time_of_the_day_does_not_alter_depth(number):
    build = street if number else room
    pictures, depths = {}, {}
    for time in BANDS:
        scene = build(np.random.default_rng(3), 0, time, 2)
        frame = Renderer(scene, 96, 64, (3, 0)).frame(1)
        pictures[time], depths[time] = frame.rgb.mean(), frame.depth
    np.testing.assert_array_equal(depths["day"], depths["night"])
    np.testing.assert_array_equal(depths["day"], depths["dusk"])
    assert pictures["day"] > pictures["dusk"] > pictures["night"]


def test_luma_of_every_frame_is_in_the_band_of_its_scene(tree):
    times = [build_scene(number, 8, 42).lighting.time for number in range(6)]
    assert set(times[::2]) == set(times[1::2]) == set(BANDS)
    for scene, time in zip(tree.scenes, times, strict=True):
        low, high = BANDS[time]
        means = [luma(path) for path in (tree.root / scene / "image_a6").iterdir()]
        assert low < min(means) <= max(means) < high, (scene, time)


def test_neighbours_are_near_duplicates():
    scene = build_scene(1, 40, 42)
    renderer = Renderer(scene, 96, 64, (42, 1))
    pictures = [renderer.frame(k).rgb.astype(np.float64) for k in (0, 1, 20)]
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.6 * np.abs(pictures[0] - pictures[2]).mean()
    places = np.array([pose.position for pose in scene.path])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert steps.max() < 1
    assert len(set(places[:, 1])) == 1


# Depth maps


@pytest.mark.parametrize("seed", range(3))
def test_depth_ranges(seed):
    for number in range(6):
        scene = build_scene(number, 3, seed)
        depth = Renderer(scene, 96, 64, (seed, number)).frame(2).depth
        seen = depth[depth <= scene.reach]
        indoors = scene.kind == "room"
        assert seen.min() > 0.5
        assert seen.max() < (10 if indoors else 80.01)
        assert np.isinf(depth).any() != indoors


def test_dense_and_lidar_share_the_same_depth_and_leave_the_sky_out():
    scene = build_scene(1, 1, 42)
    frame = Renderer(scene, 160, 96, (42, 1)).frame(0)
    rng = np.random.default_rng(0)
    full = encoded(frame.depth, dense(frame.depth.shape, rng), scene.reach)
    sparse = encoded(frame.depth, rings(frame.depth, FOCAL * 160, scene.reach, rng), scene.reach)
    sky = np.isinf(frame.depth)
    assert sky.any()
    assert not full[sky].any()
    assert not sparse[sky].any()
    assert (full[frame.depth <= scene.reach] > 0).mean() > 0.98
    both = (full > 0) & (sparse > 0)
    np.testing.assert_array_equal(full[both], sparse[both])
    np.testing.assert_allclose(full[full > 0] / 256, frame.depth[full > 0], atol=0.5 / 256 + 1e-6)


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (320, 192)])
def test_lidar_fills_a_twentieth_to_a_fifth(number, width, height):
    scene = build_scene(number, 2, 5)
    frame = Renderer(scene, width, height, (5, number)).frame(1)
    (raw,) = depth_maps(frame, scene, number, 1, (5, number)).values()
    assert 0.05 < (raw > 0).mean() < 0.2


# Faults


def header(data: bytes) -> tuple[int, int]:
    """Bit depth and colour type, read from the IHDR chunk itself."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">BB", data[24:26])


def pixels(data: bytes) -> bytes:
    """Inflate the IDAT chunks, without Pillow."""
    body, place = b"", 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        kind, chunk = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        body, place = body + (chunk if kind == b"IDAT" else b""), place + 12 + size
    return zlib.decompress(body)


def readable(data: bytes) -> bool:
    try:
        return data.startswith(b"\x89PNG") and len(pixels(data)) > 0
    except zlib.error:
        return False


@pytest.fixture(scope="module")
def broken(tree):
    """The broken items by fault: (status, entry of the split)."""
    items = json.loads((tree.root / "train_split.json").read_text("utf-8"))
    expected = json.loads((tree.root / "expected_status.json").read_text("utf-8"))
    assert {row["split"] for row in expected} == {"train_split.json"}
    assert len(expected) == tree.faults
    return {row["fault"]: (row["status"], items[row["entry"]]) for row in expected}


def files(tree, entry):
    stem, scene = entry["new_filename"], tree.root / entry["dataset_root"]
    depths = [scene / variant / f"{stem}.png" for variant in VARIANTS]
    image, depth = scene / "image_a6" / f"{stem}.png", next((path for path in depths if path.exists()), None)
    return image.read_bytes() if image.exists() else None, depth.read_bytes() if depth else None


def of_status(broken, status):
    return {fault: entry for fault, (found, entry) in broken.items() if found == status}


def test_every_status_has_an_entry(broken, tree):
    assert {status for status, _ in broken.values()} == {
        "bad_entry",
        "unsafe_path",
        "missing_image",
        "missing_depth",
        "unreadable_image",
        "unreadable_depth",
        "unsupported_depth",
        "no_valid_depth",
    }
    assert len(broken) == tree.faults


def test_bad_entries_have_no_two_texts(broken):
    for entry in of_status(broken, "bad_entry").values():
        values = [entry.get(name) for name in ("dataset_root", "new_filename")] if isinstance(entry, dict) else [None]
        assert not all(isinstance(value, str) and value for value in values)


def test_unsafe_paths_lead_out_of_the_tree(broken, tree):
    entries = of_status(broken, "unsafe_path")
    assert len(entries) >= 5
    for entry in entries.values():
        image = entry.get("image_path") or f"{entry['dataset_root']}/image_a6/{entry['new_filename']}.png"
        assert not (tree.root / image).resolve().is_relative_to(tree.root)
    link = entries.get("link out of the tree")
    if link is not None:
        assert (tree.root / link["dataset_root"] / "image_a6" / f"{link['new_filename']}.png").is_file()


def test_missing_and_unreadable_files(broken, tree):
    for status, image_sound, depth_sound in (
        ("missing_image", None, True),
        ("missing_depth", True, None),
        ("unreadable_image", False, True),
        ("unreadable_depth", True, False),
    ):
        entries = of_status(broken, status)
        assert entries
        for fault, entry in entries.items():
            for data, sound in zip(files(tree, entry), (image_sound, depth_sound), strict=True):
                assert (data is None) == (sound is None), fault
                if sound:
                    assert pixels(data)
                elif data is not None:
                    assert not readable(data), fault


def test_damaged_depth_keeps_a_sound_header(broken, tree):
    for fault in ("truncated depth", "bits flipped in depth"):
        _, data = files(tree, broken[fault][1])
        assert header(data) == (16, 0)
        assert b"IDAT" in data
    sound = files(tree, broken["truncated picture"][1])[1]
    flipped = files(tree, broken["bits flipped in depth"][1])[1]
    differing = [k for k, (a, b) in enumerate(zip(sound, flipped, strict=True)) if a != b]
    assert len(differing) == 1
    with Image.open(io.BytesIO(flipped)) as image, pytest.raises(OSError, match=r"broken|decod"):
        image.load()


def test_unsupported_depth_is_of_the_kind_it_says(broken, tree):
    kinds = {
        "RGB depth": (8, 2),
        "palette depth": (8, 3),
        "16-bit depth with alpha": (16, 4),
        "1-bit depth": (1, 0),
        "8-bit depth": (8, 0),
    }
    entries = of_status(broken, "unsupported_depth")
    assert set(entries) == set(kinds)
    for fault, entry in entries.items():
        image, depth = files(tree, entry)
        assert header(image) == (8, 2)
        assert header(depth) == kinds[fault]
        bits, colour = kinds[fault]
        row = 1 + math.ceil(96 * bits * {0: 1, 2: 3, 3: 1, 4: 2}[colour] / 8)
        assert len(pixels(depth)) == 64 * row


def test_depth_that_is_zero_everywhere(broken, tree):
    (entry,) = of_status(broken, "no_valid_depth").values()
    _, depth = files(tree, entry)
    assert header(depth) == (16, 0)
    assert not any(pixels(depth)[1:])


def test_the_sound_oddities_are_not_listed(tree):
    items = json.loads((tree.root / "train_split.json").read_text("utf-8"))
    duplicate, other_form, jpg = items[-3:]
    assert items.count(duplicate) == 2
    assert items[0] == duplicate
    assert (tree.root / other_form["image_path"]).is_file()
    scene = tree.root / jpg["dataset_root"] / "image_a6"
    assert not (scene / f"{jpg['new_filename']}.png").exists()
    with Image.open(scene / f"{jpg['new_filename']}.jpg") as image:
        assert image.format == "JPEG"
    assert raw_depth(first_depth(tree.root, jpg)).max() > 256
    assert len(items) == tree.train + tree.faults + 1


def test_without_faults_there_is_no_side_file(tmp_path):
    plain = write_tree(tmp_path / "t", scenes=1, frames=1, **SIZE)
    assert sorted(path.name for path in plain.root.iterdir()) == ["synced_data", "train_split.json", "val_split.json"]
    assert (plain.train, plain.val, plain.faults) == (1, 0, 0)
