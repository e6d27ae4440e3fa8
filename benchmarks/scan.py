"""Claim: a scan with two workers is at least three times as fast as a serial loop, and decoding is what it spends.

On the same tree, in one run, interleaved:

* the serial loop of the guide: per entry Pillow, float32 metres, NumPy's statistics, then pandas to Parquet;
* the scan with one and with two workers, planning, Parquet and summary included, starting the cluster left out;
* decoding alone (read the depth PNG, ``Image.open`` from memory, ``np.asarray``), the limit of any scan.

All files are read once before the first measurement, so that every contender finds them in the page cache.

    python benchmarks/scan.py
    python benchmarks/scan.py --root data/ncdb --split train_split.json --split val_split.json
"""

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from common import DEPTHS, IMAGES, SPLIT, Frame, cores, frames, make_folders, markdown, seconds, write_split
from PIL import Image

import ncdb_dask

WIDTH, HEIGHT = 640, 384
VARIANTS = ("newest_depth_maps", "newest_synthetic_depth_maps", "new_depth_maps", "depth_maps")
WARM_UP = "_warm_up.json"
WANTED_SPEEDUP, WANTED_SHARE = 3.0, 0.75

Times = dict[str, list[float]]


# The tree


def depth_map(seed: int) -> npt.NDArray[np.uint16]:
    """Render planes and boxes as a stereo sensor sees them: disparity in steps, correlated noise, holes.

    The files take 0.4 to 0.55 bytes a pixel; those of real sensors take 0.1 to 0.4.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    inverse = np.full((HEIGHT, WIDTH), 1 / rng.uniform(4, 70), np.float32)
    inverse = np.maximum(inverse, (y - rng.uniform(150, 220)) / rng.uniform(300, 900))
    inverse = np.maximum(inverse, (x - rng.uniform(350, 600)) / rng.uniform(800, 3000))
    for _ in range(rng.integers(4, 9)):
        cx, cy, side = rng.uniform(0, WIDTH), rng.uniform(120, HEIGHT), rng.uniform(20, 90)
        box = (abs(x - cx) < side) & (abs(y - cy) < side * rng.uniform(0.5, 2))
        tilt = 1 + (x[box] - cx) * rng.uniform(-3e-3, 3e-3)
        inverse[box] = np.maximum(inverse[box], tilt / rng.uniform(1.2, 20))
    step = rng.uniform(3e-4, 1.5e-3)
    disparity = inverse / step + _field(rng, 2) * 1.2
    metres = 1 / np.clip(np.rint(disparity) * step, 1 / 80, 2)
    holes = _field(rng, 16) > rng.uniform(0.9, 1.6)
    return np.where(holes, 0, np.rint(metres * 256)).astype(np.uint16)


def _field(rng: np.random.Generator, grain: int) -> npt.NDArray[np.float32]:
    """Return noise of unit variance at its grid points, smooth over `grain` pixels."""
    grid = Image.fromarray(rng.normal(size=(HEIGHT // grain, WIDTH // grain)).astype(np.float32))
    return np.asarray(grid.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _write_frame(root: Path, number: int, frame: Frame) -> None:
    scene, stem = frame
    rng = np.random.default_rng(number)
    Image.fromarray(depth_map(number)).save(root / scene / DEPTHS / f"{stem}.png")
    small = Image.fromarray(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    small.resize((160, 96), Image.Resampling.BICUBIC).save(root / scene / IMAGES / f"{stem}.png")


def make_tree(root: Path, count: int) -> None:
    """Write `count` dense depth maps of NCDB's size, all different, with small images."""
    named = frames(count)
    make_folders(root, named)
    write_split(root, named)
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        list(pool.map(partial(_write_frame, root), range(count), named, chunksize=16))


def read_splits(root: Path, splits: list[str]) -> list[Frame]:
    """Return the frames of all splits, in order."""
    items = [item for name in splits for item in json.loads((root / name).read_text())]
    return [(item["dataset_root"], item["new_filename"]) for item in items]


# The contenders


def serial_loop(root: Path, splits: list[str], out: Path) -> int:
    """Do what the guide's script does, one entry after another; return the number of rows."""
    rows = [row for scene, stem in read_splits(root, splits) if (row := _serial_row(root, scene, stem))]
    pd.DataFrame(rows).to_parquet(out)
    return len(rows)


def _find_depth(root: Path, scene: str, stem: str) -> tuple[str, Path] | None:
    for variant in VARIANTS:
        path = root / scene / variant / f"{stem}.png"
        if path.exists():
            return variant, path
    return None


def _serial_row(root: Path, scene: str, stem: str) -> dict[str, object] | None:
    found, image = _find_depth(root, scene, stem), root / scene / IMAGES / f"{stem}.png"
    if found is None or not image.exists():
        return None
    depth = np.array(Image.open(found[1]), dtype=np.float32) / 256.0
    valid = depth[depth > 0]
    if valid.size == 0:
        return None
    mean = float(np.mean(valid))
    return {
        "dataset_root": scene,
        "filename": stem,
        "image_path": str(image.relative_to(root)),
        "depth_path": str(found[1].relative_to(root)),
        "depth_variant": found[0],
        "mean_depth": mean,
        "median_depth": float(np.median(valid)),
        "min_depth": float(np.min(valid)),
        "max_depth": float(np.max(valid)),
        "std_depth": float(np.std(valid)),
        "p50": float(np.percentile(valid, 50)),
        "p90": float(np.percentile(valid, 90)),
        "p95": float(np.percentile(valid, 95)),
        "width": depth.shape[1],
        "height": depth.shape[0],
        "scene_type": "indoor" if mean < 5 else "outdoor_near" if mean < 15 else "outdoor_far",
        "valid_pixels": int(valid.size),
        "total_pixels": int(depth.size),
    }


def decode_only(paths: list[Path]) -> int:
    """Read and decode; return the number of pixels."""
    pixels = 0
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            pixels += np.asarray(image).size
    return pixels


@dataclass
class Bench:
    """One tree, and the times taken on it."""

    root: Path
    splits: list[str]
    work: Path
    depths: list[Path]
    rows: int
    pool: ProcessPoolExecutor
    times: Times = field(default_factory=lambda: defaultdict(list))

    def repeat(self) -> None:
        """Take every time once."""
        self.times["serial loop"].append(seconds(lambda: serial_loop(self.root, self.splits, self.work / "s.parquet")))
        self.times["decoding alone, 1 process"].append(seconds(lambda: decode_only(self.depths)))
        self.times["decoding alone, 2 processes at once"].append(self._decode_by_two())
        with self._cluster(1) as client:
            self._scan("scan, 1 worker", client, image_stats=False)
        with self._cluster(2) as client:
            self._scan("scan, 2 workers", client, image_stats=False)
            self._scan("scan with image statistics, 2 workers", client, image_stats=True)

    def _decode_by_two(self) -> float:
        halves = [self.depths[::2], self.depths[1::2]]
        return seconds(lambda: list(self.pool.map(decode_only, halves)))

    @contextmanager
    def _cluster(self, workers: int) -> Iterator[object]:
        started = time.perf_counter()
        with ncdb_dask.open_client(workers=workers) as client:
            client.wait_for_workers(workers)
            self.times[f"cluster start, {workers}"].append(time.perf_counter() - started)
            # Every worker gets shards of one entry until all have imported what they need.
            self._run(client, [str(self.work / WARM_UP)], image_stats=True, shard_size=1)
            yield client

    def _scan(self, name: str, client: object, *, image_stats: bool) -> None:
        self.times[name].append(seconds(lambda: self._run(client, self.splits, image_stats=image_stats)))

    def _run(self, client: object, splits: list[str], **options: object) -> None:
        out = self.work / "scan"
        summary = ncdb_dask.scan(self.root, out, client=client, split=splits, **options)
        if splits == self.splits and summary.samples != self.rows:
            raise SystemExit(f"the scan has {summary.samples} rows of status ok, the serial loop {self.rows}")
        shutil.rmtree(out)


def open_bench(root: Path, splits: list[str], work: Path, pool: ProcessPoolExecutor) -> Bench:
    """Prepare the measurements; reads every file once.

    The two processes of `pool` start here, before any cluster: Dask leaves settings of the memory allocator in the
    environment, which processes that start later would inherit.
    """
    named = read_splits(root, splits)
    found = [depth for scene, stem in named if (depth := _find_depth(root, scene, stem))]
    write_split(work, named[:16], WARM_UP)
    rows = serial_loop(root, splits, work / "s.parquet")
    depths = [path for _, path in found]
    list(pool.map(decode_only, [depths[:8]] * 8))
    return Bench(root, splits, work, depths, rows, pool)


# The report


def report(bench: Bench) -> str:
    """Lay out the medians."""
    entries = len(bench.depths)
    median = {name: statistics.median(times) for name, times in bench.times.items()}
    serial, decoding = median["serial loop"], median["decoding alone, 1 process"]
    rows = []
    for name, taken in median.items():
        if name.startswith("cluster"):
            continue
        workers = 2 if "2" in name else 1
        spread = f"{min(bench.times[name]):.2f} to {max(bench.times[name]):.2f}"
        figures = (f"{taken:.2f}", spread, f"{entries / taken:.0f}")
        rows.append((name, *figures, f"{serial / taken:.2f}", f"{decoding / workers / taken:.2f}"))
    heads = ("", "seconds (median)", "range", "frames/s", "x serial loop", "/ (decoding alone x workers)")
    return markdown(heads, rows)


def verdict(bench: Bench) -> str:
    """Say whether the claim holds, and what was left out."""
    median = {name: statistics.median(times) for name, times in bench.times.items()}
    two = median["scan, 2 workers"]
    speedup, share = median["serial loop"] / two, median["decoding alone, 1 process"] / 2 / two
    starts = ", ".join(f"{workers}: {median[f'cluster start, {workers}']:.1f} s" for workers in (1, 2))
    size = sum(path.stat().st_size for path in bench.depths) / len(bench.depths)
    return "\n".join(
        [
            f"{cores()} cores, {len(bench.depths)} frames, {size / 1000:.0f} kB a depth map, "
            f"{len(bench.times['serial loop'])} repetitions",
            f"two workers against the serial loop: {speedup:.2f} (wanted {WANTED_SPEEDUP}); "
            f"against decoding alone x 2: {share:.2f} (wanted {WANTED_SHARE})",
            f"starting the cluster, not counted above, by workers: {starts}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a tree to read; left out, one is made for the run")
    parser.add_argument("--split", action="append", help=f"split file under ROOT, repeatable ({SPLIT})")
    parser.add_argument("--frames", type=int, default=3000, help="frames of the tree that is made (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each (%(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files, on the disk to be measured")
    given = parser.parse_args()
    pool = ProcessPoolExecutor(2, get_context("spawn"))
    with pool, tempfile.TemporaryDirectory(dir=given.work) as name:
        work = Path(name)
        root = given.root or work / "tree"
        if given.root is None:
            print(f"making {given.frames} frames took {seconds(lambda: make_tree(root, given.frames)):.1f} s")
        bench = open_bench(root, given.split or [SPLIT], work, pool)
        for _ in range(given.repeat):
            bench.repeat()
        print(report(bench), verdict(bench), sep="\n\n")


if __name__ == "__main__":
    main()
