"""Finished evaluations without a network: chosen pixels, measured as an evaluation does, and published as one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ncdb_dask.evaluation.metrics import METRICS, measure_with_ranges
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.schema import RANGES, SCHEMA, SCHEMA_VERSION, of_range
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.manifest import publish
from ncdb_dask.store.run import Kind, new_run
from ncdb_dask.store.shards import commit

Row = dict[str, Any]
SETTINGS = {
    "root": "/data/ncdb",
    "depth_scale": 256.0,
    "variants": ["newest_depth_maps"],
    "stretch": False,
    "protocol": Protocol(name="ncdb", min_depth=0.5, max_depth=80.0).as_dict(),
    "predictor": {"kind": "network", "model": "net.onnx", "provider": "CPUExecutionProvider", "spec": {}},
    "schema": SCHEMA_VERSION,
}


def row(scene: str, stem: str, truth: Sequence[float], prediction: Sequence[float], **columns: Any) -> Row:
    """Return a row of status ``ok`` with the figures of these pixels (metres)."""
    true, predicted = np.asarray(truth, dtype=float), np.asarray(prediction, dtype=float)
    whole, ranges = measure_with_ranges(true, predicted, RANGES.place(true), len(RANGES.names))
    figures: Row = {**whole}
    for name, (pixels, part) in zip(RANGES.names, ranges, strict=True):
        figures[of_range("valid_pixels", name)] = pixels
        figures |= {of_range(metric, name): figure for metric, figure in part.items()}
    counts = dict.fromkeys(("nan_pixels", "infinite_pixels", "nonpositive_pixels"), 0)
    named = {"dataset_root": scene, "filename": stem, "status": "ok", "depth_variant": "newest_depth_maps"}
    return {**dict.fromkeys(SCHEMA.names), **named, "valid_pixels": len(true), **counts, **figures, **columns}


def faulty(scene: str | None, stem: str | None, status: str = "missing_depth") -> Row:
    """Return a row without figures."""
    return {**dict.fromkeys(SCHEMA.names), "dataset_root": scene, "filename": stem, "status": status}


def forge(
    out: Path, rows: Sequence[Row], shard_size: int = 128, inputs: Mapping[str, str] | None = None, **changes: Any
) -> Path:
    """Publish rows as an evaluation; `changes` are settings of it."""
    folder = LocalFolder(str(out))
    whole = pa.table({name: pa.array([row[name] for row in rows], SCHEMA.field(name).type) for name in SCHEMA.names})
    items = whole.select(["dataset_root", "filename"])
    settings = {**SETTINGS, **changes}
    found = inputs or {"val_split.json": "00" * 32, "net.onnx": "11" * 32}
    run = new_run(folder, Kind("evaluation", "an"), settings, found, items, shard_size=shard_size)
    run.write()
    receipts = [
        commit(folder, run.plan.id, task.shard, whole.slice(task.shard * shard_size, task.rows).cast(SCHEMA), 0.1)
        for task in run.left
    ]
    publish(folder, run.plan, receipts, {})
    return out


def pair(
    scenes: int = 3, frames: int = 8, loss: float = 0.3, seed: int = 7, pixels: int = 60, **columns: Any
) -> tuple[list[Row], list[Row]]:
    """Return a good evaluation and one that loses `loss` of the depth beyond 15 m, and little nearer."""
    rng = np.random.default_rng(seed)
    good, bad = [], []
    for scene in range(scenes):
        for number in range(frames):
            truth = np.exp(rng.uniform(np.log(0.6), np.log(60), pixels))
            first = truth * (1 + 0.1 * rng.standard_normal(pixels)).clip(0.3)
            second = first * (1 + np.where(truth > 15, loss * rng.uniform(0.5, 1), 0.01 * rng.standard_normal(pixels)))
            key = f"synced_data/scene{scene}", f"{number:010d}"
            good.append(row(*key, truth, first, **columns))
            bad.append(row(*key, truth, second, **columns))
    return good, bad


assert set(METRICS) <= set(SCHEMA.names)
