"""What a caller may give as a place, or as several."""

import os
from collections.abc import Mapping
from typing import Any

from ncdb_dask.store.folder import Location, open_folder, reported
from ncdb_dask.store.plan import read_plan

__all__ = ["Location", "kind_of", "several"]


def several(value: Any) -> list[Any]:
    """Return one or many places as a list."""
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)


def kind_of(place: Location, storage_options: Mapping[str, Any] | None = None) -> str | None:
    """Return what kind of run a folder holds, such as ``scan``; None where it holds none."""
    folder = open_folder(place, storage_options)
    with reported(folder, "read"):
        plan = read_plan(folder)
    return None if plan is None else plan.kind
