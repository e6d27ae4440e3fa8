"""The page in a real browser, during real runs."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from helpers.faults import Deadly, nth
from helpers.quantizing import depth_network, write_model
from helpers.trees import write_tree
from helpers.watching import pages, read, small_cluster, until, wait_at_frame

import ncdb_dask
from ncdb_dask.dataset import synthetic
from ncdb_dask.runtime.dashboard.messages import message_of
from ncdb_dask.runtime.dashboard.plugin import NAME, Dashboard
from ncdb_dask.runtime.events import RunStarted, ShardDone, ShardSetAside, StepProgress
from ncdb_dask.runtime.watched import dashboard_state
from ncdb_dask.scanning.stats import histogram_edges
from ncdb_dask.store.figures import Chart, Fault

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Debian's chromium and chromium-driver")

SHARD = 4
INJECTED = '<img src=x onerror="window.hurt=1">'


class Page:
    """The page in a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def text(self, selector: str) -> str:
        return self.script("return document.querySelector(arguments[0])?.innerText", selector)

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, selector: str, text: str) -> None:
        until(lambda: text in (self.text(selector) or ""))

    def counts(self) -> dict[str, int]:
        cells = "[...document.querySelectorAll('#counts tr')].map(row => [...row.cells].map(cell => cell.innerText))"
        return {status.strip(): int(count.replace(",", "")) for status, count, _ in self.script(f"return {cells}")}

    def bins(self, title: str) -> list[tuple[str, int]]:
        """Return what the pointer tells over every bar of a histogram."""
        hints = self.script(
            f"return [...document.querySelectorAll('svg[aria-label=\"{title}\"] rect')].map(each => each.textContent)"
        )
        found = [hint.rsplit(": ", 1) for hint in hints]
        return [(place, int(count.replace(",", ""))) for place, count in found]

    def complaints(self) -> list[str]:
        return [each["message"] for each in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any) -> Page:
    browser.set_window_size(1280, 1600)
    browser.get("about:blank")
    browser.get_log("browser")
    return Page(browser)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    synthetic.write_tree(root, scenes=6, frames=6, faults=True)
    return root


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin, and return what waits for the result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def wait() -> Any:
        thread.join(60)
        return results.pop()

    return wait


@needs_browser
def test_a_scan_is_watched_from_the_first_shard_to_the_last(page, tree, tmp_path):
    out, sign = tmp_path / "scan", tmp_path / "sign"
    with small_cluster(1) as client:
        client.register_plugin(Deadly(partial(wait_at_frame, sign=sign), nth, "", 2 * SHARD + 1))
        client.register_plugin(Dashboard())
        page.driver.get(f"{pages(client)}/status")
        page.script("document.querySelector('.navbar a[href=ncdb]').click()")
        page.until("#nothing", "Nothing has run yet")
        page.driver.get_log("browser")  # what Dask's own page has to say

        wait = in_background(lambda: ncdb_dask.scan(tree, out, client=client, shard_size=SHARD))
        page.until("#shards-text", "2 of ")
        assert page.text("#what") == "Scan"
        assert page.text("#out") == str(out)
        assert page.text("#status") == "running"
        assert page.text("#entries-text").startswith(f"{2 * SHARD} of ")
        before = page.counts(), sum(count for _, count in page.bins("Depth of a pixel"))
        assert sum(before[0].values()) == 2 * SHARD
        tops = "return [...document.querySelectorAll('main > *')].map(each => each.offsetTop)"
        places = page.script(tops)

        sign.touch()
        summary = wait()
        page.until("#status", "finished")
        assert page.text("#percent") == "100 %"
        assert page.counts() == summary.status == ncdb_dask.summarize_scan(out).status
        edges = [f"{float(f'{edge:.3g}'):g}" for edge in histogram_edges()]
        expected = [
            (f"{edges[bin_]} to {edges[bin_ + 1]} m", count)
            for bin_, count in enumerate(summary.pixel_histogram)
            if count
        ]
        assert page.bins("Depth of a pixel") == expected
        assert sum(count for _, count in expected) > before[1]
        assert sum(count for _, count in page.bins("Mean depth of a frame")) == summary.samples
        assert "leaves the root" in page.text("#faults")
        assert page.script(tops) == places  # nothing has jumped
        assert page.complaints() == []
        page.script("document.querySelector('header a').click()")
        until(lambda: page.driver.current_url == f"{pages(client)}/status")
        page.driver.back()
        page.until("#live", "live")
    page.until("#live", "the scheduler has not answered for")
    assert page.text("#percent") == "100 %"


def begin(client: Client, run: str, *events: Any) -> None:
    for event in events:
        client.log_event(NAME, {**message_of(event), "run": run, "client": client.id})


@needs_browser
def test_what_comes_from_data_is_text(page):
    charts = (
        Chart("h", INJECTED, INJECTED, (1.0, 10.0, 100.0)),
        Chart("l", INJECTED, wanted={INJECTED: 2}, labels=(INJECTED,)),
    )
    figures = {"h": [1, 2], "l": {INJECTED: 1}}
    with small_cluster(0) as client:
        client.register_plugin(Dashboard())
        begin(
            client,
            INJECTED,
            RunStarted(INJECTED, 2, 20, charts=charts, out=INJECTED),
            ShardDone(0, 10, {INJECTED: 10}, figures, (Fault(INJECTED, INJECTED, INJECTED),), INJECTED),
            ShardSetAside(1, INJECTED),
            StepProgress(INJECTED, 1, 2),
        )
        begin(client, "other", RunStarted(INJECTED, 1, 1))
        page.driver.get(f"{pages(client)}/ncdb")
        page.until("#what", INJECTED)
        page.script("document.querySelectorAll('#runs button')[1].click()")
        page.until("#faults", INJECTED)
        for selector in ("#runs", "#out", "#notes", "#steps", "#counts", "#charts h2", "#charts .labels"):
            assert INJECTED in page.text(selector)
        assert page.script("return document.images.length") == 0
        assert page.script("return window.hurt") is None
        assert page.complaints() == []


@needs_browser
def test_one_of_several_runs_is_chosen_and_a_phone_has_room(page):
    with small_cluster(0) as client:
        client.register_plugin(Dashboard())
        begin(client, "a", RunStarted("scan", 3, 30, out="/a/long/place/" * 20), ShardDone(0, 10, {"ok": 10}))
        begin(client, "b", RunStarted("evaluation", 2, 20), ShardDone(0, 10, {"ok": 10}))
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        )
        page.driver.get(f"{pages(client)}/ncdb")
        page.until("#what", "Evaluation")
        assert page.text("#percent") == "50 %"
        page.script("document.querySelectorAll('#runs button')[1].click()")
        page.until("#what", "Scan")
        assert page.text("#percent") == "33 %"
        begin(client, "a", ShardDone(1, 10, {"ok": 10}))
        page.until("#percent", "66 %")  # it stays chosen
        assert page.script("return document.documentElement.scrollWidth <= innerWidth")
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_kind_of_run_is_told(tmp_path):
    root, net = tmp_path / "data", tmp_path / "net.onnx"
    write_tree(root, 6)
    write_model(net, depth_network(planted=100))
    given = {"root": root, "split": "train_split.json"}
    with small_cluster(1) as client:
        ncdb_dask.quantize(net, tmp_path / "int8.onnx", client=client, **given)
        ncdb_dask.evaluate(tmp_path / "int8.onnx", tmp_path / "int8", client=client, **given)
        ncdb_dask.export(root / "train_split.json", tmp_path / "out", root=root, format="images", client=client)
        runs = {run["what"]: run for run in dashboard_state(client)["runs"]}
        assert json.loads(read(f"{pages(client)}/ncdb/status.json"))["runs"][0]["what"] == "export"
    assert set(runs) == {"quantization", "activation statistics", "evaluation", "export"}
    assert {run["status"] for run in runs.values()} == {"finished"}
    assert runs["evaluation"]["counts"] == runs["export"]["counts"] == {"ok": 6}
    assert sum(runs["evaluation"]["charts"][0]["figure"]) == 6
    assert runs["quantization"]["out"] == str(tmp_path / "int8.onnx")
    assert runs["quantization"]["steps"]
    assert all(step["done"] == step["total"] for step in runs["quantization"]["steps"])
