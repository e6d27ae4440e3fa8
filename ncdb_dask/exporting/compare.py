"""Comparing the frames of an export with what the network takes, byte by byte, on any number of workers."""

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.errors import DataFault, ExportError
from ncdb_dask.exporting.causes import likely_cause, pixel_cause
from ncdb_dask.exporting.formats import ARRAY, CONTAINER_FILES, FILES, PIXELS, TENSOR, Format, decoded, npy_header
from ncdb_dask.exporting.job import payload
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import Folder, LocalFolder

FRAMES_A_TASK = 16
# Size of a tensor's file, as a part of its size in float32, to what it may have been written as.
_OTHER_KINDS = {0.25: "8-bit integers", 0.5: "float16", 2.0: "float64"}

Frame = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be.

    Attributes
    ----------
    name : str
        A file, or the key of a frame.
    what : str
        ``missing``, ``changed``, ``extra`` or ``different`` (from what the network takes).
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
    count : int
        Frames of the export.
    """

    out: LocalFolder
    root: Folder
    form: Format
    spec: InputSpec | None
    shape: tuple[int, ...]
    count: int

    def __call__(self, chunk: "Chunk") -> list[Difference]:
        """Compare some frames.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        """
        try:
            with self._reading() as exported:
                found = [self._compare(number, frame, exported) for number, frame in chunk.frames]
        except (FileNotFoundError, tarfile.TarError):
            return []  # the one file of all frames is missing or damaged, and was named as such
        return [difference for difference in found if difference is not None]

    def _compare(self, number: int, frame: Frame, exported: Callable[[int, Frame], bytes]) -> Difference | None:
        name = f"{frame['dataset_root']}/{frame['filename']}"
        try:
            original = self.root.read(frame["image"])
            expected = payload(original, self.form, self.spec)
        except FileNotFoundError:
            return Difference(name, "missing", f"its picture {frame['image']} is gone from {self.root.url}")
        except DataFault as fault:
            return Difference(name, "changed", f"its picture {frame['image']} {fault.detail}")
        if frame["file"] is None:
            return None
        try:
            found = exported(number, frame)
        except (FileNotFoundError, KeyError):
            return None  # named as missing
        if found == expected or self._same_pixels(found, expected):
            return None
        return Difference(name, "different", self._why(found, original, len(expected)))

    def _same_pixels(self, found: bytes, expected: bytes) -> bool:
        """Whether two PNGs show the same: another version of zlib writes other bytes."""
        if self.form.payload != PIXELS:
            return False
        try:
            return np.array_equal(decoded(found, self.form, self.shape), decoded(expected, self.form, self.shape))
        except ValueError:
            return False

    @contextmanager
    def _reading(self) -> Iterator[Callable[[int, Frame], bytes]]:
        """Yield what reads the bytes of a frame."""
        if self.form.container == FILES:
            yield lambda number, frame: self.out.read(f"{self.form.folder}/{frame['file']}")
            return
        with self.out.open(CONTAINER_FILES[self.form.container]) as file:
            if self.form.container == ARRAY:
                first = len(npy_header((self.count, *self.shape)))
                yield lambda number, frame: _slice(file, first + number * frame["bytes"], frame["bytes"])
                return
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield lambda number, frame: _member(tar, frame["file"])

    def _why(self, found: bytes, original: bytes, expected: int) -> str:
        if self.spec is None or self.form.payload not in (PIXELS, TENSOR):
            return "is not the picture's file byte for byte"
        try:
            value = decoded(found, self.form, self.shape)
        except ValueError as error:
            kind = _OTHER_KINDS.get(len(found) / expected)
            return f"likely cause: written as {kind}" if kind else f"has {len(found)} bytes, not {expected} ({error})"
        cause = (pixel_cause if self.form.payload == PIXELS else likely_cause)(value, original, self.spec)
        if cause is not None:
            return f"likely cause: {cause}"
        kind = f"{value.dtype}, shape {' x '.join(map(str, value.shape))}"
        return (
            f"no usual mistake explains it ({kind}, values from {float(value.min()):.4g} to {float(value.max()):.4g})"
        )


def _slice(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    return b"" if member is None else member.read()


@dataclass(frozen=True)
class Chunk:
    """Some frames of an export with their numbers."""

    frames: Sequence[tuple[int, Mapping[str, Any]]]

    def __str__(self) -> str:
        first, last = self.frames[0][0], self.frames[-1][0]
        return f"frames {first} to {last}"


def chunks(manifest: ExportManifest) -> Iterator[Chunk]:
    """Cut the frames into what one task compares."""
    numbered = list(enumerate(manifest.frames))
    starts = range(0, len(numbered), FRAMES_A_TASK)
    return (Chunk(numbered[start : start + FRAMES_A_TASK]) for start in starts)


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
    return CompareJob(out, root, form, given, tuple(manifest.shape or ()), len(manifest.frames))
