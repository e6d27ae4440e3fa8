"""What a quantization leaves: the network, its model file, and a report of everything that was done."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization.base import Quantized
from ncdb_dask.quantization.plan import QuantizationPlan, picture_path, report_path

FORMAT = 1
PACKAGES = ("ncdb-dask", "numpy", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Quantization:
    """A finished quantization.

    Attributes
    ----------
    out : str
        Path of the quantized network.
    report : mapping
        JSON values; docs/reference/quantize_report.md explains them.
    """

    out: str
    report: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<quantization of {self.report['model']['path']} into {self.out}>"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        return tuple(self.report["notes"])

    def as_dict(self) -> dict[str, Any]:
        """Return paths and report as JSON values."""
        return {"out": self.out, "report": dict(self.report)}

    def text(self) -> str:
        """Return the result as lines for people."""
        lines = [line for name, value in self._rows() for line in _written(name, value)]
        return "\n".join([*lines, *(line for note in self.notes for line in _written("Note", note))])

    def _rows(self) -> Iterator[tuple[str, str]]:
        report = self.report
        yield "Backend", report["backend"]
        yield (
            "Frames",
            f"{len(report['frames'])}" + (f", {len(report['skipped'])} left out" if report["skipped"] else ""),
        )
        yield from report["summary"].items()
        yield "Network", self.out
        yield "Report", report_path(self.out)
        if os.path.exists(picture_path(self.out)):
            yield "Picture", picture_path(self.out)


def _written(name: str, value: str) -> Iterator[str]:
    """Write a value behind its name, its further lines below it."""
    for number, line in enumerate(str(value).splitlines()):
        yield f"{'' if number else name:<14}{line}"


def report_of(
    plan: QuantizationPlan,
    made: Quantized,
    frames: tuple[CalibrationFrame, ...],
    skipped: tuple[CalibrationFrame, ...],
) -> dict[str, Any]:
    """Collect what is told of a quantization, but for the network that it made."""
    return {
        "format": FORMAT,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "backend": plan.backend,
        "versions": {name: version(name) for name in PACKAGES},
        "model": {"path": plan.reference.path, "sha256": plan.reference.sha256},
        "spec": plan.reference.spec.as_dict(),
        "root": plan.reader.root.url,
        "splits": dict(plan.frames.inputs),
        "frames": [list(frame.key) for frame in frames],
        "skipped": [asdict(frame) for frame in skipped],
        "notes": list(made.notes),
        "summary": dict(made.summary),
        "quantizer": dict(made.report),
    }


def read_quantization(out: str | os.PathLike[str]) -> Quantization:
    """Read the report of a quantized network.

    Raises
    ------
    QuantizationError
        Where there is none, or it is damaged.
    OSError
        Where the storage fails.
    """
    path = report_path(out)
    try:
        report = json.loads(Path(path).read_bytes())
        if report["format"] != FORMAT:
            raise ValueError(f"format {report['format']}, expected {FORMAT}")
    except FileNotFoundError as error:
        raise QuantizationError(f"{path}: no such file; expected the report that quantize leaves beside it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise QuantizationError(f"{path}: is no report of this version of ncdb_dask ({error})") from error
    return Quantization(str(out), report)
