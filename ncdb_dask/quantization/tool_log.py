"""What all quantizers that run as a process share: where its log lies, how it ended, and what is told of that."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.files import digest
from ncdb_dask.quantization.base import Material
from ncdb_dask.quantization.command_run import Ended


def log_of(material: Material, own: Path | None = None) -> Path:
    """Return where the log goes, absolute: to a place of its own, beside the result, or into the current folder."""
    return (own or material.log or Path(f"{material.model.stem}.log")).absolute()


@contextmanager
def opened(log: Path) -> Iterator[BinaryIO]:
    """Open a log for a tool.

    Raises
    ------
    QuantizationError
        Where it cannot be written.
    """
    with ExitStack() as stack:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(log, "w+b", buffering=0))
        except OSError as error:
            raise QuantizationError(
                f"{log}: cannot be written ({error.strerror or error}); choose another place for the log of the tool"
            ) from error
        yield file


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a tool; one in Python writes its lines at once, for those who watch the log."""
    return {"PYTHONUNBUFFERED": "1", **os.environ, **given}


def require_success(label: str, ended: Ended, log: Path, longer: str) -> None:
    """Refuse a tool that failed.

    Parameters
    ----------
    label : str
        Name of the tool.
    ended : Ended
        How it ended.
    log : Path
        What it printed.
    longer : str
        What to do where it needs more time.

    Raises
    ------
    QuantizationError
        Says how it ended, its last lines, and where the log is.
    """
    if ended.timed_out:
        raise QuantizationError(
            f"{label} {ended.text()}{ended.last()}; its log is {log}; where it needs longer, {longer}"
        )
    if ended.code != 0:
        raise QuantizationError(
            f"{label} {ended.text()}{ended.last()}; its log is {log}, which begins with the command that was run"
        )


def run_report(ended: Ended, log: Path, out: Path) -> dict[str, Any]:
    """Return what a report tells of a run and of the file that it wrote, as JSON values."""
    return {
        "exit_code": ended.code,
        "seconds": round(ended.seconds, 3),
        "log": str(log),
        "last_lines": list(ended.lines),
        "bytes": out.stat().st_size,
        "sha256": digest(str(out), ()),
    }
