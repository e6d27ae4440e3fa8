"""A page of thumbnails: every chosen frame as RGB beside its depth, so that a person sees what was chosen."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.png import MAX_FILE_BYTES, decode_depth
from ncdb_dask.errors import DataFault, SampleError
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import BEYOND
from ncdb_dask.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "dataset_root",
    "filename",
    "image_path",
    "image_width",
    "image_height",
    "depth_path",
    "depth_scale",
    "mean_depth",
    "lighting",
)
THUMB = (168, 104)  # width and height in which a picture must fit
LABEL, HEADING, MARGIN, TITLE = 30, 30, 8, 58
COLUMN_COUNT = 5
CELL = 2 * THUMB[0] + 2 * MARGIN
# 1000 frames make a page of 1800 x 28,000 pixels, which viewers still open.
MOST_FRAMES = 1000
NO_DEPTH = (64, 64, 64)
INK, PAPER, FAINT = "#1f2937", "white", "#6b7280"

Pixels = npt.NDArray[np.uint8]
OnFrame = Callable[[int, int], None]


@dataclass(frozen=True)
class Group:
    """Frames under one heading, in rows that are as high as the tallest of their pictures.

    Attributes
    ----------
    heading : str
        For instance a depth range.
    rows : ndarray of intp
        The frames.
    top, picture : int
        Where the group begins on the page, and the height of its thumbnails, in pixels.
    """

    heading: str
    rows: npt.NDArray[np.intp]
    top: int
    picture: int

    @property
    def bottom(self) -> int:
        """Where the next group begins."""
        return self.top + HEADING + math.ceil(len(self.rows) / COLUMN_COUNT) * self.step

    @property
    def step(self) -> int:
        """From one row of frames to the next."""
        return self.picture + LABEL + MARGIN


def no_one(done: int, total: int) -> None:
    """Tell no one."""


def contact_sheet(table: ScanTable, chosen: CalibrationSet, on_frame: OnFrame = no_one) -> bytes:
    """Draw the page as a PNG.

    Parameters
    ----------
    table : ScanTable
        The scan, which knows where the frames' files are.
    chosen : CalibrationSet
        What is shown, by depth range; of more than `MOST_FRAMES` frames the first.
    on_frame : callable
        Told how many frames are drawn, and of how many.

    Raises
    ------
    SampleError
        A frame that vanished or was damaged since the scan.
    """
    frames = table.rows(chosen.rows[:MOST_FRAMES], COLUMNS)
    groups = _groups(frames, np.asarray(chosen.ranges[:MOST_FRAMES]), [*chosen.report.settings["names"], BEYOND])
    page = Image.new("RGB", (COLUMN_COUNT * CELL + MARGIN, groups[-1].bottom), PAPER)
    draw = ImageDraw.Draw(page)
    depths = frames["mean_depth"].to_numpy(dtype=float)
    span = (max(0.1, float(depths.min()) / 2), float(depths.max()) * 2)
    draw.text(
        (MARGIN, MARGIN), f"{chosen.report.split}: {len(frames)} of {chosen.report.size} frames", INK, font=_font(20)
    )
    _colour_bar(page, draw, span)
    done = 0
    for group in groups:
        draw.text((MARGIN, group.top + 6), f"{group.heading}: {len(group.rows)} frames", INK, font=_font(16))
        for number, row in enumerate(group.rows):
            across, down = number % COLUMN_COUNT, number // COLUMN_COUNT
            place = (MARGIN + across * CELL, group.top + HEADING + down * group.step)
            _frame(page, draw, frames.iloc[row], table.root, place, group.picture, span)
            done += 1
            on_frame(done, len(frames))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _groups(frames: "pd.DataFrame", ranges: npt.NDArray[np.str_], names: Sequence[str]) -> list[Group]:
    shape = frames["image_height"].to_numpy(dtype=float) / frames["image_width"].to_numpy(dtype=float)
    height = np.minimum(THUMB[1], np.ceil(THUMB[0] * shape))
    groups, top = [], TITLE
    for name in names:
        rows = np.flatnonzero(ranges == name)
        if len(rows):
            groups.append(Group(name, rows, top, int(height[rows].max())))
            top = groups[-1].bottom
    return groups


def _frame(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    frame: "pd.Series[Any]",
    root: Folder,
    place: tuple[int, int],
    height: int,
    span: tuple[float, float],
) -> None:
    picture = _read(root, frame["image_path"], decode_rgb)
    raw = _read(root, frame["depth_path"], lambda data: decode_depth(data, allow_8bit=True))
    picture.thumbnail(THUMB, Image.Resampling.BOX, reducing_gap=2.0)
    depth = depth_thumbnail(raw / frame["depth_scale"], picture.size)
    page.paste(picture, place)
    page.paste(Image.fromarray(coloured(depth, span)), (place[0] + picture.width + MARGIN // 2, place[1]))
    light = "" if not isinstance(frame["lighting"], str) else f"  {frame['lighting']}"
    lines = (f"{frame['filename']}  {frame['mean_depth']:.2f} m{light}", frame["dataset_root"])
    for number, (line, ink) in enumerate(zip(lines, (INK, FAINT), strict=True)):
        text = _shortened(draw, line, 2 * THUMB[0])
        draw.text((place[0], place[1] + height + 1 + 14 * number), text, ink, font=_font(11))


def _read(root: Folder, path: str, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(root.read(path, MAX_FILE_BYTES))
    except FileNotFoundError as error:
        raise SampleError(
            f"{path}: was there when it was scanned and is gone from {root.url}; scan again with --fresh"
        ) from error
    except OSError as error:
        raise SampleError(f"{path}: cannot be read from {root.url} ({error.strerror or error})") from error
    except DataFault as fault:
        raise SampleError(
            f"{path}: {fault.detail}; it was sound when it was scanned: scan again with --fresh"
        ) from fault


def depth_thumbnail(metres: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Reduce a depth map of shape (H, W) to (size[1], size[0]): the nearest valid pixel of each block, 0 where none is.

    The mean of a block would mix foreground and background, and lose the points of a sparse map among zeros.
    """
    rows = np.linspace(0, metres.shape[0], min(size[1], metres.shape[0]) + 1).astype(int)[:-1]
    columns = np.linspace(0, metres.shape[1], min(size[0], metres.shape[1]) + 1).astype(int)[:-1]
    valid = np.where(metres > 0, metres, np.inf)
    nearest = np.minimum.reduceat(np.minimum.reduceat(valid, rows, axis=0), columns, axis=1)
    small = Image.fromarray(np.where(np.isfinite(nearest), nearest, 0).astype(np.float32))
    return np.asarray(small.resize(size, Image.Resampling.NEAREST), dtype=np.float64)


def coloured(metres: npt.NDArray[np.float64], span: tuple[float, float]) -> Pixels:
    """Colour depth on a logarithmic scale, near bright and far dark; invalid pixels are grey. Shape (H, W, 3)."""
    from matplotlib import colormaps

    low, high = math.log(span[0]), math.log(span[1])
    scaled = (np.log(np.clip(metres, *span)) - low) / (high - low)
    colours = (255 * colormaps["magma"](1 - 0.9 * scaled)[..., :3]).astype(np.uint8)
    return np.where((metres > 0)[..., None], colours, np.uint8(NO_DEPTH[0]))


def _colour_bar(page: Image.Image, draw: ImageDraw.ImageDraw, span: tuple[float, float]) -> None:
    width = 320
    left = page.width - width - 60
    ramp = np.geomspace(*span, width)[None, :].repeat(14, axis=0)
    page.paste(Image.fromarray(coloured(ramp, span)), (left, 10))
    draw.rectangle((left - 110, 10, left - 92, 23), fill=NO_DEPTH)
    draw.text((left - 86, 17), "no depth", INK, font=_font(12), anchor="lm")
    for share in (0.0, 0.5, 1.0):
        depth = math.exp(math.log(span[0]) * (1 - share) + math.log(span[1]) * share)
        draw.text((left + share * width, 28), f"{depth:.1f} m", INK, font=_font(12), anchor="ma")


@lru_cache(maxsize=8)
def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from matplotlib import font_manager  # it brings a font that has more than Latin letters

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Cut a label from the front: scenes differ in the end of their path."""
    shown = text
    while len(shown) > 1 and draw.textlength(shown, font=_font(11)) > width:
        text = text[1:]
        shown = f"...{text}"
    return shown
