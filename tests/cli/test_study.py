"""`ncdb-dask study`: from a rendered tree and the network of this package to the page that says what to take."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers.fake_slurm import WORKERLESS, write_fake_slurm
from helpers.studying import small_tree

import ncdb_dask
from ncdb_dask.cli.main import main
from ncdb_dask.training.shipped import shipped_network

pytestmark = pytest.mark.xdist_group("study command")  # one study for all of them
RECIPE = """
[network]
model = {model}
[data]
scan = "scan"
[evaluation]
resamples = 200
block = 1
[[sets]]
strategy = "random"
sizes = [2, 4]
seeds = [0, 1]
[[quantizers]]
method = ["minmax"]
[npu]
profile = "per-tensor"
[guide]
before = "random 2"
after = "random 4"
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study command")
    small_tree(folder / "data", seed=3)
    assert run("scan", folder / "data", folder / "scan", "--split", "train_split.json", "--workers", 0).exit_code == 0
    (folder / "mine.toml").write_text(RECIPE.format(model=json.dumps(str(shipped_network()))))
    return folder


@pytest.fixture(scope="module")
def result(place) -> Result:
    """Of the one command."""
    return run("study", place / "mine.toml", place / "out", "--workers", 0)


@pytest.fixture(scope="module")
def report(place, result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads((place / "out" / "report.json").read_text(), parse_constant=pytest.fail)


def test_a_dry_run_tells_the_cost_and_writes_nothing(place):
    result = run("study", place / "mine.toml", place / "planned", "--dry-run")
    assert result.exit_code == 0, result.output
    for part in (
        "random of 2, 4 frames (2 seeds)",
        "1: onnxruntime",
        "4, of which 0 are done",
        "frames once (0 are measured already)",
        "at most 5 networks on 6 frames each",
    ):
        assert part in result.stdout
    answer = json.loads(run("study", place / "mine.toml", place / "planned", "--dry-run", "--json").stdout)
    assert 4 < answer["cost"]["frames"] <= 8
    assert answer["cost"] | {"frames": 0} == {
        "frames": 0,
        "frames_measured": 0,
        "passes": 1,
        "networks": 4,
        "quantizations": 0,
        "evaluations": 5,
        "evaluation_frames": 6,
    }
    assert not (place / "planned").exists()


def test_it_says_what_to_take_and_how(place, result, report):
    assert report["sentence"] in result.stdout
    assert f"{place}/out/study.html" in result.stdout
    assert "studying cells" in result.stderr
    assert {cell["npu_allowed"] for cell in report["cells"]} == {True}
    assert report["guide"][0]["before"]["set"] == "random 2"
    assert len(report["groups"]) == 2
    # Of 200 resamples and six blocks.
    assert any(
        "200 resamples are few for these intervals (comparisons that hold together: 1)" in note
        for note in report["notes"]
    )
    assert all(len(group["draws"]) == 2 for group in report["groups"])
    page = (place / "out" / "study.html").read_text()
    assert "before: random 2" in page


def test_the_commands_that_it_gives_do_what_it_says(place, report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in report["next"][0]["commands"]:
        words = shlex.split(command)
        done = run(*words[1:], *(["--workers", 0] if words[1] == "quantize" else ["--no-picture"]))
        assert done.exit_code == 0, done.output
    chosen = report["chosen"]
    again = ncdb_dask.evaluate("int8.onnx", "again", root=place / "data", split="val_split.json")
    cells = {(cell["name"], cell["size"], cell["seed"], cell["quantizer"]): cell for cell in report["cells"]}
    cell = cells[chosen["name"], chosen["size"], 0, chosen["quantizer"]]
    assert cell["abs_rel"] == pytest.approx(again.figures.mean["abs_rel"], rel=1e-12)


def test_again_it_reads_what_is_there(place, report):
    plan = run("study", place / "mine.toml", place / "out", "--dry-run").stdout
    assert "4, of which 4 are done" in plan
    assert "nothing is left to judge" in plan
    again = run("study", place / "mine.toml", place / "out", "--workers", 0, "--json")
    assert json.loads(again.stdout) == report


def test_a_mistake_is_one_line(place, tmp_path):
    (place / "wrong.toml").write_text((place / "mine.toml").read_text().replace('"minmax"', '"minmaks"'))
    result = run("study", place / "wrong.toml", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert "[[quantizers]] 1 (onnxruntime): method" in line
    assert not (tmp_path / "out").exists()


def test_where_every_cell_fails_the_command_does(place, tmp_path):
    recipe = (place / "mine.toml").read_text().replace('method = ["minmax"]', 'wide = ["no such tensor"]')
    (place / "none.toml").write_text(recipe)
    result = run("study", place / "none.toml", tmp_path / "out", "--workers", 0)
    assert result.exit_code == 1
    assert "no activation" in result.stdout
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .endswith("none of the 4 cells could be made and judged; the notes say why")
    )


def test_a_job_is_submitted_with_the_recipe(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm.toml").write_text(f'kind = "slurm"\nshared = "{tmp_path}/shared"\n')
    fake = write_fake_slurm(tmp_path / "fake", WORKERLESS["pends"])
    monkeypatch.setenv("PATH", fake.path)
    result = run("submit", "--cluster", "slurm.toml", "--", "study", place / "mine.toml", "studied", "--fresh")
    assert result.exit_code == 0, result.output
    (script,) = fake.scripts()
    assert shlex.split(script.splitlines()[-1])[-3:] == [str(place / "mine.toml"), "studied", "--fresh"]
    assert [path.name for path in (tmp_path / "studied").iterdir()] == ["_driver"]
    assert "submitted" in run("status", "studied").stdout
