"""Verifying an export: every file against the manifest, and every frame against what the network takes."""

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.errors import DataFault, ExportError
from ncdb_dask.exporting.causes import likely_cause, pixel_cause
from ncdb_dask.exporting.formats import (
    CONTAINER_FILES,
    FILES,
    FORMATS,
    PIXELS,
    TAR,
    TENSOR,
    Format,
    decoded,
    npy_header,
)
from ncdb_dask.exporting.job import payload
from ncdb_dask.exporting.manifest import MANIFEST_FILE, ExportManifest
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import Folder, LocalFolder

# Names that a line of the text holds; as JSON, all are told.
NAMED = 2
FRAMES_A_TASK = 16
# Size of a tensor's file, as a part of its size in float32, to what it may have been written as.
_OTHER_KINDS = {0.25: "8-bit integers", 0.5: "float16", 2.0: "float64"}


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
class Verification:
    """What a verification found.

    Attributes
    ----------
    out : str
        The folder.
    files, frames : int
        How many were compared.
    differences : tuple of Difference
        Empty where all is well.
    """

    out: str
    files: int
    frames: int
    differences: tuple[Difference, ...]

    def text(self) -> str:
        """Return the findings as lines for people."""
        head = f"Verified      {self.files} files by their SHA-256, {self.frames} frames against the preprocessing"
        if not self.differences:
            return f"{head}; nothing differs"
        alike: dict[tuple[str, str], list[str]] = {}
        for each in self.differences:
            alike.setdefault((each.what, each.detail), []).append(each.name)
        lines = [
            f"  {len(names):>5} {what:<10} {detail} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
            for (what, detail), names in sorted(alike.items(), key=lambda group: -len(group[1]))
        ]
        return "\n".join([head, *lines])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class VerifyJob:
    """Compares frames with what the network takes; small and made of values, so that it travels to any worker.

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

    def __call__(self, frames: "Chunk") -> list[Difference]:
        """Compare some frames.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        """
        return [difference for k, frame in frames.frames if (difference := self._compare(k, frame)) is not None]

    def _compare(self, number: int, frame: Mapping[str, Any]) -> Difference | None:
        name = f"{frame['dataset_root']}/{frame['filename']}"
        try:
            original = self.root.read(frame["image"])
            expected = payload(original, self.form, self.spec)
        except FileNotFoundError:
            return Difference(name, "missing", f"its picture {frame['image']} is gone from {self.root.url}")
        except DataFault as fault:
            return Difference(name, "changed", f"its picture {frame['image']} {fault.detail}")
        try:
            found = self._exported(number, frame)
        except (FileNotFoundError, KeyError, tarfile.TarError):
            return None  # a file that is missing or damaged was named as such
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

    def _exported(self, number: int, frame: Mapping[str, Any]) -> bytes:
        if self.form.container == FILES:
            return self.out.read(f"{self.form.folder}/{frame['file']}")
        with self.out.open(CONTAINER_FILES[self.form.container]) as file:
            if self.form.container == TAR:
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    member = tar.extractfile(frame["file"])
                    return member.read() if member else b""
            file.seek(len(npy_header((self.count, *self.shape))) + number * frame["bytes"])
            return file.read(frame["bytes"])

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


def job_of(out: LocalFolder, manifest: ExportManifest, root: Folder, spec: ModelSpec | None) -> VerifyJob:
    """Return what compares the frames of an export with the data set, by the export's own model file or another.

    Raises
    ------
    NcdbError
        A data set that is gone, or a model file that the export has no use for.
    """
    settings = manifest.settings
    require_data_root(root)
    own = settings["model"]
    if spec is not None and own is None:
        raise ExportError(f"{out.url} was exported as {settings['format']}, which no model file describes")
    used = spec or (ModelSpec.from_dict(own) if own is not None else None)
    known = {"payload": settings["payload"], "container": settings["container"], "layout": settings["layout"]}
    form = replace(FORMATS[settings["format"]], **known)
    if form.payload == PIXELS:
        form = replace(form, suffix=".png")
    layout = settings["layout"]
    given = None if used is None else replace(used.input, layout=layout) if layout else used.input
    return VerifyJob(out, root, form, given, tuple(manifest.shape or ()), len(manifest.frames))


def compare_files(out: LocalFolder, manifest: ExportManifest) -> Iterator[Difference]:
    """Yield every file that is missing, was changed, or is not the export's."""
    for name, about in manifest.files.items():
        try:
            size, digest = out.digest(name)
        except FileNotFoundError:
            yield Difference(name, "missing", "the manifest names it")
            continue
        if digest != about["sha256"]:
            changed = f"has {size} bytes instead of {about['bytes']}" if size != about["bytes"] else "has other bytes"
            yield Difference(name, "changed", f"{changed} since it was exported")
    folders = {os.path.dirname(name) for name in manifest.files} | {""}
    for folder in sorted(folders):
        for name in sorted(out.list(folder).sizes):
            path = f"{folder}/{name}" if folder else name
            if path not in manifest.files and path != MANIFEST_FILE:
                yield Difference(path, "extra", "it is not of this export, but a tool that takes the folder reads it")


def verified(out: LocalFolder, manifest: ExportManifest, frames: Iterator[list[Difference]]) -> Verification:
    """Collect what files and frames differ."""
    found = [*compare_files(out, manifest), *(difference for some in frames for difference in some)]
    return Verification(out.url, len(manifest.files), len(manifest.frames), tuple(found))
