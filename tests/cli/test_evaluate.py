"""``ncdb-dask evaluate`` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers.exports import contents
from helpers.networks import KNOWN, NO_MAP, write_network
from helpers.trees import write_split, write_tree

import ncdb_dask
from ncdb_dask.cli.main import main
from ncdb_dask.errors import RunError
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.runtime import cluster


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, 7)
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return KNOWN["quarter"].write(tmp_path / "net.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def evaluate(net: Path, out: Path, root: Path, *arguments: object) -> Result:
    return run("evaluate", net, out, "--root", root, "--split", "train_split.json", "--workers", 0, *arguments)


def failure(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert not result.stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def strict(text: str) -> dict[str, Any]:
    """JSON as other languages read it: without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    answer: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return answer


# Answers


def test_an_evaluation_says_what_it_found_and_again_the_same(net, out, root):
    result = evaluate(net, out, root)
    assert result.exit_code == 0, result.output
    for part in (
        "Frames        7 evaluated, 0 not",
        "Protocol      model file: 0.5 m to 30 m (strict), crop none, scaling none, clamped, bilinear resize of depth",
        "mean over frames",
        "pooled over pixels",
        "by dataset_root",
        "synced_data/b",
        "near pixels, 0-3 m",
        "very_far pixels, 15 m and more",
        f"Table         {out}",
    ):
        assert part in result.stdout
    for metric in METRICS:
        assert f"\n{metric} " in result.stdout
    assert "7/7 (100 %)" in result.stderr
    assert (out / "_overview.png").read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = evaluate(net, out, root)
    assert (again.exit_code, again.stderr) == (0, f"{out} is complete already; nothing is left to do\n")
    assert again.stdout.splitlines() == [line for line in result.stdout.splitlines() if "Pictures" not in line]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_finished_evaluation_opens_no_cluster_and_reads_no_frame(net, out, root, monkeypatch):
    evaluate(net, out, root)

    def refuse(*_, **__):
        raise RunError("opened a cluster")

    monkeypatch.setattr(cluster, "open_client", refuse)
    for picture in root.rglob("*.png"):
        picture.unlink()
    result = run("evaluate", net, out, "--root", root, "--split", "train_split.json")
    assert result.exit_code == 0, result.output
    assert "7 evaluated" in result.stdout


def test_the_answer_as_json_goes_to_standard_output_alone(net, out, root):
    answer = strict(evaluate(net, out, root, "--json").stdout)
    assert (answer["frames"], answer["status"]) == (7, {"ok": 7})
    assert set(answer["figures"]["mean"]) == set(answer["figures"]["pooled"]) == set(METRICS)
    assert answer["pictures"] == [f"{out}/_overview.png"]
    again = strict(evaluate(net, out, root, "--json").stdout)
    assert again["figures"] == answer["figures"]
    assert again["pictures"] is None


@pytest.mark.parametrize("protocol", ["kitti-devkit", "packnet"])
def test_json_has_no_number_that_json_does_not_know(protocol, net, out, root):
    """No limit of depth, depth ranges without a pixel, frames without a figure."""
    for path in (root / "synced_data/a/newest_depth_maps").iterdir():
        path.write_bytes(b"")
    rules = ["--protocol", protocol, "--crop", "none"]
    answer = strict(evaluate(net, out, root, "--json", *rules, "--max-depth", 5).stdout)
    assert answer["ranges"]["very_far"]["frames"] == 0
    assert strict(evaluate(net, out.with_name("dry"), root, "--json", "--dry-run", *rules).stdout)["frames"] == 7
    (out / "_manifest.json").read_text().index("kitti-devkit" if protocol == "kitti-devkit" else "packnet")
    strict((out / "_manifest.json").read_text())
    strict((out / "_plan" / "plan.json").read_text())


def test_a_network_that_gives_no_number_is_json_too(out, root, tmp_path):
    result = evaluate(KNOWN["root"].write(tmp_path / "root.onnx"), out, root, "--json", "--scaling", "median")
    answer = strict(result.stdout)
    assert answer["invalid"]["frames"] == 7
    assert answer["scale_ratio"]["median"] > 0


def test_a_dry_run_writes_nothing(net, out, root):
    result = evaluate(net, out, root, "--dry-run", "--shard-size", 3)
    assert result.exit_code == 0, result.output
    for part in (
        f"Evaluated     {net}",
        "Frames        7 from",
        "Shards        3, of which 0 are done",
        f"Table         {out}",
    ):
        assert part in result.stdout
    answer = strict(evaluate(net, out, root, "--dry-run", "--json").stdout)
    assert (answer["frames"], answer["finished"], answer["settings"]["predictor"]["model"]) == (7, False, str(net))
    assert not out.exists()
    evaluate(net, out, root)
    before = contents(out)
    assert strict(evaluate(net, out, root, "--dry-run", "--json").stdout)["finished"] is True
    assert strict(evaluate(net, out, root, "--dry-run", "--json", "--fresh").stdout)["finished"] is False
    assert contents(out) == before


def test_the_options_reach_the_evaluation(net, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    arguments = (
        "--min-depth 1 --max-depth 9 --bounds inclusive --crop garg --scaling median --no-clamp --resize nearest"
    )
    arguments += " --align-corners --resize-of inverse --flip mean --min-pixels 4 --variants newest_depth_maps,other"
    arguments += " --depth-scale 512 --stretch --save-predictions png --shard-size 2"
    answer = strict(
        evaluate(net, tmp_path / "o", root, *arguments.split(), "--allow-root", elsewhere, "--dry-run", "--json").stdout
    )
    settings = answer["settings"]
    assert settings["protocol"] | {"name": ""} == {
        "min_depth": 1.0,
        "max_depth": 9.0,
        "bounds": "inclusive",
        "crop": "garg",
        "scaling": "median",
        "clamp": False,
        "resize": "nearest",
        "align_corners": True,
        "resize_of": "inverse",
        "flip": "mean",
        "min_pixels": 4,
        "name": "",
    }
    names = ("variants", "depth_scale", "stretch", "save_predictions", "allow_root")
    assert [settings[name] for name in names] == [["newest_depth_maps", "other"], 512.0, True, "png", [str(elsewhere)]]
    assert answer["shards"] == 4


@pytest.mark.parametrize("protocol", ["ncdb", "kitti-eigen", "kitti-devkit", "packnet", "monodepth2", "depth-anything"])
def test_every_protocol_runs(protocol, net, out, root):
    result = evaluate(net, out, root, "--protocol", protocol)
    assert result.exit_code == 0, result.output
    assert f"Protocol      {protocol}: " in result.stdout


def test_depth_ranges_without_a_pixel_are_left_out(net, out, root):
    result = evaluate(net, out, root, "--max-depth", 5)
    assert result.exit_code == 0, result.output
    assert "near pixels, 0-3 m" in result.stdout
    assert "mid pixels, 3-8 m" in result.stdout
    assert "far pixels" not in result.stdout


def test_a_protocol_for_another_size_of_truth_says_so(net, out, root):
    says = failure_with_picture(evaluate(net, out, root, "--protocol", "nyu"))
    assert "none of 7 frames could be evaluated: 7 unsupported_depth (the truth is 16 x 12; the crop nyu is def" in says


def failure_with_picture(result: Result) -> str:
    """The last line of a command that has begun to work."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr.strip().splitlines()[-1]


def test_a_scan_is_evaluated_by_expression(net, out, root, tmp_path):
    ncdb_dask.scan(root, tmp_path / "scan")
    arguments = ["evaluate", net, out, "--scan", tmp_path / "scan", "--workers", 0]
    where = "dataset_root == 'synced_data/b'"
    result = run(*arguments, "--where", where)
    assert result.exit_code == 0, result.output
    assert "Frames        3 evaluated, 0 not" in result.stdout
    assert "cannot be evaluated ('depth' is no column" in failure(run(*arguments, "--where", "depth > 2"))
    assert "no row of status ok that fits 'mean_depth > 999'" in failure(run(*arguments, "--where", "mean_depth > 999"))


def test_predictions_are_kept_and_evaluated(net, out, root, tmp_path):
    first = strict(evaluate(net, out, root, "--save-predictions", "npy", "--json").stdout)
    rules = ["--min-depth", 0.5, "--max-depth", 30, "--json"]
    second = strict(evaluate(out / "_predictions", tmp_path / "again", root, *rules).stdout)
    assert second["figures"]["mean"] == pytest.approx(first["figures"]["mean"], rel=1e-6, abs=1e-6)
    np.save(out / "_predictions" / "stray.npy", np.ones((3, 4)))
    result = evaluate(out / "_predictions", tmp_path / "third", root)
    assert "Extra         1 predictions of no frame, such as stray.npy" in result.stdout


def test_panels_are_drawn_and_can_be_drawn_later(net, out, root):
    assert evaluate(net, out, root).exit_code == 0
    assert not (out / "_panels").exists()
    result = evaluate(net, out, root, "--panels", 2)
    assert result.exit_code == 0, result.output
    assert f"Pictures      {out}/_overview.png and 6 more" in result.stdout
    assert len(list((out / "_panels").iterdir())) == 6


def test_a_second_start_says_that_it_continues(net, out, root):
    evaluate(net, out, root, "--shard-size", 3)
    (out / "_manifest.json").unlink()
    (out / "shard-000001.parquet").unlink()
    result = evaluate(net, out, root)
    assert result.exit_code == 0
    assert "continuing: 4 of 7 " in result.stderr


def test_a_faulty_frame_is_a_line_with_an_example(net, out, root):
    (root / "synced_data/b/image_a6/0000000001.png").unlink()
    result = evaluate(net, out, root)
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if "missing_image" in line)
    assert line.split()[1:4] == ["1", "such", "as:"]
    assert "no image synced_data/b/image_a6/0000000001 with suffix .png or .jpg" in line
    assert "Frames        6 evaluated, 1 not" in result.stdout


# Refusals


def test_where_no_frame_can_be_evaluated_it_fails_and_the_table_stays(net, out, root):
    for path in root.rglob("image_a6/*.png"):
        path.unlink()
    says = failure_with_picture(evaluate(net, out, root))
    assert says.startswith(
        "Error: none of 7 frames could be evaluated: 7 missing_image (no image synced_data/a/image_a6"
    )
    assert set(ncdb_dask.read_evaluation(out)["status"]) == {"missing_image"}
    assert failure_with_picture(evaluate(net, out, root)) == says


def test_after_no_frame_could_be_evaluated_nothing_has_to_be_removed(net, out, root):
    """Nothing was measured, so the command with other options may begin anew, and the same one looks again."""
    scenes = root / "synced_data"
    for place in scenes.glob("*/image_a6"):
        place.rename(place.with_name("away"))
    assert "7 missing_image" in failure_with_picture(evaluate(net, out, root, "--crop", "garg"))
    assert "7 missing_image" in failure_with_picture(evaluate(net, out, root))
    for place in scenes.glob("*/away"):
        place.rename(place.with_name("image_a6"))
    assert "Frames        7 evaluated, 0 not" in evaluate(net, out, root).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--protocol", "kitti"], "protocol 'kitti': expected one of ncdb, kitti-eigen, kitti-devkit, nyu, packnet, "),
        (["--min-depth", "9", "--max-depth", "2"], "depths from 9 to 2 m: expected a least depth from 0 below the gr"),
        (["--min-depth", "-1"], "depths from -1 to 30 m: expected"),
        (["--max-depth", "nan"], "expected a least depth from 0 below the greatest"),
        (["--min-pixels", "0"], "min pixels 0: expected at least 1"),
        (["--threads", "0"], "threads = 0; expected 1 to 1024 for a network"),
        (["--depth-scale", "0"], "depth scale"),
        (["--provider", "abacus"], 'the execution provider "abacus" is unknown; expected one of cpu, cuda, '),
        (["--provider", "qnn"], "has no QNNExecutionProvider (it has "),
        (["--where", "mean_depth > 2"], "--where chooses rows of --scan; a split has no columns"),
        (["--split", "nowhere.json"], "nowhere.json: no such split file"),
        (["--allow-root", "/nowhere"], "/nowhere: no such folder, or an empty one"),
        (["--variants", "../depth"], "depth variant '../depth' leaves the scene's folder"),
        (
            ["--model-spec", "/nowhere.toml"],
            "/nowhere.toml: cannot be read (No such file or directory); expected a mod",
        ),
        (["--manifest", "/nowhere"], "/nowhere"),
        (["--root", "/nowhere"], "/nowhere: no such folder, or an empty one; expected a folder that holds a data set"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_one_clear_line_and_makes_no_folder(arguments, says, net, out, root):
    assert says in failure(evaluate(net, out, root, *arguments))
    assert not out.exists()


@pytest.mark.parametrize("option", ["--crop", "--bounds", "--scaling", "--resize", "--resize-of", "--flip", "--values"])
def test_a_choice_that_there_is_not_is_wrong_usage(option, net, out, root):
    from ncdb_dask.evaluation.protocol import CHOICES

    done = evaluate(net, out, root, option, "half")
    assert done.exit_code == 2
    for known in CHOICES.get(option.removeprefix("--").replace("-", "_"), ("metres", "output")):
        assert f"'{known}'" in done.output
    assert not out.exists()


def test_options_that_are_missing_or_contradict_each_other(net, out, root, tmp_path):
    ncdb_dask.scan(root, tmp_path / "scan")
    usual, scan = ["evaluate", net, out, "--workers", 0], ["--scan", tmp_path / "scan"]
    split = ["--split", root / "train_split.json"]
    for arguments, says in (
        ([], "give the frames with --split or with --scan; found neither"),
        (split, "--root is missing: where the frames of --split lie"),
        ([*split, *scan, "--root", root], "give the frames with --split or with --scan; found both"),
        ([*scan, "--depth-scale", 256], "--depth-scale is for --split; a scan knows the unit of its frames"),
        (["--scan", tmp_path / "nowhere"], "holds no scan"),
    ):
        assert says in failure(run(*usual, *arguments))
    assert not out.exists()


def test_networks_that_cannot_be_used_are_one_clear_line(out, root, tmp_path):
    quarter = KNOWN["quarter"]
    alone = quarter.write(tmp_path / "alone" / "net.onnx")
    alone.with_suffix(".toml").unlink()
    text = quarter.write(tmp_path / "text" / "net.onnx")
    text.write_text("no network")
    folder = tmp_path / "void"
    folder.mkdir()
    for model, says in (
        (alone, "write one with at least [input] width and height (docs/reference/model_file.md), or name another"),
        (text, "net.onnx: is no ONNX file"),
        (quarter.write(tmp_path / "wide" / "net.onnx", width=32), "width = 16, height = 12 would fit"),
        (quarter.write(tmp_path / "last" / "net.onnx", layout="nhwc"), 'fit, but look like layout = "nchw"'),
        (
            write_network(tmp_path / "map" / "net.onnx", NO_MAP),
            "has the shape 1 x 3 x 12 x 16; expected one map: H x W",
        ),
        (folder, "no such folder, or an empty one; expected a folder of predictions"),
        (tmp_path / "nowhere.onnx", "no such file; expected an ONNX network or a folder of predictions"),
    ):
        assert says in failure(evaluate(model, out, root))
    assert not out.exists()


def test_other_options_are_refused_and_fresh_starts_over(net, out, root):
    evaluate(net, out, root)
    before = contents(out)
    says = failure(evaluate(net, out, root, "--stretch"))
    assert "stretch was False, now True" in says
    assert "give the same ones to continue, or --fresh to start over" in says
    assert contents(out) == before
    assert evaluate(net, out, root, "--stretch", "--fresh").exit_code == 0


def test_an_out_that_holds_something_else_is_left_alone(net, out, root, tmp_path):
    (out / "photos").mkdir(parents=True)
    assert "holds what is not of an evaluation (photos, ...)" in failure(evaluate(net, out, root))
    (tmp_path / "file").touch()
    assert "is a file; expected a folder" in failure(evaluate(net, tmp_path / "file", root))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["net.onnx"],
        ["net.onnx", "out", "third"],
        ["net.onnx", "out", "--nosuch"],
        ["net.onnx", "out", "--panels", "-1"],
        ["net.onnx", "out", "--panels", "many"],
        ["net.onnx", "out", "--shard-size", "0"],
        ["net.onnx", "out", "--workers", "-1"],
        ["net.onnx", "out", "--min-depth", "near"],
        ["net.onnx", "out", "--threads", "few"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments):
    result = run("evaluate", *arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("workers", "started"), [(50, 3), (2, 2)])
def test_there_are_no_more_workers_than_shards(workers, started, net, out, root, monkeypatch):
    def refuse(spec, **_):
        raise RunError(f"asked for {spec.workers}")

    monkeypatch.setattr(cluster, "open_client", refuse)
    result = evaluate(net, out, root, "--shard-size", 3, "--workers", workers)
    assert failure(result) == f"Error: asked for {started}"


def test_a_real_command_with_workers(net, out, root, tmp_path):
    command = [sys.executable, "-m", "ncdb_dask.cli", "evaluate", net, out, "--root", root, "--split"]
    command += ["train_split.json", "--workers", 2, "--shard-size", 3, "--panels", 1, "--json"]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answer = strict(ran.stdout)
    assert (answer["frames"], len(answer["pictures"])) == (7, 4)
    assert "dashboard: " in ran.stderr
    here = strict(evaluate(net, tmp_path / "here", root, "--shard-size", 3, "--json").stdout)
    assert here["figures"] == answer["figures"]


# Help


def test_the_help_names_every_option_and_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from ncdb_dask.cli.main import main\n"
        "main(['evaluate', '--help'], standalone_mode=False)\n"
        "heavy = {'dask', 'distributed', 'numpy', 'pandas', 'pyarrow', 'matplotlib', 'onnx', 'onnxruntime', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for option in (
        "--split",
        "--scan",
        "--where",
        "--protocol",
        "--provider",
        "--save-predictions",
        "--panels",
        "--json",
    ):
        assert option in ran.stdout


def test_every_field_of_the_protocol_is_an_option():
    from ncdb_dask.evaluation.protocol import FIELDS

    options = {parameter.name for parameter in main.get_command(None, "evaluate").params}
    assert {*FIELDS} <= options


@pytest.mark.parametrize("place", ["MODEL", "OUT", "--root", "--model-spec"])
def test_the_home_folder_is_understood(place, net, root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"MODEL": net, "OUT": tmp_path / "out", "--root": root, "--model-spec": net.with_suffix(".toml")}
    given[place] = f"~/{given[place].name}"
    model, out, data, spec = given.values()
    result = evaluate(model, out, data, "--model-spec", spec)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "_manifest.json").exists()


def test_two_splits_are_one_evaluation(net, out, root):
    keys = [("synced_data/a", "0000000000"), ("synced_data/a", "0000000001")]
    write_split(root, keys[:1], "one.json")
    write_split(root, keys, "two.json")
    result = run("evaluate", net, out, "--root", root, "--split", "one.json", "--split", "two.json", "--workers", 0)
    assert "Frames        2 evaluated, 0 not" in result.stdout
    assert "Duplicates    1  (kept once)" in result.stdout


# Afterwards


def test_the_summary_of_an_evaluation(net, out, root):
    said = evaluate(net, out, root).stdout
    summary = run("summary", out)
    assert summary.exit_code == 0, summary.output
    assert summary.stdout.strip()
    assert summary.stdout.strip() in said
    assert json.loads(run("summary", out, "--json").stdout)["frames"] == 7
    drawn = run("summary", out, "--picture", "x.png")
    assert drawn.exit_code == 2
    assert "--picture draws a scan" in drawn.output


def test_a_lost_overview_is_drawn_again(net, out, root):
    evaluate(net, out, root)
    (out / "_overview.png").unlink()
    assert evaluate(net, out, root).exit_code == 0
    assert (out / "_overview.png").exists()


def test_a_network_may_be_named_by_a_url(net, out, root):
    assert evaluate(f"file://{net}", out, root).exit_code == 0
