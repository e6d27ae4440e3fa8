"""Verifying an export: every file against the manifest, and every frame against what the network takes."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.exporting.compare import Difference
from ncdb_dask.exporting.manifest import MANIFEST_FILE, ExportManifest
from ncdb_dask.store.folder import LocalFolder

# Names that a line of the text holds; as JSON, all are told.
NAMED = 2


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
    against : str
        What the frames were compared with, in words.
    """

    out: str
    files: int
    frames: int
    differences: tuple[Difference, ...]
    against: str = "the preprocessing"

    def text(self) -> str:
        """Return the findings as lines for people."""
        head = f"Verified      {self.files} files by their SHA-256, {self.frames} frames against {self.against}"
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


def _moved(out: LocalFolder, manifest: ExportManifest) -> Iterator[Difference]:
    """Yield the lists whose paths lead to the folder where the export was before."""
    if manifest.folder == out.url:
        return
    held = out.list().sizes
    for name in (name for name in manifest.files if name.endswith((".txt", ".json")) and name in held):
        if manifest.folder.encode() in out.read(name):
            yield Difference(name, "moved", f"its paths lead to {manifest.folder}; export into this folder again")


def verified(out: LocalFolder, manifest: ExportManifest, frames: Iterable[list[Difference]]) -> Verification:
    """Collect what files and frames differ."""
    different = [difference for some in frames for difference in some]
    return Verification(
        out.url,
        len(manifest.files),
        len(manifest.frames),
        (*compare_files(out, manifest), *_moved(out, manifest), *different),
        against="the data set's pictures" if manifest.model is None else "the preprocessing",
    )
