"""The pictures of an evaluation's worst frames, made small enough to travel in a page."""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from ncdb_dask.evaluation.plan import PANELS
from ncdb_dask.store.folder import Folder, reported

MOST = 3
WIDTH = 1200  # pixels: twice what a page shows
QUALITY = 85


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of a frame.

    Attributes
    ----------
    name : str
        Its file, without the suffix.
    jpeg : bytes
        At most `WIDTH` pixels wide.
    width, height : int
        Of the JPEG, in pixels.
    """

    name: str
    jpeg: bytes
    width: int
    height: int


def worst_panels(folder: Folder, most: int = MOST) -> list[Panel]:
    """Read the worst panels of an evaluation; none where it has none, or where they are no pictures."""
    with reported(folder, "read panels"):
        names = [name for name in folder.list(PANELS).sizes if name.startswith("worst-") and name.endswith(".png")]
        found = (_small(name, folder.read(f"{PANELS}/{name}")) for name in sorted(names, key=_rank)[:most])
        return [panel for panel in found if panel is not None]


def _rank(name: str) -> tuple[int, str]:
    rank = name.split("-", 2)[1]
    return (int(rank) if rank.isdecimal() else 10**9, name)


def _small(name: str, data: bytes) -> Panel | None:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            small = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    small.thumbnail((WIDTH, 4 * WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return Panel(name.removesuffix(".png"), buffer.getvalue(), *small.size)
