"""The page of a frame's picture: where its maps, scales and texts stand, to the pixel."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ncdb_dask.drawing import plain
from ncdb_dask.evaluation.pictures.maps import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

# Pixels: what a map covers (640 x 480, or another shape of that area), and how wide, high or small it may be.
AREA, WIDEST, HIGHEST, LEAST = 640 * 480, 800, 640, 48
TITLE, HEADING, MARGIN, BAR, BAR_TEXT = 52, 54, 16, 18, 62
# Four maps stand two by two, unless they are wider, or narrower, than these ratios of width to height.
WIDE, NARROW = 4.5, 0.6
MAPS = ("rgb", "truth", "prediction", "error")
INK, FAINT, LINE = "#1f2937", "#4b5563", "#39ff88"
DPI = 100
MOST_TICKS = 9

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is on the page, in pixels from its upper left corner.

    Attributes
    ----------
    size : tuple of int
        Width and height of the page.
    maps : mapping of str to box
        Left, top, width and height of each of `MAPS`.
    depth_bar, error_bar : box
        Of the two scales.
    """

    size: tuple[int, int]
    maps: Mapping[str, Box]
    depth_bar: Box
    error_bar: Box

    @classmethod
    def of(cls, shape: tuple[int, int]) -> "Layout":
        """Lay out the maps of a frame of `shape` (H, W)."""
        aspect = shape[1] / shape[0]
        width = max(LEAST, min(WIDEST, round(math.sqrt(AREA * aspect)), round(HIGHEST * aspect)))
        height = max(LEAST, round(width / aspect))
        columns = 1 if aspect > WIDE else 4 if aspect < NARROW else 2
        # Two by two, the error is beside the RGB and the prediction beside the truth, and both scales are at the right.
        order = ("rgb", "error", "truth", "prediction") if columns == 2 else MAPS
        maps = {
            name: (
                MARGIN + number % columns * (width + MARGIN),
                TITLE + HEADING + number // columns * (height + HEADING),
                width,
                height,
            )
            for number, name in enumerate(order)
        }
        right = MARGIN + columns * (width + MARGIN)
        bars = [(right, maps[name][1], BAR, height) for name in ("prediction", "error")]
        if columns == 4:
            bars[1] = (right + BAR + BAR_TEXT, *bars[1][1:])
        return cls((bars[1][0] + BAR + BAR_TEXT, maps[order[-1]][1] + height + MARGIN), maps, bars[0], bars[1])


class Page:
    """A figure in which a pixel of a map is a pixel of the file.

    Parameters
    ----------
    layout : Layout
        Where everything goes.
    """

    def __init__(self, layout: Layout) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        width, height = layout.size
        self.layout = layout
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        FigureCanvasAgg(self.figure)

    def title(self, lead: str, name: str, second: str) -> None:
        """Write two lines; the name loses its beginning where it is too long: recordings differ in their ends."""
        width = self.layout.size[0] - 2 * MARGIN
        most = max(12, _letters(width, 13) - len(lead))
        shown = name if len(name) <= most else f"...{name[3 - most :]}"
        self._text(lead + shown, MARGIN, 8, 13, INK)
        self._text(_beginning(second, width, 11), MARGIN, 36, 11, FAINT)

    def draw(self, name: str, heading: str, detail: str, colours: Colours) -> "Axes":
        """Draw a map under two lines; colours have the shape of the map's box, (height, width, 3)."""
        left, top, width, _ = self.layout.maps[name]
        self._text(_beginning(heading, width, 11), left, top - 40, 11, INK)
        self._text(_beginning(detail, width, 9), left, top - 20, 9, FAINT)
        axes = self._axes(self.layout.maps[name])
        axes.imshow(colours, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        return axes

    def scale(self, box: Box, norm: "Normalize", colours: "Colormap", ticks: Mapping[float, str]) -> None:
        """Draw a scale, with arrows at its ends: values beyond have the last colour."""
        from matplotlib.cm import ScalarMappable

        bar = self.figure.colorbar(ScalarMappable(norm, colours), cax=self._axes(box), extend="both")
        bar.set_ticks(list(ticks), labels=list(ticks.values()), fontsize=9, color=INK)
        bar.minorticks_off()

    def _text(self, text: str, left: int, top: int, size: float, ink: str) -> None:
        across, down = self.layout.size
        self.figure.text(left / across, 1 - top / down, plain(text), fontsize=size, color=ink, va="top")

    def _axes(self, box: Box) -> "Axes":
        left, top, width, height = box
        across, down = self.layout.size
        return self.figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _beginning(text: str, width: int, size: float) -> str:
    most = _letters(width, size)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _letters(width: int, size: float) -> int:
    # On average a letter of this font is 0.6 of its size wide, and some texts are above the average.
    return max(4, int(width / (size * DPI / 72 * 0.62)))


def depth_ticks(span: tuple[float, float]) -> Mapping[float, str]:
    """Return round depths to write at a logarithmic scale, and their texts."""
    from matplotlib.ticker import MaxNLocator

    low, high = span
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps]
        inside = [depth for depth in found if low <= depth <= high]
        if 3 <= len(inside) <= MOST_TICKS:
            break
    else:  # less than a decade or so, which equal steps fill well
        inside = [depth for depth in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= depth <= high]
    return {depth: f"{depth:.4g} m" for depth in inside}
