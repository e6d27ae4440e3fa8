"""Verifying an export: every file against the manifest, and every frame against what the network takes."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.exporting.compare import Difference, lost
from ncdb_dask.exporting.formats import Format
from ncdb_dask.exporting.lists import Exported, list_files
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.model.spec import InputSpec
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
    not_compared : str or None
        Why the frames were not compared: the data set is not there.
    """

    out: str
    files: int
    frames: int
    differences: tuple[Difference, ...]
    against: str = "the preprocessing"
    not_compared: str | None = None

    def text(self) -> str:
        """Return the findings as lines for people."""
        head = f"Verified      {self.files} files by their SHA-256"
        if self.not_compared is None:
            head = f"{head}, {self.frames} frames against {self.against}"
        if not self.differences:
            head = f"{head}; nothing differs"
        if self.not_compared is not None:
            head = f"{head}\nNot compared  the frames ({self.not_compared}); --root says where the data set is now"
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
    """Yield every file that is missing, unreadable or changed, or that is not the export's."""
    for name, about in manifest.every_file().items():
        try:
            size, digest = out.digest(name)
        except OSError as error:
            if not lost(error):
                raise
            gone = isinstance(error, FileNotFoundError)
            said = (
                ("missing", "the manifest names it") if gone else ("unreadable", f"cannot be read ({error.strerror})")
            )
            yield Difference(name, *said)
            continue
        if digest != about["sha256"]:
            changed = "has another size" if size != about["bytes"] else "has other bytes"
            yield Difference(name, "changed", f"{changed} since it was exported")
    yield from _extra(out, manifest)


def _extra(out: LocalFolder, manifest: ExportManifest) -> Iterator[Difference]:
    """Yield what lies among the frames and is none: tools take whole folders of frames, and pass over hidden files."""
    own = {frame["file"] for frame in manifest.frames_with_files()}
    folder = manifest.form["folder"]
    for name in sorted(out.list(folder).sizes) if own else ():
        if name not in own and not name.startswith("."):
            what = "it is not of this export, but a tool that takes the folder reads it"
            yield Difference(f"{folder}/{name}", "extra", what)


def _moved(out: LocalFolder, manifest: ExportManifest) -> Iterator[Difference]:
    """Yield the lists whose paths lead to the folder where the export was before."""
    if manifest.folder == out.url:
        return
    held = out.list().sizes
    for name in (name for name in manifest.files if name.endswith((".txt", ".json")) and name in held):
        try:
            leads_away = os.fsencode(manifest.folder) in out.read(name)
        except OSError as error:
            if not lost(error):
                raise
            continue  # named as unreadable
        if leads_away:
            yield Difference(name, "moved", f"its paths lead to {manifest.folder}; export into this folder again")


def _other_options(manifest: ExportManifest, spec: InputSpec | None) -> Iterator[Difference]:
    """Yield the small files that say something else than another model file would have them say."""
    if spec is None:
        return
    made = list_files(Exported(manifest.folder, manifest.root, Format(**manifest.form), spec, manifest.frames))
    for name, data in made.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[name]["sha256"]:
            yield Difference(name, "different", "says other things than the model file; export again with --fresh")


def verified(
    out: LocalFolder,
    manifest: ExportManifest,
    frames: Iterable[list[Difference]],
    spec: InputSpec | None = None,
    not_compared: str | None = None,
) -> Verification:
    """Collect what files and frames differ.

    Parameters
    ----------
    out, manifest : LocalFolder, ExportManifest
        The export.
    frames : iterable of list of Difference
        What differs from the data set.
    spec : InputSpec, optional
        Of another model file than that of the export, in the layout of the files.
    not_compared : str, optional
        Why there are none.
    """
    different = [difference for some in frames for difference in some]
    return Verification(
        out.url,
        len(manifest.every_file()),
        len(manifest.frames) if not_compared is None else 0,
        (*compare_files(out, manifest), *_moved(out, manifest), *_other_options(manifest, spec), *different),
        against="the data set's pictures" if manifest.model is None else "the preprocessing",
        not_compared=not_compared,
    )
