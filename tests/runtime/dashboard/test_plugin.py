"""The page on a real scheduler: served, linked, measured, and no danger to it."""

import json
import urllib.error

import dask
import prometheus_client
import pytest
from helpers.watching import pages, read, separate_scheduler, small_cluster
from prometheus_client.parser import text_string_to_metric_families

import ncdb_dask
from ncdb_dask.errors import RunError
from ncdb_dask.runtime.dashboard.messages import message_of
from ncdb_dask.runtime.dashboard.plugin import NAME, Dashboard
from ncdb_dask.runtime.events import RunStarted, ShardDone
from ncdb_dask.runtime.watched import dashboard_state

OURS = "ncdb_dask_"


def begin(client, run="r", what="scan"):
    client.log_event(NAME, {**message_of(RunStarted(what, 4, 40, out="/out")), "run": run, "client": client.id})


def state(client):
    return json.loads(read(f"{pages(client)}/ncdb/status.json"))


def gauges(text, name):
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {tuple(sorted(sample.labels.items())): sample.value for sample in families[OURS + name].samples}


@pytest.fixture
def client():
    with small_cluster(0) as client:
        client.register_plugin(Dashboard())
        yield client


def test_the_page_is_whole_in_itself_and_linked_from_dasks_own(client):
    page = read(f"{pages(client)}/ncdb")
    assert "<title>ncdb</title>" in page
    assert "//" not in page.replace("http://www.w3.org/", "")  # nothing is fetched from elsewhere
    assert read(f"{pages(client)}/ncdb/") == page
    for own in ("status", "workers", "info/main/workers.html"):
        assert read(f"{pages(client)}/{own}")
    assert '<a href="ncdb">Ncdb</a>' in read(f"{pages(client)}/status")


def test_it_is_installed_once(client):
    begin(client)
    client.register_plugin(Dashboard())
    assert [run["run"] for run in state(client)["runs"]] == ["r"]
    assert read(f"{pages(client)}/status").count('href="ncdb"') == 1


def test_the_state_is_the_same_by_both_ways(client):
    begin(client)
    by_page, by_comm = state(client), dashboard_state(client)
    assert by_page.keys() == by_comm.keys() == {"runs", "workers"}
    for run in (by_page["runs"][0], by_comm["runs"][0]):
        assert run.pop("elapsed_seconds") >= 0
    assert by_page == by_comm


@pytest.mark.parametrize("message", ["<script>", 17, None, [1, 2], {}, {"event": "ShardDone"}, {"event": {"a": 1}}])
def test_a_broken_message_does_no_harm(client, message):
    begin(client)
    client.log_event(NAME, message)
    client.log_event("another topic", {**message_of(RunStarted("b", 1, 1)), "run": "b", "client": ""})
    begin(client, "later")
    assert {run["run"] for run in state(client)["runs"]} == {"r", "later"}
    assert client.scheduler_info()


def test_a_driver_that_leaves_is_seen(client):
    from distributed import Client

    with Client(client.scheduler.address, set_as_default=False) as driver:
        begin(driver)
        assert state(client)["runs"][0]["status"] == "running"
    assert state(client)["runs"][0]["status"] == "gone"


def test_gauges_say_what_the_state_says(client):
    begin(client, what='a "quoted"\nname')
    done = ShardDone(2, 10, {"ok": 8, "missing_depth": 2})
    client.log_event(NAME, {**message_of(done), "run": "r", "client": client.id})
    metrics = read(f"{pages(client)}/metrics")
    labels = (("run", "r"), ("what", 'a "quoted"\nname'))
    assert gauges(metrics, "entries") == {labels: 40}
    assert gauges(metrics, "shards") == {labels: 4}
    assert gauges(metrics, "shards_done") == {labels: 1}
    assert gauges(metrics, "run") == {tuple(sorted([*labels, ("status", "running")])): 1}
    by_status = {dict(key)["status"]: value for key, value in gauges(metrics, "entries_done").items()}
    assert by_status == {"ok": 8, "missing_depth": 2}
    assert gauges(metrics, "elapsed_seconds")[labels] >= 0
    for name in ("entries_per_second", "remaining_seconds"):
        assert gauges(metrics, name)[labels] >= 0
    assert "dask_scheduler_workers" in metrics


def test_schedulers_of_one_process_neither_clash_nor_leak():
    for _ in range(2):
        with small_cluster(0) as one, small_cluster(0) as other:
            for client, run in ((one, "a"), (other, "b")):
                client.register_plugin(Dashboard())
                begin(client, run)
                begin(client, "both")
            assert [run["run"] for run in state(other)["runs"]] == ["both", "b"]
            shown = gauges(read(f"{pages(one)}/metrics"), "shards")
            assert sorted(dict(labels)["run"] for labels in shown) == ["a", "b", "both"]
        assert OURS not in prometheus_client.generate_latest().decode()


def test_pages_under_a_prefix():
    with small_cluster(0, scheduler_kwargs={"http_prefix": "/deep/down"}) as client:
        client.register_plugin(Dashboard())
        root = f"http://{client.dashboard_link.split('/')[2]}"
        assert "<title>ncdb</title>" in read(f"{root}/deep/down/ncdb")
        assert json.loads(read(f"{root}/deep/down/ncdb/status.json"))["runs"] == []
        with pytest.raises(urllib.error.HTTPError):
            read(f"{root}/ncdb")


def test_a_scheduler_without_pages_runs_all_the_same(data, tmp_path):
    with (
        dask.config.set({"distributed.scheduler.http.routes": []}),
        small_cluster(0, scheduler_kwargs={"dashboard": False}) as client,
    ):
        client.cluster.scale(1)
        assert ncdb_dask.scan(data, tmp_path / "scan", client=client).samples == 24
        assert dashboard_state(client)["runs"][0]["status"] == "finished"


def test_a_scheduler_where_nothing_has_run_says_so():
    with small_cluster(0) as client, pytest.raises(RunError, match="nothing of ncdb_dask has run there yet"):
        dashboard_state(client)


def test_a_scheduler_that_was_running_already(data, tmp_path):
    from distributed import Client

    with separate_scheduler(tmp_path) as address:
        with Client(address) as client:
            client.wait_for_workers(1, timeout=60)
            summary = ncdb_dask.scan(data, tmp_path / "scan", client=client, shard_size=4)
        with Client(address) as later:
            kept = dashboard_state(later)
            (run,) = kept["runs"]
            assert (run["what"], run["status"], run["shards_done"]) == ("scan", "finished", 6)
            assert run["counts"] == summary.status
            (worker,) = kept["workers"]
            assert worker["entries_done"] == 24
            assert worker["memory"] > 0
            assert state(later)["runs"][0]["counts"] == summary.status
            assert gauges(read(f"{pages(later)}/metrics"), "shards_done").popitem()[1] == 6
            assert 'href="ncdb"' in read(f"{pages(later)}/workers")
