"""A folder on a local disk or behind any fsspec URL, with the few operations that the stages need.

Every failure of the storage itself is an ``OSError``, whatever the protocol's client raises, so that callers
tell a fault of the environment from a fault of the data by its type.
"""

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ncdb_dask.errors import StorageError

Location = str | os.PathLike[str]
# A name that is too long, or a link that leads to itself, names no folder either.
_NO_SUCH_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one folder.

    Attributes
    ----------
    sizes : Mapping[str, int]
        Name of every file to its size in bytes; -1 where the size was not asked for.
    links : frozenset of str
        The names that are symbolic links.
    folders : frozenset of str
        Names of the sub-folders.
    """

    sizes: Mapping[str, int]
    links: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()


class Folder(Protocol):
    """Names are relative to the folder, with forward slashes; an absolute name stands for itself."""

    @property
    def url(self) -> str:
        """The absolute path or URL."""

    def holds_something(self) -> bool:
        """Whether the folder is there and not empty; the mount point of a mount that went away is empty."""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the file's bytes; ``OSError(EFBIG)`` where a local file has more than `limit` of them."""

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        """Return the file's first `limit` bytes and its size."""

    def open(self, name: str) -> BinaryIO:
        """Open the file for reading at any place."""

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the file; a reader sees the old bytes or the new ones, never a part."""

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Create or replace files that belong together, the last one last; local ones all or none if writing fails."""

    def list(self, name: str = "", sizes: bool = False) -> Listing:
        """List a sub-folder once; one that does not exist is empty."""

    def remove(self, name: str) -> None:
        """Remove a file; one that does not exist is no error."""

    def real(self, name: str = "") -> str:
        """Return the location of `name` with all symbolic links resolved."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder on a mounted file system."""

    path: str

    @property
    def url(self) -> str:
        """The absolute path."""
        return self.path

    def holds_something(self) -> bool:
        """Whether the folder is there and not empty."""
        try:
            with os.scandir(self.path) as entries:
                return next(entries, None) is not None
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the file's bytes."""
        with open(os.path.join(self.path, name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise OSError(errno.EFBIG, f"file of {size} bytes; the limit is {limit}", name)
            return file.read()

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        """Return the file's first `limit` bytes and its size."""
        with open(os.path.join(self.path, name), "rb", buffering=0) as file:
            return file.read(limit), os.fstat(file.fileno()).st_size

    def open(self, name: str) -> BinaryIO:
        """Open the file for reading."""
        return open(os.path.join(self.path, name), "rb")

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the file in one step."""
        with self.writing(name) as file:
            file.write(data)

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Create or replace files that belong together: none takes its name before all are on the disk."""
        with ExitStack() as renames:
            for name, data in reversed(list(files.items())):  # what is entered first is left last
                file = renames.enter_context(self.writing(name))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Yield a file to write piece by piece, which takes its name when all is written."""
        with self._replacing(name) as temporary, open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def digest(self, name: str) -> tuple[int, str]:
        """Return size and SHA-256 of a file, of which only a piece at a time is in memory."""
        with open(os.path.join(self.path, name), "rb") as file:
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def link(self, name: str, target: str) -> None:
        """Create or replace a symbolic link in one step."""
        with self._replacing(name) as temporary:
            os.symlink(target, temporary)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[str]:
        """Yield a temporary path, which takes the place of `name` at the end."""
        target = os.path.join(self.path, name)
        parent, base = os.path.split(target)
        os.makedirs(parent, exist_ok=True)
        # Hidden, so that no Parquet reader takes a half-written file for a shard; unique, so that two attempts at
        # one shard never share it; in the same folder, because a rename across file systems is a copy.
        temporary = os.path.join(parent, f".{base}.{uuid.uuid4().hex}.tmp")
        try:
            yield temporary
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(parent)

    def list(self, name: str = "", sizes: bool = False) -> Listing:
        """List a sub-folder."""
        found: dict[str, int] = {}
        links, folders = [], []
        try:
            with os.scandir(os.path.join(self.path, name)) as entries:
                for entry in entries:
                    if _is_file(entry):
                        found[entry.name] = _size(entry) if sizes else -1
                        if entry.is_symlink():
                            links.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
        except OSError as error:
            if error.errno in _NO_SUCH_FOLDER:
                return Listing({})
            raise
        return Listing(found, frozenset(links), frozenset(folders))

    def remove(self, name: str) -> None:
        """Remove a file."""
        Path(self.path, name).unlink(missing_ok=True)

    def remove_abandoned(self, name: str = "") -> None:
        """Remove the temporary files of a sub-folder whose own file was written since: what died attempts left.

        A younger one may be another process's, at work now.
        """
        folder = Path(self.path, name)
        for temporary in map(_TEMPORARY.fullmatch, self.list(name).sizes):
            if temporary is None:
                continue
            try:
                written, begun = (folder.joinpath(each).lstat().st_mtime_ns for each in (temporary[1], temporary[0]))
            except FileNotFoundError:  # the file is not there yet, or the temporary one has just taken its place
                continue
            if begun <= written:
                folder.joinpath(temporary[0]).unlink(missing_ok=True)

    def real(self, name: str = "") -> str:
        """Return the location with links resolved."""
        return os.path.realpath(os.path.join(self.path, name))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Pass over folders and pipes (which would block a reader for ever), and links to them or to nothing."""
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # removed, or renamed into place, since the listing
        return -1


def is_temporary(name: str) -> bool:
    """Whether a file is what an interrupted `LocalFolder.write` left."""
    return _TEMPORARY.fullmatch(name) is not None


def _sync_folder(path: str) -> None:
    """Make a rename survive a power cut; file systems that cannot sync a folder do it by themselves."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def reported(folder: Folder, doing: str, hint: str = "") -> Iterator[None]:
    """Turn a failure of the storage into an error for the user: which folder, what failed, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = f": {error.filename}" if error.filename and str(error.filename) != folder.url else ""
        raise StorageError(f"{folder.url}: cannot {doing} ({reason}{where}){hint and f'; {hint}'}") from error


def file_at(place: Location, options: Mapping[str, Any] | None = None) -> tuple[Folder, str]:
    """Return the folder and the name of a file at a path or URL; see `open_folder`."""
    text = os.fspath(place)
    scheme, mark, rest = text.rpartition("://")
    parent, name = os.path.split(rest)
    return open_folder(f"{scheme}{mark}{parent}" or ".", options), name


def open_folder(location: Location, options: Mapping[str, Any] | None = None) -> Folder:
    """Return the folder at a path or URL; nothing is touched yet.

    Parameters
    ----------
    location : str or path
        A local path, ``file://`` URL or any URL that fsspec knows (``s3://bucket/prefix``).
    options : mapping, optional
        fsspec storage options. Settings of fsspec's own configuration (files, ``FSSPEC_*`` variables) are
        resolved here, once, so that workers need no environment of their own.
    """
    text = os.fspath(location)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" not in text:
        return LocalFolder(os.path.abspath(os.path.expanduser(text)))
    import fsspec

    from ncdb_dask.store.remote import RemoteFolder

    protocol = text.split("://", 1)[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        extra = "pip install 'ncdb-dask[s3]'" if protocol in ("s3", "s3a") else "install fsspec's package for it"
        raise StorageError(f"{text}: cannot open {protocol}:// locations here ({error}); {extra}") from error
    # s3fs asks for a file's size before it reads it, unless it may only have one request under way.
    defaults = {"max_concurrency": 1} if protocol in ("s3", "s3a") else {}
    url = text if text.endswith("://") else text.rstrip("/")
    return RemoteFolder(url, {**defaults, **fsspec.config.conf.get(protocol, {}), **(options or {})})
