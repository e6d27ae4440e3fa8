"""Small trees in NCDB layout, quicker to make than rendered ones."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import ncdb_dask

SCENES = ("synced_data/a", "synced_data/b")


def write_frame(root: Path, dataset_root: str, stem: str, variant: str = "newest_depth_maps", seed: int = 0) -> None:
    """Write one image and one sparse depth map, different for every seed."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(200, 8000, (12, 16), dtype=np.uint16) * (rng.random((12, 16)) < 0.7)
    colour = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for folder, pixels in (("image_a6", colour), (variant, depth.astype(np.uint16))):
        path = root / dataset_root / folder / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def write_split(root: Path, keys: Sequence[tuple[str, str]], name: str = "train_split.json") -> Path:
    """Write a split file in the guide's form."""
    path = root / name
    path.write_text(json.dumps([{"dataset_root": scene, "new_filename": stem} for scene, stem in keys]))
    return path


def write_tree(root: Path, frames: int) -> list[tuple[str, str]]:
    """Write a tree of two scenes whose stems repeat, and its split; return the keys in order."""
    keys = [(SCENES[number % 2], f"{number // 2:010d}") for number in range(frames)]
    for number, (scene, stem) in enumerate(keys):
        write_frame(root, scene, stem, seed=number)
    write_split(root, keys)
    return keys


def assert_complete(out: Path, expected: pd.DataFrame) -> None:
    """The table equals one of an uninterrupted scan, by every way of reading it, and nothing else lies there."""
    pd.testing.assert_frame_equal(ncdb_dask.read_scan(out), expected)
    plain = pd.read_parquet(out)
    assert list(plain["filename"]) == list(expected["filename"])
    assert list(plain["status"]) == list(expected["status"])
    import dask.dataframe as dd  # here, because the tests of the stages run without Dask

    # Here, too: the workers of a cluster that is open may be those that are being killed.
    by_dask = dd.read_parquet(out, columns=["filename", "mean_depth"]).compute(scheduler="sync")
    assert list(by_dask["filename"]) == list(expected["filename"])
    manifest = json.loads((out / "_manifest.json").read_text())
    shards = {shard["file"] for shard in manifest["shards"]}
    assert {path.name for path in out.iterdir()} - {"_overview.png", "_driver"} == shards | {"_plan", "_manifest.json"}
    assert not list(out.rglob("*.tmp"))
