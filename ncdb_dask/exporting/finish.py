"""The end of an export: the one file for all frames where the format has it, the lists, and the manifest last."""

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import pyarrow as pa

from ncdb_dask.errors import ExportError
from ncdb_dask.exporting.formats import ARRAY, CONTAINER_FILES, FILES, PIXELS, TAR, TENSOR, npy_header
from ncdb_dask.exporting.job import input_spec
from ncdb_dask.exporting.lists import Exported, list_files
from ncdb_dask.exporting.manifest import MANIFEST_FILE, ExportManifest
from ncdb_dask.exporting.plan import PARTS, ExportPlan, part_file
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.store.folder import Folder, is_temporary
from ncdb_dask.store.shards import Receipt, publish, read_shards

Row = dict[str, Any]
# Frames that a message names.
NAMED = 3
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Export:
    """A finished export.

    Attributes
    ----------
    out : str
        The folder.
    manifest : ExportManifest
        What is in it.
    """

    out: str
    manifest: ExportManifest

    def text(self) -> str:
        """Return what was written as lines for people."""
        about = self.manifest
        size = sum(file["bytes"] for file in about.files.values())
        lines = [f"Frames        {len(about.frames)} as {about.form['name']}, {size / 1e6:.1f} MB"]
        if about.shape is not None:
            lines.append(f"Each          {' x '.join(map(str, about.shape))}, {about.dtype}")
        if about.left_out:
            lines.append(f"Left out      {_faults(about.left_out)}")
        small = [name for name in about.files if "/" not in name]
        return "\n".join([*lines, f"Folder        {self.out}", f"Files         {', '.join([*small, MANIFEST_FILE])}"])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; the frames are in the manifest."""
        about = self.manifest
        files = [name for name in about.files if "/" not in name]
        return {"out": self.out, "frames": len(about.frames), "left_out": about.left_out, "files": files}


def finish(plan: ExportPlan, receipts: Iterable[Receipt]) -> Export:
    """Write what belongs to all frames together, and publish the export.

    Raises
    ------
    ExportError
        Where frames could not be exported and are not to be left out; what is done stays.
    PlanError
        Where shards are missing.
    """
    request, run = plan.request, plan.run.out
    done = sorted(receipts, key=lambda receipt: receipt.shard)
    rows: list[Row] = pa.concat_tables(read_shards(run, done, check=True)).to_pylist()
    faulty = [row for row in rows if row["status"] != "ok"]
    sound = [row for row in rows if row["status"] == "ok"]
    if faulty and not (request.skip_bad and sound):
        hint = "mend them" if request.skip_bad else "mend them, or leave them out with --skip-bad,"
        raise ExportError(
            f"{len(faulty)} of {len(rows)} frames cannot be exported: {_faults(faulty)}; {hint} and run again"
        )
    if request.form.container == FILES:
        files = {f"{request.form.folder}/{row['file']}": _about(row) for row in sound if row["file"]}
    else:
        files = _write_common(request, sound, _frames(run, done, rows))
    lists = list_files(Exported(request, input_spec(request), sound))
    for name, data in lists.items():
        request.out.write(name, data)
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = _manifest(plan, sound, faulty, files)
    publish(run, plan.run.plan, done, {"frames": len(sound), "left_out": len(faulty)})
    for name in run.list(PARTS).sizes:
        run.remove(f"{PARTS}/{name}")
    _remove_half_written(request)
    request.out.write(MANIFEST_FILE, manifest.encoded())
    return Export(request.out.url, manifest)


def _remove_half_written(request: ExportRequest) -> None:
    """Remove what attempts that were killed left: a tool that takes the folder would read it."""
    for folder in ("", request.form.folder):
        for name in request.out.list(folder).sizes:
            if is_temporary(name):
                request.out.remove(f"{folder}/{name}" if folder else name)


def _faults(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(row["status"] for row in rows)
    named = "; ".join(row["detail"] for row in rows[:NAMED])
    more = ", ..." if len(rows) > NAMED else ""
    return f"{', '.join(f'{count} {status}' for status, count in counts.items())} ({named}{more})"


def _about(row: Row) -> Row:
    return {"bytes": row["bytes"], "sha256": row["sha256"]}


def _frames(run: Folder, receipts: Sequence[Receipt], rows: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
    """Yield the bytes of each frame, in order, from the pieces that the shards wrote."""
    start = 0
    for receipt in receipts:
        with run.open(f"{PARTS}/{part_file(receipt.shard)}") as file:
            for row in rows[start : start + receipt.rows]:
                if row["status"] == "ok":
                    data = file.read(row["bytes"])
                    if hashlib.sha256(data).hexdigest() != row["sha256"]:
                        name = f"{run.url}/{PARTS}/{part_file(receipt.shard)}"
                        run.remove(f"{PARTS}/{part_file(receipt.shard)}")
                        raise ExportError(f"{name} was changed since it was written; the same command does it again")
                    yield row, data
        start += receipt.rows


def _write_common(request: ExportRequest, rows: Sequence[Row], frames: Iterator[tuple[Row, bytes]]) -> dict[str, Row]:
    """Write the array or the tar of all frames, a frame in memory at a time."""
    name = CONTAINER_FILES[request.form.container]
    spec = input_spec(request)
    with request.out.writing(name) as file:
        if request.form.container == ARRAY and spec is not None:
            file.write(npy_header((len(rows), *spec.shape)))
            for _, data in frames:
                file.write(data)
        elif request.form.container == TAR:
            _write_tar(file, frames)
    size, digest = request.out.digest(name)
    return {name: {"bytes": size, "sha256": digest}}


def _write_tar(file: IO[bytes], frames: Iterator[tuple[Row, bytes]]) -> None:
    """Write the frames at the root of a tar; nothing in it tells when or by whom, so equal sets give equal bytes."""
    # USTAR ends names at 100 bytes; for shorter ones the two forms are the same but for their magic number.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for row, data in frames:
            member = tarfile.TarInfo(row["file"])
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _manifest(plan: ExportPlan, sound: list[Row], faulty: list[Row], files: dict[str, Row]) -> ExportManifest:
    request = plan.request
    spec = input_spec(request)
    shape, dtype = None, None
    if spec is not None and request.form.payload == TENSOR:
        shape, dtype = list(spec.shape), "float32"
    elif spec is not None and request.form.payload == PIXELS:
        shape, dtype = [spec.height, spec.width, 3], "uint8"
    name, digest = next(iter(plan.run.plan.inputs.items()))
    kept = ("dataset_root", "filename", "image", "file", "bytes", "sha256")
    lost = ("dataset_root", "filename", "status", "detail")
    return ExportManifest(
        folder=request.out.url,
        root=request.root.url,
        form=asdict(request.form),
        model=request.model(),
        link=request.link,
        split=name,
        split_sha256=digest,
        shape=shape,
        dtype=dtype,
        frames=[{key: row[key] for key in kept} for row in sound],
        left_out=[{key: row[key] for key in lost} for row in faulty],
        files=files,
    )
