"""`ncdb-dask demo`: from a data set to the page, on data of one's own and on what comes with the package."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from helpers.deaths import Killed
from helpers.quantizing import depth_network, files_of, write_model

import ncdb_dask
from ncdb_dask.api import demos
from ncdb_dask.cli.main import main
from ncdb_dask.dataset.synthetic import write_tree
from ncdb_dask.demonstration import plan as demo_plan
from ncdb_dask.demonstration.result import Demo
from ncdb_dask.errors import NcdbError, PlanError
from ncdb_dask.runtime import cluster

pytestmark = pytest.mark.xdist_group("demo")  # one demo for all of them

BROKEN = {"dataset_root": "synced_data/scene_000_room", "new_filename": "lost"}
PLACES = {"sample": "sets", "quantize": "networks"}
FULL, PLAIN = "all on", "plain"
small_tree = partial(write_tree, scenes=3, frames=10, width=64, height=48)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a network, as a user has them: broken entries are in both splits."""
    folder = tmp_path_factory.mktemp("own")
    small_tree(folder / "data", faults=True)
    split = folder / "data" / "val_split.json"
    split.write_text(json.dumps([*json.loads(split.read_text()), BROKEN]))
    write_model(folder / "net.onnx", depth_network())
    return folder


@pytest.fixture(scope="module")
def options(own: Path) -> list[object]:
    return ["--root", own / "data", "--model", own / "net.onnx", "--seed", 7]


@pytest.fixture(scope="module")
def made(options: list[object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo in processes that cannot import torch, and what it printed."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "fake").mkdir()
    (folder / "fake" / "torch.py").write_text("raise ImportError('torch is not to be imported')")
    path = os.pathsep.join([str(folder / "fake"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "ncdb_dask.cli", "demo", folder / "demo", *options, "--workers", 2]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "dashboard: " in done.stderr
    return folder / "demo", done.stdout


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of scan and evaluations take most of the time."""
    monkeypatch.setattr(demos, "draw_scan", lambda scan: f"{scan}/_overview.png")
    monkeypatch.setattr(demos, "draw_evaluation", lambda plan, **options: [])


@pytest.fixture
def nobody_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "open_client", mock.Mock(side_effect=AssertionError("a cluster was opened")))


def evaluations(out: Path) -> dict[str, Path]:
    """The folders by label."""
    random, stratified = (next((out / "sets").glob(f"{name}_*[0-9].json")).stem for name in ("random", "stratified"))
    found = {"FP32": out / "evaluations" / "fp32"}
    for name in (random, stratified):
        strategy, size = name.split("_")
        for way in (PLAIN, FULL):
            found[f"{size} {strategy} ({way})"] = out / "evaluations" / f"{name}_{way.replace(' ', '_')}"
    return found


def commands(text: str) -> list[list[str]]:
    """The commands that it tells."""
    return [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("   $ ncdb-dask ")]


# What it says


def test_the_page_is_made_and_named_last(made):
    out, said = made
    assert said.splitlines()[-1] == f"Page  {out}/comparison.html"
    assert (out / "comparison.html").read_text().startswith("<!DOCTYPE html>")


def test_all_that_is_printed_was_measured(made):
    out, said = made
    found = evaluations(out)
    for label, folder in found.items():
        measured = ncdb_dask.summarize_evaluation(folder)
        assert f"{label}: abs_rel {measured.figures.mean['abs_rel']:.4f}" in said
        assert f"over {measured.frames} frames, 1 could not be evaluated" in said
    comparison = ncdb_dask.compare(*found.values(), labels=list(found), seed=7)
    for sentence in (*comparison.sentences, *map(comparison.measured, comparison.evaluations)):
        assert sentence in said
    scanned = ncdb_dask.summarize_scan(out / "scan")
    assert f"{scanned.samples} frames measured, {scanned.skipped} broken entries" in said


def test_the_page_is_that_of_the_comparison(made, tmp_path):
    out, _ = made
    found = evaluations(out)
    ncdb_dask.compare(*found.values(), labels=list(found), seed=7, out=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (out / "comparison.html").read_bytes()


def test_the_sets_fit_the_data_set_and_hold_no_frame_that_is_evaluated(made, own):
    out, _ = made
    rows = ncdb_dask.read_scan(out / "scan")
    val = {(e["dataset_root"], e["new_filename"]) for e in json.loads((own / "data" / "val_split.json").read_text())}
    keys = set(zip(rows["dataset_root"], rows["filename"], strict=True))
    left = len([key for key in keys - val if key in set(_ok(rows))])
    sizes = {}
    for path in (out / "sets").glob("*_*[0-9].json"):
        entries = {(e["dataset_root"], e["new_filename"]) for e in json.loads(path.read_text())}
        assert not entries & val
        strategy, size = path.stem.split("_")
        sizes[strategy] = int(size)
        assert len(entries) == int(size)
        assert json.loads(path.with_suffix(".report.json").read_text())["settings"]["strategy"] == strategy
    assert sizes == {"stratified": left // 2, "random": left // 6}


def _ok(rows):
    ok = rows[rows["status"] == "ok"]
    return zip(ok["dataset_root"], ok["filename"], strict=True)


def test_the_networks_were_made_as_they_are_called(made):
    out, _ = made
    reports = {path.name: json.loads(path.read_text()) for path in (out / "networks").glob("*.report.json")}
    assert len(reports) == 4
    for name, report in reports.items():
        full = name.endswith("all_on.report.json")
        told = report["quantizer"]["options"]
        assert (told["equalize"], told["bias_correction"]) == (full, full)
        assert f"_{len(report['frames'])}_" in name


def test_the_commands_that_it_tells_do_the_same(made, tmp_path):
    out, said = made
    told = [[word.replace(str(out), str(tmp_path)) for word in words] for words in commands(said)]
    assert [words[0] for words in told] == ["scan", *["sample"] * 2, *["quantize"] * 4, *["evaluate"] * 5, "compare"]
    for words in told[:5]:
        here = [] if words[0] == "sample" else ["--workers", "0"]
        again = CliRunner().invoke(main, [*words, *here])
        assert again.exit_code == 0, again.output
    for words in told[5:]:
        parsed(words)
    for words in told[1:5]:
        name = next(word for word in words if word.startswith(f"{tmp_path}/{PLACES[words[0]]}/"))
        assert Path(name).read_bytes() == Path(name.replace(str(tmp_path), str(out))).read_bytes()
    pd.testing.assert_frame_equal(ncdb_dask.read_scan(tmp_path / "scan"), ncdb_dask.read_scan(out / "scan"))


def parsed(words: list[str]) -> None:
    parent = click.Context(main, **main.context_settings)  # a command keeps its help option for the whole process
    command = main.get_command(parent, words[0])
    assert command is not None
    command.make_context(words[0], words[1:], parent=parent)


# Going on


def test_a_second_start_only_tells_as_json_if_asked(made, options, nobody_opens):
    out, said = made
    before = files_of(out / "networks"), (out / "evaluations/fp32/_manifest.json").stat().st_mtime_ns
    with mock.patch.object(demos, "run_quantization", side_effect=AssertionError("quantized again")):
        answer = json.loads(run(out, *options, "--json").stdout)
    assert before == (files_of(out / "networks"), (out / "evaluations/fp32/_manifest.json").stat().st_mtime_ns)
    assert "\n".join(answer["comparison"]["sentences"]) in said
    assert answer["page"] == str(out / "comparison.html")
    assert [*answer["evaluations"]] == [*evaluations(out)]
    assert answer["sets"]["random"]["settings"]["seed"] == 7


def counted(done: list[object], work: Callable[..., object], death: int | None, plan: object, **rest: object) -> object:
    if len(done) == death:
        raise Killed
    done.append(plan)
    return work(plan, **rest)


@pytest.mark.usefixtures("undrawn")
def test_what_was_interrupted_goes_on(made, own, tmp_path):
    out, _ = made
    quantized: list[object] = []

    def start(death: int | None) -> Demo:
        run = partial(counted, quantized, ncdb_dask.run_quantization, death)
        with mock.patch.object(demos, "run_quantization", run):
            return ncdb_dask.demo(tmp_path / "demo", root=own / "data", model=own / "net.onnx", seed=7)

    with pytest.raises(Killed):
        start(2)
    with mock.patch.object(demos, "run_evaluation", side_effect=Killed), pytest.raises(Killed):
        start(None)
    assert not (tmp_path / "demo/comparison.html").exists()
    found = start(None)
    assert len(quantized) == 4
    assert found.page == str(tmp_path / "demo/comparison.html")
    expected = ncdb_dask.compare(*evaluations(out).values(), labels=list(evaluations(out)), seed=7)
    assert found.comparison.sentences == expected.sentences


# The rendered data set and the network that comes with the package


@pytest.fixture
def stand_in(own, monkeypatch) -> None:
    """A small network and a small tree take the places of those that come with the package."""
    monkeypatch.setattr(demo_plan, "shipped_network", lambda: own / "net.onnx")
    monkeypatch.setattr(demos, "write_tree", small_tree)


@pytest.mark.usefixtures("stand_in", "undrawn")
def test_a_data_set_is_rendered_and_the_network_copied(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "val_split.json").write_text("somebody else's")

    def dies(out: Path, **options: Any) -> None:
        small_tree(out, **options)
        raise Killed

    with mock.patch.object(demos, "write_tree", dies), pytest.raises(Killed):
        ncdb_dask.demo()
    assert not (tmp_path / "demo/tree").exists()
    monkeypatch.setattr(demos, "run_quantization", mock.Mock(side_effect=Killed))
    lines: list[str] = []
    with pytest.raises(Killed):
        ncdb_dask.demo(tell=lines.append)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"demo.json", "tree", "networks", "scan", "sets"}
    assert (tmp_path / "demo/tree/expected_status.json").exists()
    assert (tmp_path / "demo/networks/net.onnx").read_bytes() == (own / "net.onnx").read_bytes()
    told = commands("\n".join(lines))
    assert [words[0] for words in told] == ["synth", "scan", "sample", "sample", "quantize"]
    assert told[0][1:] == ["demo/tree", "--faults"]
    assert told[1][-2:] == ["--split", "demo/tree/val_split.json"]
    for words in told:
        parsed(words)
    with pytest.raises(Killed):
        ncdb_dask.demo(tell=lines.append)
    assert "     it is there from an earlier start" in lines


# What is refused


def refused(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    assert not result.stdout
    return result.stderr.strip().splitlines()[-1]


def test_a_folder_of_something_else_is_left_as_it_is(options, tmp_path, nobody_opens):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("\\end")
    said = refused(run(tmp_path / "mine", *options))
    assert "mine holds 'thesis.tex' and is no demo's; expected a new folder, an empty one, or that of" in said
    assert "thesis.tex is a file; expected a new folder" in refused(run(tmp_path / "mine" / "thesis.tex", *options))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken_and_a_damaged_one_is_not(options, own, tmp_path):
    plan = demos.plan_demo(tmp_path, root=own / "data", model=own / "net.onnx")
    plan.claim()
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
    (tmp_path / "demo.json").write_text("[1")
    assert "demo.json is damaged" in refused(run(tmp_path, *options))


def test_another_network_data_set_or_seed_needs_another_folder(made, own, tmp_path):
    out, _ = made
    write_model(tmp_path / "other.onnx", depth_network(seed=4))
    shutil.copytree(own / "data", tmp_path / "data")
    said = refused(run(out, "--root", tmp_path / "data", "--model", tmp_path / "other.onnx", "--seed", 7))
    assert "holds a demo with another root and network; name another folder, or remove this one" in said
    assert "another seed" in refused(run(out, "--root", own / "data", "--model", own / "net.onnx"))


def test_one_of_data_set_and_network_is_not_enough(own, tmp_path):
    said = refused(run(tmp_path / "out", "--root", own / "data"), 2)
    assert "--root without --model; give both, `ncdb-dask demo OUT --root ROOT --model MODEL.onnx`" in said
    assert "--model without --root" in refused(run(tmp_path / "out", "--model", own / "net.onnx"), 2)
    assert "--val-split is for your own data" in refused(run(tmp_path / "out", "--val-split", "val.json"), 2)
    with pytest.raises(PlanError, match="model is given without root; expected both"):
        ncdb_dask.demo(tmp_path / "out", model=own / "net.onnx")
    with pytest.raises(PlanError, match="train and val are for your own data"):
        ncdb_dask.demo(tmp_path / "out", val="val.json")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_used_leaves_no_folder(own, tmp_path, nobody_opens):
    (tmp_path / "empty").mkdir()
    for root, model in ((tmp_path / "empty", own / "net.onnx"), (own / "data", own / "lost.onnx")):
        refused(run(tmp_path / "out", "--root", root, "--model", model))
    with pytest.raises(NcdbError, match=r"seed is -1; expected 0 or more"):
        ncdb_dask.demo(tmp_path / "out", root=own / "data", model=own / "net.onnx", seed=-1)
    assert not (tmp_path / "out").exists()


# The browser


@pytest.mark.parametrize("there", [True, False])
def test_the_page_is_opened_if_asked(made, options, monkeypatch, there):
    out, _ = made
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or there)
    found = mock.Mock(page=str(out / "comparison.html"), **{"text.return_value": "told"})
    monkeypatch.setattr(demos, "run_demo", mock.Mock(return_value=found))
    result = run(out, *options, "--open")
    assert result.stdout == "\ntold\n"
    assert opened == [(out / "comparison.html").as_uri()]
    assert ("no browser was found; open" in result.stderr) is not there
