"""Frames that could not be exported: in words, and whether they can be read now."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import read_listed, whole
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.exporting.request import ExportRequest

Frame = Mapping[str, Any]
# Frames that a message names.
NAMED = 3
CRASHED = "crashed"


def faults(frames: Sequence[Frame]) -> str:
    """Say how many frames have which fault, and name the first."""
    counts = Counter(frame["status"] for frame in frames)
    named = "; ".join(frame["detail"] for frame in frames[:NAMED])
    more = ", ..." if len(frames) > NAMED else ""
    return f"{', '.join(f'{count} {status}' for status, count in counts.items())} ({named}{more})"


def mended(request: ExportRequest, frames: Sequence[Frame]) -> list[bool]:
    """Say of each frame that was left out whether its picture can be read now."""
    tree = Tree(request.root, Roots.of(request.root, request.allowed), ())
    return [_readable(tree, frame) for frame in frames]


def _readable(tree: Tree, frame: Frame) -> bool:
    # What names no frame cannot be mended without another split; what killed a worker would kill this process.
    if frame["dataset_root"] is None or frame["filename"] is None or frame["status"] == CRASHED:
        return False
    try:
        path = tree.locate_image(frame["dataset_root"], frame["filename"])
        decode_rgb(read_listed("image", tree, path, whole))
    except DataFault:
        return False
    return True
