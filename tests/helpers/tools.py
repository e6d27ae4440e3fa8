"""Interpreters for quantizers that run in a process of their own: those that have a real one, and stand-ins.

- ``interpreter_with``: one that has a real quantizer, or the test is skipped
- ``Interpreter``: a program that runs this Python with packages of a test's own
"""

import os
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization.interpreter import PythonTool

ENVIRONMENTS = Path(__file__).parents[2] / ".venv"
# For those who keep a quantizer elsewhere.
VARIABLE = "NCDB_DASK_TOOL_PYTHON"


def interpreter_with(tool: PythonTool) -> str:
    """Return an interpreter that has a quantizer; `make test` installs both."""
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    places = [*named, sys.executable, *(str(ENVIRONMENTS / name / "bin" / "python") for name in ("test", "tools"))]
    for place in filter(None, places):
        try:
            return tool.found(place).python
        except QuantizationError:
            continue
    pytest.skip(f"no interpreter here has {tool.package} {tool.least}; {VARIABLE} may name one")


class Interpreter:
    """This Python, with a folder before all others in which packages can be put."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "packages"
        self.packages.mkdir(parents=True)
        self.path = folder / "python"
        arguments = f"PYTHONPATH={shlex.quote(str(self.packages))} exec {shlex.quote(sys.executable)}"
        self.path.write_text(f'#!/bin/sh\n{arguments} "$@"\n')
        self.path.chmod(0o755)

    def install(self, package: str, version: str, module: str, source: str = "") -> None:
        """Put a package there, so that its version can be asked for and its module be imported."""
        (self.packages / f"{module}.py").write_text(textwrap.dedent(source))
        about = self.packages / f"{package.replace('-', '_')}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
