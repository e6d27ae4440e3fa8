"""The task of an export: one shard of frames -> their files, and a row for each."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.exporting.faults import CRASHED
from ncdb_dask.exporting.formats import FILES, NOTHING, PIXELS, TENSOR, Format, encoded
from ncdb_dask.exporting.plan import PARTS, part_file, run_folder
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.model.preprocess import preprocess, resized
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.plan import Assignment, read_items
from ncdb_dask.store.shards import Receipt, commit, require_current

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
# Reading the plan costs a tenth of a millisecond, on a network file system one: nothing once a second, and a worker
# that was stopped for longer asks before it writes again.
CURRENT_SECONDS = 1.0


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
        if assignment.probe is not None:
            for position in range(*assignment.probe):
                self._made(items[position], position in assignment.crashed)
            return None
        rows = []
        with self._writing(place, assignment.shard) as write:
            for position, item in enumerate(items):
                row, data = self._made(item, position in assignment.crashed)
                if data is not None:
                    write(row, data)
                rows.append(row)
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        return commit(place, self.plan, assignment.shard, table, time.perf_counter() - started)

    @contextmanager
    def _writing(self, place: LocalFolder, shard: int) -> Iterator[Callable[[Row, bytes], object]]:
        """Yield what writes a frame: its file, or the next part of the shard's piece of the one file for all.

        An overtaken run must not write over the frames of the next one, whose names are the same.
        """
        current = _Current(place, self.plan)
        current.require()
        if self.form.container != FILES:
            with place.writing(f"{PARTS}/{part_file(shard)}") as file:
                yield lambda row, data: file.write(data)
                current.require()  # the piece takes its name now
            return

        def write(row: Row, data: bytes) -> None:
            current.require()
            self._write(row, data)

        yield write

    def _made(self, item: Row, crashed: bool) -> tuple[Row, bytes | None]:
        """Return the row of a frame and the bytes that it becomes, if any."""
        row: Row = {"dataset_root": item["dataset_root"], "filename": item["stem"], "status": "ok"}
        if crashed:
            return row | {"status": CRASHED, "detail": "decoding this frame killed its worker every time"}, None
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


@dataclass
class _Current:
    """Whether the run is still the folder's own, asked at most once in a while."""

    place: LocalFolder
    plan: str
    asked: float = -math.inf

    def require(self) -> None:
        if time.monotonic() - self.asked > CURRENT_SECONDS:
            require_current(self.place, self.plan)
            self.asked = time.monotonic()


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
