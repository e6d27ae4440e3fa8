"""A quantization that can be carried out, as frozen data."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.frames import CalibrationFrames, FrameReader
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.quantization.base import Quantizer
from ncdb_dask.store.folder import Folder, LocalFolder

# A tool's log begins with the command, as `ncdb_dask.quantization.command_run` writes it.
PROMPT = b"$ "


@dataclass(frozen=True)
class QuantizationPlan:
    """What will be quantized, and with what; everything was checked that can be before frames are read.

    Attributes
    ----------
    reference : NetworkReference
        The FP32 network.
    model_spec : str or None
        Its model file, where it does not lie beside it.
    out : Path
        The file to write.
    backend : str
        Name of the quantizer.
    quantizer : Quantizer
        With its options.
    frames : CalibrationFrames
        Of the split.
    reader : FrameReader
        Reads them.
    allowed : sequence of Folder
        Further folders in which they may lie.
    statistics : LocalFolder
        Where activation statistics are kept.
    skip_bad : bool
        Whether frames that cannot be read are left out.
    storage_options : mapping
        For the data set.
    options : mapping
        Of the backend, as they were given.
    """

    reference: NetworkReference
    model_spec: str | None
    out: Path
    backend: str
    quantizer: Quantizer
    frames: CalibrationFrames
    reader: FrameReader
    allowed: Sequence[Folder]
    statistics: LocalFolder
    skip_bad: bool
    storage_options: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_free(self.out, Path(self.reference.path))

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in figures, as JSON values."""
        return {
            "model": self.reference.path,
            "out": str(self.out),
            "backend": self.backend,
            "options": self._described(),
            "frames": len(self.frames.frames),
            "duplicates": self.frames.duplicates,
            "splits": dict(self.frames.inputs),
            "root": self.reader.root.url,
            "statistics": self.statistics.url,
        }

    def text(self) -> str:
        """Return the plan as lines for people."""
        repeated = f", {self.frames.duplicates} repeated ones left out" if self.frames.duplicates else ""
        rows = {
            "Network": self.reference.path,
            "Into": self.out,
            "Backend": self.backend,
            **self._options(),
            "Frames": f"{len(self.frames.frames)} from {', '.join(self.frames.inputs)}{repeated}",
            "Data set": self.reader.root.url,
            "Statistics": self.statistics.url,
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())

    def _options(self) -> dict[str, str]:
        """Return the row of those that say something."""
        shown = {name: value for name, value in self._described().items() if value not in (None, [], "")}
        return {"Options": ", ".join(f"{name} = {json.dumps(value)}" for name, value in shown.items())} if shown else {}

    def _described(self) -> dict[str, Any]:
        """Return what the backend tells of itself, defaults included, or else what it was given, as JSON values."""
        backend: Any = self.quantizer
        found = backend.describe() if hasattr(backend, "describe") else self.options
        described: dict[str, Any] = json.loads(json.dumps(dict(found), default=str))
        return described


def require_free(out: Path, model: Path) -> None:
    """Refuse to write over what is not an earlier quantization's own.

    Raises
    ------
    QuantizationError
        Says what lies there.
    """
    beside, report, log = model_file_path(out), Path(report_path(out)), log_path(out)
    if out in (beside, report):
        raise QuantizationError(f"{out}: is where model file or report would lie; expected a name such as int8.onnx")
    if out.is_dir():
        raise QuantizationError(f"{out} is a folder; expected the file to write, such as {out / 'int8.onnx'}")
    if out.exists() and os.path.samefile(out, model):
        raise QuantizationError(f"{out} is the network itself; choose another file for the quantized one")
    held = [path for path in (out, *siblings(out), report) if path.exists()]
    if log.exists() and not _is_tools(log):
        held.append(log)
    if held and not _is_of(report, out):
        raise QuantizationError(f"{held[0]} is there, and is not of an earlier quantization; choose another file")


def _is_of(report: Path, out: Path) -> bool:
    """Whether a report is of an earlier quantization into the same file; ``a.bin`` and ``a.onnx`` share its name."""
    try:
        return bool(Path(json.loads(report.read_bytes())["output"]["path"]).name == out.name)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_tools(log: Path) -> bool:
    """Whether a tool's run began a log; one that failed leaves it for people to read, and no report."""
    try:
        with log.open("rb") as file:
            return file.read(len(PROMPT)) in (PROMPT, b"")
    except OSError:
        return False


def siblings(out: Path) -> tuple[Path, ...]:
    """Return the files beside a network and its report that not every quantization writes."""
    return model_file_path(out), Path(picture_path(out))


def model_file_path(out: Path) -> Path:
    """Return where its model file lies, if ONNX Runtime runs it."""
    return out.with_suffix(".toml")


def log_path(out: Path) -> Path:
    """Return where a tool's own messages go."""
    return out.with_name(f"{out.name}.log")


def report_path(out: str | os.PathLike[str]) -> str:
    """Return where the report of a quantized network lies."""
    path = Path(out)
    return str(path.with_name(f"{path.stem}.report.json"))


def picture_path(out: str | os.PathLike[str]) -> str:
    """Return where its picture lies, if there is one."""
    return str(Path(report_path(out)).with_suffix(".png"))
