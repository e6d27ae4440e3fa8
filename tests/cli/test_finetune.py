"""``ncdb-dask finetune`` as a user meets it: one table, every figure of which the verbs give again."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import onnxruntime
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from helpers.exports import contents
from helpers.fake_slurm import WORKERLESS, write_fake_slurm
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.api import finetunes
from ncdb_dask.cli.main import main

pytestmark = pytest.mark.xdist_group("finetune command")  # one fine-tuning for all of them
NAMES = ["before", "lambda_0", "lambda_0.5"]
STRANGER = '[network]\nfactory = "mine:net"\ncheckpoint = "random"\nmodel_spec = "net.toml"\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failure(result: Result) -> str:
    """The one line that a failed command says at its end."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = [line for line in result.stderr.strip().splitlines() if "%" not in line]
    assert len(lines) == 1, lines
    return lines[0]


# Without torch


@pytest.mark.parametrize("missing", ["torch", "onnxscript"])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_without_torch_the_command_that_installs_it_is_named(missing, options, tmp_path, monkeypatch):
    monkeypatch.setattr(finetunes, "find_spec", lambda name: None if name == missing else object())
    (tmp_path / "mine.toml").write_text(f"{STRANGER}[data]\nroot = 'data'\n")
    says = failure(run("finetune", tmp_path / "mine.toml", tmp_path / "out", *options))
    assert says == "Error: fine-tuning needs torch and onnxscript; pip install 'ncdb-dask[train]'"
    assert not (tmp_path / "out").exists()


# With it


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tree, of which a frame of each split cannot be read, and a recipe of two lambdas."""
    pytest.importorskip("torch")
    from helpers.finetuning import recipe, write_data, write_recipe

    folder = tmp_path_factory.mktemp("finetune")
    root = write_data(folder, train=9, validation=13)
    for split in ("train_split.json", "val_split.json"):
        frame = json.loads((root / split).read_text())[4]
        (root / frame["dataset_root"] / "image_a6" / f"{frame['new_filename']}.png").write_bytes(b"no picture")
    sections = recipe(
        root,
        penalty={"kind": "channel-range", "lambda": [0, 0.5]},
        quantization={"size": 9, "options": {"method": "percentile"}},
        evaluation={"resamples": 200},
    )
    write_recipe(folder / "mine.toml", sections)
    return folder


@pytest.fixture(scope="module")
def result(place) -> Result:
    """Of the one command."""
    return run("finetune", place / "mine.toml", place / "out", "--workers", 0)


@pytest.fixture(scope="module")
def report(place, result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads((place / "out" / "report.json").read_text(), parse_constant=pytest.fail)


def test_every_figure_of_the_table_is_that_of_the_verbs(place, result, report):
    out = place / "out"
    rows = {row["network"]: row for row in report["table"]}
    assert [*rows] == NAMES
    against = ncdb_dask.compare(*(out / name / "int8" for name in NAMES), labels=NAMES, resamples=200).against
    gained = {each.other: each.main.as_dict() for each in against}
    # Of the trainings, against the one without a penalty.
    control = ncdb_dask.compare(*(out / name / "int8" for name in NAMES[1:]), labels=NAMES[1:], resamples=200).against
    parts = {each.other: each.main.as_dict() for each in control}
    both = [f"{name}/{what}" for name in NAMES for what in ("fp32", "int8")]
    compared = ncdb_dask.compare(*(out / each for each in both), labels=both, resamples=200).evaluations
    means = {each.label: each.abs_rel for each in compared}
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}
    for name, row in rows.items():
        for what in ("fp32", "int8"):
            evaluation = ncdb_dask.summarize_evaluation(out / name / what)
            assert row[what] == means[f"{name}/{what}"]
            assert row[what] == pytest.approx(evaluation.figures.mean["abs_rel"], rel=1e-12)
            assert (evaluation.figures.frames, evaluation.skipped) == (12, 1)
        assert row["against_before"] == gained.get(name)
        assert row["against_control"] == parts.get(name)
        assert lines[name][1:4] == [str(row["epoch"]), f"{row['fp32']:.4f}", f"{row['int8']:.4f}"]
    assert lines["lambda_0.5"][4] == f"{gained['lambda_0.5']['difference']:+.4f}"
    assert [row["lambda"] for row in rows.values()] == [None, 0.0, 0.5]
    assert report["sentence"] in result.stdout
    assert "100 %" in result.stderr


def test_validation_of_the_training_is_what_an_evaluation_finds(place, report):
    for name in NAMES[1:]:
        history = pd.read_parquet(place / "out" / name / "history.parquet").set_index("epoch")
        rows = {row["network"]: row for row in report["table"]}
        assert history.loc[0, "abs_rel"] == pytest.approx(rows["before"]["fp32"], abs=1e-5)
        counts = history.loc[1:, ["frames", "left_out", "validated", "not_validated"]].to_numpy().tolist()
        assert counts == [[8, 1, 12, 1]] * 2
        best = int(history.loc[1:, "abs_rel"].idxmin())
        assert rows[name]["epoch"] == best
        evaluation = ncdb_dask.summarize_evaluation(place / "out" / name / "fp32")
        for metric in ("abs_rel", "rmse", "a1"):
            assert history.loc[best, metric] == pytest.approx(evaluation.figures.mean[metric], abs=1e-4, rel=1e-5)
        assert history.loc[best, "abs_rel"] == pytest.approx(rows[name]["fp32"], abs=1e-5)


def test_what_lies_in_the_folder(place, report):
    out = place / "out"
    for name in NAMES:
        for made in (
            "network.onnx",
            "network.toml",
            "int8.onnx",
            "int8.toml",
            "int8.report.json",
            "fp32/_manifest.json",
        ):
            assert (out / name / made).is_file(), made
        assert (out / name / "int8.onnx").stat().st_size
        onnxruntime.InferenceSession(out / name / "int8.onnx", providers=["CPUExecutionProvider"])
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    page = (out / "comparison.html").read_text()
    assert all(f"{name} {what}" in page for name in NAMES for what in ("fp32", "int8"))
    assert len(json.loads((out / "calibration.json").read_text())) == 9
    assert json.loads((out / "recipe.json").read_text())["penalty"]["lambdas"] == [0, 0.5]
    quantization = json.loads((out / "lambda_0" / "int8.report.json").read_text())
    assert quantization["quantizer"]["options"]["method"] == "percentile"
    assert len(quantization["frames"]) == 8
    assert not list(out.rglob("*.tmp"))
    networks = {one["name"]: one for one in report["networks"]}
    assert networks["lambda_0.5"]["network"] == str(out / "lambda_0.5" / "network.onnx")
    assert 0 <= networks["lambda_0.5"]["difference"] < 1e-4
    assert len(report["layers"]["lambda_0.5"]) == 2


def test_the_same_command_again_changes_nothing(place, report, monkeypatch):
    from ncdb_dask.training.loop import Trainer

    monkeypatch.setattr(Trainer, "_epoch", lambda self, number: pytest.fail("was trained again"))
    kept = ("network.onnx", "int8.onnx", ".pt", "history.parquet", "recipe.json", "calibration.json")
    before = {name: data for name, data in contents(place / "out").items() if name.endswith(kept)}
    assert len(before) == 2 * 3 + 2 * 2 + 2 + 2
    again = run("finetune", place / "mine.toml", place / "out", "--workers", 0, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == report
    assert {name: data for name, data in contents(place / "out").items() if name.endswith(kept)} == before


def test_another_recipe_in_the_same_folder_is_refused(place, report):
    changed = (place / "mine.toml").read_text().replace("learning_rate = 0.01", "learning_rate = 0.02")
    (place / "other.toml").write_text(changed)
    before = contents(place / "out")
    says = failure(run("finetune", place / "other.toml", place / "out", "--workers", 0))
    assert "lambda_0: holds a training of another recipe, network or data; name another folder" in says
    assert "--fresh" in says
    after = contents(place / "out")
    assert {name: data for name, data in after.items() if not name.startswith("_driver/")} == {
        name: data for name, data in before.items() if not name.startswith("_driver/")
    }


def test_an_earlier_fine_tuning_lends_no_figures(place, report, tmp_path):
    from helpers.finetuning import recipe

    out = shutil.copytree(place / "out", tmp_path / "out")
    sections = recipe(
        place / "data",
        penalty={"kind": "channel-range", "lambda": 0.5},
        training={"learning_rate": 0.05},
        quantization={"size": 4},
        evaluation={"split": "train_split.json", "resamples": 100},
    )
    done = ncdb_dask.finetune(sections, out, fresh=True)
    assert [row["network"] for row in done.rows] == ["before", "lambda_0.5"]
    assert done.control is None
    options = {"root": place / "data", "split": "train_split.json"}
    for row in done.rows:
        for what, network in (("fp32", "network.onnx"), ("int8", "int8.onnx")):
            name = row["network"]
            again = ncdb_dask.evaluate(out / name / network, tmp_path / f"{name}-{what}", **options)
            assert row[what] == pytest.approx(again.figures.mean["abs_rel"], rel=1e-12)
            assert again.figures.frames == 8
    assert done.rows[1]["fp32"] != report["table"][2]["fp32"]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(place):
    result = run("finetune", place / "mine.toml", place / "planned", "--dry-run")
    assert result.exit_code == 0, result.output
    for part in ("helpers.finetuning:tiny", "channel-range, lambda 0, 0.5", "9 drawn from", f"{place}/planned"):
        assert part in result.stdout
    answer = json.loads(run("finetune", place / "mine.toml", place / "planned", "--dry-run", "--json").stdout)
    assert answer["trainings"] == {"lambda_0": 0.0, "lambda_0.5": 0.5}
    assert answer["recipe"]["quantization"]["size"] == 9
    assert not (place / "planned").exists()


def test_a_job_is_submitted_with_the_recipe(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm.toml").write_text(f'kind = "slurm"\nshared = "{tmp_path}/shared"\n')
    fake = write_fake_slurm(tmp_path / "fake", WORKERLESS["pends"])
    monkeypatch.setenv("PATH", fake.path)
    result = run("submit", "--cluster", "slurm.toml", "--", "finetune", place / "mine.toml", "tuned", "--fresh")
    assert result.exit_code == 0, result.output
    assert "channel-range, lambda 0, 0.5" in result.stdout
    (script,) = fake.scripts()
    line = shlex.split(script.splitlines()[-1])
    assert line[-6:] == ["finetune", "--cluster", "slurm.toml", str(place / "mine.toml"), "tuned", "--fresh"]
    assert [path.name for path in (tmp_path / "tuned").iterdir()] == ["_driver"]
    assert re.search(r"State +submitted|submitted", run("status", "tuned").stdout)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("epochs = 2", "epochs = 0"), "[training] epochs = 0"),
        (("epochs = 2", "epoch = 2"), '"epochs"'),
        (('"percentile"', '"percentil"'), "method"),
        (('{ method = "percentile" }', '{ methods = "mse" }'), "methods"),
        (("helpers.finetuning:tiny", "helpers.finetuning:broken"), "RuntimeError: no such backbone"),
        (('checkpoint = "random"', 'checkpoint = "net.pt"'), "net.pt: cannot be read"),
        (('device = "cpu"', 'device = "fpga"'), "[training] device = 'fpga'"),
    ],
)
def test_a_mistake_is_one_line(change, says, place, tmp_path):
    assert change[0] in (place / "mine.toml").read_text()
    (tmp_path / "mine.toml").write_text((place / "mine.toml").read_text().replace(*change))
    assert says in failure(run("finetune", tmp_path / "mine.toml", tmp_path / "out", "--workers", 0))


def test_a_training_that_diverges_ends_in_one_line(place, tmp_path):
    from helpers.finetuning import STEPS, weights_in

    text = (place / "mine.toml").read_text().replace(":tiny", ":diverging")
    (tmp_path / "mine.toml").write_text(text)
    says = failure(run("finetune", tmp_path / "mine.toml", tmp_path / "out", "--workers", 0))
    assert says.startswith("Error: epoch 2, step 1: the loss is nan")
    best = tmp_path / "out" / "lambda_0" / "best.pt"
    assert f"the training has diverged; the best so far, of epoch 1, is {best}" in says
    assert int(weights_in(best)["calls"]) == STEPS
    assert (tmp_path / "out" / "before" / "network.onnx").exists()
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_folder_of_something_else_is_refused(place, tmp_path):
    write_tree(tmp_path, 2)
    before = contents(tmp_path)
    assert "which no fine-tuning left" in failure(run("finetune", place / "mine.toml", tmp_path))
    assert contents(tmp_path) == before
