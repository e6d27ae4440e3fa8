"""What a caller may give as a place, or as several."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncdb_dask.errors import StorageError
from ncdb_dask.store.folder import Location, open_folder, reported
from ncdb_dask.store.plan import read_plan

__all__ = ["Location", "kind_of", "local", "several"]


def several(value: Any) -> list[Any]:
    """Return one or many places as a list."""
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)


def local(place: Location, what: str, expected: str = "file") -> Path:
    """Return the absolute path of what must lie on a mounted file system.

    Parameters
    ----------
    place : str or path
        A path, ``~`` included, or a ``file://`` URL.
    what : str
        Names it in the error, in the plural, such as ``quantized networks``.
    expected : str
        ``file`` or ``folder``.

    Raises
    ------
    StorageError
        For any other URL.
    """
    text = os.fspath(place).removeprefix("file://")
    if "://" in text:
        raise StorageError(f"{text}: {what} lie on a mounted file system; expected a local {expected}")
    return Path(os.path.abspath(os.path.expanduser(text)))


def kind_of(place: Location, storage_options: Mapping[str, Any] | None = None) -> str | None:
    """Return what kind of run a folder holds, such as ``scan``; None where it holds none."""
    folder = open_folder(place, storage_options)
    with reported(folder, "read"):
        plan = read_plan(folder)
    return None if plan is None else plan.kind
