"""Which file of a folder is the prediction for which frame: by its name, never by its place in a sorted list."""

import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from ncdb_dask.dataset.split_file import plain
from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.listing import SUFFIXES_WRITTEN, digest, prediction_files
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.exporting.names import file_names
from ncdb_dask.store.folder import LocalFolder

Key = tuple[str, str]
SHOWN = 3  # files or frames that a message names


@dataclass(frozen=True, slots=True)
class Matched:
    """What a folder of predictions holds for some frames.

    Attributes
    ----------
    files : tuple of (tuple of str, or None)
        For each key: the path in the folder, or one for each output; None where there is none, or one output lacks.
    extra : tuple of str
        Prediction files that no frame uses, sorted. The only one of two outputs of a frame is among them.
    digest : str
        SHA-256 over names, sizes and modification times of all prediction files, so that a run is not continued over
        files that were replaced.
    """

    files: tuple[tuple[str, ...] | None, ...]
    extra: tuple[str, ...]
    digest: str


def match(
    folder: LocalFolder, keys: Sequence[Key], outputs: Sequence[str] = (), manifest: ExportManifest | None = None
) -> Matched:
    """Find the prediction for each frame.

    A frame's prediction has, before its suffix, one of these names, the first that is there:

    1. the name under which an export handed the frame to the tool, where its manifest is given;
    2. ``<dataset_root>/<stem>``;
    3. ``scene__stem``, as `ncdb_dask.exporting.names.file_names` names the frames;
    4. ``<stem>``, where no other of the frames has that stem.

    Names 1 and 3 tell the whole key, so they count in sub-folders too where the folder itself does not have them.

    Parameters
    ----------
    folder : LocalFolder
        With files ``.npy``, ``.npz`` or ``.png``. Names that begin with ``.`` or ``_``, and links to folders, are
        left out, unless they are part of a frame's or an output's name.
    keys : sequence of (str, str)
        Different keys ``(dataset_root, stem)``.
    outputs : sequence of str
        Two names (integer and fraction) where each output has a sub-folder of its own, called like it.
    manifest : ExportManifest, optional
        Of the export that the tool got.

    Raises
    ------
    EvaluationError
        Where the folder is missing or holds no prediction, nothing fits, one file fits several frames, or several
        files fit one.
    StorageError
        Where the folder cannot be read.
    """
    names = _Names.of(keys, manifest)
    parts = [f"{name.strip('/')}/" for name in outputs] if len(outputs) > 1 else [""]
    found = prediction_files(folder, names.parts().union(*(part.split("/") for part in parts)))
    paths = [file.path for file in found]
    columns = [_Part(folder, part, paths).matched(keys, names) for part in parts]
    files = tuple(_complete(row) for row in zip(*columns, strict=True))
    if keys and not any(files):
        raise EvaluationError(f"{folder.url}: no frame has a file in each of {', '.join(parts)}; predict both outputs")
    used = {path for row in files if row for path in row}
    return Matched(files, tuple(plain(path) for path in paths if path not in used), digest(found))


def _complete(row: Sequence[str | None]) -> tuple[str, ...] | None:
    paths = tuple(path for path in row if path is not None)
    return paths if len(paths) == len(row) else None


@dataclass(frozen=True)
class _Names:
    """The names that the frames' predictions may have, each list parallel to the keys."""

    exported: Sequence[str | None]
    nested: Sequence[str]
    flat: Sequence[str]
    bare: Sequence[str]

    @classmethod
    def of(cls, keys: Sequence[Key], manifest: ExportManifest | None) -> "_Names":
        frames = manifest.frames if manifest else []
        handed = {(each["dataset_root"], each["filename"]): each["file"] for each in frames if each["file"]}
        return cls(
            [os.path.splitext(handed[key])[0] if key in handed else None for key in keys],
            [posixpath.normpath("/".join(key)).lstrip("/") for key in keys],
            file_names(keys),
            [stem for _, stem in keys],
        )

    @cached_property
    def _wanted(self) -> "Counter[str]":
        """How many frames would have each name but the exported ones."""
        return Counter(name for row in zip(self.nested, self.flat, self.bare, strict=True) for name in set(row))

    def levels(self) -> Iterator[tuple[Sequence[str | None], "Counter[str]", bool]]:
        """Yield names in the order of trust, how many frames would have each, and whether sub-folders count."""
        yield self.exported, Counter(name for name in self.exported if name), True
        yield self.nested, self._wanted, False
        yield self.flat, self._wanted, True
        yield self.bare, self._wanted, False

    def parts(self) -> set[str]:
        """Return the names of all folders and files, without suffix."""
        every = chain(self.exported, self.nested, self.flat, self.bare)
        return {part for name in every if name for part in name.split("/")}

    def of_frame(self, index: int) -> str:
        """Write the names that were looked for."""
        one = (self.exported[index], self.nested[index], self.flat[index], self.bare[index])
        return " or ".join(dict.fromkeys(repr(name) for name in one if name))


@dataclass
class _Part:
    """The files of one output.

    Parameters
    ----------
    folder : LocalFolder
        For errors.
    prefix : str
        Of the output's sub-folder, with a slash; empty for the folder itself.
    paths : sequence of str
        All prediction files of the folder.
    """

    folder: LocalFolder
    prefix: str
    paths: Sequence[str]
    _exact: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _below: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in self.paths:
            # No key holds what UTF-8 cannot encode, and no table could name the file.
            if path.startswith(self.prefix) and plain(path) == path:
                name = os.path.splitext(path.removeprefix(self.prefix))[0]
                self._exact[name].append(path)
                self._below[posixpath.basename(name)].append(path)

    def matched(self, keys: Sequence[Key], names: _Names) -> list[str | None]:
        """Return the file of each frame."""
        found: list[str | None] = [None] * len(keys)
        for level, wanted, anywhere in names.levels():
            for index, name in enumerate(level):
                if name is not None and found[index] is None:
                    found[index] = self._only(name, "/".join(keys[index]), anywhere)
                    if found[index] and wanted[name] > 1:
                        raise self._several(found[index], name, keys, names)
            self._taken.update(path for path in found if path)
        if keys and not any(found):
            raise self._nothing(len(keys), names)
        return found

    def _only(self, name: str, frame: str, anywhere: bool) -> str | None:
        """Return the one file of that name which no more trusted name has claimed."""
        fitting = self._free(self._exact, name) or (self._free(self._below, name) if anywhere else [])
        if len(fitting) > 1:
            raise EvaluationError(
                f"{self.folder.url}: {_some(fitting)} all fit the frame {frame}; keep one of them in the folder"
            )
        return fitting[0] if fitting else None

    def _free(self, index: dict[str, list[str]], name: str) -> list[str]:
        return [path for path in index.get(name, ()) if path not in self._taken]

    def _several(self, path: str | None, name: str, keys: Sequence[Key], names: _Names) -> EvaluationError:
        every = zip(names.exported, names.nested, names.flat, names.bare, strict=True)
        fitting = [index for index, row in enumerate(every) if name in row]
        frames = _some(["/".join(keys[index]) for index in fitting])
        clear = self.prefix + names.nested[fitting[0]] + os.path.splitext(path or "")[1]
        return EvaluationError(
            f"{self.folder.url}: {path} fits {len(fitting)} frames: {frames}; "
            f"name each prediction by its dataset_root and stem, such as {clear}"
        )

    def _nothing(self, frames: int, names: _Names) -> EvaluationError:
        where = f" below {self.prefix}" if self.prefix else ""
        return EvaluationError(
            f"{self.folder.url}: none of the {len(self.paths)} prediction files fits one of the {frames} frames: "
            f"found {_some(self.paths)}; looked for {names.of_frame(0)}{where} with suffix {SUFFIXES_WRITTEN}; "
            "give the folder in which the files have such names, or the manifest of the export that the tool got"
        )


def _some(names: Sequence[str]) -> str:
    """Write the first few of many names."""
    shown = ", ".join(map(plain, names[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
