"""The end of an export: the one file for all frames where the format has it, the lists, and the manifest last."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncdb_dask.errors import ExportError, PlanError
from ncdb_dask.exporting.faults import NAMED, faults
from ncdb_dask.exporting.formats import ARRAY, CONTAINER_FILES, FILES, PIXELS, TAR, TENSOR, npy_header
from ncdb_dask.exporting.job import input_spec
from ncdb_dask.exporting.lists import Exported, list_files
from ncdb_dask.exporting.manifest import MANIFEST_FILE, ExportManifest
from ncdb_dask.exporting.plan import PARTS, ExportPlan, part_file
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.exporting.tars import write_tar
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import publish
from ncdb_dask.store.shards import Receipt, read_shards, witnessed

Row = Mapping[str, Any]
# Of the rows of the run, what the manifest tells of a frame, and of one that was left out.
KEPT = ["dataset_root", "filename", "image", "file", "bytes", "sha256"]
LOST = ["dataset_root", "filename", "status", "detail"]
# So much is read again at the end, in a second or two; --verify reads all.
READ_AGAIN_BYTES = 2**30


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
        size = sum(file["bytes"] for file in about.every_file().values())
        lines = [f"Frames        {len(about.frames)} as {about.form['name']}, {size / 1e6:.1f} MB"]
        if about.shape is not None:
            lines.append(f"Each          {' x '.join(map(str, about.shape))}, {about.dtype}")
        if about.duplicates:
            lines.append(f"Repeated      {about.duplicates} entries of the set named a frame again and were left out")
        if about.left_out:
            lines.append(f"Left out      {faults(about.left_out)}")
        names = ", ".join([*about.files, MANIFEST_FILE])
        return "\n".join([*lines, f"Folder        {self.out}", f"Files         {names}"])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; the frames are in the manifest."""
        about = self.manifest
        return {
            "out": self.out,
            "frames": len(about.frames),
            "duplicates": about.duplicates,
            "left_out": about.left_out,
            "files": list(about.files),
        }


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
    lost = plan.run.plan.shards - len(witnessed(run, done))
    if lost:
        raise PlanError(f"{run.url}: {lost} shards are missing or cut; the same command does them again")
    table = pa.concat_tables(read_shards(run, done, check=True))
    ok = pc.equal(table["status"], "ok")
    sound: list[Row] = table.filter(ok).select(KEPT).to_pylist()
    faulty: list[Row] = table.filter(pc.invert(ok)).select(LOST).to_pylist()
    if faulty and not (request.skip_bad and sound):
        hint = "mend them" if request.skip_bad else "mend them, or leave them out with --skip-bad,"
        hint = hint if sound else f"is {request.root.url} their data set? Mend --root"
        raise ExportError(
            f"{len(faulty)} of {table.num_rows} frames cannot be exported: {faults(faulty)}; {hint} and run again"
        )
    if request.form.container == FILES:
        require_written(request.out, request.form.folder, sound)
        files = {}
    else:
        files = _write_common(request, sound, _frames(run, done, sound))
    lists = list_files(Exported(request.out.path, request.root.url, request.form, input_spec(request), sound))
    for name, data in lists.items():
        request.out.write(name, data)
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = _manifest(plan, sound, faulty, files)
    publish(run, plan.run.plan, done, {"frames": len(sound), "left_out": len(faulty)})
    for name in run.list(PARTS).sizes:
        run.remove(f"{PARTS}/{name}")
    request.out.write(MANIFEST_FILE, manifest.encoded())
    for folder in ("", request.form.folder):
        request.out.remove_abandoned(folder)  # a tool that takes the folder would read what killed attempts left
    return Export(request.out.url, manifest)


def require_written(out: LocalFolder, folder: str, frames: Sequence[Row]) -> None:
    """Check that the frames' files are what the tasks wrote: their sizes, and their bytes where these are not many.

    A late worker of an overtaken run could have written over one. What is another file is removed, so that the same
    command writes it again.

    Raises
    ------
    ExportError
        Names the files.
    """
    written = [frame for frame in frames if frame["file"]]
    held = out.list(folder, sizes=True).sizes
    wrong = [frame["file"] for frame in written if held.get(frame["file"]) != frame["bytes"]]
    if not wrong and sum(frame["bytes"] for frame in written) <= READ_AGAIN_BYTES:
        wrong = [frame["file"] for frame in written if out.digest(f"{folder}/{frame['file']}")[1] != frame["sha256"]]
    for name in wrong:
        out.remove(f"{folder}/{name}")
    if wrong:
        named = ", ".join(wrong[:NAMED]) + (", ..." if len(wrong) > NAMED else "")
        raise ExportError(
            f"{out.url}/{folder}: {len(wrong)} files are gone or were changed since they were written ({named}); "
            "the same command writes them again"
        )


def _frames(run: Folder, receipts: Sequence[Receipt], sound: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
    """Yield the bytes of each frame, in order, from the pieces that the shards wrote."""
    rows = iter(sound)
    for receipt in receipts:
        name = f"{PARTS}/{part_file(receipt.shard)}"
        with run.open(name) as file:
            for row in islice(rows, receipt.counts.get("ok", 0)):
                data = file.read(row["bytes"])
                if hashlib.sha256(data).hexdigest() != row["sha256"]:
                    run.remove(name)
                    raise ExportError(
                        f"{run.url}/{name} was changed since it was written; the same command does it again"
                    )
                yield row, data


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
            write_tar(file, ((row["file"], data) for row, data in frames))
    size, digest = request.out.digest(name)
    return {name: {"bytes": size, "sha256": digest}}


def _manifest(plan: ExportPlan, sound: list[Row], faulty: list[Row], files: dict[str, Row]) -> ExportManifest:
    request = plan.request
    spec = input_spec(request)
    shape, dtype = None, None
    if spec is not None and request.form.payload == TENSOR:
        shape, dtype = list(spec.shape), "float32"
    elif spec is not None and request.form.payload == PIXELS:
        shape, dtype = [spec.height, spec.width, 3], "uint8"
    name, digest = next(iter(plan.run.plan.inputs.items()))
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
        frames=sound,
        left_out=faulty,
        duplicates=plan.run.plan.duplicates,
        files=files,
    )
