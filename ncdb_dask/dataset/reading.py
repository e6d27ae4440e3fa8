"""Reading the files of a frame: what is the file's own fault becomes a `DataFault`, all else stays an ``OSError``."""

import errno
from collections.abc import Callable
from typing import TypeVar

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import MAX_FILE_BYTES
from ncdb_dask.errors import DataFault
from ncdb_dask.store.folder import Folder

# Errors of opening a file that say something about this file; all others are the storage's.
_THE_FILES_OWN_FAULT = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.EFBIG)

T = TypeVar("T")


def whole(root: Folder, path: str) -> bytes:
    """Read a file that has no more bytes than a frame can have."""
    return root.read(path, MAX_FILE_BYTES)


def read_listed(what: str, tree: Tree, path: str, read: Callable[[Folder, str], T]) -> T:
    """Read a file that was listed, with `whole` or another function.

    What lies there but is no readable file is a fault of the data.

    Raises
    ------
    DataFault
        ``missing_<what>`` or ``unreadable_<what>``.
    OSError
        A fault of the environment.
    """
    try:
        return read(tree.root, path)
    except FileNotFoundError as error:
        tree.require_root(path)
        raise DataFault(
            f"missing_{what}", f"{path}: is a link to nothing, or was removed since it was listed"
        ) from error
    except OSError as error:
        if error.errno not in _THE_FILES_OWN_FAULT:
            raise
        tree.require_root(path)
        raise DataFault(f"unreadable_{what}", f"{path}: cannot be opened ({error.strerror or error})") from error


def blaming(path: str, measure: Callable[[], T]) -> T:
    """Name the file in the faults of its content."""
    try:
        return measure()
    except DataFault as fault:
        raise DataFault(fault.status, f"{path}: {fault.detail}") from fault
