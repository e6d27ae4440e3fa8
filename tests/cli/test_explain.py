"""``explain`` as a user meets it: help, plan, and a run on a small network."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.explaining import plan_of
from helpers.trees import write_frame, write_split

import ncdb_dask
from ncdb_dask.cli.main import main
from ncdb_dask.explanation.plan import ExplanationPlan

FRAMES = 4


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def failure(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[ExplanationPlan, tuple[str, ...]]:
    plan = plan_of(tmp_path_factory.mktemp("cli"), frames=FRAMES)
    split = plan.splits["evaluation"][0]
    return plan, (plan.reference.path, plan.out.path, "--root", plan.reader.root.path, "--split", split)


def test_the_help_shows_a_command_and_every_part_of_it():
    result = run("--help")
    assert result.exit_code == 0
    for text in ("ncdb-dask explain net.onnx out/why --root data/ncdb", "--calibration", "--suspects", "--dry-run"):
        assert text in result.stdout


def test_a_dry_run_says_what_it_costs_and_writes_nothing(made, tmp_path):
    _, arguments = made
    result = run(arguments[0], tmp_path / "new", *arguments[2:], "--suspects", 2, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if "  " in line)
    assert lines["Network"] == arguments[0]
    assert f"{FRAMES} frames" in result.stdout
    assert "at most" in lines["Cost"]
    assert not (tmp_path / "new").exists()
    told = json.loads(run(*arguments, "--suspects", 2, "--dry-run", "--json").stdout)
    assert f"at most {told['evaluations']} evaluations of {told['evaluation_frames']} frames" in lines["Cost"]


@pytest.fixture(scope="module")
def done(made) -> tuple[Result, ExplanationPlan]:
    plan, arguments = made
    calibration = plan.splits["calibration"][0]
    options = ("--calibration", calibration, "--suspects", 1, "--resamples", 100, "--workers", 0, "--json")
    return run(*arguments, *options), plan


def test_json_is_the_report_and_the_page_lies_there(done):
    result, plan = done
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads(plan.out.read("report.json"))
    assert plan.out.read("explanation.html").startswith(b"<!DOCTYPE html>")
    assert told["frames"] == FRAMES
    assert shlex.split(told["next"][0]["command"])[:2] in (["ncdb-dask", "quantize"], ["ncdb-dask", "finetune"])


def test_no_more_is_evaluated_than_the_plan_says(done):
    result, plan = done
    told = json.loads(result.stdout)
    kept = [path for path in Path(plan.out.path, "evaluations").iterdir() if path.is_dir()]
    assert 10 < len(kept) <= told["plan"]["evaluations"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--method", "foo"), 'method "foo": expected minmax, percentile, entropy, mse'),
        (("--resamples", 3), "resamples 3: expected at least 100"),
        (("--block", "foo"), "block 'foo': expected a number of frames"),
        (("--profile", "nope"), "nope"),
    ],
)
def test_a_wrong_option_is_one_sentence(made, options, expected):
    assert expected in failure(run(*made[1], *options))


def test_a_wrong_split_or_folder_is_one_sentence(made, tmp_path):
    network, out, *rest = made[1]
    (tmp_path / "notes.txt").write_text("mine")
    assert "which no explanation left; name a new folder" in failure(run(network, tmp_path, *rest, "--workers", 0))
    assert "no such split file" in failure(run(network, out, *rest[:-1], tmp_path / "none.json"))
    assert "no such file; expected an FP32 ONNX network" in failure(run(tmp_path / "other.onnx", out, *rest))
    assert "is a folder; expected an FP32 ONNX network" in failure(run(tmp_path, out, *rest))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("missing", ["--root", "--split"])
def test_what_is_missing_is_named(made, missing):
    arguments = list(made[1])
    place = arguments.index(missing)
    result = run(*arguments[:place], *arguments[place + 2 :])
    assert result.exit_code == 2
    assert f"Missing option '{missing}'" in result.stderr


def test_no_suspects_are_a_wrong_usage(made):
    result = run(*made[1], "--suspects", 0)
    assert result.exit_code == 2
    assert "0 is not in the range x>=1" in result.stderr


def test_a_scan_of_other_frames_or_none_is_refused_before_anything_is_measured(made, tmp_path):
    assert "holds no scan" in failure(run(*made[1], "--scan", tmp_path, "--dry-run"))
    other = ("synced_data/elsewhere", "000000")
    write_frame(tmp_path / "data", *other)
    write_split(tmp_path / "data", [other])
    ncdb_dask.scan(tmp_path / "data", tmp_path / "scan")
    said = failure(run(*made[1], "--scan", tmp_path / "scan", "--dry-run"))
    assert "knows none of the frames that are judged" in said


def test_a_frame_that_cannot_be_read_is_left_out_and_told(tmp_path):
    plan = plan_of(tmp_path, frames=FRAMES)
    picture = next((tmp_path / "my data").rglob("image_a6/*.png"))
    picture.write_bytes(picture.read_bytes()[:40])
    done = ncdb_dask.run_explanation(plan)
    assert done.frames == FRAMES - 1
    assert any("1 evaluation frame could not be used" in note for note in done.notes)
    assert any("1 unreadable_image" in note for note in done.notes)
    assert any(f"{FRAMES} frames of the calibration set are judged, too" in note for note in done.notes)
