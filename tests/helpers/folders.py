"""Folders that count, fail, or live in memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from ncdb_dask.store.folder import Listing, LocalFolder


@dataclass(frozen=True)
class CountingFolder(LocalFolder):
    """Writes down every call that reads: ``(operation, name)``."""

    calls: list[tuple[str, str]] = field(default_factory=list, compare=False)

    def names(self, operation: str, suffix: str = "") -> list[str]:
        """The names that an operation was asked for, in order."""
        return [name for called, name in self.calls if called == operation and name.endswith(suffix)]

    def read(self, name: str, limit: int | None = None) -> bytes:
        self.calls.append(("read", name))
        return super().read(name, limit)

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        self.calls.append(("head", name))
        return super().head(name, limit)

    def list(self, name: str = "", sizes: bool = False) -> Listing:
        self.calls.append(("list", name))
        return super().list(name, sizes)


@dataclass(frozen=True)
class FailingFolder(LocalFolder):
    """Raises an error where a file is read whose name contains `part`."""

    part: str = ""
    error: Exception = field(default_factory=OSError, compare=False)

    def read(self, name: str, limit: int | None = None) -> bytes:
        if self.part in name:
            raise self.error
        return super().read(name, limit)

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        if self.part in name:
            raise self.error
        return super().head(name, limit)


@dataclass(frozen=True)
class InterruptedFolder(LocalFolder):
    """Fails at the n-th write, before a byte of it is on disk."""

    left: list[int] = field(default_factory=lambda: [0], compare=False)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise OSError(5, "Input/output error")
        with super().writing(name) as file:
            yield file


@dataclass(frozen=True)
class MemoryFolder:
    """The frames of a data set as bytes."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    url: str = "/memory"

    def holds_something(self) -> bool:
        return bool(self.files)

    def read(self, name: str, limit: int | None = None) -> bytes:
        return self.files[name]

    def head(self, name: str, limit: int) -> tuple[bytes, int]:
        return self.files[name][:limit], len(self.files[name])

    def list(self, name: str = "", sizes: bool = False) -> Listing:
        below = {path.rpartition("/")[2]: len(data) for path, data in self.files.items() if _parent(path) == name}
        return Listing(below)

    def real(self, name: str = "") -> str:
        return f"{self.url}/{name}".rstrip("/")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
