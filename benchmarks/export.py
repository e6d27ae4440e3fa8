"""Claim: with two workers an export takes no longer than the loop that it replaces, and is safe: whole or not there.

Rendered pictures of 640 x 384 become float32 tensors of 640 x 192 as `.raw` files (1.5 MB each). The loop does what
calibration scripts do: open, resize, divide, transpose, write. All contenders take turns on the same files, which are
in the page cache; opening the cluster is not counted.

    python benchmarks/export.py
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from common import markdown, seconds
from PIL import Image

import ncdb_dask
from ncdb_dask.dataset.synthetic import write_tree

SPLIT = "train_split.json"
MODEL = "[input]\nwidth = 640\nheight = 192\n"
ROUNDS = 3


def serial_loop(root: Path, keys: list[tuple[str, str]], out: Path) -> None:
    """Do what scripts do, one frame after another."""
    out.mkdir()
    for scene, stem in keys:
        with Image.open(root / scene / "image_a6" / f"{stem}.png") as picture:
            small = picture.convert("RGB").resize((640, 192), Image.Resampling.LANCZOS)
        (np.asarray(small, dtype=np.float32) / 255).tofile(out / f"{scene.replace('/', '_')}_{stem}.raw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, help="of each of six scenes")
    parser.add_argument("--work", type=Path, help="where to put tree and exports")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work, ExitStack() as open_clusters:
        root, out = Path(work, "tree"), Path(work, "out")
        write_tree(root, frames=arguments.frames, width=640, height=384)
        model = Path(work, "model.toml")
        model.write_text(MODEL)
        keys = _keys(root)

        def export(client: object) -> None:
            ncdb_dask.export(root / SPLIT, out, root=root, format="raw", model_spec=model, client=client, shard_size=16)

        contenders: dict[str, Callable[[], None]] = {"serial loop": lambda: serial_loop(root, keys, out)}
        contenders["export, this process"] = lambda: export(None)
        for workers in (1, 2):
            client = open_clusters.enter_context(ncdb_dask.open_client(workers=workers))
            contenders[f"export, {workers} worker{'s' * (workers > 1)}"] = lambda client=client: export(client)
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, run in contenders.items():
                shutil.rmtree(out, ignore_errors=True)
                spent[name].append(seconds(run))
        medians = {name: statistics.median(times) for name, times in spent.items()}
        loop = medians["serial loop"]
        print(f"{len(keys)} frames\n")
        rows = [
            [name, f"{time:.2f}", f"{len(keys) / time:.0f}", f"{loop / time:.2f}"] for name, time in medians.items()
        ]
        print(markdown(["", "seconds (median)", "frames/s", "x serial loop"], rows))


def _keys(root: Path) -> list[tuple[str, str]]:
    items = json.loads((root / SPLIT).read_text())
    return [(item["dataset_root"], item["new_filename"]) for item in items]


if __name__ == "__main__":
    main()
