"""Quantizations by real processes and on a real cluster: the same bytes, whatever dies on the way."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.faults import Deadly, always, once
from helpers.quantize_driver import TASKS, die_in_task
from helpers.quantizing import depth_network, files_of, write_model
from helpers.statistics_driver import die_at_frame
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.errors import NcdbError, RunError
from ncdb_dask.quantization.result import Quantization
from ncdb_dask.runtime import settings
from ncdb_dask.runtime.events import RunStarted, StepProgress

TESTS = Path(__file__).parents[1]
FRAMES = 9
NAMES = {"int8.onnx", "int8.toml", "int8.report.json", "int8.report.png"}
Quantize = Callable[..., Quantization]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("net") / "net.onnx", depth_network(planted=100))


@pytest.fixture(scope="module")
def expected(root: Path, net: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run in this process gives that nothing disturbs."""
    out = tmp_path_factory.mktemp("expected") / "int8.onnx"
    return lasting(ncdb_dask.quantize(net, out, root=root, split="train_split.json"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "int8.onnx"


@pytest.fixture
def quantize(root: Path, net: Path, out: Path) -> Quantize:
    def quantized(**options: Any) -> Quantization:
        return ncdb_dask.quantize(net, out, root=root, split="train_split.json", **options)

    return quantized


def lasting(made: Quantization) -> dict[str, Any]:
    """What must be the same: the network's bytes, and the report but for times and places."""
    path = Path(made.out)
    report = dict(made.report)
    quantizer = dict(report.pop("quantizer"))
    report["output"] = report["output"]["sha256"]
    del report["finished"]
    for place in ("statistics", "network"):
        quantizer[place] = str(Path(quantizer[place]).relative_to(path.parent))
    return {
        "network": path.read_bytes(),
        "model file": path.with_suffix(".toml").read_bytes(),
        "report": report,
        "quantizer": quantizer,
    }


def assert_whole(out: Path) -> None:
    """All files are there, and nothing else."""
    assert {*files_of(out.parent)} == NAMES
    assert not list(out.parent.glob(".*"))
    assert ncdb_dask.verify_quantization(out) == []


def shards(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out.parent / "statistics").rglob("shard-*.parquet")}


# Workers


def test_two_workers_and_none_make_the_same_bytes(quantize, out, expected):
    with ncdb_dask.open_client(workers=2) as client:
        assert lasting(quantize(client=client)) == expected
    assert_whole(out)


def test_workers_that_are_killed_in_mid_run_cost_nothing(quantize, out, expected, tmp_path):
    """One in the statistics, and one in each of the tasks after them."""
    flags = {name: tmp_path / name for name in ("statistics", *TASKS)}
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_frame, once, flags["statistics"], "b/0000000002"), name="statistics")
        for kind in TASKS:
            plugin = Deadly(die_in_task, once, flags[kind], f"{kind} 0000000001 of synced_data/b")
            client.register_plugin(plugin, name=kind)
        made = quantize(client=client)
    assert [name for name, flag in flags.items() if not flag.exists()] == []
    assert lasting(made) == expected
    assert_whole(out)


def test_a_frame_that_kills_its_worker_every_time_is_named(quantize, out, monkeypatch):
    # Two deaths make a suspect here, to keep the test short; the product waits for four.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 1)
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_in_task, always, "Difference 0000000003 of synced_data/a"))
        with pytest.raises(RunError, match="0000000003 of synced_data/a kills its worker every time"):
            quantize(client=client)
    assert files_of(out.parent) == {}
    assert not list(out.parent.glob(".*"))


# The driver


def killed(net: Path, root: Path, out: Path, moment: str, workers: int = 0) -> None:
    """Run a quantization as a process of its own that is killed at a moment."""
    arguments = [str(part) for part in (net, root, out, moment, workers)]
    command = [sys.executable, "-m", "helpers.quantize_driver", *arguments]
    ended = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("moment", ["shard-000002.parquet", "ranges.json", "out/int8.report.json", "out/int8.onnx"])
def test_a_driver_that_was_killed_goes_on_where_it_was(moment, quantize, net, root, out, expected):
    killed(net, root, out, moment)
    assert not out.exists()
    before = shards(out)
    assert before
    seen: list[RunStarted] = []
    made = quantize(observer=lambda event: seen.append(event) if isinstance(event, RunStarted) else None)
    assert lasting(made) == expected
    after = shards(out)
    assert before.items() <= after.items()  # what was done is used, and not written again
    if moment.startswith("out/"):
        assert after == before
        assert not any(event.rows for event in seen)
    for left in out.parent.glob(".*.tmp"):
        left.unlink()  # of the file that was about to take its name
    assert_whole(out)


def test_a_driver_with_workers_that_was_killed(quantize, net, root, out, expected):
    killed(net, root, out, "first-shard", 2)
    before = shards(out)
    with ncdb_dask.open_client(workers=2) as client:
        assert lasting(quantize(client=client)) == expected
    assert before.items() & shards(out).items()  # but for one that had no receipt yet
    assert_whole(out)


def test_whoever_interrupts_finds_the_earlier_result(quantize, out):
    quantize(method="mse")
    before = files_of(out.parent)

    def interrupt(event: object) -> None:
        if isinstance(event, StepProgress) and event.what == "correcting biases":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(observer=interrupt)
    assert files_of(out.parent) == before
    assert not list(out.parent.glob(".*"))


# The disk


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every write beyond this size of a file fail, in ONNX Runtime's own code too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_the_earlier_result_and_half_of_nothing(quantize, out, expected):
    first = lasting(quantize(method="mse"))
    before = files_of(out.parent)
    failures = []
    for size in (200, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10000):
        try:
            with largest_file(size):
                quantize()
        except NcdbError as error:
            failures.append(str(error))
        else:
            break
        assert files_of(out.parent) == before
        assert not list(out.parent.glob(".*"))
    assert not any("\n" in failure for failure in failures)
    assert len(failures) > 4  # at many places
    assert lasting(quantize()) == expected != first
    assert_whole(out)
