"""Any vendor's tool as a quantizer: the export that it wants is made, it is run, and what it wrote is checked."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ncdb_dask.errors import QuantizationError, SpecError
from ncdb_dask.model.graph import load_graph
from ncdb_dask.model.session import NetworkReference, check
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.command_run import Ended, run_tool
from ncdb_dask.quantization.command_template import EXPORTS, CommandTemplate, filled, read_template
from ncdb_dask.quantization.tool_log import environment, log_of, opened, require_success, run_report

VERSION_TIMEOUT_S = 60.0
# Of the files that a tool wrote, how many a message names.
NAMED = 10
# No ONNX file is larger: protobuf counts its bytes in 31 bits.
LARGEST_ONNX = 2**31


class CommandQuantizer:
    """Runs a tool that a template describes.

    Parameters
    ----------
    template : path
        The TOML file; docs/how_to/quantize_with_a_tool.md explains it.
    log : path, optional
        Gets what the tool prints, while it prints it; an earlier file of that name is replaced. Left out, it lies
        beside the result, or, where the material knows no place, in the current folder.

    Raises
    ------
    QuantizationError
        For a template that cannot be used, or a tool that is not there.
    """

    name = "command"

    def __init__(self, template: str | os.PathLike[str], log: str | os.PathLike[str] | None = None) -> None:
        self._template = read_template(template)
        self._log = None if log is None else Path(log).expanduser()

    def quantize(self, material: Material, out: Path) -> Quantized:
        """Run the tool; see `ncdb_dask.quantization.base.Quantizer.quantize`.

        ``onnx`` of the answer tells whether what it wrote is an ONNX network that ONNX Runtime runs in the place of the
        FP32 one.

        Raises
        ------
        QuantizationError
            Where the tool cannot be started, fails, takes too long, or does not write the file that it was told to.
        """
        template = self._template
        log = log_of(material, self._log)
        # Relative paths would lead elsewhere from the tool's folder. A new folder, so that no file of an earlier run is
        # taken for this one's.
        place = Path(tempfile.mkdtemp(prefix="command-", dir=material.work.absolute()))
        with opened(log) as file:
            version, notes = self._version(place)
            values = _values(template, material, place, out.suffix)
            command = [filled(argument, values) for argument in template.command]
            label = os.path.basename(command[0])
            material.progress(label, 0, 1)
            ended = run_tool(command, Path(values["work"]), self._environment(values), file, template.timeout)
            material.progress(label, 1, 1)
        require_success(label, ended, log, f"raise timeout = {template.timeout:g} (seconds) in {template.source}")
        _require_output(label, Path(values["output"]), ended, log)
        runs, doubts = _taken(Path(values["output"]), out, material.spec)
        report = {
            "template": os.path.abspath(template.source),
            "command": command,
            # Their values may be licence keys.
            "environment": sorted(template.environment),
            "version": version,
            **run_report(ended, log, out),
        }
        return Quantized(report, (*notes, *doubts), onnx=runs)

    def _environment(self, values: Mapping[str, str]) -> dict[str, str]:
        return environment({name: filled(text, values) for name, text in self._template.environment.items()})

    def _version(self, place: Path) -> tuple[str | None, tuple[str, ...]]:
        """Ask the tool for its version; one that does not tell it may quantize all the same."""
        template = self._template
        if not template.version:
            return None, ()
        command = [filled(argument, {"here": template.here}) for argument in template.version]
        with open(place / "version.txt", "w+b", buffering=0) as file:
            ended = run_tool(command, place, {**os.environ}, file, min(VERSION_TIMEOUT_S, template.timeout))
        if ended.code != 0:
            return None, (f"the tool did not tell its version: {' '.join(command)} {ended.text()}{ended.last()}",)
        return "\n".join(ended.lines), ()


def _values(template: CommandTemplate, material: Material, place: Path, suffix: str) -> dict[str, str]:
    """Return what stands for the placeholders, and make what those that are used stand for."""
    work = place / "tool"
    work.mkdir()
    values = {
        "model": os.path.abspath(material.model),
        "output": str(work / f"{material.model.stem}_int8{template.output or suffix}"),
        "split": _absolute(material.split),
        "root": _absolute(material.root),
        "work": str(work),
        "here": template.here,
        "spec": str(place / "model.toml"),
        "images": str(place / "images" / "images"),
        "image_list": str(place / "images" / "image_list.txt"),
        **{name: str(place / name) for name in EXPORTS},
    }
    used = template.placeholders
    if "spec" in used:
        Path(values["spec"]).write_text(material.spec.as_toml(), encoding="utf-8")
    for name in ("images", *EXPORTS):
        if name in used or (name == "images" and "image_list" in used):
            material.export(name, place / name)
    return values


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _require_output(label: str, output: Path, ended: Ended, log: Path) -> None:
    """Refuse the good word of a tool that wrote no file, or another one."""
    if output.is_file() and output.stat().st_size:
        return
    if output.is_file():
        found = f"the file {output.name} that it wrote is empty"
    elif output.is_dir():
        inside = _names(output)
        found = f"{output.name} is a folder ({inside or 'empty'}); expected one file, so pack it in a script of yours"
    elif output.is_symlink() or output.exists():
        found = f"{output.name} is no file"
    else:
        written = _names(output.parent)
        found = f"it wrote no {output.name}; its folder holds {written or 'nothing'}"
    raise QuantizationError(
        f"{label} ended with exit code 0, but {found}{ended.last()}; expected the network in {{output}}, whose suffix "
        f"is set by output in the template; its log is {log}"
    )


def _names(folder: Path) -> str:
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _taken(output: Path, out: Path, spec: ModelSpec) -> tuple[bool, tuple[str, ...]]:
    """Copy what the tool wrote, and return whether it runs as the network does, with what speaks against it.

    A copy: what the tool wrote may be a link to something of its own.
    """
    try:
        shutil.copyfile(output, out)
        return _runs(out, spec)
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _runs(out: Path, spec: ModelSpec) -> tuple[bool, tuple[str, ...]]:
    if out.stat().st_size >= LARGEST_ONNX:
        return False, ()
    try:
        load_graph(str(out))
    except SpecError:  # a vendor's own format
        return False, ()
    try:
        check(NetworkReference.of(out, spec))
    except SpecError as error:
        return False, (f"the tool wrote an ONNX file, which ONNX Runtime does not run as this network: {error}",)
    return True, ()
