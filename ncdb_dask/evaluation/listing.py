"""The prediction files of a folder and all folders below it."""

import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from ncdb_dask.errors import EvaluationError
from ncdb_dask.store.folder import LocalFolder, reported

SUFFIXES = (".npy", ".npz", ".png")
SUFFIXES_WRITTEN = ", ".join(SUFFIXES)


@dataclass(frozen=True, slots=True)
class Listed:
    """One prediction file.

    Attributes
    ----------
    path : str
        Relative to the folder, with forward slashes.
    size : int
        Bytes; of the file itself where it is a link.
    modified : int
        Nanoseconds since 1970.
    """

    path: str
    size: int
    modified: int


def prediction_files(folder: LocalFolder, called: Collection[str] = ()) -> list[Listed]:
    """List every prediction file below a folder, sorted by path.

    Links to files count as files. A link to a folder is followed only where it has a name of `called`, because any
    other may lead to a whole disk; after all real folders, and each folder is read once, so links in a circle end.

    Parameters
    ----------
    folder : LocalFolder
        May itself have any name.
    called : collection of str
        Names of folders, and of files without their suffix, that a prediction may have. Others that begin with ``.``
        or ``_`` are left out.

    Raises
    ------
    EvaluationError
        Where there is no such folder, or it holds no prediction file.
    StorageError
        Where a folder or file cannot be read.
    """
    with reported(folder, "list the predictions"):
        if not folder.holds_something():
            raise EvaluationError(f"{folder.url}: no such folder, or an empty one; expected a folder of predictions")
        found = sorted(_walk(folder, called), key=attrgetter("path"))
    if not found:
        kept = "_predictions" in folder.list().folders
        hint = f"; an evaluation keeps its own in {folder.url}/_predictions" if kept else ""
        raise EvaluationError(f"{folder.url}: holds no prediction; expected files with suffix {SUFFIXES_WRITTEN}{hint}")
    return found


def digest(files: Iterable[Listed]) -> str:
    """Return a SHA-256 over sorted files, which changes when one is added, removed or replaced."""
    lines = (b"%s\0%d\0%d\n" % (os.fsencode(file.path), file.size, file.modified) for file in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _walk(folder: LocalFolder, called: Collection[str]) -> Iterator[Listed]:
    # The least link first, so that the order in which a file system lists them decides nothing.
    real, linked, seen = [""], set[str](), set[tuple[int, int]]()
    while real or linked:
        place = real.pop() if real else min(linked)
        linked.discard(place)
        inside = os.path.join(folder.path, place)
        about = os.stat(inside)
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        with os.scandir(inside) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if entry.name[0] in "._" and entry.name not in called and stem not in called:
                    continue
                found = _stat(entry)
                if found is None:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    if not entry.is_symlink():
                        real.append(f"{place}{entry.name}/")
                    elif entry.name in called:
                        linked.add(f"{place}{entry.name}/")
                elif stat.S_ISREG(found.st_mode) and suffix.lower() in SUFFIXES:
                    yield Listed(place + entry.name, found.st_size, found.st_mtime_ns)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what an entry is behind its links; None for a link to nothing or to itself."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
