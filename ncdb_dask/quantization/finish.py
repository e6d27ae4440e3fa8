"""The ends of a quantization: a folder for its work, and the files that it leaves, all of them or none."""

import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.errors import CalibrationError, QuantizationError
from ncdb_dask.model.session import NetworkReference, check
from ncdb_dask.quantization.base import Quantized
from ncdb_dask.quantization.plan import QuantizationPlan, model_file_path, picture_path, report_path, siblings
from ncdb_dask.quantization.result import report_of
from ncdb_dask.store.folder import LocalFolder

SUFFIX = ".work"
SHOWN = 3  # frames that a message names


def require_all(skipped: Sequence[CalibrationFrame], skip_bad: bool) -> None:
    """Refuse frames that cannot be read, unless they may be left out.

    Raises
    ------
    CalibrationError
        Names the first, and how many there are.
    """
    if skipped and not skip_bad:
        named = ("" if frame.stem is None else f"{frame}, " for frame in skipped)
        faults = [f"{name}{frame.status}: {frame.detail}" for name, frame in zip(named, skipped, strict=True)]
        shown = "; ".join([*faults[:SHOWN], *(["..."] if len(faults) > SHOWN else [])])
        raise CalibrationError(
            f"calibration frames that cannot be read: {len(skipped)} ({shown}); mend them, or leave them out with "
            "--skip-bad"
        )


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """Make a folder beside the result, which every worker sees, and remove it at the end.

    It names its process, so that what one that was killed has left there is removed by the next.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.{socket.gethostname()}-"
    for left in out.parent.glob(f"{glob.escape(prefix)}*{SUFFIX}"):
        if not _is_running(left.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", suffix=SUFFIX, dir=out.parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def written_at(path: Path) -> int | None:
    """Return when a file was last written, in nanoseconds of the file system's clock; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _is_running(process: str) -> bool:
    """Whether a process of this machine is there; what is no number is none of ours, and is left alone."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def write_split(frames: Sequence[CalibrationFrame], path: Path) -> Path:
    """Write frames as a split, and return its path."""
    items = [{"dataset_root": frame.dataset_root, "new_filename": frame.stem} for frame in frames]
    path.write_text(json.dumps(items))
    return path


def finish(
    plan: QuantizationPlan,
    made_at: Path,
    made: Quantized,
    frames: tuple[CalibrationFrame, ...],
    skipped: tuple[CalibrationFrame, ...],
) -> None:
    """Check what a quantizer has written, and put it, its model file and its report in their places.

    What an earlier quantization has left beside them, and this one does not write, is removed then.

    Raises
    ------
    QuantizationError
        Where it has written nothing, or its report cannot be written.
    SpecError
        Where the network does not run.
    OSError
        Where the storage fails; nothing is written then.
    """
    if not made_at.is_file() or not made_at.stat().st_size:
        raise QuantizationError(f"the backend {plan.backend} has written no network; expected a file")
    if made.onnx:
        check(NetworkReference.of(made_at, plan.reference.spec))
    data = made_at.read_bytes()
    report = report_of(plan, made, frames, skipped)
    report["output"] = {"path": str(plan.out), "sha256": hashlib.sha256(data).hexdigest()}
    files = {os.path.basename(report_path(plan.out)): _json(report, plan.backend)}
    if made.picture is not None:
        files[os.path.basename(picture_path(plan.out))] = made.picture
    if made.onnx:
        files[model_file_path(plan.out).name] = plan.reference.spec.as_toml().encode()
    folder = LocalFolder(str(plan.out.parent))
    # The network last: who waits for it finds the others.
    folder.write_all({**files, plan.out.name: data})
    for beside in siblings(plan.out):  # the plan has refused those of others
        if beside.name not in files:
            folder.remove(beside.name)


def _json(report: Mapping[str, Any], backend: str) -> bytes:
    try:
        return json.dumps(report, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise QuantizationError(f"the backend {backend} reports what JSON cannot hold ({error})") from error
