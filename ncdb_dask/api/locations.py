"""What a caller may give as a place, or as several."""

import os
from typing import Any

from ncdb_dask.store.folder import Location

__all__ = ["Location", "several"]


def several(value: Any) -> list[Any]:
    """Return one or many places as a list."""
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)
