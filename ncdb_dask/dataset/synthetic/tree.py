"""The tree on disk: scenes with their pictures and depth maps, and the two splits."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ncdb_dask.dataset.layout import DEFAULT_VARIANTS as VARIANTS
from ncdb_dask.dataset.synthetic import png
from ncdb_dask.dataset.synthetic.faults import SPLIT, Sound, expected_statuses, write_faults
from ncdb_dask.dataset.synthetic.render import FOCAL, Frame, Renderer
from ncdb_dask.dataset.synthetic.rooms import room
from ncdb_dask.dataset.synthetic.scene import Scene
from ncdb_dask.dataset.synthetic.sensor import dense, encoded, rings
from ncdb_dask.dataset.synthetic.streets import street

GAP = 4
SMALLEST = 32
_TIMES = ("day", "day", "dusk", "night", "night", "dusk")
OnFrame = Callable[[int, int], None]


@dataclass(frozen=True)
class SyntheticTree:
    """What `write_tree` wrote.

    Attributes
    ----------
    root : Path
        The tree's folder.
    scenes : tuple of str
        The ``dataset_root`` of each scene.
    frames : int
        Frames of all scenes together, those in the gap between the splits included, broken ones not.
    train, val : int
        Sound entries of the two splits, each frame counted once.
    faults : int
        Broken entries of ``train_split.json``.
    """

    root: Path
    scenes: tuple[str, ...]
    frames: int
    train: int
    val: int
    faults: int


def write_tree(
    out: str | os.PathLike[str],
    *,
    scenes: int = 6,
    frames: int = 40,
    seed: int = 42,
    faults: bool = False,
    width: int = 320,
    height: int = 192,
    on_frame: OnFrame | None = None,
) -> SyntheticTree:
    """Write a valid NCDB tree of ray-cast rooms and streets whose depth belongs exactly to the pictures.

    Scene k is a room (k even) or a street (k odd) by day, at dusk or at night, and depends on nothing but `seed`, k,
    `frames` and the size of the picture. The depth of every third scene is LiDAR-like; of another third, there is a
    second variant for some frames. Train and validation are contiguous parts of each video with a gap between them;
    a scene of fewer than 8 frames has no gap, a scene of one frame has no validation.

    Parameters
    ----------
    out : path
        Folder to write; it must not exist or must be empty.
    scenes, frames : int
        Number of scenes, and of frames in each.
    seed : int
        Non-negative; equal seeds give equal bytes with equal versions of NumPy and Pillow.
    faults : bool
        Add every kind of broken entry to the end of ``train_split.json`` and list their expected statuses in
        ``expected_status.json``; entries that are not listed there are ``ok``. Three sound oddities are not listed:
        an exact duplicate of the first entry (a reader keeps one row), an ``image_path`` item and a ``.jpg`` picture.
    width, height : int
        Size of the pictures in pixels, at least 32.
    on_frame : callable, optional
        Called with (frames written, frames in all) after each frame.

    Returns
    -------
    SyntheticTree
        What was written.

    Raises
    ------
    ValueError
        If a number is out of its range.
    FileExistsError
        If `out` is a file or a folder that is not empty; nothing is overwritten.
    """
    _check(scenes=(scenes, 1), frames=(frames, 1), seed=(seed, 0), width=(width, SMALLEST), height=(height, SMALLEST))
    root = _empty_folder(Path(out))
    names: list[str] = []
    train: list[object] = []
    val: list[object] = []
    for number in range(scenes):
        scene = build_scene(number, frames, seed)
        names.append(f"synced_data/scene_{number:03d}_{scene.kind}")
        for done in _write_scene(root / names[-1], scene, number, (seed, number), (width, height)):
            if on_frame is not None:
                on_frame(number * frames + done, scenes * frames)
        for entries, part in zip((train, val), split_frames(number, frames), strict=True):
            entries += [{"dataset_root": names[-1], "new_filename": f"{k:010d}"} for k in range(frames)[part]]
    items = write_faults(root, _sound(root, names[0])) if faults else []
    new = [item.entry for item in items if item.status == "ok" and item.entry not in train]
    expected = expected_statuses(items, len(train))
    if faults:
        _write_json(root / "expected_status.json", expected)
    _write_json(root / SPLIT, [*train, *(item.entry for item in items)])
    _write_json(root / "val_split.json", val)
    return SyntheticTree(root, tuple(names), scenes * frames, len(train) + len(new), len(val), len(expected))


def build_scene(number: int, frames: int, seed: int) -> Scene:
    """Return scene `number`; rooms and streets take turns, and so do the times of the day and the sizes."""
    build, turn = street if number % 2 else room, len(_TIMES)
    # The sizes move on after each turn, so that a size does not belong to one time of the day.
    return build(np.random.default_rng([seed, number]), number // 2 + number // turn, _TIMES[number % turn], frames)


def split_frames(number: int, frames: int) -> tuple[slice, slice]:
    """Return the frames of scene `number` for train and for validation.

    Validation is the last fifth of the video in even scenes, the first fifth in odd ones.
    """
    val = 0 if frames < 2 else max(1, round(frames / 5))
    gap = min(GAP, frames // 8)
    if number % 2:
        return slice(val + gap, frames), slice(0, val)
    return slice(0, frames - val - gap), slice(frames - val, frames)


def depth_maps(
    frame: Frame, scene: Scene, number: int, index: int, seed: tuple[int, ...]
) -> dict[str, NDArray[np.uint16]]:
    """Return the 16-bit depth maps of one frame by variant.

    Every scene has a variant of its own, so four scenes hold all four; scenes 1, 4, 7, ... are LiDAR-like, and scenes
    2, 5, 8, ... hold a LiDAR-like variant besides the dense one for five frames out of ten.
    """
    rng = np.random.default_rng([*seed, 2000, index])
    height, width = frame.depth.shape
    full = encoded(frame.depth, dense((height, width), rng), scene.reach)
    sparse = encoded(frame.depth, rings(frame.depth, FOCAL * width, scene.reach, rng), scene.reach)
    own = number % len(VARIANTS)
    maps = {VARIANTS[own]: sparse if number % 3 == 1 else full}
    if number % 3 == 2 and index % 10 < 5:
        maps[VARIANTS[(own + 2) % len(VARIANTS)]] = sparse
    return maps


def _write_scene(
    folder: Path, scene: Scene, number: int, seed: tuple[int, ...], size: tuple[int, int]
) -> Iterator[int]:
    """Write the frames of one scene; yield after each how many are there."""
    (folder / "image_a6").mkdir(parents=True)
    renderer = Renderer(scene, *size, seed)
    for index in range(len(scene.path)):
        frame, stem = renderer.frame(index), f"{index:010d}.png"
        (folder / "image_a6" / stem).write_bytes(png.picture(frame.rgb))
        for variant, raw in depth_maps(frame, scene, number, index, seed).items():
            (folder / variant).mkdir(exist_ok=True)
            (folder / variant / stem).write_bytes(png.picture(raw))
        yield index + 1


def _sound(root: Path, scene: str) -> Sound:
    """Read the first frame of `scene`."""
    stem = f"{0:010d}"
    with Image.open(root / scene / "image_a6" / f"{stem}.png") as image:
        rgb = np.asarray(image)
    with Image.open(root / scene / VARIANTS[0] / f"{stem}.png") as image:
        raw = np.asarray(image).astype(np.uint16)
    return Sound({"dataset_root": scene, "new_filename": stem}, rgb, raw)


def _check(**given: tuple[int, int]) -> None:
    for name, (value, least) in given.items():
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")


def _empty_folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder that does not exist yet")
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty and nothing is overwritten; name a new folder or empty this one")
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")
