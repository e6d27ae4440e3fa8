"""Running a quantizer with a Python interface in a process of its own: its versions of packages need not be ours.

The frames are handed over as exported tensors and read one at a time.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncdb_dask.errors import QuantizationError
from ncdb_dask.exporting.formats import FORMATS
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.command_run import Ended, run_tool
from ncdb_dask.quantization.command_template import DEFAULT_TIMEOUT_S
from ncdb_dask.quantization.interpreter import SCRIPT, Found, PythonTool
from ncdb_dask.quantization.tool_log import environment, log_of, opened, require_success, run_report

EXPORT = "npy"
WORK, MADE, TOLD = "tool", "quantized.onnx", "told.json"
ERROR_LENGTH = 500  # of another program's message, what ours repeats


def quantize_in_process(
    tool: PythonTool, found: Found, options: Mapping[str, Any], material: Material, out: Path
) -> Quantized:
    """Quantize a network; see `ncdb_dask.quantization.base.Quantizer.quantize`.

    Parameters
    ----------
    tool, found : PythonTool, Found
        The quantizer, and the interpreter that has it.
    options : mapping
        What it is told, as JSON values.
    material, out : Material, Path
        What to quantize, and the file to write.

    Raises
    ------
    QuantizationError
        Where the quantizer fails; says how, and where its log is.
    """
    log = log_of(material)
    place = Path(tempfile.mkdtemp(prefix=f"{tool.name}-", dir=material.work.absolute()))
    work = place / WORK
    work.mkdir()
    material.export(EXPORT, place / EXPORT)
    command = [found.python, SCRIPT, str(_job(tool, options, material, place))]
    with opened(log) as file:
        material.progress(tool.name, 0, 1)
        # Its temporary files go where ours do, and are removed with them, whatever happens.
        ended = run_tool(command, work, environment({"TMPDIR": str(work)}), file, DEFAULT_TIMEOUT_S)
        material.progress(tool.name, 1, 1)
    told = _told(work)
    if "error" in told:
        raise QuantizationError(f"{tool.package} {found.version} stopped ({told['error']}); its log is {log}")
    require_success(tool.name, ended, log, "quantize with fewer frames or iterations")
    _take(tool, work, out, ended, log)
    if not told:
        raise QuantizationError(f"{tool.package} {found.version} ended without an answer; its log is {log}")
    report = {
        "package": tool.package,
        "version": found.version,
        "options": {**options, **told["options"]},
        "frames": told["frames"],
        "python": {"path": found.python, "version": told["python"]},
        "packages": told["packages"],
        "command": command,
        **run_report(ended, log, out),
    }
    return Quantized(report, _notes(tool, told["frames"], len(material.frames)), summary=_summary(report))


def _job(tool: PythonTool, options: Mapping[str, Any], material: Material, place: Path) -> Path:
    job = {
        "tool": tool.name,
        "model": os.path.abspath(material.model),
        "input": material.spec.input.name,
        "export": str(place / EXPORT),
        "folder": FORMATS[EXPORT].folder,
        "options": dict(options),
        "packages": [tool.package, *tool.modules],
        "output": str(place / WORK / MADE),
        "told": str(place / WORK / TOLD),
    }
    path = place / "job.json"
    path.write_text(json.dumps(job))
    return path


def _told(work: Path) -> Mapping[str, Any]:
    """Return what the process told of its work, or of the error that ended it; nothing, where it was ended before."""
    try:
        told: dict[str, Any] = json.loads((work / TOLD).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    if "error" in told:
        told["error"] = " ".join(told["error"].split())[:ERROR_LENGTH]
    return told


def _take(tool: PythonTool, work: Path, out: Path, ended: Ended, log: Path) -> None:
    """Copy what was made."""
    try:
        shutil.copyfile(work / MADE, out)
    except FileNotFoundError as error:
        raise QuantizationError(
            f"{tool.name} ended with exit code 0, but wrote no network{ended.last()}; its log is {log}"
        ) from error
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _notes(tool: PythonTool, looked_at: int, wanted: int) -> tuple[str, ...]:
    return (f"{tool.name} has looked at {looked_at} of {wanted} frames",) if looked_at < wanted else ()


def _summary(report: Mapping[str, Any]) -> dict[str, str]:
    """Return lines for people."""
    shown = (f"{name} {_shown(value)}" for name, value in report["options"].items() if value is not None)
    return {"Tool": f"{report['package']} {report['version']}", "Options": ", ".join(shown)}


def _shown(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
