"""Which Python interpreter has a quantizer: it need not be this one, and is asked before anything is read."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization import tools

# What it runs: as a file, since this package need not be installed there.
SCRIPT = str(Path(tools.__file__).with_name("script.py"))
ASKING_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Found:
    """An interpreter that has a quantizer.

    Attributes
    ----------
    python : str
        Its path.
    version : str
        Of the quantizer.
    """

    python: str
    version: str


@dataclass(frozen=True)
class PythonTool:
    """A quantizer with a Python interface.

    Attributes
    ----------
    name : str
        Of the backend and of the extra.
    package : str
        What is installed for it.
    least : str
        The earliest version that will do.
    modules : tuple of str
        What must be importable beside it.
    """

    name: str
    package: str
    least: str
    modules: tuple[str, ...]

    def found(self, python: str | os.PathLike[str] | None) -> Found:
        """Ask an interpreter for the quantizer, which is not imported for that.

        Parameters
        ----------
        python : path, optional
            Left out, the interpreter of this process.

        Raises
        ------
        QuantizationError
            Where the interpreter, the quantizer or what it needs is not there, or is too old; says how to install it.
        """
        interpreter = sys.executable if python is None else _program(self, python)
        told = _asked(self, interpreter)
        version = told["version"]
        missing = told["missing"] if version else [self.package, *told["missing"]]
        if missing:
            raise QuantizationError(
                f"the backend {self.name} needs {', '.join(missing)}, not installed for {interpreter}; "
                f"{self._advice(python, interpreter)}"
            )
        if _numbers(version) < _numbers(self.least):
            raise QuantizationError(
                f"the backend {self.name} needs {self.package} {self.least} or later; {interpreter} has {version}; "
                f"{self._advice(python, interpreter)}"
            )
        return Found(interpreter, version)

    def _advice(self, python: object, interpreter: str) -> str:
        if python is None:
            extra = f"pip install 'ncdb-dask[{self.name}]'"
            return f"install it: {extra}, or name an interpreter that has it with python (--python)"
        wanted = " ".join([f"'{self.package}>={self.least}'", *self.modules])
        return f"install it there: {shlex.quote(interpreter)} -m pip install {wanted}"


def _program(tool: PythonTool, python: str | os.PathLike[str]) -> str:
    """Return the whole path of an interpreter; links are not followed, as a virtual environment's is one."""
    written = os.path.expanduser(os.fspath(python))
    path = shutil.which(written)
    if path is None:
        raise QuantizationError(
            f"python = {quoted(written)}: no such program; expected the interpreter of the environment that has "
            f"{tool.package}, such as ENV/bin/python"
        )
    return os.path.abspath(path)


def _asked(tool: PythonTool, interpreter: str) -> Mapping[str, Any]:
    command = [interpreter, SCRIPT, "--found", tool.package, *tool.modules]
    try:
        run = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASKING_TIMEOUT_S, check=False
        )
        if run.returncode:
            raise ValueError(f"exit code {run.returncode}: {run.stderr.decode(errors='replace').strip()[-200:]}")
        lines = run.stdout.splitlines()
        told: Mapping[str, Any] = json.loads(lines[-1] if lines else b"")
        return {"version": told["version"], "missing": list(told["missing"])}
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise QuantizationError(
            f"{interpreter}: does not answer as a Python interpreter does ({reason}); expected Python 3.10 or later "
            f"that has {tool.package}"
        ) from error


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version; of ``0.13rc1`` and ``0.13.post1`` those of 0.13."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
