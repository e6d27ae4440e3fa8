"""The driver as a job: it asks for the jobs of its workers itself, and another one goes on where it ended."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.real_slurm import Site, call, queue, told
from helpers.trees import assert_complete
from helpers.watching import until

SINCE = "0000000010"  # in the last of the six shards alone


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have scripts written, and logs, in the test's own folder."""
    monkeypatch.chdir(tmp_path)


def said(*arguments: object) -> str:
    """Return what a command of ours prints, which must succeed."""
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(out: Path) -> dict[str, Any]:
    return json.loads(said("status", out, "--json"))


def in_queue(job: str) -> bool:
    return job in {line.partition("|")[0] for line in queue()}


def shards(out: Path) -> dict[str, int]:
    """Return the shards that are done, and when they were."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "_plan" / "receipts").glob("*.json")}


def one_shard_left(site: Site, out: Path) -> dict[str, int]:
    """Wait until a worker is held at the last shard, and all others are done."""
    site.jobs_held(1)
    until(lambda: len(shards(out)) == 5)
    return shards(out)


def kill(job: str, out: Path) -> None:
    os.kill(status(out)["drivers"][0]["pid"], signal.SIGKILL)


def cancel(job: str, out: Path) -> None:
    told("scancel", job)


def let_time_run_out(job: str, out: Path) -> None:
    """Have SLURM find at its next look, within 30 s, that the job is 120 s from its end: it is told so by SIGTERM."""
    told("scontrol", "update", f"JobId={job}", "TimeLimit=2")


@pytest.mark.parametrize(
    ("end", "conditions"),
    [
        (kill, {"died"}),
        (cancel, {"stopped", "died"}),  # SLURM waits 2 s here before it kills
        (let_time_run_out, {"stopped"}),
    ],
)
def test_a_second_job_goes_on_where_the_first_was_ended(
    end: Callable[[str, Path], None], conditions, site, data, tmp_path, expected
):
    out, script = tmp_path / "scan", tmp_path / "driver.sbatch"
    spec = site.write(since=SINCE)
    script.write_text(said("slurm-script", "--cluster", spec, "--", "scan", data, out, "--shard-size", 4))
    first = told("sbatch", "--parsable", script)
    before = one_shard_left(site, out)
    state = status(out)
    assert (state["status"], state["drivers"][0]["job"]) == ("running", first)
    assert (state["runs"][0]["shards_done"], state["runs"][0]["entries_done"]) == (5, 20)
    end(first, out)
    until(lambda: not in_queue(first), 90)
    site.go()
    until(lambda: not queue())
    state = status(out)
    assert state["status"] in conditions
    assert (state["drivers"][0]["condition"], state["drivers"][0]["job"]) == (state["status"], first)
    second = told("sbatch", "--parsable", script)
    until(lambda: not in_queue(second), 90)
    state = status(out)
    assert (state["status"], state["drivers"][0]["job"]) == ("finished", second)
    assert "entries are done already" in (tmp_path / f"ncdb-scan-{second}.log").read_text()
    assert before.items() <= shards(out).items()
    assert_complete(out, expected)


def test_a_submitted_scan_is_stopped_and_goes_on(site, data, tmp_path, expected):
    out = tmp_path / "scan"
    scan = ("submit", "--cluster", site.write(since=SINCE), "--", "scan", data, out, "--shard-size", 4)
    said(*scan)
    before = one_shard_left(site, out)
    state = status(out)
    assert (state["status"], in_queue(state["drivers"][0]["job"])) == ("running", True)
    again = call(*scan)
    assert (again.returncode, "another driver is at work" in again.stderr) == (1, True)
    assert "has ended: stopped, stopped by `ncdb-dask stop`" in said("stop", out)
    until(lambda: not queue())
    assert status(out)["status"] == "stopped"
    assert site.certificates() == []
    site.go()
    said(*scan)
    until(lambda: not queue(), 60)
    assert status(out)["status"] == "finished"
    assert before.items() <= shards(out).items()
    assert_complete(out, expected)


def test_a_submitted_scan_that_waits_is_stopped(site, data, tmp_path):
    out = tmp_path / "scan"
    said("submit", "--cluster", site.write(driver_directives=["--hold"]), "--", "scan", data, out)
    [job, state, _] = queue()[0].split("|")
    assert state == "PENDING"
    told_of = status(out)
    assert (told_of["status"], told_of["drivers"][0]["job"]) == ("submitted", job)
    assert "stopped before it began" in said("stop", out)
    assert queue() == []
    assert status(out)["status"] == "stopped"


def test_a_folder_of_signs_that_sbatch_reads_in_its_own_way(site, data, tmp_path, monkeypatch, expected):
    folder = tmp_path / 'it\'s #1 of "100%j" in $HOME'
    folder.mkdir()
    monkeypatch.chdir(folder)
    said("submit", "--cluster", site.write(), "--workers", 0, "--", "scan", data, "scan")
    until(lambda: not queue(), 60)
    state = status(folder / "scan")
    assert (state["status"], state["drivers"][0]["cwd"]) == ("finished", str(folder))
    assert "ncdb-dask scan --workers 0" in (folder / "scan" / "_driver" / "driver.log").read_text()
    assert_complete(folder / "scan", expected)
