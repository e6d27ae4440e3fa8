"""Claim: a calibration set is chosen from a million rows in seconds, and that is little more than reading the columns.

A finished scan is forged: rows in recordings of a thousand frames, depth histograms of some forty bins, hashes that
drift along a recording. Each strategy then chooses 300 frames in a process of its own, with the last tenth of each
recording kept out as validation frames, and a gap of 10; the pictures are not drawn. The yardstick is pandas reading
the same columns in a process of its own.

    python benchmarks/sample.py
    python benchmarks/sample.py --rows 10000 100000
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import SCENE_FRAMES, frames, markdown, seconds, write_split

from ncdb_dask.sampling.pool import COLUMNS
from ncdb_dask.scanning import table
from ncdb_dask.scanning.plan import SCAN
from ncdb_dask.scanning.schema import SCHEMA, SCHEMA_VERSION, scene_type
from ncdb_dask.scanning.stats import HIST_BINS, histogram_edges
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.run import new_run
from ncdb_dask.store.shards import commit

SIZES = (10_000, 100_000, 1_000_000)
STRATEGIES = ("stratified", "balanced", "random")
VALIDATION = "val_split.json"
VALIDATION_FROM = f"{9 * SCENE_FRAMES // 10:06d}"
PIXELS = 245_760
FLIPS = 4  # bits by which consecutive frames differ, as measured on synthetic video
ONE = """
import json, resource, sys, time
import ncdb_dask
started = time.perf_counter()
ncdb_dask.sample(sys.argv[1], strategy=sys.argv[2], exclude=sys.argv[3], min_gap=10)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([time.perf_counter() - started, peak]))
"""
READING = "import sys, pandas as pd; pd.read_parquet(sys.argv[1], columns=sys.argv[2].split(','))"


def forge(root: Path, out: Path, count: int) -> None:
    """Publish a scan of `count` rows."""
    named = frames(count)
    write_split(root, [frame for frame in named if frame[1] >= VALIDATION_FROM], VALIDATION)
    folder = LocalFolder(str(out))
    settings = {"root": str(root), "allow_root": [], "schema": SCHEMA_VERSION}
    items = pa.table({"dataset_root": [scene for scene, _ in named], "filename": [stem for _, stem in named]})
    run = new_run(folder, SCAN, settings, {"train_split.json": "00"}, items)
    run.write()
    rng = np.random.default_rng(0)
    receipts, start = [], 0
    for task in run.left:
        rows = _rows(named[start : start + task.rows], rng)
        receipts.append(commit(folder, run.plan.id, task.shard, rows, 0.0))
        start += task.rows
    table.finish(folder, run.plan, receipts)


def _rows(named: list[tuple[str, str]], rng: np.random.Generator) -> pa.Table:
    count = len(named)
    depth = np.exp(rng.normal(1.6, 0.8, count))
    centre = np.searchsorted(histogram_edges(), depth) - 1
    bins = np.clip(centre[:, None] + np.arange(-20, 21), 0, HIST_BINS - 1)
    histograms = np.zeros((count, HIST_BINS), dtype=np.int32)
    np.add.at(histograms, (np.arange(count)[:, None], bins), rng.integers(0, PIXELS // 20, bins.shape, dtype=np.int32))
    flips = np.bitwise_xor.reduce(np.uint64(1) << rng.integers(0, 64, (count, FLIPS), dtype=np.uint64), axis=1)
    columns = {
        "dataset_root": [scene for scene, _ in named],
        "filename": [stem for _, stem in named],
        "depth_variant": ["newest_depth_maps"] * count,
        "mean_depth": depth,
        "min_depth": depth / 2,
        "max_depth": depth * 2,
        "scene_type": [scene_type(value) for value in depth],
        "valid_pixels": histograms.sum(axis=1, dtype=np.int64),
        "total_pixels": np.full(count, PIXELS),
        "scale_ambiguous": np.zeros(count, dtype=bool),
        "depth_hist": list(histograms),
        "lighting": rng.choice(["day", "dusk", "night"], count),
        "phash": [f"{value:016x}" for value in np.bitwise_xor.accumulate(flips).tolist()],
        "status": ["ok"] * count,
    }
    return pa.table(
        {name: pa.array(columns.get(name, [None] * count), SCHEMA.field(name).type) for name in SCHEMA.names}
    )


def measure(count: int, work: Path) -> list[list[str]]:
    """Return the table's rows for one size."""
    root, out = work / f"root-{count}", work / f"scan-{count}"
    root.mkdir()
    forge(root, out, count)
    wanted = ",".join([*COLUMNS, "phash"])
    reading = seconds(lambda: subprocess.run([sys.executable, "-c", READING, str(out), wanted], check=True))
    rows = []
    for strategy in STRATEGIES:
        command = [sys.executable, "-c", ONE, str(out), strategy, VALIDATION]
        spent, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append([f"{count:,}", strategy, f"{spent:.1f}", f"{spent / reading:.1f}", f"{peak / 1e6:.0f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--work", type=Path, help="where to put the scans")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        for count in arguments.rows:
            found += measure(count, Path(work))
    print(markdown(["rows", "strategy", "seconds", "x reading the columns", "peak MB"], found))


if __name__ == "__main__":
    main()
