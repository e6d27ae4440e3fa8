"""The local cluster: what it listens on, how it spreads work, and how it survives its workers."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from helpers.faults import Deadly, always, die_at_frame, die_at_write, once
from helpers.trees import assert_complete

import ncdb_dask
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import cluster as cluster_module
from ncdb_dask.runtime.cluster import LocalSpec, read_spec
from ncdb_dask.runtime.events import Event, ShardDone, ShardSuspected

SHARD_SIZE = 4
SPEC = Path(__file__).parents[2] / "cluster" / "local.toml"


@pytest.fixture
def client() -> Iterator[object]:
    with ncdb_dask.local_cluster(2) as opened:
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


def test_everything_listens_on_the_loopback_interface_only(client):
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4  # scheduler, dashboard, and two workers at least
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_taken_dashboard_port_is_no_obstacle(client):
    assert client.dashboard_link
    with ncdb_dask.local_cluster(1) as second:
        assert second.dashboard_link != client.dashboard_link


def test_the_shipped_specification_is_valid():
    assert read_spec(str(SPEC)) == LocalSpec(workers=2, memory="2 GiB", dashboard_port=8787)
    assert read_spec("local") == LocalSpec()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = 'slurm'", 'expected kind = "local"'),
        ("workers = 2", 'expected kind = "local"'),
        ("kind = 'local'\nwrokers = 2", r"found wrokers = 2; expected kind, workers \(int\)"),
        ("kind = 'local'\nworkers = '2'", "found workers = '2'"),
        ("kind =", "is no TOML file"),
    ],
)
def test_a_wrong_specification_says_what_was_found(text, says, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(RunError, match=says):
        read_spec(str(path))


def test_a_cluster_that_is_no_file_says_what_is_expected():
    with pytest.raises(RunError, match="cluster 'slurm': expected 'local' or a TOML file"):
        read_spec("slurm")


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_workers_than_one_is_a_clear_error(workers):
    with pytest.raises(RunError, match="expected at least 1"), ncdb_dask.local_cluster(workers):
        pass


def test_a_memory_limit_that_is_none_is_a_clear_error():
    with pytest.raises(RunError, match="did not start"), ncdb_dask.local_cluster(1, memory="much"):
        pass


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
    monkeypatch.setitem(cluster_module.SETTINGS, "distributed.scheduler.allowed-failures", 1)
    events: list[Event] = []
    with ncdb_dask.local_cluster(2) as client:
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
        "    with ncdb_dask.local_cluster(1) as client:\n"
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


def test_a_worker_that_is_on_its_way_is_not_given_up():
    """Dask looks once, 15 s after a death, and closes the place of a worker that is not there just then."""
    import dask
    from dask.utils import parse_timedelta

    with ncdb_dask.local_cluster(1, dashboard_port=0):
        assert parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")) > 600
