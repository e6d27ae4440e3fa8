"""One entry of a split -> one row: a total function over whatever the entry names.

A fault of the data becomes the row's status. A fault of the environment (an I/O error, a mount that went away) is an
``OSError`` for the caller, who tries again: it says nothing about the frame.
"""

import errno
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import MAX_FILE_BYTES, decode_depth
from ncdb_dask.dataset.split import Entry
from ncdb_dask.errors import DataFault
from ncdb_dask.scanning.image import ImageHeader, image_stats, read_image_header
from ncdb_dask.scanning.schema import SCHEMA, scene_type
from ncdb_dask.scanning.stats import DepthStats, depth_stats
from ncdb_dask.store.folder import Folder

# Enough for the headers of a PNG and of most JPEGs; one with large embedded profiles is then read whole.
IMAGE_HEAD_BYTES = 2**16
# Errors of opening a file that say something about this file; all others are the storage's.
_THE_FILES_OWN_FAULT = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.EFBIG)

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """What is measured of a frame.

    Attributes
    ----------
    depth_scale : float or None
        Raw units a metre, or None for the guide's rule frame by frame.
    allow_8bit : bool
        Whether 8-bit grey PNGs are depth.
    image_stats : bool
        Whether images are decoded, or only their headers read.
    """

    depth_scale: float | None = 256.0
    allow_8bit: bool = False
    image_stats: bool = True


def scan_frame(entry: Entry, tree: Tree, options: FrameOptions) -> Row:
    """Measure one frame.

    Parameters
    ----------
    entry : Entry
        Item of the split; a faulty one becomes a row as it is.
    tree : Tree
        Where its files are looked up and read.
    options : FrameOptions
        What is measured.

    Returns
    -------
    dict
        The columns of `SCHEMA`; None where the status is not ``ok``, but for key, paths, status and detail.

    Raises
    ------
    OSError
        A fault of the environment.
    """
    row = empty_row(entry)
    if entry.status is not None or entry.dataset_root is None or entry.stem is None:
        return row
    try:
        paths = tree.locate(entry.dataset_root, entry.stem)
        row |= {"image_path": paths.image, "depth_path": paths.depth, "depth_variant": paths.variant}
        image = _measure_image(tree, paths.image, options)
        depth = _measure_depth(tree, paths.depth, options)
    except DataFault as fault:
        return row | {"status": fault.status, "detail": fault.detail}
    return row | image | depth | {"status": "ok"}


def empty_row(entry: Entry, status: str | None = None, detail: str | None = None) -> Row:
    """Return a row that names the entry and what became of it, with null statistics."""
    row: Row = dict.fromkeys(SCHEMA.names)
    row |= {"dataset_root": entry.dataset_root, "filename": entry.stem, "split": entry.split, "entry": entry.index}
    return row | {"status": status or entry.status, "detail": detail or entry.detail}


def _measure_image(tree: Tree, path: str, options: FrameOptions) -> Row:
    if options.image_stats:
        data = _existing("image", tree, path, _whole)
        size = len(data)
        header, stats = _blaming(path, lambda: image_stats(data))
        measured = asdict(stats)
    else:
        data, size = _existing("image", tree, path, lambda root, name: root.head(name, IMAGE_HEAD_BYTES))
        header, measured = _image_header(tree, path, data, size), {}
    about = {"image_mode": header.mode, "image_width": header.width, "image_height": header.height}
    return {**about, "image_bytes": size, **measured}


def _image_header(tree: Tree, path: str, head: bytes, size: int) -> ImageHeader:
    try:
        return _blaming(path, lambda: read_image_header(head))
    except DataFault:
        if size <= len(head):
            raise
    whole = _existing("image", tree, path, _whole)
    return _blaming(path, lambda: read_image_header(whole))


def _measure_depth(tree: Tree, path: str, options: FrameOptions) -> Row:
    data = _existing("depth", tree, path, _whole)
    raw = _blaming(path, lambda: decode_depth(data, allow_8bit=options.allow_8bit))
    stats = depth_stats(raw, options.depth_scale)
    if stats is None:
        raise DataFault("no_valid_depth", f"{path}: all {raw.size} pixels are 0, that is invalid")
    return {"height": raw.shape[0], "width": raw.shape[1], "depth_bytes": len(data), **_depth_columns(stats)}


def _depth_columns(stats: DepthStats) -> Row:
    return {
        "mean_depth": stats.mean,
        "min_depth": stats.minimum,
        "max_depth": stats.maximum,
        "std_depth": stats.std,
        **stats.quantiles,
        "p50": stats.quantiles["median_depth"],
        "scene_type": scene_type(stats.mean),
        "valid_pixels": stats.valid,
        "total_pixels": stats.total,
        "valid_fraction": stats.valid / stats.total,
        "depth_scale": stats.scale,
        "scale_ambiguous": stats.ambiguous,
        "depth_hist": stats.histogram,
    }


def _blaming(path: str, measure: Callable[[], T]) -> T:
    """Name the file in the faults of its content."""
    try:
        return measure()
    except DataFault as fault:
        raise DataFault(fault.status, f"{path}: {fault.detail}") from fault


def _existing(what: str, tree: Tree, path: str, read: Callable[[Folder, str], T]) -> T:
    """Read a file that was listed; what lies there but is no readable file is a fault of the data."""
    try:
        return read(tree.root, path)
    except FileNotFoundError as error:
        tree.require_root(path)
        raise DataFault(f"missing_{what}", f"{path}: is a link to nothing, or was removed during the scan") from error
    except OSError as error:
        if error.errno not in _THE_FILES_OWN_FAULT:
            raise
        tree.require_root(path)
        raise DataFault(f"unreadable_{what}", f"{path}: cannot be opened ({error.strerror or error})") from error


def _whole(root: Folder, path: str) -> bytes:
    return root.read(path, MAX_FILE_BYTES)
