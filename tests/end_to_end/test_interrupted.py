"""Whatever dies on the way, a second run gives the table of an uninterrupted one."""

import errno
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.trees import assert_complete, write_split, write_tree

import ncdb_dask
from ncdb_dask.errors import NcdbError, PlanError, StorageError

TESTS = Path(__file__).parents[1]
SHARDS = 80
COMMAND = [sys.executable, "-m", "ncdb_dask.cli"]


def drive(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.driver", *map(str, arguments)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )


def is_root() -> bool:
    return os.geteuid() == 0


@pytest.mark.parametrize("moment", ["before-plan", "before-data", "before-receipt", "before-manifest"])
def test_a_driver_killed_at_any_write(moment, data, tmp_path, expected):
    out = tmp_path / "scan"
    assert drive(data, out, moment).returncode == -signal.SIGKILL
    with pytest.raises(PlanError):
        ncdb_dask.read_scan(out)
    ncdb_dask.scan(data, out, shard_size=4)
    assert_complete(out, expected)


def test_a_driver_killed_while_workers_work(data, tmp_path, expected):
    out = tmp_path / "scan"
    assert drive(data, out, "after-first-shard", 2).returncode == -signal.SIGKILL
    assert not (out / "_manifest.json").exists()
    ncdb_dask.scan(data, out, shard_size=4)
    assert_complete(out, expected)


def test_a_killed_update_continues(tmp_path):
    keys = write_tree(tmp_path / "data", 16)
    (tmp_path / "data" / "train_split.json").rename(tmp_path / "all.json")
    write_split(tmp_path / "data", keys[:8])
    out = tmp_path / "scan"
    ncdb_dask.scan(tmp_path / "data", out, shard_size=4)
    write_split(tmp_path / "data", keys)
    script = (
        "import sys, ncdb_dask\n"
        "from helpers.faults import die_at_write, nth\n"
        "die_at_write(nth('receipts/shard-000003.json'))\n"
        "ncdb_dask.scan(*sys.argv[1:], update=True)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, tmp_path / "data", out], cwd=TESTS, check=False)
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(PlanError, match="3 of 4 shards are done"):
        ncdb_dask.read_scan(out)
    ncdb_dask.scan(tmp_path / "data", out)
    ncdb_dask.scan(tmp_path / "data", tmp_path / "whole", shard_size=4)
    assert_complete(out, ncdb_dask.read_scan(tmp_path / "whole"))


def interrupt(terminal: bool, signum: int, out: Path, *arguments: object) -> tuple[int, str]:
    """Start a command, signal it once it has committed a shard, and return its exit code and what it said."""
    master, slave = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=slave, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        os.close(slave)
        said = b""
        while process.poll() is None and not list(out.glob("_plan/receipts/*.json")):
            if select.select([master], [], [], 0.02)[0]:
                said += _read(master)
        # A terminal signals every process of the command, workers included.
        os.killpg(process.pid, signum) if terminal else process.send_signal(signum)
        while chunk := _read(master):
            said += chunk
        return process.wait(), said.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says when the last process has closed a terminal
            raise
        return b""


@pytest.mark.parametrize(
    ("terminal", "signum", "code"),
    [(True, signal.SIGINT, 130), (False, signal.SIGTERM, 143), (False, signal.SIGHUP, 129)],
)
def test_a_signal_ends_the_command_cleanly(terminal, signum, code, tmp_path):
    write_tree(tmp_path / "data", SHARDS)
    out = tmp_path / "scan"
    arguments = ("scan", tmp_path / "data", out, "--shard-size", "1", "--workers", "2")
    returned, said = interrupt(terminal, signum, out, *arguments)
    assert returned == code, said
    assert "the same command goes on from it" in said
    assert "Traceback" not in said
    assert 0 < len(list(out.glob("_plan/receipts/*.json"))) < SHARDS
    ran = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "continuing: " in ran.stderr
    ncdb_dask.scan(tmp_path / "data", tmp_path / "whole", shard_size=1)
    assert_complete(out, ncdb_dask.read_scan(tmp_path / "whole"))


@pytest.fixture
def small_disk(tmp_path):
    if not is_root():
        pytest.skip("mounting a file system needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_says_so_and_the_scan_goes_on_when_there_is_room(workers, small_disk, data, expected):
    out = small_disk / "scan"
    ran = subprocess.run(
        [*COMMAND, "scan", data, out, "--shard-size", "4", "--workers", str(workers)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert "goes on from it" in ran.stderr
    assert "Traceback" not in ran.stderr
    with pytest.raises(NcdbError):
        ncdb_dask.read_scan(out)
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    ncdb_dask.scan(data, out, shard_size=4)
    assert_complete(out, expected)


def test_a_read_only_folder_is_refused_and_left_as_it_is(small_disk, data):
    (small_disk / "scan").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageError, match=r"cannot write .*Read-only file system"):
        ncdb_dask.scan(data, small_disk / "scan")
    assert not list((small_disk / "scan").iterdir())


def test_two_scans_into_one_folder_do_not_disturb_each_other(data, tmp_path, expected):
    out = tmp_path / "scan"
    processes = [
        subprocess.Popen([*COMMAND, "scan", data, out, "--shard-size", "4", "--workers", "0"], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[1].decode() for process in processes]
    # The one that came second may have been told to give up, but by a sentence, and the other is through.
    assert 0 in [process.returncode for process in processes], said
    assert not any("Traceback" in text for text in said), said
    assert_complete(out, expected)


def test_a_finished_scan_reads_nothing_of_the_data(tmp_path, monkeypatch):
    write_tree(tmp_path / "data", 4)
    first = ncdb_dask.scan(tmp_path / "data", tmp_path / "scan")
    for picture in (tmp_path / "data").rglob("*.png"):
        picture.unlink()
    assert ncdb_dask.scan(tmp_path / "data", tmp_path / "scan") == first
    assert isinstance(ncdb_dask.read_scan(tmp_path / "scan"), pd.DataFrame)
