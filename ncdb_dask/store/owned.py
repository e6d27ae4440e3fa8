"""Folders that belong to one kind of work, told by a file that it writes first."""

import os

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import LocalFolder, is_temporary


def require_own(out: LocalFolder, mark: str, work: str) -> None:
    """Refuse a folder that holds something else.

    Parameters
    ----------
    out : LocalFolder
        New, empty, or of this kind of work.
    mark : str
        The file that says so.
    work : str
        What errors call it, such as ``fine-tuning``.

    Raises
    ------
    PlanError
        Names what was found there.
    """
    if os.path.exists(out.path) and not os.path.isdir(out.path):
        raise PlanError(f"{out.url}: is a file; expected a folder, new or of an earlier {work}")
    held = out.list()
    foreign = [name for name in (*held.sizes, *held.folders) if not (name.startswith("_") or is_temporary(name))]
    if foreign and mark not in held.sizes:
        raise PlanError(f"{out.url}: holds {sorted(foreign)[0]}, which no {work} left; name a new folder")
