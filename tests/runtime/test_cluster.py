"""The local cluster: what it listens on, how it spreads work, and how it survives its workers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask
import pandas as pd
import psutil
import pytest
from dask.utils import parse_timedelta
from helpers.faults import Deadly, always, die_at_frame, die_at_write, once
from helpers.trees import assert_complete

import ncdb_dask
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import local
from ncdb_dask.runtime.events import Event, ShardDone, ShardSuspected
from ncdb_dask.runtime.local import free_or_any, memory_share
from ncdb_dask.runtime.settings import LOOPBACK
from ncdb_dask.runtime.specification import LocalSpec

SHARD_SIZE = 4


@pytest.fixture(autouse=True)
def _any_port():
    """Let tests that run at the same time not compete for the usual port of the dashboard."""
    with dask.config.set({"ncdb.local.dashboard-port": 0}):
        yield


@pytest.fixture
def client() -> Iterator[object]:
    with ncdb_dask.open_client(workers=2) as opened:
        yield opened


def test_the_table_is_the_same_as_without_a_cluster(client, data, tmp_path, expected):
    events: list[Event] = []
    summary = ncdb_dask.scan(data, tmp_path / "scan", shard_size=SHARD_SIZE, client=client, observer=events.append)
    assert summary.samples == len(expected)
    assert_complete(tmp_path / "scan", expected)
    done = [event.shard for event in events if isinstance(event, ShardDone)]
    assert sorted(done) == list(range(6))


def test_more_shards_than_fit_into_a_wave_all_run(client, data, tmp_path, expected):
    ncdb_dask.scan(data, tmp_path / "scan", shard_size=1, client=client)
    assert_complete(tmp_path / "scan", expected)


def test_a_taken_dashboard_port_is_no_obstacle():
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with ncdb_dask.open_client(LocalSpec(workers=1, dashboard_port=port)) as client:
            assert f":{port}/" not in client.dashboard_link


def test_a_port_is_free_again_once_its_connections_are_closed():
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert free_or_any(port) == 0
        with socket.create_connection((LOOPBACK, port)) as browser, server.accept()[0] as served:
            served.close()  # first, so that it is the server's side that lingers
            assert browser.recv(1) == b""
    assert free_or_any(port) == port


def test_memory_is_shared_by_the_cores_or_by_more_workers(monkeypatch):
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 16_000)  # of the control group, or the machine
    monkeypatch.setattr(local, "cores", lambda: 8)
    assert memory_share(2) == memory_share(8) == 2_000
    assert memory_share(16) == 1_000


def test_each_worker_has_the_memory_that_is_said():
    with ncdb_dask.open_client(LocalSpec(workers=1, memory="300 MiB", dashboard_port=0)) as client:
        (worker,) = client.scheduler_info()["workers"].values()
    assert worker["memory_limit"] == 300 * 2**20


@pytest.mark.parametrize(
    ("limited", "expression", "at_most"),
    [
        (("taskset", "--cpu-list", "0"), "local.cores()", 1),
        (("prlimit", "--rss=1000000000:1000000000"), "local.memory_share(1000)", 1_000_000),
    ],
)
def test_limits_of_this_process_count(limited, expression, at_most):
    script = f"from ncdb_dask.runtime import local; print({expression})"
    ran = subprocess.run([*limited, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    assert 1 <= int(ran.stdout) <= at_most


def test_a_cluster_that_does_not_start_says_so_and_leaves_nothing(monkeypatch):
    async def fail(nanny):
        raise OSError("No space left on device")

    monkeypatch.setattr("distributed.Nanny.start_unsafe", fail)
    opening = ncdb_dask.open_client(workers=1)
    says = r"the local cluster did not start \(.*No space left on device\); a script must open it under"
    with pytest.raises(RunError, match=says), opening:
        pass
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_encryption_that_is_demanded_is_for_networks():
    with dask.config.set({"distributed.comm.require-encryption": True}), ncdb_dask.open_client(workers=1) as client:
        assert client.submit(int).result() == 0


def test_workers_load_what_the_user_has_configured_too(tmp_path):
    theirs = tmp_path / "theirs.py"
    theirs.write_text("def dask_setup(worker):\n    worker.theirs = True\n")
    with dask.config.set({"distributed.worker.preload": [str(theirs)]}), ncdb_dask.open_client(workers=1) as client:
        assert set(client.run(lambda dask_worker: dask_worker.theirs).values()) == {True}
        assert set(client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}


def test_workers_are_processes_of_one_thread(client):
    assert sorted(client.nthreads().values()) == [1, 1]
    assert os.getpid() not in client.run(os.getpid).values()


def test_a_worker_killed_in_mid_shard_costs_nothing(client, data, tmp_path, expected):
    client.register_plugin(Deadly(die_at_frame, once, tmp_path / "flag", "0000000005"))
    ncdb_dask.scan(data, tmp_path / "scan", shard_size=SHARD_SIZE, client=client)
    assert (tmp_path / "flag").exists()
    assert_complete(tmp_path / "scan", expected)


def test_a_worker_killed_between_data_and_receipt_costs_nothing(client, data, tmp_path, expected):
    client.register_plugin(Deadly(die_at_write, once, tmp_path / "flag", "receipts/"))
    ncdb_dask.scan(data, tmp_path / "scan", shard_size=SHARD_SIZE, client=client)
    assert (tmp_path / "flag").exists()
    assert_complete(tmp_path / "scan", expected)


def test_frames_that_always_kill_their_worker_end_as_crashed_rows(monkeypatch, data, tmp_path, expected):
    # Two deaths make a suspect here, to keep the test short; the product waits for four.
    monkeypatch.setitem(local.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 1)
    events: list[Event] = []
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_frame, always, "0000000005"))
        summary = ncdb_dask.scan(data, tmp_path / "scan", shard_size=SHARD_SIZE, client=client, observer=events.append)
    assert summary.status == {"ok": 22, "crashed": 2}  # the stem is in both scenes
    rows = ncdb_dask.read_scan(tmp_path / "scan")
    crashed = rows["status"] == "crashed"
    assert set(rows.loc[crashed, "filename"]) == {"0000000005"}
    assert rows.loc[crashed, "detail"].str.contains("killed its worker").all()
    assert rows.loc[crashed, "mean_depth"].isna().all()
    pd.testing.assert_frame_equal(rows[~crashed], expected[~crashed])
    assert any(isinstance(event, ShardSuspected) for event in events)
    done = [event.shard for event in events if isinstance(event, ShardDone)]
    assert sorted(done) == list(range(6))


def test_workers_ignore_the_interrupt_that_a_terminal_sends_to_all(client):
    assert set(client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}


def test_a_driver_that_is_killed_takes_its_workers_with_it(tmp_path):
    script = (
        "import os, signal, ncdb_dask\n"
        "if __name__ == '__main__':\n"
        "    with ncdb_dask.open_client(workers=1) as client:\n"
        "        print(*client.run(os.getpid).values(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = Path(tmp_path, "driver.py")
    path.write_text(script)
    ran = subprocess.run([sys.executable, path], stdout=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL
    worker = int(ran.stdout)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(timeout=30)


def test_a_run_without_workers_ends(client):
    assert parse_timedelta(client.cluster.scheduler.no_workers_timeout) == 600


def test_settings_hold_while_the_cluster_is_open_and_no_longer():
    name = "distributed.scheduler.worker-saturation"
    before = dask.config.get(name)
    with ncdb_dask.open_client(workers=1):
        assert dask.config.get(name) == 1.0 != before
    assert dask.config.get(name) == before


@pytest.mark.parametrize(("connection", "tunnel"), [(None, False), ("192.0.2.1 50000 192.0.2.2 22", True)])
def test_where_to_watch_is_told(connection, tunnel, monkeypatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    if connection:
        monkeypatch.setenv("SSH_CONNECTION", connection)
    told: list[str] = []
    with ncdb_dask.open_client(LocalSpec(workers=1, dashboard_port=0), report=told.append) as client:
        port = client.dashboard_link.split(":")[2].split("/")[0]
    page, _, way = told[0].partition("; ")
    assert page == f"dashboard: http://127.0.0.1:{port}/ncdb"
    assert bool(way) == tunnel
    assert not tunnel or f"ssh -L {port}:127.0.0.1:{port} " in way
    assert len(told) == 1
