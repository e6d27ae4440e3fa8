"""Broken entries of every kind, each with the status that a reader must give it."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ncdb_dask.dataset.synthetic import png

SPLIT = "train_split.json"
SCENE = "synced_data/faults"
VARIANT = "newest_depth_maps"


@dataclass(frozen=True)
class Item:
    """An item of the split: what is written, the status it must get (``ok`` if sound) and what was done to it."""

    entry: object
    status: str
    fault: str = ""


@dataclass(frozen=True)
class Sound:
    """A sound frame to break: its entry, its picture ``(H, W, 3)`` and its raw depth ``(H, W)``."""

    entry: dict[str, str]
    rgb: NDArray[np.uint8]
    raw: NDArray[np.uint16]


def write_faults(root: Path, sound: Sound) -> list[Item]:
    """Write the broken frames below `root` and return their items, in the order in which the split holds them.

    The last three items are sound: a duplicate of ``sound.entry``, the ``image_path`` form and a ``.jpg`` picture.
    """
    depth, file = png.picture(sound.raw), io.BytesIO()
    Image.fromarray(sound.rgb).save(file, "JPEG", quality=92)
    plain = _write(root, 0, png.picture(sound.rgb), depth)
    jpg = _write(root, 1, file.getvalue(), depth, suffix=".jpg")
    other_form = {"image_path": f"{SCENE}/image_a6/{plain}.png"}
    oddities = (sound.entry, other_form, _entry(jpg))
    return [
        *_bad_entries(),
        *_unsafe_paths(root),
        *_link(root, depth),
        *_frames(root, sound),
        *(Item(entry, "ok") for entry in oddities),
    ]


def expected_statuses(items: Sequence[Item], first: int) -> list[dict[str, str | int]]:
    """Return what ``expected_status.json`` says of `items`, of which the split holds the first as entry `first`."""
    return [
        {"split": SPLIT, "entry": entry, "status": item.status, "fault": item.fault}
        for entry, item in enumerate(items, start=first)
        if item.status != "ok"
    ]


def _bad_entries() -> list[Item]:
    bad: tuple[tuple[object, str], ...] = (
        ("0000000000", "a string"),
        (None, "null"),
        (17, "a number"),
        ([SCENE, "0000000000"], "a list"),
        ({}, "an empty object"),
        ({"dataset_root": SCENE}, "no new_filename"),
        ({"new_filename": "0000000000"}, "no dataset_root"),
        ({"dataset_root": SCENE, "new_filename": 567}, "new_filename is a number"),
        ({"dataset_root": SCENE, "new_filename": None}, "new_filename is null"),
        ({"dataset_root": SCENE, "new_filename": ""}, "new_filename is empty"),
        ({"dataset_root": "", "new_filename": "0000000000"}, "dataset_root is empty"),
    )
    return [Item(entry, "bad_entry", fault) for entry, fault in bad]


def _unsafe_paths(root: Path) -> Iterator[Item]:
    elsewhere = (Path(root.anchor) / "ncdb_elsewhere" / "synced_data").as_posix()
    yield Item(_entry("0000000000", "../outside"), "unsafe_path", "dataset_root climbs out")
    yield Item(_entry("0000000001", "synced_data/../../outside"), "unsafe_path", "dataset_root climbs out midway")
    yield Item(_entry("../../../../outside"), "unsafe_path", "new_filename climbs out")
    yield Item({"image_path": "../outside/image_a6/0000000000.png"}, "unsafe_path", "image_path climbs out")
    yield Item(_entry("0000000002", elsewhere), "unsafe_path", "absolute dataset_root elsewhere")


def _link(root: Path, depth: bytes) -> Iterator[Item]:
    """Link a picture to a file that exists outside the tree, and that a reader would open if it did not look."""
    stem = _write(root, 2, b"", depth)
    place = root / SCENE / "image_a6" / f"{stem}.png"
    place.unlink()
    with suppress(OSError, NotImplementedError):  # some systems allow links to administrators only
        place.symlink_to(Path(__file__).resolve())
        yield Item(_entry(stem), "unsafe_path", "link out of the tree")


def _frames(root: Path, sound: Sound) -> Iterator[Item]:
    image, depth = png.picture(sound.rgb), png.picture(sound.raw)
    text = b"this is no picture\n"
    cases: list[tuple[str, str, bytes | None, bytes | None]] = [
        ("missing_image", "no picture", None, depth),
        ("missing_depth", "no depth in any variant", image, None),
        ("unreadable_image", "truncated picture", png.cut(image), depth),
        ("unreadable_image", "empty picture", b"", depth),
        ("unreadable_image", "text as picture", text, depth),
        ("unreadable_depth", "truncated depth", image, png.cut(depth)),
        ("unreadable_depth", "empty depth", image, b""),
        ("unreadable_depth", "text as depth", image, text),
        ("unreadable_depth", "bits flipped in depth", image, png.flipped(depth)),
        *(("unsupported_depth", fault, image, data) for fault, data in _unsupported(sound.raw)),
        ("no_valid_depth", "all depth zero", image, png.picture(np.zeros_like(sound.raw))),
    ]
    for number, (status, fault, picture, map_) in enumerate(cases):
        yield Item(_entry(_write(root, 10 + number, picture, map_)), status, fault)


def _unsupported(raw: NDArray[np.uint16]) -> Iterator[tuple[str, bytes]]:
    width = raw.shape[1]
    near = (raw >> 8).astype(np.uint8)
    yield "RGB depth", png.encode(np.repeat(near, 3, axis=1), width, 8, png.RGB)
    yield "palette depth", png.encode(near, width, 8, png.PALETTE, bytes(k for k in range(256) for _ in range(3)))
    opaque = np.dstack([raw, np.full_like(raw, 65535)]).astype(">u2").view(np.uint8).reshape(len(raw), -1)
    yield "16-bit depth with alpha", png.encode(opaque, width, 16, png.GREY_ALPHA)
    yield "1-bit depth", png.encode(np.packbits(raw > 0, axis=1), width, 1, png.GREY)
    yield "8-bit depth", png.encode(near, width, 8, png.GREY)


def _entry(stem: str, dataset_root: str = SCENE) -> dict[str, str]:
    return {"dataset_root": dataset_root, "new_filename": stem}


def _write(root: Path, number: int, image: bytes | None, depth: bytes | None, suffix: str = ".png") -> str:
    stem = f"{number:010d}"
    for folder, name, data in (("image_a6", stem + suffix, image), (VARIANT, stem + ".png", depth)):
        if data is not None:
            place = root / SCENE / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    return stem
