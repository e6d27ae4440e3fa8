"""What the benchmarks share: a split file, a clock, and tables in Markdown."""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

SPLIT = "train_split.json"
IMAGES = "image_a6"
DEPTHS = "newest_depth_maps"
SCENE_FRAMES = 1000

Frame = tuple[str, str]


def frames(count: int) -> list[Frame]:
    """Name `count` frames, in scenes of a thousand."""
    return [(f"synced_data/scene_{n // SCENE_FRAMES:05d}", f"{n % SCENE_FRAMES:06d}") for n in range(count)]


def write_split(root: Path, named: Iterable[Frame], name: str = SPLIT) -> None:
    """Write a split file in the guide's form."""
    items = [{"dataset_root": scene, "new_filename": stem} for scene, stem in named]
    (root / name).write_text(json.dumps(items))


def make_folders(root: Path, named: Iterable[Frame]) -> None:
    """Make the folders of all scenes."""
    for scene in dict.fromkeys(scene for scene, _ in named):
        for folder in (IMAGES, DEPTHS):
            (root / scene / folder).mkdir(parents=True, exist_ok=True)


def seconds(work: Callable[[], object]) -> float:
    """Run `work` once and return its wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_bytes() -> int:
    """Return the largest resident size that this process has had."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table; all columns but the first are aligned to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
