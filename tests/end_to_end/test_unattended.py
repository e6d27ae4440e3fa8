"""Drivers that work unattended, as real processes: begun, watched, stopped, killed, begun again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from helpers.clusters import scheduler, worker
from helpers.trees import assert_complete
from helpers.watching import until

TESTS = Path(__file__).parents[1]
HELD = "synced_data/b/0000000011"  # the last of 24 frames
# Python imports a module of this name by itself: in the driver, and in the workers that it starts.
HOLDING = f"""\
import sys
if not {{{{"submit", "status", "stop"}}}} & {{{{*sys.orig_argv}}}}:
    import pathlib
    from helpers.watching import wait_at_frame
    wait_at_frame({HELD!r}.__eq__, pathlib.Path({{sign!r}}))
"""
ENDED = ("finished", "failed", "stopped", "died")


class Held:
    """A folder to give commands in; scans stop at one frame until they are let go on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self._sign = folder, folder / "out", folder / "go-on"
        (folder / "python").mkdir()
        (folder / "python" / "sitecustomize.py").write_text(HOLDING.format(sign=str(self._sign)))
        path = os.pathsep.join([str(folder / "python"), str(TESTS)])
        self.environment = {"PYTHONPATH": path}

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ncdb_dask.cli", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def done(self, *arguments: object) -> str:
        ran = self.command(*arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def status(self) -> dict[str, Any]:
        return json.loads(self.done("status", "out", "--json"))

    def record(self) -> dict[str, Any]:
        (path,) = self.out.glob("_driver/*.json")
        return json.loads(path.read_bytes())

    def until_held(self) -> dict[str, Any]:
        """Wait until the driver has done what it can, and return its record."""
        until(lambda: len(list(self.out.glob("_plan/receipts/shard-*.json"))) == 5, 60)
        return self.record()

    def go_on(self) -> None:
        self._sign.touch()


@pytest.fixture
def held(tmp_path) -> Iterator[Held]:
    held = Held(tmp_path)
    yield held
    held.go_on()
    for path in held.out.glob("_driver/*.json"):
        record = json.loads(path.read_bytes())
        if record["state"] not in ENDED:
            kill(record["pid"])


def kill(pid: int) -> None:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return
    until(lambda: gone(pid))


def gone(pid: int) -> bool:
    """Whether a process has ended; where nobody collects it, it stays as a zombie."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def scan(data: Path, shard_size: int = 4) -> tuple[object, ...]:
    return ("scan", data, "out", "--shard-size", shard_size, "--no-picture")


def test_a_driver_in_the_background_is_watched_stopped_and_resumed(held, data, expected):
    assert "ncdb-dask stop out" in held.done("submit", "--workers", 2, "--", *scan(data))
    driver = held.until_held()
    assert os.getsid(driver["pid"]) == driver["pid"]  # no terminal of ours is its own
    assert "-P" in psutil.Process(driver["pid"]).cmdline()
    told = held.status()
    assert (told["status"], told["runs"][0]["entries_done"], told["runs"][0]["shards_done"]) == ("running", 20, 5)
    assert told["drivers"][0]["pid"] == driver["pid"]
    second = held.command("submit", "--", *scan(data))
    assert (second.returncode, f"process {driver['pid']}" in second.stderr) == (1, True)

    assert "stopped by `ncdb-dask stop`" in held.done("stop", "out")
    assert gone(driver["pid"])
    assert held.status()["status"] == "stopped"
    assert "what is complete stays" in Path(driver["log"]).read_text()

    held.go_on()
    held.done("submit", "--workers", 0, "--", *scan(data))
    until(lambda: held.record()["state"] == "finished")
    assert_complete(held.out, expected)
    log = Path(driver["log"]).read_text()
    assert log.count(" ncdb-dask scan ") == 2
    assert "continuing: 20 of 24 entries" in log
    assert sorted(path.suffix for path in (held.out / "_driver").iterdir()) == [".json", ".log"]


def test_a_driver_that_is_killed_is_known_to_be_dead_and_leaves_no_obstacle(held, data, expected):
    held.done("submit", "--workers", 0, "--", *scan(data, 2))
    driver = held.record()
    until(lambda: len(list(held.out.glob("_plan/receipts/*"))) >= 5, 60)
    kill(driver["pid"])
    assert held.status()["status"] == "died"
    stopped = held.command("stop", "out")
    assert (stopped.returncode, "no driver runs" in stopped.stderr) == (1, True)
    held.go_on()
    held.done("submit", "--workers", 0, "--", *scan(data, 2))
    until(lambda: held.record()["state"] == "finished")
    assert held.record()["id"] != driver["id"]
    assert_complete(held.out, expected)


def test_a_driver_that_dies_at_once_is_told_of_by_submit(held, data):
    (held.folder / "python" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '--driver' in sys.orig_argv:\n"
        "    os.write(2, b'this Python cannot run here')\n"
        "    os._exit(3)\n"
    )
    ran = held.command("submit", "--", *scan(data))
    assert ran.returncode == 1
    assert "ended at once; its log ends with:\n    this Python cannot run here" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_driver_that_is_stopped_at_once_has_not_begun(held, data):
    (held.folder / "python" / "sitecustomize.py").write_text(
        "import sys\n"
        "if '--driver' in sys.orig_argv:\n"
        "    import ncdb_dask.cli.scan\n"
        "    ncdb_dask.cli.scan.scan.callback = lambda **arguments: sys.exit(143)\n"
    )
    ran = held.command("submit", "--", *scan(data))
    assert (ran.returncode, "ended at once; its log ends with" in ran.stderr) == (1, True)
    assert held.record()["state"] == "stopped"


@contextmanager
def cluster(held: Held) -> Iterator[tuple[str, dict[int, subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, by their process; one frame that waits holds none of them up."""
    threads = ("--nthreads", 2)
    with (
        scheduler(held.folder / "scheduler") as address,
        worker(address, held.folder / "one", *threads, **held.environment) as one,
        worker(address, held.folder / "two", *threads, **held.environment) as two,
    ):
        yield address, {one.pid: one, two.pid: two}


def test_a_driver_on_the_cluster_survives_its_worker(held, data, expected):
    with cluster(held) as (address, workers):
        held.done("submit", "--cluster", address, "--", *scan(data))
        first = held.until_held()
        its_worker = workers[psutil.Process(first["pid"]).ppid()]
        assert "-P" in psutil.Process(first["pid"]).cmdline()
        told = held.status()
        assert (told["status"], told["drivers"][0]["cluster"]) == ("running", address)
        assert "scan in " in held.done("status", address)
        its_worker.kill()
        its_worker.wait()
        # It does not outlive its worker, and another one takes its place on the other.
        until(lambda: gone(first["pid"]), 60)
        second = until(lambda: held.record()["attempt"] == 2 and held.record(), 60)
        assert second["id"] == first["id"]
        assert psutil.Process(second["pid"]).ppid() in workers.keys() - {its_worker.pid}
        held.go_on()
        until(lambda: held.record()["state"] == "finished", 60)
    assert_complete(held.out, expected)
    assert "the worker that ran it has gone" in (held.out / "_driver" / "driver.log").read_text()


def test_a_cluster_that_does_not_see_the_files_is_a_clear_error(held, data):
    from ncdb_dask.errors import RunError
    from ncdb_dask.runtime.on_cluster import require_seen

    class Elsewhere:
        silent: ClassVar[dict[str, Any]] = {}

        def run(self, function: Any, *arguments: Any, on_error: str) -> dict[str, Any]:
            assert on_error == "return"
            return {"tcp://node17:4711": function(*arguments), **self.silent}

    require_seen(Elsewhere(), [str(held.folder)])
    with pytest.raises(RunError, match=r"worker tcp://node17:4711 does not see /nowhere; .* on a file system"):
        require_seen(Elsewhere(), [str(held.folder), "/nowhere"])
    Elsewhere.silent["tcp://node18:4711"] = OSError("connection lost")
    with pytest.raises(RunError, match=r"worker tcp://node18:4711 could not be asked .* \(OSError\('connection lost'"):
        require_seen(Elsewhere(), [str(held.folder)])


def test_a_command_at_a_terminal_can_be_stopped_from_elsewhere(held, data):
    arguments = [sys.executable, "-m", "ncdb_dask.cli", *map(str, scan(data)), "--workers", "0"]
    with subprocess.Popen(
        arguments, cwd=held.folder, env={**os.environ, **held.environment}, stderr=subprocess.PIPE, text=True
    ) as process:
        held.until_held()
        held.done("stop", "out")
        said = process.stderr.read()
        assert process.wait() == 128 + signal.SIGTERM
    assert "stopped by `ncdb-dask stop`" in said
    assert "Traceback" not in said
