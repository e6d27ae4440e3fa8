"""Quark itself, where an interpreter has it."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.tools import interpreter_with

from ncdb_dask.quantization.quark import TOOL, QuarkQuantizer
from ncdb_dask.testing import check_quantizer
from ncdb_dask.testing.inputs import FRAMES, Inputs
from ncdb_dask.testing.likeness import require_alike
from ncdb_dask.testing.material import make_material


@pytest.fixture(scope="module")
def python() -> str:
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("Quark needs a C++ compiler")
    return interpreter_with(TOOL)


@pytest.fixture(autouse=True)
def _log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_quark_keeps_the_contract(python: str, tmp_path: Path) -> None:
    check_quantizer(lambda: QuarkQuantizer(python=python), tmp_path)


def test_quark_takes_its_other_options(python: str, tmp_path: Path) -> None:
    material = make_material(Inputs.write(tmp_path / "inputs", seed=3), tmp_path / "work")
    out = tmp_path / "int8.onnx"
    chosen = QuarkQuantizer("XINT8", cle=True, adaround=True, iterations=2, python=python)
    answer = chosen.quantize(material, out)
    require_alike(material, out)
    assert answer.report["frames"] == FRAMES
    assert answer.report["options"] == {"config": "XINT8", "cle": True, "adaround": True, "iterations": 2}
    assert "adaround iterations" in Path(answer.report["log"]).read_text()
