"""Finished scans without a data set: a table of chosen rows, published as a scan publishes its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ncdb_dask.scanning import table
from ncdb_dask.scanning.plan import SCAN
from ncdb_dask.scanning.schema import SCHEMA, SCHEMA_VERSION, scene_type
from ncdb_dask.scanning.stats import HIST_BINS, histogram_edges
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.run import new_run
from ncdb_dask.store.shards import commit

Row = dict[str, Any]
SCENES, FRAMES = 12, 200


def row(scene: str, stem: str, mean: float = 2.0, **columns: Any) -> Row:
    """Return a row of status ``ok``; all its pixels lie in the histogram's bin of the mean."""
    valid = columns.get("valid_pixels", 192)
    histogram = np.zeros(HIST_BINS, dtype=np.int32)
    histogram[int(np.searchsorted(histogram_edges(), mean, side="right")) - 1] = valid
    measured = {
        "mean_depth": mean,
        "min_depth": mean,
        "max_depth": mean,
        "scene_type": scene_type(mean),
        "valid_pixels": valid,
        "total_pixels": 192,
    }
    rest = {"depth_variant": "newest_depth_maps", "scale_ambiguous": False, "lighting": "day", "phash": None}
    named = {"dataset_root": scene, "filename": stem, "status": "ok", "depth_hist": histogram}
    return {**dict.fromkeys(SCHEMA.names), **named, **measured, **rest, **columns}


def faulty(scene: str | None, stem: str | None, status: str = "missing_depth") -> Row:
    """Return a row without statistics."""
    return {**dict.fromkeys(SCHEMA.names), "dataset_root": scene, "filename": stem, "status": status}


def videos() -> list[Row]:
    """Return the same few thousand rows in every run: recordings of consecutive frames with everything in them."""
    rng = np.random.default_rng(20)
    rows = []
    for scene in range(SCENES):
        mean, picture = float(rng.uniform(0.5, 20)), int(rng.integers(2**63))
        for number in range(FRAMES):
            mean = float(np.clip(mean * rng.lognormal(0, 0.15), 0.2, 60))
            picture ^= sum(1 << int(bit) for bit in rng.choice(64, 3, replace=False))
            key = f"synced_data/scene{scene:02d}", f"{number:010d}"
            if rng.random() < 0.04:
                rows.append(faulty(*key))
                continue
            rows.append(
                row(
                    *key,
                    mean,
                    lighting=str(rng.choice(["day", "night", "dusk"], p=[0.6, 0.3, 0.1])),
                    phash=f"{picture:016x}",
                    valid_pixels=int(rng.integers(1, 193)),
                    scale_ambiguous=bool(rng.random() < 0.03),
                    depth_variant="newest_synthetic_depth_maps" if rng.random() < 0.1 else "newest_depth_maps",
                )
            )
    return rows


def forge(out: Path, rows: Sequence[Row], shard_size: int = 128, root: str = "/nowhere", **changes: Any) -> Path:
    """Publish rows as a scan of `root`; its last shard is missing if ``unfinished``; `changes` are settings of it."""
    unfinished = changes.pop("unfinished", False)
    settings = {"root": root, "allow_root": [], "schema": SCHEMA_VERSION, **changes}
    folder = LocalFolder(str(out))
    whole = pa.table({name: pa.array([row[name] for row in rows], SCHEMA.field(name).type) for name in SCHEMA.names})
    items = whole.select(["dataset_root", "filename"])
    run = new_run(folder, SCAN, settings, {"train_split.json": "00"}, items, shard_size=shard_size)
    run.write()
    tasks = run.left[:-1] if unfinished else run.left
    receipts = [
        commit(folder, run.plan.id, task.shard, whole.slice(task.shard * shard_size, task.rows).cast(SCHEMA), 0.1)
        for task in tasks
    ]
    if not unfinished:
        table.finish(folder, run.plan, receipts)
    return out


def key(row: Row) -> tuple[str, str]:
    """Return the frame's key."""
    return row["dataset_root"], row["filename"]


def write_keys(path: Path, keys: Sequence[tuple[str, str]]) -> str:
    """Write a split of these frames."""
    path.write_text(json.dumps([{"dataset_root": scene, "new_filename": stem} for scene, stem in keys]))
    return str(path)
