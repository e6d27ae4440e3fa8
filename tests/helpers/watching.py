"""Schedulers to watch: one that was started beforehand, and workers that wait for a sign."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from helpers.faults import Strike
from ncdb_dask.scanning import job


@contextmanager
def small_cluster(workers: int = 1, **options: Any) -> Iterator[Client]:
    """Yield the client of a scheduler in this process; its workers are processes where there are any."""
    options = {"dashboard_address": "127.0.0.1:0", "protocol": "tcp", "processes": workers > 0, **options}
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def separate_scheduler(folder: Path, workers: int = 1) -> Iterator[str]:
    """Yield the address of a scheduler that runs as a process of its own, with workers in others."""
    told = folder / "scheduler.json"
    listening = ["--host", "127.0.0.1", "--port", "0"]
    commands = [
        ["scheduler", *listening, "--dashboard-address", "127.0.0.1:0", "--scheduler-file", told],
        *[["worker", "--scheduler-file", told, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"]] * workers,
    ]
    started = []
    try:
        for command in commands:
            log = (folder / f"{command[0]}.log").open("ab")
            with log:
                started.append(
                    subprocess.Popen([sys.executable, "-m", "dask", *map(str, command)], stdout=log, stderr=log)
                )
            until(lambda: told.exists() and told.read_text())
        yield json.loads(told.read_text())["address"]
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)


def until(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for what another process is about to do, and return it."""
    give_up = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < give_up, "it has not happened"
        time.sleep(0.02)
    return found


def pages(client: Client) -> str:
    """Return the address at which the scheduler's pages begin."""
    return client.dashboard_link.removesuffix("/status")


def read(url: str) -> str:
    """Return what a page of this machine holds."""
    with urllib.request.urlopen(url, timeout=30) as reply:
        return reply.read().decode()


def wait_at_frame(strike: Strike, sign: Path) -> None:
    """Have this process wait for a file before every entry that `strike` picks by its key."""
    scan_frame = job.scan_frame

    def patient(entry: Any, tree: Any, options: Any) -> Any:
        if strike(f"{entry.dataset_root}/{entry.stem}"):
            until(sign.exists, 120)
        return scan_frame(entry, tree, options)

    job.scan_frame = patient
