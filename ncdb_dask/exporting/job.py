"""The task of an export: one shard of frames -> their files, and a row for each."""

import hashlib
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.exporting.formats import FILES, NOTHING, PIXELS, TENSOR, Format, encoded
from ncdb_dask.exporting.plan import PARTS, part_file, run_folder
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.model.preprocess import preprocess, resized
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.plan import Assignment, read_items
from ncdb_dask.store.shards import Receipt, commit

SCHEMA = pa.schema(
    [
        ("dataset_root", pa.string()),
        ("filename", pa.string()),
        ("image", pa.string()),
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("status", pa.string()),
        ("detail", pa.string()),
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportJob:
    """What every task of one export shares; small and made of values, so that it travels to any worker.

    Attributes
    ----------
    out : LocalFolder
        What is written.
    root : Folder
        The data set.
    roots : Roots
        Where frames may lie.
    plan : str
        Id of the plan.
    form : Format
        What is made of a frame.
    spec : InputSpec or None
        The network's input, in the layout of the format.
    link : bool
        Whether originals are linked to instead of copied.
    run : str
        Differs from run to run: listings of an earlier run must not serve a later one.
    """

    out: LocalFolder
    root: Folder
    roots: Roots
    plan: str
    form: Format
    spec: InputSpec | None
    link: bool
    run: str

    @classmethod
    def of(cls, request: ExportRequest, plan: str, run: str) -> "ExportJob":
        """Collect what the tasks of a request need."""
        roots = Roots.of(request.root, request.allowed)
        spec = input_spec(request)
        return cls(request.out, request.root, roots, plan, request.form, spec, request.link, run)

    def __call__(self, assignment: Assignment) -> Receipt | None:
        """Export a shard and commit it, or only try a part of it.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        PlanError
            Another run has taken over the output folder.
        """
        started = time.perf_counter()
        place = run_folder(self.out)
        items = read_items(place, assignment)
        start, stop = assignment.probe or (0, len(items))
        rows, part = [], bytearray()
        for position in range(start, stop):
            row, data = self._made(items[position], position in assignment.crashed)
            if assignment.probe is None and data is not None and self.form.container == FILES:
                self._write(row, data)
            elif assignment.probe is None and data is not None:
                part += data
            rows.append(row)
        if assignment.probe is not None:
            return None
        if self.form.container != FILES:
            place.write(f"{PARTS}/{part_file(assignment.shard)}", bytes(part))
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        return commit(place, self.plan, assignment.shard, table, time.perf_counter() - started)

    def _made(self, item: Row, crashed: bool) -> tuple[Row, bytes | None]:
        """Return the row of a frame and the bytes that it becomes, if any."""
        row: Row = {"dataset_root": item["dataset_root"], "filename": item["stem"], "status": "ok"}
        if crashed:
            return row | {"status": "crashed", "detail": "decoding this frame killed its worker every time"}, None
        if item["status"] is not None:
            return row | {"status": item["status"], "detail": item["detail"]}, None
        tree = _tree(self)
        try:
            path = tree.locate_image(item["dataset_root"], item["stem"])
            original = read_listed("image", tree, path, whole)
            data = blaming(path, lambda: payload(original, self.form, self.spec))
        except DataFault as fault:
            return row | {"status": fault.status, "detail": fault.detail}, None
        row["image"] = path
        if self.form.payload == NOTHING:
            return row, None
        suffix = self.form.suffix or path[path.rindex(".") :]
        about = {"file": item["name"] + suffix, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return row | about, data

    def _write(self, row: Row, data: bytes) -> None:
        name = f"{self.form.folder}/{row['file']}"
        if self.link:
            self.out.link(name, self.root.real(row["image"]))
        else:
            self.out.write(name, data)


def payload(original: bytes, form: Format, spec: InputSpec | None) -> bytes:
    """Turn the file of a picture into what the format wants of it.

    Raises
    ------
    DataFault
        Where the picture does not decode; also where only its file is handed on.
    """
    if spec is not None and form.payload == PIXELS:
        return encoded(resized(original, spec), form)
    if spec is not None and form.payload == TENSOR:
        return encoded(preprocess(original, spec), form)
    decode_rgb(original)
    return original


def input_spec(request: ExportRequest) -> InputSpec | None:
    """Return the network's input in the layout of the request's format."""
    if request.spec is None:
        return None
    return replace(request.spec.input, layout=request.form.layout or request.spec.input.layout)


@lru_cache(maxsize=1)
def _tree(job: ExportJob) -> Tree:
    """One tree a process, so that its listings serve all shards of a run."""
    return Tree(job.root, job.roots, ())
