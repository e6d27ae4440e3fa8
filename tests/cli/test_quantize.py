"""``ncdb-dask quantize`` as a user meets it."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.exports import contents
from helpers.quantizing import depth_network, files_of, write_model
from helpers.tools import Interpreter
from helpers.trees import write_split, write_tree

from ncdb_dask.api import quantizations
from ncdb_dask.cli.main import main
from ncdb_dask.errors import RunError
from ncdb_dask.quantization.command import CommandQuantizer
from ncdb_dask.quantization.nncf import NncfQuantizer
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.profile import shipped
from ncdb_dask.quantization.quark import QuarkQuantizer
from ncdb_dask.runtime import cluster

FRAMES = 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_model(tmp_path / "net.onnx", depth_network())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "int8.onnx"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def quantize(net: Path, out: Path, root: Path, *arguments: object) -> Result:
    return run("quantize", net, out, "--root", root, "--split", "train_split.json", "--workers", 0, *arguments)


def failure(result: Result, stdout: str = "") -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def usage(result: Result) -> str:
    """The last line of a wrong usage."""
    assert result.exit_code == 2, result.output
    return result.stderr.strip().splitlines()[-1]


# Answers


def test_a_quantization_says_what_it_did(net, out, root):
    result = quantize(net, out, root, "--method", "mse")
    assert result.exit_code == 0, result.output
    for part in (
        "Backend       onnxruntime",
        "Frames        4",
        "Activations   uint8, mse",
        "Equalized     expected noise ",
        "Biases        5 layers corrected",
        "Noisiest      ",
        f"Network       {out}",
        f"Report        {out.parent}/int8.report.json",
    ):
        assert part in result.stdout, result.stdout
    assert "Note" not in result.stdout
    assert "100 %" in result.stderr
    assert out.exists()


def test_the_answer_as_json_is_the_report_and_alone_on_standard_output(net, out, root):
    result = quantize(net, out, root, "--json", "--no-equalize")
    answer = json.loads(result.stdout)
    assert answer == {"out": str(out), "report": json.loads(out.with_name("int8.report.json").read_text())}
    assert not answer["report"]["quantizer"]["options"]["equalize"]


def test_notes_are_shown(net, out, root):
    (root / "synced_data/a/image_a6/0000000000.png").unlink()
    result = quantize(net, out, root, "--skip-bad")
    assert "Frames        3, 1 left out" in result.stdout


def test_several_splits_and_folders(net, out, root, tmp_path):
    write_split(root, [("synced_data/a", "0000000001")], "more.json")
    write_split(root, [("synced_data/b", "0000000000")], "other.json")
    result = run(
        *("quantize", net, out, "--root", root, "--split", "more.json", "--split", "other.json"),
        *("--workers", 0, "--statistics", tmp_path / "kept", "--json"),
    )
    report = json.loads(result.stdout)["report"]
    assert report["frames"] == [["synced_data/a", "0000000001"], ["synced_data/b", "0000000000"]]
    assert {*report["splits"]} == {"more.json", "other.json"}
    assert Path(report["quantizer"]["statistics"]).parent == tmp_path / "kept"
    assert not (out.parent / "statistics").exists()


# A plan


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(net, out, root):
    before = contents(root.parent)
    with mock.patch.object(cluster, "open_client", side_effect=RunError("opened a cluster")):
        result = run("quantize", net, out, "--root", root, "--split", "train_split.json", "--dry-run")
        answer = run("quantize", net, out, "--root", root, "--split", "train_split.json", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    for part in (str(net), str(out), "onnxruntime", "4 from train_split.json", str(root)):
        assert part in result.stdout
    assert json.loads(answer.stdout)["frames"] == FRAMES
    assert json.loads(answer.stdout)["options"]["method"] == "minmax"
    assert 'method = "minmax"' in result.stdout
    assert contents(root.parent) == before


def planned(net: Path, out: Path, root: Path, *arguments: object) -> Any:
    """The plan that a command line comes to."""
    kept = []
    plan = quantizations.plan_quantization

    def watched(*args: Any, **options: Any) -> Any:
        kept.append(plan(*args, **options))
        return kept[0]

    with mock.patch("ncdb_dask.api.plan_quantization", watched):
        result = quantize(net, out, root, *arguments, "--dry-run")
    assert result.exit_code == 0, result.output
    return kept[0]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        (("--method", "percentile", "--percentile", "99.9"), {"method": "percentile", "percentile": 99.9}),
        (("--activations", "int8", "--asymmetric"), {"activations": "int8", "symmetric": False}),
        (
            ("--symmetric", "--power-of-two", "--per-channel"),
            {"symmetric": True, "power_of_two": True, "per_channel": True},
        ),
        (("--no-equalize", "--no-bias-correction"), {"equalize": False, "bias_correction": False}),
        (("--equalize", "--bias-correction"), {"equalize": True, "bias_correction": True}),
        (("--wide", "a", "--wide", "b", "--keep", "c"), {"wide": ("a", "b"), "keep": ("c",)}),
        (("--profile", "vitis-dpu"), {"profile": "vitis-dpu"}),
    ],
)
def test_options_reach_the_backend(arguments, options, net, out, root):
    assert planned(net, out, root, *arguments).quantizer == OnnxRuntimeQuantizer(**options)


def test_a_template_reaches_the_command(net, out, root, tmp_path):
    template = tmp_path / "npu.toml"
    template.write_text('command = ["true", "{output}"]\n')
    plan = planned(net, out, root, "--backend", "command", "--template", template)
    assert isinstance(plan.quantizer, CommandQuantizer)


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    """An interpreter with stand-ins for both quantizers."""
    made = Interpreter(tmp_path / "environment")
    made.install("nncf", "3.4.0", "nncf")
    made.install("amd-quark", "0.13", "quark")
    made.install("torch", "2.13", "torch")
    return made


@pytest.mark.parametrize(
    ("made", "arguments", "options"),
    [
        (NncfQuantizer, (), {}),
        (
            NncfQuantizer,
            ("--preset", "mixed", "--device", "any", "--transformer", "--no-fast-bias-correction"),
            {"preset": "mixed", "device": "any", "transformer": True, "fast_bias_correction": False},
        ),
        (NncfQuantizer, ("--no-transformer", "--fast-bias-correction"), {"transformer": False}),
        (QuarkQuantizer, (), {}),
        (
            QuarkQuantizer,
            ("--config", "XINT8", "--cle", "--adaround", "--iterations", "200"),
            {"config": "XINT8", "cle": True, "adaround": True, "iterations": 200},
        ),
    ],
)
def test_options_reach_quantizers_in_other_processes(made, arguments, options, net, out, root, interpreter):
    named = ("--backend", made.name, "--python", interpreter.path)
    assert planned(net, out, root, *named, *arguments).quantizer == made(**options, python=str(interpreter.path))


def test_a_dry_run_tells_of_the_other_process(net, out, root, interpreter):
    result = quantize(net, out, root, "--backend", "quark", "--python", interpreter.path, "--dry-run")
    assert result.exit_code == 0, result.output
    assert 'config = "A8W8", cle = false, adaround = false' in result.stdout
    assert f'python = "{interpreter.path}", version = "0.13"' in result.stdout


def test_a_quantizer_that_is_not_installed_is_an_error_of_the_dry_run_too(net, out, root, tmp_path):
    empty = Interpreter(tmp_path / "empty")
    empty.install("amd-quark", "0.11", "quark")
    empty.install("torch", "2.13", "torch")
    line = failure(quantize(net, out, root, "--backend", "quark", "--python", empty.path, "--dry-run"))
    assert "the backend quark needs amd-quark 0.13 or later" in line
    assert f"{empty.path} -m pip install 'amd-quark>=0.13'" in line


@pytest.mark.skipif(not find_spec("nncf"), reason="needs nncf")
def test_nncf_in_this_environment(net, out, root):
    result = quantize(net, out, root, "--backend", "nncf")
    assert result.exit_code == 0, result.output
    assert "Tool          nncf 3." in result.stdout
    assert "Options       preset performance, device npu, transformer no, fast_bias_correction yes" in result.stdout
    assert out.with_name("int8.onnx.log").read_text().startswith("$ ")
    assert run("quantize", "--verify", out).exit_code == 0


def test_other_options_reach_the_plan(net, out, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "frame.png").write_bytes(b"")
    spec = tmp_path / "spec.toml"
    spec.write_text(net.with_suffix(".toml").read_text())
    plan = planned(
        *(net, out, root, "--threads", "3", "--model-spec", spec, "--skip-bad", "--allow-root", elsewhere),
    )
    assert plan.reference.threads == 3
    assert plan.model_spec == str(spec)
    assert plan.skip_bad
    assert [folder.url for folder in plan.allowed] == [str(elsewhere)]


# Verifying


def test_verifying_what_is_as_reported(net, out, root):
    quantize(net, out, root)
    result = run("quantize", "--verify", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}: as reported\n")
    assert json.loads(run("quantize", out, "--verify", "--json").stdout) == {"differences": []}


def test_verifying_what_was_changed(net, out, root):
    quantize(net, out, root)
    model = onnx.load(out)
    model.doc_string = "touched"
    out.write_bytes(model.SerializeToString())
    result = run("quantize", "--verify", out)
    assert result.exit_code == 1
    assert "is not the file that was written" in result.stdout
    assert result.stderr == f"Error: {out}: differences: 1; the same quantization again mends them\n"
    answer = run("quantize", "--verify", out, "--json")
    assert len(json.loads(answer.stdout)["differences"]) == 1
    assert answer.exit_code == 1


def test_verifying_what_is_not_there(out):
    assert "no such file; expected the report" in failure(run("quantize", "--verify", out))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("other.onnx",), "a second argument"),
        (("--root", "data"), "--root"),
        (("--no-equalize",), "--no-equalize|--equalize"),
        (("--asymmetric",), "--symmetric"),
        (("--threads", "1"), "--threads"),
        (("--workers", "2"), "--workers"),
        (("--dry-run",), "--dry-run"),
        (("--backend", "onnxruntime"), "--backend"),
    ],
)
def test_verifying_takes_nothing_else(arguments, what, out):
    line = usage(run("quantize", "--verify", out, *arguments))
    assert re.search(f"--verify takes one quantized network; found ({what})$", line)


# Wrong usage, and what cannot be done


@pytest.mark.parametrize(("left_out", "what"), [("out", "OUT.onnx"), ("--root", "--root"), ("--split", "--split")])
def test_what_is_missing_is_named(left_out, what, net, out, root):
    options = {"--root": root, "--split": "train_split.json"}
    arguments = [part for name, value in options.items() if name != left_out for part in (name, value)]
    line = usage(run("quantize", net, *([] if left_out == "out" else [out]), *arguments))
    assert line == f"Error: {what} is missing: ncdb-dask quantize MODEL.onnx OUT.onnx --root ROOT --split SPLIT.json"


@pytest.mark.parametrize(
    "arguments", [("--percentile", "much"), ("--threads", "x"), ("--workers", "-1"), ("--nothing",)]
)
def test_a_wrong_command_line(arguments, net, out, root):
    assert usage(quantize(net, out, root, *arguments)).startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "kl"), 'method "kl": expected minmax, percentile, entropy, mse'),
        (("--backend", "vendor"), 'the backend "vendor" is unknown; installed are'),
        (("--backend", "command"), "the backend command needs --template"),
        (("--template", "x.toml"), "the backend onnxruntime has no option 'template'; it takes method"),
        (("--preset", "mixed"), "the backend onnxruntime has no option 'preset'; it takes method"),
        (("--cle", "--backend", "nncf"), "the backend nncf has no option 'cle'; it takes preset, device, transformer"),
        (("--method", "mse", "--backend", "quark"), "the backend quark has no option 'method'; it takes config, cle"),
        (("--backend", "quark", "--iterations", "9"), "iterations 9 is for adaround; add it (--adaround)"),
        (("--backend", "nncf", "--preset", "fast"), 'preset "fast": expected performance, mixed'),
        (("--backend", "nncf", "--python", "nowhere"), 'python = "nowhere": no such program; expected the interpreter'),
        (("--profile", "litert", "--activations", "uint8"), "the profile litert has no activations of type uint8"),
        (("--profile", "none.toml"), "none.toml: cannot be read (No such file or directory)"),
        (("--keep", "rel"), 'the network has no activation "rel"; the nearest are "relu'),
        (("--provider", "tpu"), "tpu"),
        (("--threads", "0"), "threads = 0; expected 1 to"),
        (("--model-spec", "nowhere.toml"), "nowhere.toml"),
        (("--split", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, message, net, out, root):
    result = quantize(net, out, root, *arguments)
    assert result.exit_code == 1, result.output
    assert not result.stdout
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_a_missing_network_folder_and_frame(net, out, root, tmp_path):
    assert "gone.onnx" in failure(quantize(tmp_path / "gone.onnx", out, root))
    assert "is a folder; expected the file to write" in failure(quantize(net, root, root))
    (root / "synced_data/a/image_a6/0000000000.png").unlink()
    line = failure(quantize(net, out, root))
    assert "calibration frames that cannot be read: 1 (0000000000 of synced_data/a, missing_image" in line
    assert line.endswith("mend them, or leave them out with --skip-bad")
    assert not files_of(out.parent)


@pytest.mark.parametrize("given", [(), ("--skip-bad",)])
def test_a_frame_that_goes_after_the_check_is_not_advised_to_be_left_out(given, net, out, root):
    checked = quantizations.require_all

    def gone(*arguments: Any) -> None:
        checked(*arguments)
        (root / "synced_data/a/image_a6/0000000000.png").unlink()

    with mock.patch.object(quantizations, "require_all", gone):
        result = quantize(net, out, root, *given)
    assert result.exit_code == 1, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert "1 of 4 (0000000000 of synced_data/a: missing_image" in line
    assert line.endswith("; mend them, or take them out of the split")


# Help


def test_the_help_tells_of_every_option_and_profile():
    result = run("quantize", "--help")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for name in shipped():
        assert name in text.replace("- ", "-")  # a line may end within a name
    for option in ("--method", "--wide", "--keep", "--verify", "--dry-run", "--json", "--cluster", "--workers"):
        assert option in text
    assert "ncdb-dask quantize --verify out/int8.onnx" in text
    assert "\b" not in result.stdout


def test_the_help_imports_nothing_heavy():
    script = (
        "import sys; from click.testing import CliRunner; from ncdb_dask.cli.main import main; "
        "assert CliRunner().invoke(main, ['quantize', '--help']).exit_code == 0; "
        "print([name for name in ('dask', 'onnx', 'onnxruntime', 'pyarrow') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
