"""Comparing the frames of an export with what the network takes, byte by byte, on any number of workers."""

import errno
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.errors import DataFault, ExportError
from ncdb_dask.exporting.causes import likely_cause, pixel_cause
from ncdb_dask.exporting.formats import (
    ARRAY,
    CONTAINER_FILES,
    FILES,
    PIXELS,
    TAR,
    TENSOR,
    Format,
    decoded,
    has_batch_axis,
    npy_header,
)
from ncdb_dask.exporting.job import payload
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.exporting.tars import read_member, room
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import Folder, LocalFolder

FRAMES_A_TASK = 16
# Size of a tensor's file, as a part of its size in float32, to what it may have been written as.
_OTHER_KINDS = {0.25: "8-bit integers", 0.5: "float16", 2.0: "float64"}
# Errors of opening a file that speak of this file alone.
_LOST = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)

Frame = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be.

    Attributes
    ----------
    name : str
        A file, or the key of a frame.
    what : str
        ``missing``, ``unreadable``, ``changed``, ``extra``, ``moved`` or ``different`` (from what the network takes).
    detail : str
        A sentence.
    """

    name: str
    what: str
    detail: str


@dataclass(frozen=True)
class CompareJob:
    """What every comparison of one export shares; small and made of values, so that it travels to any worker.

    Attributes
    ----------
    out : LocalFolder
        The export.
    root : Folder
        The data set.
    form : Format
        Of the export.
    spec : InputSpec or None
        The network's input in the layout of the files.
    shape : tuple of int
        Of a frame in the export.
    """

    out: LocalFolder
    root: Folder
    form: Format
    spec: InputSpec | None
    shape: tuple[int, ...]

    def __call__(self, chunk: "Chunk") -> list[Difference]:
        """Compare some frames.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        """
        try:
            with self._reading() as exported:
                found = [self._compare(start, frame, exported) for start, frame in chunk.frames]
        except (OSError, tarfile.TarError) as error:
            if isinstance(error, OSError) and not lost(error):
                raise
            return []  # the one file of all frames is missing or damaged, and was named as such
        return [difference for difference in found if difference is not None]

    def _compare(self, start: int, frame: Frame, exported: Callable[[int, Frame], bytes]) -> Difference | None:
        name = f"{frame['dataset_root']}/{frame['filename']}"
        try:
            original = self.root.read(frame["image"])
            expected = payload(original, self.form, self.spec)
        except (DataFault, OSError) as error:
            return self._of_picture(name, frame["image"], error)
        if frame["file"] is None:
            return None
        try:
            found = exported(start, frame)
        except (OSError, KeyError) as error:
            if isinstance(error, OSError) and not lost(error):
                raise
            return None  # named as missing or unreadable
        if found == expected or self._same_content(found, expected):
            return None
        return Difference(name, "different", self._why(found, original, len(expected)))

    def _of_picture(self, name: str, image: str, error: DataFault | OSError) -> Difference:
        if isinstance(error, DataFault):
            return Difference(name, "changed", f"its picture {image} {error.detail}")
        if not lost(error):
            raise error
        if isinstance(error, FileNotFoundError):
            return Difference(name, "missing", f"its picture is gone from {self.root.url}")
        return Difference(name, "unreadable", f"its picture cannot be read ({error.strerror})")

    def _same_content(self, found: bytes, expected: bytes) -> bool:
        """Whether two PNGs or ``.npy`` files hold the same: other versions of zlib and NumPy write other bytes."""
        if self.form.payload not in (PIXELS, TENSOR):
            return False
        try:
            left, right = decoded(found, self.form, self.shape), decoded(expected, self.form, self.shape)
        except ValueError:
            return False
        return left.dtype == right.dtype and left.flags.c_contiguous and np.array_equal(left, right)

    @contextmanager
    def _reading(self) -> Iterator[Callable[[int, Frame], bytes]]:
        """Yield what reads the bytes of a frame, which begins at a place in the one file of all, if there is one."""
        if self.form.container == FILES:
            yield lambda start, frame: self.out.read(f"{self.form.folder}/{frame['file']}")
            return
        with self.out.open(CONTAINER_FILES[self.form.container]) as file:
            if self.form.container == ARRAY:
                yield lambda start, frame: _slice(file, start, frame["bytes"])
            else:
                yield lambda start, frame: read_member(file, start, frame["file"])

    def _why(self, found: bytes, original: bytes, expected: int) -> str:
        if self.spec is None or self.form.payload not in (PIXELS, TENSOR):
            return "is not the picture's file byte for byte"
        try:
            value = decoded(found, self.form, self.shape)
        except ValueError as error:
            kind = _OTHER_KINDS.get(len(found) / expected)
            return f"likely cause: written as {kind}" if kind else f"has {len(found)} bytes, not {expected} ({error})"
        if self.form.payload == PIXELS:
            cause = pixel_cause(value, original, self.spec)
        else:
            cause = likely_cause(value, original, self.spec, framed=has_batch_axis(self.form))
        if cause is not None:
            return f"likely cause: {cause}"
        return f"no usual mistake explains it ({value.dtype}, shape {' x '.join(map(str, value.shape))})"


def _slice(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def lost(error: OSError) -> bool:
    """Whether an error says that this one file is not there or cannot be read, and nothing of the storage."""
    return error.errno in _LOST


@dataclass(frozen=True)
class Chunk:
    """Some frames of an export: the number of the first, and where each begins in the one file of all."""

    first: int
    frames: Sequence[tuple[int, Frame]]

    def __str__(self) -> str:
        return f"frames {self.first} to {self.first + len(self.frames) - 1}"


def chunks(manifest: ExportManifest) -> Iterator[Chunk]:
    """Cut the frames into what one task compares."""
    placed = zip(_starts(manifest), manifest.frames, strict=True)
    for first in range(0, len(manifest.frames), FRAMES_A_TASK):
        yield Chunk(first, list(islice(placed, FRAMES_A_TASK)))


def _starts(manifest: ExportManifest) -> Iterator[int]:
    """Yield where each frame begins in the one file of all; 0 where it has a file of its own."""
    container = manifest.form["container"]
    start = len(npy_header((len(manifest.frames), *(manifest.shape or ())))) if container == ARRAY else 0
    for frame in manifest.frames:
        yield start
        if container == ARRAY:
            start += frame["bytes"]
        elif container == TAR:
            start += room(frame["file"], frame["bytes"])


def job_of(out: LocalFolder, manifest: ExportManifest, root: Folder, spec: ModelSpec | None) -> CompareJob:
    """Return what compares the frames of an export with the data set, by the export's own model file or another.

    Raises
    ------
    NcdbError
        A data set that is gone, or a model file that the export has no use for.
    """
    require_data_root(root)
    form = Format(**manifest.form)
    if spec is not None and manifest.model is None:
        raise ExportError(f"{out.url} was exported as {form.name}, which no model file describes")
    used = spec or (ModelSpec.from_dict(manifest.model) if manifest.model is not None else None)
    given = None if used is None else replace(used.input, layout=form.layout or used.input.layout)
    return CompareJob(out, root, form, given, tuple(manifest.shape or ()))
