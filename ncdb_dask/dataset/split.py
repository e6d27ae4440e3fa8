"""Items of split files: which frames a data set names.

The identity of a frame is its key ``(dataset_root, stem)``, both strings for ever: stems repeat between recordings
and are zero-padded, so neither a stem alone nor a number identifies a frame.
"""

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from ncdb_dask.dataset.split_file import SplitFile, json_kind, plain
from ncdb_dask.errors import DataFault
from ncdb_dask.store.folder import Folder

IMAGE_FOLDER = "image_a6"
SHOWN = 200  # characters of a user's own text that a message repeats


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a split.

    Attributes
    ----------
    split : str
        Name of the split file.
    index : int
        Position in that file, from 0.
    dataset_root, stem : str or None
        The frame's key; None where the item does not give one.
    status, detail : str or None
        ``bad_entry`` or ``unsafe_path`` and a sentence, when the item cannot be looked up; else None.
    item : str or None
        The faulty item as JSON (shortened): its identity when a grown split is compared with an older one.
    """

    split: str
    index: int
    dataset_root: str | None
    stem: str | None
    status: str | None = None
    detail: str | None = None
    item: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The frame's key, or a stand-in that is as good for telling faulty items apart."""
        if self.status is None and self.dataset_root is not None and self.stem is not None:
            return (self.dataset_root, self.stem)
        return (f"\0{self.split}", self.item or "")


def entries(splits: Iterable[SplitFile], roots: "Roots") -> tuple[list[Entry], int]:
    """Turn the items of all splits into entries, in order, each key once.

    Returns
    -------
    entries : list of Entry
        Faulty items are among them, each with its status.
    duplicates : int
        How many items repeated a key and were left out.
    """
    kept: list[Entry] = []
    seen: set[tuple[str, str]] = set()
    duplicates = 0
    for entry in _all_entries(splits, roots):
        if entry.status is None and entry.key in seen:
            duplicates += 1
            continue
        seen.add(entry.key)
        kept.append(entry)
    return kept, duplicates


def _all_entries(splits: Iterable[SplitFile], roots: "Roots") -> Iterator[Entry]:
    for split in splits:
        for index, item in enumerate(split.items):
            try:
                dataset_root, stem = parse_item(item, roots)
            except DataFault as fault:
                detail = f"{split.name}: entry {index} {fault.detail}"
                yield Entry(split.name, index, None, None, fault.status, plain(detail), _shorten(item))
            else:
                yield Entry(split.name, index, dataset_root, stem)


def parse_item(item: object, roots: "Roots") -> tuple[str, str]:
    """Return the key ``(dataset_root, stem)`` of one item of a split.

    Raises
    ------
    DataFault
        With the status ``bad_entry`` or ``unsafe_path``.
    """
    if not isinstance(item, dict):
        raise DataFault("bad_entry", f"is a JSON {json_kind(item)}, not an object: {_shorten(item)}")
    if "new_filename" in item or "dataset_root" in item:
        base, stem = _text(item, "dataset_root"), _text(item, "new_filename")
    elif "image_path" in item:
        base, stem = _from_image_path(_text(item, "image_path"))
    else:
        keys = ", ".join(map(str, item)) or "none"
        raise DataFault("bad_entry", f"has neither 'new_filename' nor 'image_path' (keys: {plain(keys)[:SHOWN]})")
    if stem.startswith("/") or ".." in stem.split("/"):
        raise DataFault("unsafe_path", f"has a stem that leaves its folder: {stem[:SHOWN]!r}")
    if "/" in stem:
        raise DataFault("bad_entry", f"has folders in its stem {stem[:SHOWN]!r}; put them into 'dataset_root'")
    return _relative(roots, base), stem


# Neighbouring items share their scene: its name is normalised, and kept, once.
@lru_cache(maxsize=1024)
def _relative(roots: "Roots", dataset_root: str) -> str:
    return roots.relative(dataset_root)


def _text(item: Mapping[str, object], name: str) -> str:
    if name not in item:
        raise DataFault("bad_entry", f"has no {name!r} (keys: {plain(', '.join(item))[:SHOWN]})")
    value = item[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        hint = "a number has lost its leading zeros; write it as a string"
        raise DataFault("bad_entry", f"has the number {_shorten(value)} as {name!r}: {hint}")
    if not isinstance(value, str) or not value:
        found = "an empty string" if value == "" else f"a JSON {json_kind(value)}"
        raise DataFault("bad_entry", f"has {found} as {name!r}; expected a string that is not empty")
    if "\0" in value or plain(value) != value:
        raise DataFault("bad_entry", f"has characters in {name!r} that no file name can hold: {_shorten(value)}")
    return value


def _from_image_path(image_path: str) -> tuple[str, str]:
    path = PurePosixPath(image_path)  # as the loaders of the field read it: "./" and a last "/" do not count
    if path.parent.name != IMAGE_FOLDER:
        raise DataFault("bad_entry", f"has an 'image_path' outside an {IMAGE_FOLDER} folder: {image_path[:SHOWN]!r}")
    if "://" in image_path:  # pathlib would fold the double slash
        return posixpath.dirname(posixpath.dirname(image_path)), path.stem
    return str(path.parent.parent), path.stem


@dataclass(frozen=True)
class Roots:
    """Where frames may lie: the root of the data set and the folders that were allowed besides.

    Parameters
    ----------
    spellings : sequence of str
        The root as absolute path or URL, in every spelling that a split may use (as given, links resolved).
    allowed : sequence of str
        Absolute paths or URLs given by ``--allow-root``.
    """

    spellings: Sequence[str]
    allowed: Sequence[str] = ()

    @classmethod
    def of(cls, root: Folder, allowed: Iterable[Folder] = ()) -> "Roots":
        """Collect the spellings of opened folders."""
        extra = [spelling for folder in allowed for spelling in (folder.url, folder.real())]
        return cls(tuple(dict.fromkeys([root.url, root.real()])), tuple(dict.fromkeys(extra)))

    def relative(self, dataset_root: str) -> str:
        """Normalise a dataset_root: relative inside the root, absolute inside an allowed folder.

        Raises
        ------
        DataFault
            ``unsafe_path`` where it leaves them.
        """
        if not _is_absolute(dataset_root):
            path = posixpath.normpath(dataset_root)
            if path == ".." or path.startswith("../"):
                raise DataFault("unsafe_path", f"has a dataset_root that leaves the root: {dataset_root[:SHOWN]!r}")
            return path
        path = _normalise(dataset_root)
        for base in self.spellings:
            if inside(path, base):
                return posixpath.relpath(_local_part(path), _local_part(base))
        if any(inside(path, base) for base in self.allowed):
            return path
        where = f"{dataset_root[:SHOWN]!r} is not inside {self.spellings[0]!r}"
        raise DataFault("unsafe_path", f"has a dataset_root outside the root: {where}; allow it with --allow-root")

    def holds(self, real: str) -> bool:
        """Whether a location with all links resolved lies in the root or an allowed folder."""
        return any(inside(real, base) for base in (*self.spellings, *self.allowed))


def inside(path: str, base: str) -> bool:
    """Whether a normalised absolute path or URL is `base` or lies below it."""
    return path == base or path.startswith(base.rstrip("/") + "/")


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or "://" in path


def _local_part(path: str) -> str:
    return "/" + path.split("://", 1)[1] if "://" in path else path


def _normalise(path: str) -> str:
    scheme, mark, rest = path.partition("://")
    if mark:
        return f"{scheme}://{posixpath.normpath('/' + rest).lstrip('/')}"
    return "/" + posixpath.normpath(path).lstrip("/")


def _shorten(value: object) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # an integer beyond the interpreter's limit; a list nested too deeply
        text = f"a JSON {json_kind(value)}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
