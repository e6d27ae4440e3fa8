"""Claim: a shard costs a few milliseconds of scheduling, TLS costs little of it, and every mode is at work in seconds.

* overhead: shards that do nothing, by the fan-out of every run, in this process and on two workers, plain and by TLS;
* wave: from handing over a wave of shards that do nothing to its first result, and to its last;
* TLS: the same shards, and tensors of 2.95 MB through the ordered stream, by TLS against plain TCP on loopback;
* first shard: from the command to the first receipt on disk, for each mode; SLURM where this machine has one.

    python benchmarks/cluster.py
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import numpy.typing as npt
from common import cores, markdown, seconds
from distributed import Client, LocalCluster, Security

from ncdb_dask.runtime.fanout import run_shards
from ncdb_dask.runtime.flight import full_window
from ncdb_dask.runtime.settings import LOCAL_SETTINGS, LOOPBACK, preloads
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt

SHARDS, TENSORS, FRAMES = 2000, 200, 64
SHAPE = (1, 3, 384, 640)  # 2.95 MB of float32
WANTED_MS = 10.0  # a tenth of a shard of 8 small frames; a default shard takes seconds

Times = dict[str, list[float]]


def nothing(assignment: Assignment) -> Receipt:
    """Do what a shard does when it has no work: say so."""
    return Receipt("plan", assignment.shard, assignment.rows, 0, "0" * 64, {"ok": assignment.rows}, 0.0)


def tensor(number: int) -> npt.NDArray[np.float32]:
    """Make a network's input."""
    return np.full(SHAPE, number, np.float32)


def assignments(number: int) -> list[Assignment]:
    """Return shards."""
    return [Assignment(shard, 8, "_plan/items-000.plan", shard) for shard in range(number)]


@contextmanager
def two_workers(encrypted: bool) -> Iterator[Client]:
    """Open a local cluster with the product's settings, by TLS or without."""
    security = Security.temporary() if encrypted else None
    with (
        dask.config.set({**LOCAL_SETTINGS, **preloads()}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host=f"tls://{LOOPBACK}" if encrypted else LOOPBACK,
            security=security,
            dashboard_address=f"{LOOPBACK}:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        list(run_shards(nothing, assignments(50), client))
        yield client


def measure(times: Times) -> None:
    """Take every time of the first three claims once."""
    times["this process"].append(seconds(lambda: list(run_shards(nothing, assignments(SHARDS)))) / SHARDS)
    for name, encrypted in (("2 workers", False), ("2 workers, TLS", True)):
        with two_workers(encrypted) as client:
            run = seconds(lambda client=client: list(run_shards(nothing, assignments(SHARDS), client)))
            times[name].append(run / SHARDS)
            first, last = wave(client)
            times[f"{name}: first of a wave"].append(first)
            times[f"{name}: whole wave"].append(last)
            stream = seconds(lambda client=client: sum(1 for _ in ordered_stream(tensor, range(TENSORS), client)))
            times[f"{name}: tensors"].append(stream / TENSORS)


def wave(client: Client) -> tuple[float, float]:
    """Hand over one wave; return the seconds until its first and its last result."""
    started, arrived = time.perf_counter(), []
    for _ in run_shards(nothing, assignments(full_window(client)), client):
        arrived.append(time.perf_counter() - started)
    return arrived[0], arrived[-1]


# From the command to the first shard


def first_shard(tree: Path, out: Path, options: list[str]) -> float:
    """Start a scan; return the seconds until a receipt is there, and let it end."""
    command = [sys.executable, "-m", "ncdb_dask.cli", "scan", str(tree), str(out), "--shard-size", "8", "--no-picture"]
    started = time.perf_counter()
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        while not list(out.glob("_plan/receipts/*.json")):
            if running.poll() is not None:
                raise SystemExit(
                    f"{' '.join(options)}: the scan ended with {running.returncode} before its first shard"
                )
            time.sleep(0.01)
        taken = time.perf_counter() - started
    if running.returncode:
        raise SystemExit(f"{' '.join(options)}: the scan ended with {running.returncode}")
    shutil.rmtree(out)
    return taken


@contextmanager
def scheduler(work: Path) -> Iterator[str]:
    """Run a scheduler and two workers as processes of their own; yield the scheduler file."""
    file = work / "scheduler.json"
    at = ["--host", LOOPBACK, "--dashboard-address", f"{LOOPBACK}:0"]
    dask_command = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen([*dask_command, *arguments, "--scheduler-file", str(file), *at], stderr=subprocess.DEVNULL)
        for arguments in (["scheduler", "--port", "0"], ["worker", "--nworkers", "2", "--nthreads", "1"])
    ]
    try:
        while not file.exists():
            time.sleep(0.05)
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2)
        yield str(file)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def modes(work: Path, stack_file: str) -> dict[str, list[str]]:
    """Return the options of each mode that this machine has."""
    found = {
        "this process": ["--workers", "0"],
        "local": ["--workers", "2"],
        "address": ["--scheduler-file", stack_file],
    }
    if shutil.which("sinfo") and not subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        spec = work / "slurm.toml"
        spec.write_text(f'kind = "slurm"\nworkers = 2\nmemory = "1 GiB"\nshared = "{work}/shared"\n')
        found["slurm, idle nodes"] = ["--cluster", str(spec)]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    times: Times = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=given.work) as name:
        work = Path(name)
        made = [sys.executable, "-m", "ncdb_dask.cli", "synth", str(work / "tree"), "--frames", str(FRAMES // 2)]
        subprocess.run([*made, "--scenes", "2"], check=True, stdout=subprocess.DEVNULL)
        with scheduler(work) as file:
            places = modes(work, file)
            for _ in range(given.repeat):
                measure(times)
                for mode, options in places.items():
                    times[f"first shard, {mode}"].append(first_shard(work / "tree", work / "out", options))
    print(report(times, list(places)))


def report(times: Times, places: list[str]) -> str:
    """Lay out the medians."""
    median = {name: statistics.median(taken) for name, taken in times.items()}
    plain, encrypted = "2 workers", "2 workers, TLS"
    rows = [
        [name, *(f"{1000 * median[key]:.2f}" if key in median else "" for key in _keys(name))]
        for name in ("this process", plain, encrypted)
    ]
    header = ["", "ms a shard", "first of a wave, ms", "whole wave, ms", "ms a tensor"]
    ratio = {key: median[f"{encrypted}{key}"] / median[f"{plain}{key}"] for key in ("", ": tensors")}
    reached = "reached" if 1000 * median[encrypted] <= WANTED_MS else "missed"
    waits = [[mode, f"{median[f'first shard, {mode}']:.1f}", _range(times[f"first shard, {mode}"])] for mode in places]
    return "\n\n".join(
        [
            f"{cores()} cores",
            markdown(header, rows),
            f"TLS against plain: {ratio['']:.2f} x a shard, {ratio[': tensors']:.2f} x a tensor. "
            f"{WANTED_MS:.0f} ms a shard: {reached}.",
            markdown(["from the command to the first shard", "seconds (median)", "range"], waits),
        ]
    )


def _keys(name: str) -> list[str]:
    return [name, f"{name}: first of a wave", f"{name}: whole wave", f"{name}: tensors"]


def _range(taken: list[float]) -> str:
    return f"{min(taken):.1f} to {max(taken):.1f}"


if __name__ == "__main__":
    main()
