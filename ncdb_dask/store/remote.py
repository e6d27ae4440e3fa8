"""A folder behind an fsspec URL."""

import errno
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast

from ncdb_dask.store.folder import Listing

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFolder:
    """A prefix of an object store, or any other fsspec file system.

    Writing is one PUT (or a completed multipart upload), which these stores make visible at once.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def _call(self, method: Callable[[Any, str], T], name: str) -> T:
        from fsspec.core import url_to_fs  # imported when a URL is used: it costs time that local folders save

        try:
            # A listing that is remembered would hide what other workers have written since.
            fs, path = url_to_fs(self._join(name), **{"use_listings_cache": False, **self.options})
            return method(fs, path)
        except PermissionError as error:
            # Expired credentials look like this for every object; on a local disk it is one file's own fault.
            raise OSError(errno.EIO, f"permission denied ({error})", self._join(name)) from error
        except OSError:
            raise
        except Exception as error:
            # Clients raise their own families (botocore, aiohttp); to us each is the storage failing.
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}", self._join(name)) from error

    def _join(self, name: str) -> str:
        return name if "://" in name else posixpath.join(self.url, name).rstrip("/")

    def holds_something(self) -> bool:
        """Whether something lies below the prefix."""
        return self._call(lambda fs, path: bool(fs.isdir(path)), "")

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the file's bytes; a listing told their number already, and to ask again would cost a request."""
        return self._call(lambda fs, path: bytes(fs.cat_file(path)), name)

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        """Return the file's first `limit` bytes and its size."""
        return self._call(lambda fs, path: (bytes(fs.cat_file(path, start=0, end=limit)), int(fs.size(path))), name)

    def open(self, name: str) -> BinaryIO:
        """Open the file for reading."""
        return self._call(lambda fs, path: cast(BinaryIO, fs.open(path, "rb")), name)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the file in one step."""
        self._call(lambda fs, path: fs.pipe_file(path, data), name)

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Create or replace files, one after another."""
        for name, data in files.items():
            self.write(name, data)

    def list(self, name: str = "", sizes: bool = False) -> Listing:
        """List a sub-folder."""
        try:
            entries = self._call(lambda fs, path: fs.ls(path, detail=True), name)
        except (FileNotFoundError, NotADirectoryError):
            return Listing({})
        files = [entry for entry in entries if entry["type"] == "file"]
        folders = {posixpath.basename(entry["name"].rstrip("/")) for entry in entries if entry["type"] == "directory"}
        sizes_found = {posixpath.basename(entry["name"]): int(entry.get("size") or 0) for entry in files}
        return Listing(sizes_found, folders=frozenset(folders))

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            self._call(lambda fs, path: fs.rm_file(path), name)
        except FileNotFoundError:
            return

    def real(self, name: str = "") -> str:
        """Return the location with links resolved."""
        return self._join(name)
