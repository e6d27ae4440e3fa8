"""What all pictures share: a figure of its own, the colours, and an empty panel that says so."""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (2008): told apart under colour blindness too.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#6b7280"
LIGHT_GREY = "#c9ced6"


def six_panels() -> "tuple[Figure, Any]":
    """Return a figure of 1500 x 900 pixels and its axes, shape (2, 3)."""
    figure = _figure(15, 9, 100)
    return figure, figure.subplots(2, 3)


def two_rows() -> "tuple[Figure, Any]":
    """Return a figure of 1500 x 900 pixels and its axes, shape (2,), one above the other."""
    figure = _figure(15, 9, 100)
    return figure, figure.subplots(2, 1)


def panels(count: int) -> "tuple[Figure, list[Axes]]":
    """Return a figure of so many panels, three in a row at most, on one scale, and their axes."""
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = _figure(max(7.0, 5.0 * columns), 0.5 + 3.8 * rows, 110)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for one in axes[count:]:
        one.set_axis_off()
    for one in axes:
        one.yaxis.set_tick_params(labelleft=True)
    return figure, axes[:count]


def one_panel(width: float, height: float) -> "Axes":
    """Return the axes of a figure of so many inches, sharp enough for a page that is printed."""
    axes: Axes = _figure(width, height, 160).subplots()
    return axes


def _figure(width: float, height: float, dpi: int) -> "Figure":
    # A figure of its own, not pyplot's: no window system, no state shared with the caller's plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: "Figure") -> bytes:
    """Return the figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def plain(text: str) -> str:
    """Keep matplotlib from reading a user's text as mathematics: names of files and scenes may hold dollar signs."""
    return text.replace("$", r"\$")


def nothing(axes: "Axes") -> None:
    """Say that a panel has nothing to show."""
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=GREY)
    axes.set_axis_off()
