"""What a caller may give as a place."""

import os
from collections.abc import Mapping
from typing import Any

from ncdb_dask.store.folder import Folder, open_folder

Location = str | os.PathLike[str]


def several(value: Any) -> list[Any]:
    """Return one or many places as a list."""
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)


def file_at(place: Location, options: Mapping[str, Any] | None = None) -> tuple[Folder, str]:
    """Return the folder and the name of a file at a path or URL."""
    parent, name = os.path.split(os.fspath(place))
    return open_folder(parent or ".", options), name
