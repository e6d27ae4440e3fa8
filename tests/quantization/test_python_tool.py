"""Quantizers in another process, with stand-ins for them: what they get, what is told, and how they may fail."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.tools import Interpreter
from onnx import helper

from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization import interpreter as interpreters
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.nncf import TOOL, NncfQuantizer
from ncdb_dask.quantization.quark import QuarkQuantizer
from ncdb_dask.quantization.tools.script import has_attention
from ncdb_dask.testing import check_quantizer
from ncdb_dask.testing.inputs import FRAMES, Inputs
from ncdb_dask.testing.material import make_material

# What of NNCF is used; it looks at all frames twice, as the real one does.
NNCF = """
    import json, os, sys
    from itertools import islice
    from types import SimpleNamespace

    QuantizationPreset = TargetDevice = str
    ModelType = SimpleNamespace(TRANSFORMER="transformer")

    def Dataset(frames):
        return frames

    def quantize(model, dataset, **options):
        assert "ncdb_dask" not in sys.modules
        means = [float(frame["image"].mean()) for _ in range(2) for frame in islice(dataset, {looked_at})]
        try:
            import openvino_telemetry
            telemetry = True
        except ImportError:
            telemetry = False
        print(json.dumps(dict(
            options=options, means=means, telemetry=telemetry, temporary=os.environ["TMPDIR"], folder=os.getcwd(),
        )))
        {ending}
        return model
"""


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_material(Inputs.write(tmp_path / "inputs", seed=3), tmp_path / "work")


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    return Interpreter(tmp_path / "env iron")


def install_nncf(
    interpreter: Interpreter, version: str = "3.4.0", ending: str = "pass", looked_at: int | None = None
) -> None:
    source = NNCF.replace("{ending}", ending).replace("{looked_at}", str(looked_at))
    interpreter.install("nncf", version, "nncf", source)
    interpreter.install("openvino-telemetry", "1", "openvino_telemetry")


@dataclass
class Run:
    """A quantization by a stand-in."""

    answer: Quantized
    said: dict[str, Any]
    out: Path


@pytest.fixture
def run(interpreter: Interpreter, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # the log

    def quantize(ending: str = "pass", looked_at: int | None = None, **options: Any) -> Run:
        install_nncf(interpreter, ending=ending, looked_at=looked_at)
        (tmp_path / "out").mkdir()
        out = tmp_path / "out" / "int8.onnx"
        answer = NncfQuantizer(**options, python=interpreter.path).quantize(material, out)
        log = Path(answer.report["log"]).read_text().splitlines()
        return Run(answer, json.loads(next(line for line in log if line.startswith('{"options"'))), out)

    return quantize


# What the quantizer gets, and what is told


def test_all_frames_arrive_in_the_order_of_the_material(run: Any, material: Material) -> None:
    means = [float(np.mean(tensor)) for tensor in material.feed()]
    done = run()
    assert len(set(means)) == FRAMES
    assert done.said["means"] == pytest.approx(means * 2)
    assert done.said["options"]["subset_size"] == FRAMES
    assert done.answer.report["frames"] == FRAMES
    assert done.answer.notes == ()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"preset": "performance", "target_device": "NPU", "fast_bias_correction": True, "model_type": None}),
        ({"preset": "mixed", "device": "any"}, {"preset": "mixed", "target_device": "ANY"}),
        ({"transformer": True}, {"model_type": "transformer"}),
        ({"fast_bias_correction": False}, {"fast_bias_correction": False}),
    ],
)
def test_options_reach_the_quantizer(given: dict[str, Any], told: dict[str, Any], run: Any) -> None:
    assert run(**given).said["options"].items() >= told.items()


def test_the_report_tells_what_was_used(run: Any, interpreter: Interpreter, material: Material) -> None:
    done = run()
    report = done.answer.report
    assert (report["package"], report["version"]) == ("nncf", "3.4.0")
    assert report["options"] == {
        "preset": "performance",
        "device": "npu",
        "transformer": False,
        "fast_bias_correction": True,
    }
    assert report["python"] == {"path": str(interpreter.path), "version": sys.version.split()[0]}
    assert report["packages"]["onnx"] == onnx.__version__
    assert report["exit_code"] == 0
    assert Path(report["log"]).read_text().startswith(f"$ '{interpreter.path}' ")
    assert done.answer.summary == {
        "Tool": "nncf 3.4.0",
        "Options": "preset performance, device npu, transformer no, fast_bias_correction yes",
    }
    assert done.out.read_bytes() == onnx.load(material.model).SerializeToString()


def test_no_usage_data_is_sent_and_temporary_files_lie_in_the_work_folder(run: Any, material: Material) -> None:
    said = run().said
    assert not said["telemetry"]
    assert said["temporary"] == said["folder"]
    assert Path(said["folder"]).is_relative_to(material.work)


def test_a_quantizer_that_looks_at_fewer_frames_is_noted(run: Any) -> None:
    assert run(looked_at=2).answer.notes == (f"nncf has looked at 2 of {FRAMES} frames",)


def test_the_contract_is_kept(interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    install_nncf(interpreter)
    check_quantizer(lambda: NncfQuantizer(python=interpreter.path), tmp_path)


# Attention


def network(*nodes: Any) -> Any:
    return helper.make_model(helper.make_graph(nodes, "net", [], []))


def test_attention_is_a_softmax_that_is_multiplied_with_a_matrix() -> None:
    softmax, relu = helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("Relu", ["x"], ["r"])
    assert has_attention(network(softmax, helper.make_node("MatMul", ["p", "v"], ["y"])))
    assert not has_attention(network(softmax, relu, helper.make_node("MatMul", ["r", "v"], ["y"])))
    assert not has_attention(network(softmax))


# What cannot be done


def refused(make: Any) -> str:
    with pytest.raises(QuantizationError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_quantizer_that_is_not_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "_asked", lambda tool, python: {"version": None, "missing": ["torch"]})
    message = refused(QuarkQuantizer)
    assert message == (
        f"the backend quark needs amd-quark, torch, not installed for {sys.executable}; install it: pip install "
        "'ncdb-dask[quark]', or name an interpreter that has it with python (--python)"
    )


def test_a_quantizer_that_is_not_installed_elsewhere(interpreter: Interpreter) -> None:
    interpreter.install("amd-quark", "0.12.post1", "torch")
    assert re.search(
        "the backend quark needs amd-quark 0.13 or later; .*env iron/python has 0.12.post1; install it there: "
        "'.*env iron/python' -m pip install 'amd-quark>=0.13' onnx onnxruntime torch numpy$",
        refused(lambda: QuarkQuantizer(python=interpreter.path)),
    )


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    message = refused(lambda: NncfQuantizer(python=tmp_path / "python"))
    assert message.startswith(f'python = "{tmp_path}/python": no such program; expected the interpreter of')
    silent = tmp_path / "silent"
    for text in ("#!/bin/sh\nexit 0\n", "#!/bin/sh\necho 3\n", "#!/bin/sh\necho Usage >&2; exit 2\n", "#!/no/such\n"):
        silent.write_text(text)
        silent.chmod(0o755)
        message = refused(lambda: NncfQuantizer(python=silent))
        assert message.startswith(f"{silent}: does not answer as a Python interpreter does (")


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (NncfQuantizer, {"preset": "fast"}, 'preset "fast": expected performance, mixed'),
        (NncfQuantizer, {"device": "CPU"}, 'device "CPU": expected npu, any'),
        (QuarkQuantizer, {"config": "A16W8"}, 'config "A16W8": expected A8W8, XINT8'),
        (QuarkQuantizer, {"iterations": 10}, "iterations 10 is for adaround; add it (--adaround)"),
        (QuarkQuantizer, {"iterations": 0, "adaround": True}, "iterations 0: expected 1 or more, such as 1000"),
    ],
)
def test_wrong_options(made: Any, options: dict[str, Any], message: str) -> None:
    assert refused(lambda: made(**options)) == message


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("raise ValueError('no\\nsuch layer')", r"nncf 3\.4\.0 stopped \(ValueError: no such layer\); its log is"),
        ("os.kill(os.getpid(), 9)", r"nncf was ended by signal 9 \(SIGKILL\), as the system does where memory"),
        ("os._exit(3)", "nncf ended with exit code 3"),
        ("sys.exit(0)", "nncf ended with exit code 0, but wrote no network"),
    ],
)
def test_a_quantizer_that_fails(ending: str, message: str, run: Any, tmp_path: Path) -> None:
    said = refused(lambda: run(ending))
    assert re.match(message, said)
    assert str(tmp_path / "net.log") in said
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("3.4", (3, 4)), ("3.4.0", (3, 4, 0)), ("0.13rc1", (0, 13)), ("0.12.post1", (0, 12)), ("dev", ())],
)
def test_versions_are_compared_as_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert interpreters._numbers(version) == numbers


def test_a_description_for_a_dry_run(interpreter: Interpreter) -> None:
    install_nncf(interpreter, "3.10")
    described = NncfQuantizer(python=interpreter.path).describe()
    assert described == {
        "preset": "performance",
        "device": "npu",
        "transformer": None,
        "fast_bias_correction": True,
        "python": str(interpreter.path),
        "version": "3.10",
    }
    assert TOOL.found(interpreter.path).version == "3.10"
