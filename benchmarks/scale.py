"""Claim: the cost per entry stays flat from ten thousand to a million entries, and memory stays small.

For each size a tree of tiny frames is made of hard links (8 x 8 pixels, so that what is measured is everything but
decoding), scanned without image statistics, and removed. Scheduler and two workers of one thread run as processes of
their own on the loopback interface; the driver is a fresh process for each size, so that its peak is its own.

    python benchmarks/scale.py
    python benchmarks/scale.py --entries 10000 100000
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import dask
import numpy as np
from common import DEPTHS, IMAGES, SPLIT, cores, frames, make_folders, markdown, peak_bytes, seconds, write_split
from PIL import Image

import ncdb_dask
from ncdb_dask.runtime.settings import LOCAL_SETTINGS, preloads

SIZES = (10_000, 100_000, 1_000_000)
SIDE = 8
LINKS = 60_000  # ext4 allows 65,000 to a file
WORKERS = 2
WARM_UP = "_warm_up.json"
WANTED_FLAT = 1.10
WANTED_BYTES = 1.5e9
LOOPBACK = "127.0.0.1"


# The tree


def make_tree(root: Path, count: int) -> None:
    """Make `count` frames, each two hard links."""
    named = frames(count)
    make_folders(root, named)
    write_split(root, named)
    write_split(root, named[:16], WARM_UP)
    for start in range(0, count, LINKS):
        depth, image = _sources(root, start // LINKS)
        for scene, stem in named[start : start + LINKS]:
            os.link(depth, root / scene / DEPTHS / f"{stem}.png")
            os.link(image, root / scene / IMAGES / f"{stem}.png")


def _sources(root: Path, number: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(number)
    depth, image = root / f"depth-{number}.png", root / f"image-{number}.png"
    Image.fromarray(rng.integers(256, 5000, (SIDE, SIDE), dtype=np.uint16)).save(depth)
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(image)
    return depth, image


# The cluster


@contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Run a scheduler and the workers as processes; yield the scheduler file. Their output goes to log files."""
    file = folder / "scheduler.json"
    with dask.config.set({**LOCAL_SETTINGS, **preloads()}):  # as the product's own local cluster
        environment = {**os.environ, "DASK_INTERNAL_INHERIT_CONFIG": dask.config.serialize(dask.config.global_config)}
    listen = ["--host", LOOPBACK, "--no-dashboard", "--scheduler-file", str(file)]
    commands = [["scheduler", *listen, "--port", "0"]]
    commands += [["worker", *listen, "--nthreads", "1", "--local-directory", str(folder)]] * WORKERS
    with ExitStack() as stack:
        for number, command in enumerate(commands):
            log = stack.enter_context((folder / f"process-{number}.log").open("w"))
            stack.enter_context(_process([sys.executable, "-m", "dask", *command], environment, log))
            if number == 0:
                _wait_for(file)
        yield file


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: IO[str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(file: Path, limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not file.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"the scheduler did not write {file.name} within {limit:.0f} s")
        time.sleep(0.1)


# One size, in a process of its own


class _Caught(logging.Handler):
    """Collects what Dask's loggers warn of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def measure(root: Path, out: Path, scheduler_file: Path) -> dict[str, Any]:
    """Plan and scan; return times, peaks and warnings."""
    from distributed import Client

    caught = _Caught()
    logging.getLogger("distributed").addHandler(caught)
    with warnings.catch_warnings(record=True) as warned, Client(scheduler_file=str(scheduler_file)) as client:
        warnings.simplefilter("always")
        client.wait_for_workers(WORKERS)
        ncdb_dask.scan(root, out / "warm_up", client=client, split=str(root / WARM_UP), image_stats=False, shard_size=1)
        plans: list[Any] = []
        planning = seconds(lambda: plans.append(ncdb_dask.plan_scan(root, out / "scan", image_stats=False)))
        scanning = seconds(lambda: ncdb_dask.run_scan(plans[0], client=client))
        peaks = {
            "driver": peak_bytes(),
            "scheduler": client.run_on_scheduler(peak_bytes),
            "workers": sorted(client.run(peak_bytes).values()),
        }
    plan = plans[0].plan
    messages = [*(str(warning.message) for warning in warned), *caught.messages]
    return {
        "entries": plan.entries,
        "shards": plan.shards,
        "planning": planning,
        "scanning": scanning,
        "peaks": peaks,
        "warnings": messages,
    }


# All sizes


def run_size(count: int, work: Path) -> dict[str, Any]:
    """Make a tree, measure in a fresh process, and remove the tree."""
    root, out = work / "tree", work / "out"
    making = seconds(lambda: make_tree(root, count))
    out.mkdir()
    answer = out / "answer.json"
    with cluster(out) as file:
        command = [sys.executable, __file__, "--measure", str(root), str(out), str(file), str(answer)]
        subprocess.run(command, check=True)
    result = {**json.loads(answer.read_text()), "making": making}
    result["warnings"] += [line for log in out.glob("process-*.log") for line in _suspect_lines(log)]
    shutil.rmtree(root)
    shutil.rmtree(out)
    return result


def _suspect_lines(log: Path) -> Iterator[str]:
    levels = ("WARNING", "ERROR", "CRITICAL", "Warning:")
    yield from (line for line in log.read_text().splitlines() if any(level in line for level in levels))


def report(results: list[dict[str, Any]]) -> str:
    """Lay out the figures of all sizes."""
    heads = ("entries", "shards", "planning s", "scan s", "scan ms/entry", "driver MB", "scheduler MB", "workers MB")
    rows = [
        (
            f"{result['entries']:,}",
            f"{result['shards']:,}",
            f"{result['planning']:.2f}",
            f"{result['scanning']:.1f}",
            f"{_cost(result):.3f}",
            _megabytes(result["peaks"]["driver"]),
            _megabytes(result["peaks"]["scheduler"]),
            ", ".join(map(_megabytes, result["peaks"]["workers"])),
            str(len(result["warnings"])),
        )
        for result in results
    ]
    return markdown((*heads, "warnings"), rows)


def _cost(result: dict[str, Any]) -> float:
    return 1000 * float(result["scanning"]) / int(result["entries"])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"


def verdict(results: list[dict[str, Any]]) -> str:
    """Say whether the claim holds, and repeat every warning once."""
    costs = [_cost(result) for result in results]
    peak = max(result["peaks"][name] for result in results for name in ("driver", "scheduler"))
    making = ", ".join(f"{result['making']:.0f} s" for result in results)
    lines = [
        f"{cores()} cores, {WORKERS} workers; making the trees took {making} and is not counted",
        f"cost per entry, largest size against smallest: {costs[-1] / costs[0]:.2f} (wanted up to {WANTED_FLAT:.2f})",
        f"largest peak of driver and scheduler: {_megabytes(peak)} MB (wanted below {_megabytes(int(WANTED_BYTES))})",
    ]
    texts = dict.fromkeys(text for result in results for text in result["warnings"])
    return "\n".join([*lines, *(f"warning: {text}" for text in texts)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=SIZES, help="sizes, ascending (10^4 10^5 10^6)")
    parser.add_argument("--work", type=Path, help="folder for the trees, on the disk to be measured")
    parser.add_argument("--measure", type=Path, nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        root, out, file, answer = given.measure
        answer.write_text(json.dumps(measure(root, out, file)))
        return
    results = []
    for count in given.entries:
        with tempfile.TemporaryDirectory(dir=given.work) as name:
            results.append(run_size(count, Path(name)))
            print(report(results[-1:]), flush=True)
    print(report(results), f"(frames of {SIDE} x {SIDE} pixels, split file {SPLIT})", verdict(results), sep="\n\n")


if __name__ == "__main__":
    main()
