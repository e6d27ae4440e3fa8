"""One entry of a split -> one row: a total function over whatever the entry names.

A fault of the data becomes the row's status. A fault of the environment (an I/O error, a mount that went away) is an
``OSError`` for the caller, who tries again: it says nothing about the frame.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import decode_depth
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.dataset.split import Entry
from ncdb_dask.errors import DataFault
from ncdb_dask.scanning.image import ImageHeader, image_stats, read_image_header
from ncdb_dask.scanning.schema import SCHEMA, scene_type
from ncdb_dask.scanning.stats import DepthStats, depth_stats

# Enough for the headers of a PNG and of most JPEGs; one with large embedded profiles is then read whole.
IMAGE_HEAD_BYTES = 2**16

Row = dict[str, Any]


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
        data = read_listed("image", tree, path, whole)
        size = len(data)
        header, stats = blaming(path, lambda: image_stats(data))
        measured = asdict(stats)
    else:
        data, size = read_listed("image", tree, path, lambda root, name: root.head(name, IMAGE_HEAD_BYTES))
        header, measured = _image_header(tree, path, data, size), {}
    about = {"image_mode": header.mode, "image_width": header.width, "image_height": header.height}
    return {**about, "image_bytes": size, **measured}


def _image_header(tree: Tree, path: str, head: bytes, size: int) -> ImageHeader:
    try:
        return blaming(path, lambda: read_image_header(head))
    except DataFault:
        if size <= len(head):
            raise
    data = read_listed("image", tree, path, whole)
    return blaming(path, lambda: read_image_header(data))


def _measure_depth(tree: Tree, path: str, options: FrameOptions) -> Row:
    data = read_listed("depth", tree, path, whole)
    raw = blaming(path, lambda: decode_depth(data, allow_8bit=options.allow_8bit))
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
