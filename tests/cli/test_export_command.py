"""``ncdb-dask export`` as a user meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.exports import assert_sound, contents, write_spec
from helpers.trees import write_tree

from ncdb_dask.cli.main import main
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import cluster


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, 7)
    write_spec(tmp_path / "model.toml")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def export(root: Path, out: Path, *arguments: object, form: str = "npy") -> Result:
    spec = ["--model-spec", root.with_name("model.toml")] if form not in ("images", "split") else []
    return run("export", "train_split.json", out, "--root", root, "--format", form, *spec, "--workers", 0, *arguments)


def verify(out: Path, *arguments: object) -> Result:
    return run("export", "--verify", out, "--workers", 0, *arguments)


def failure(result: Result) -> str:
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.output
    return lines[-1]


def test_an_export_says_what_it_wrote_and_again_the_same(root, out):
    result = export(root, out)
    assert result.exit_code == 0, result.output
    for part in (
        "Frames        7 as npy, ",
        "Each          3 x 6 x 8, float32",
        f"Folder        {out}",
        "manifest.json",
    ):
        assert part in result.stdout
    assert "7/7 (100 %)" in result.stderr
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = export(root, out)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert again.stderr == f"{out} is complete already; nothing is left to do\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_the_answer_as_json_goes_to_standard_output_alone(root, out):
    answer = json.loads(export(root, out, "--json", form="hailo").stdout)
    files = {"calibration.npy", "calibration.alls"}
    assert (answer["out"], answer["frames"], answer["left_out"], set(answer["files"])) == (str(out), 7, [], files)


def test_a_dry_run_writes_nothing(root, out):
    result = export(root, out, "--dry-run", "--shard-size", 3)
    for part in ("Frames        7", "Format        npy", "Shards        3, of which 0 are done"):
        assert part in result.stdout
    answer = json.loads(export(root, out, "--dry-run", "--json").stdout)
    assert (answer["frames"], answer["finished"], answer["settings"]["format"]) == (7, False, "npy")
    assert not out.exists()
    export(root, out)
    before = contents(out)
    assert json.loads(export(root, out, "--dry-run", "--json").stdout)["finished"] is True
    assert json.loads(export(root, out, "--dry-run", "--json", "--fresh").stdout)["finished"] is False
    assert contents(out) == before


def test_the_options_reach_the_export(root, out, tmp_path):
    assert export(root, tmp_path / "stack", "--stack", "--layout", "nhwc").exit_code == 0
    assert (tmp_path / "stack" / "calibration.npy").exists()
    assert "6 x 8 x 3" in export(root, tmp_path / "stack", "--stack", "--layout", "nhwc").stdout
    assert export(root, tmp_path / "link", "--link", form="images").exit_code == 0
    assert all(path.is_symlink() for path in (tmp_path / "link" / "images").iterdir())
    spec = root.with_name("model.toml")
    resized = export(root, tmp_path / "resized", "--resized", "--model-spec", spec, form="images")
    assert "6 x 8 x 3, uint8" in resized.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    assert export(root, out, "--allow-root", elsewhere).exit_code == 0
    assert json.loads((out / "manifest.json").read_text())["root"] == str(root)
    plan = json.loads(export(root, out, "--allow-root", elsewhere, "--dry-run", "--json").stdout)
    assert plan["settings"]["allow_root"] == [str(elsewhere)]


def test_a_faulty_frame_is_one_line_and_may_be_left_out(root, out):
    (root / "synced_data/b/image_a6/0000000001.png").unlink()
    says = failure(export(root, out))
    assert says.startswith("Error: 1 of 7 frames cannot be exported: 1 missing_image (no image synced_data/b/image_a6/")
    assert not (out / "manifest.json").exists()
    result = export(root, out, "--skip-bad")
    assert result.exit_code == 0
    assert "Left out      1 missing_image (no image synced_data/b/image_a6/" in result.stdout
    assert_sound(out)


def test_other_options_are_refused_and_fresh_starts_over(root, out):
    export(root, out)
    assert "format was 'npy', now 'raw'" in failure(export(root, out, form="raw"))
    assert export(root, out, "--fresh", form="raw").exit_code == 0
    assert_sound(out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["s.json"], "OUT is missing"),
        (["s.json", "out"], "--root is missing"),
        (["s.json", "out", "--format", "npy"], "--root is missing"),
        (["s.json", "out", "--root", "r"], "--format is missing"),
        ([], "Missing argument 'SPLIT.json'"),
        (["s.json", "out", "--nosuch"], "No such option"),
        (["s.json", "out", "--root", "r", "--format", "npy", "--shard-size", "0"], "--shard-size"),
        (["--verify"], "Missing argument"),
        (["--verify", "out", "other"], "--verify takes one folder, --root, --model-spec and --model; found a second"),
        (["--verify", "out", "--format", "npy"], "found --format"),
        (["--verify", "out", "--skip-bad"], "found --skip-bad"),
        (["--verify", "out", "--allow-root", "x"], "found --allow-root"),
        (["--verify", "out", "--dry-run"], "found --dry-run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_exits_with_2(arguments, says):
    result = run("export", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_refusals_are_one_line(root, out):
    assert "format 'onnx': expected one of images" in failure(export(root, out, form="onnx"))
    assert "no such split file" in failure(run("export", "x.json", out, "--root", root, "--format", "split"))
    assert not out.exists()


def test_what_is_right_verifies(root, out):
    export(root, out, form="raw")
    result = verify(out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "Verified      8 files by their SHA-256, 7 frames against the preprocessing; nothing differs\n"
    )
    assert json.loads(verify(out, "--json").stdout)["differences"] == []


def test_what_differs_is_printed_and_fails(root, out, tmp_path):
    export(root, out)
    (out / "tensors/stray.npy").write_bytes(b"")
    other = write_spec(tmp_path / "bgr.toml", channels="bgr")
    result = verify(out, "--model-spec", other)
    mends = "the same export again mends what is missing or of another size, with --fresh everything"
    assert failure(result) == f"Error: {out}: differences: 8; {mends}"
    first, second, third = result.stdout.splitlines()
    assert first == "Verified      7 files by their SHA-256, 7 frames against the preprocessing"
    detail = "likely cause: channels in the order rgb instead of bgr"
    assert second == f"      7 different  {detail} (synced_data/a/0000000000, synced_data/b/0000000000, ...)"
    assert third.split()[:3] == ["1", "extra", "it"]
    found = json.loads(verify(out, "--model-spec", other, "--json").stdout)
    assert {each["what"] for each in found["differences"]} == {"different", "extra"}
    assert (found["files"], found["frames"]) == (7, 7)


def test_without_the_data_set_the_files_are_verified_and_that_is_no_failure(root, out):
    export(root, out)
    root.rename(root.with_name("elsewhere"))
    result = verify(out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "Verified      7 files by their SHA-256; nothing differs"
    assert "no such folder" in json.loads(verify(out, "--json").stdout)["not_compared"]
    assert "no such folder" in failure(verify(out, "--root", root))
    (out / "tensors/synced_data__a__0000000000.npy").unlink()
    assert "differences: 1" in failure(verify(out))


def test_verifying_reads_the_manifest_once(root, out, monkeypatch):
    from ncdb_dask.exporting import manifest

    export(root, out)
    read, reads = manifest.json.loads, []
    monkeypatch.setattr(manifest.json, "loads", lambda data: (reads.append(len(data)), read(data))[1])
    assert verify(out).exit_code == 0
    assert reads == [(out / "manifest.json").stat().st_size]


def test_what_is_no_export_is_not_verified(tmp_path):
    assert "holds no finished export" in failure(verify(tmp_path / "nowhere"))


@pytest.mark.parametrize(("workers", "started"), [(50, 3), (2, 2)])
def test_there_are_no_more_workers_than_shards(workers, started, root, out, monkeypatch):
    def refuse(spec, **_):
        raise RunError(f"asked for {spec.workers}")

    monkeypatch.setattr(cluster, "open_client", refuse)
    result = export(root, out, "--shard-size", 3, "--workers", workers)
    assert failure(result) == f"Error: asked for {started}"


def test_the_model_is_checked_against_the_model_file_beside_it(root, out, tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [1, 3, 6, 8]) for name in ("pixels", "depth")]
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["depth"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    arguments = ("export", "train_split.json", out, "--root", root, "--format", "raw", "--workers", 0)
    assert "net.onnx: has no model file (looked for" in failure(run(*arguments, "--model", tmp_path / "net.onnx"))
    write_spec(tmp_path / "net.toml", name=None)
    result = run(*arguments, "--model", tmp_path / "net.onnx")
    assert result.exit_code == 0, result.output
    assert (out / "input_list.txt").read_text().startswith("pixels:=/")
    write_spec(tmp_path / "net.toml", name=None, width=16)
    says = failure(run(*arguments, "--model", tmp_path / "net.onnx"))
    assert 'the input "pixels" has the shape 1 x 3 x 6 x 8' in says
