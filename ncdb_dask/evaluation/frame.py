"""One frame -> one row: what was predicted against what is true.

A fault of the data becomes the row's status; a fault of the environment is an ``OSError`` for the caller, who tries
again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import decode_depth
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.metrics import measure_with_ranges
from ncdb_dask.evaluation.pixels import paired
from ncdb_dask.evaluation.protocol import Protocol as Rules
from ncdb_dask.evaluation.schema import RANGES, SCAN_GROUPS, SCHEMA, of_range

Values = npt.NDArray[np.float64]
Row = dict[str, Any]
Size = tuple[int, int]
# Two pictures show the same field of view if their aspects differ by less. KITTI's 1242 x 375 squeezed to a network's
# 1024 x 320 differs by 3.5 %; cropped to the 1216 x 352 of KITTI's benchmark, by 4.3 %.
ASPECT_TOLERANCE = 0.04


@dataclass(frozen=True, slots=True)
class Frame:
    """What is evaluated, as the plan holds it.

    Attributes
    ----------
    split, entry : str, int
        The input and the position in it.
    dataset_root, stem : str or None
        The key; None where the entry does not name a frame.
    name : str or None
        Of files that are made for the frame.
    status, detail : str or None
        Of an entry that cannot be looked up.
    image, depth, variant, depth_scale
        Where a scan has found its files, and raw units a metre; None for frames of a split.
    depth_range, scene_type, lighting : str or None
        What a scan says of the frame.
    files : list of str or None
        Its predictions, where these are files.
    """

    split: str
    entry: int
    dataset_root: str | None
    stem: str | None
    name: str | None = None
    status: str | None = None
    detail: str | None = None
    image: str | None = None
    depth: str | None = None
    variant: str | None = None
    depth_scale: float | None = None
    depth_range: str | None = None
    scene_type: str | None = None
    lighting: str | None = None
    files: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A map of predicted depth.

    Attributes
    ----------
    depth : ndarray of float64, shape (h, w)
        Metres.
    where : mapping
        The columns ``image_path`` or ``prediction_path``.
    """

    depth: Values
    where: Mapping[str, str]


class Predictor(Protocol):
    """What gives the prediction of a frame: a network, or files."""

    def predict(self, frame: Frame, tree: Tree, truth: Size, *, stretch: bool) -> Prediction:
        """Return the prediction.

        Parameters
        ----------
        frame : Frame
            Whose files are located.
        tree : Tree
            The data set.
        truth : (int, int)
            Height and width of the true depth.
        stretch : bool
            Accept another aspect than that of the truth.

        Raises
        ------
        DataFault
            Where there is none.
        OSError
            A fault of the environment.
        """


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """How a frame is judged.

    Attributes
    ----------
    rules : ncdb_dask.evaluation.protocol.Protocol
        The protocol.
    depth_scale : float
        Raw units a metre of the truth, for frames whose own is not known.
    allow_8bit : bool
        Whether 8-bit grey PNGs are depth.
    stretch : bool
        Whether prediction and truth may differ in aspect.
    """

    rules: Rules
    depth_scale: float = 256.0
    allow_8bit: bool = False
    stretch: bool = False


def evaluate_frame(frame: Frame, tree: Tree, predictor: Predictor, options: FrameOptions) -> tuple[Row, Values | None]:
    """Measure one frame.

    Returns
    -------
    dict, ndarray or None
        The columns of `SCHEMA`, and the prediction in metres where there is one.

    Raises
    ------
    OSError
        A fault of the environment.
    """
    row = empty_row(frame)
    if frame.status is not None:
        return row, None
    depth = None
    try:
        where, truth = read_truth(frame, tree, options)
        row |= where
        prediction = predictor.predict(frame, tree, truth.shape, stretch=options.stretch)
        row |= prediction.where
        depth = prediction.depth
        return row | judged(truth, depth, options.rules) | {"status": "ok"}, depth
    except DataFault as fault:
        return row | {"status": fault.status, "detail": fault.detail}, depth


def empty_row(frame: Frame, status: str | None = None, detail: str | None = None) -> Row:
    """Return a row that names the frame and what became of it, with null figures."""
    row: Row = dict.fromkeys(SCHEMA.names)
    row |= {"dataset_root": frame.dataset_root, "filename": frame.stem, "split": frame.split, "entry": frame.entry}
    row |= {name: getattr(frame, name) for name in SCAN_GROUPS}
    return row | {"status": status or frame.status, "detail": detail or frame.detail}


def read_truth(frame: Frame, tree: Tree, options: FrameOptions) -> tuple[Row, Values]:
    """Read the true depth.

    Returns
    -------
    dict, ndarray of float64, shape (H, W)
        Where it lies and its size; metres, 0 is invalid.

    Raises
    ------
    DataFault
        Where it is missing or cannot be read.
    """
    variant, path = frame.variant, frame.depth
    if path is None:
        variant, path = tree.locate_depth(str(frame.dataset_root), str(frame.stem))
    data = read_listed("depth", tree, path, whole)
    raw = blaming(path, lambda: decode_depth(data, allow_8bit=options.allow_8bit))
    about = {"depth_path": path, "depth_variant": variant, "height": raw.shape[0], "width": raw.shape[1]}
    return about, raw / (frame.depth_scale or options.depth_scale)


def judged(truth: Values, prediction: Values, rules: Rules) -> Row:
    """Return every figure of a frame, over all chosen pixels and by depth range."""
    pixels = paired(truth, prediction, rules)
    ranges = RANGES.place(pixels.truth)
    whole_frame, parts = measure_with_ranges(pixels.truth, pixels.prediction, ranges, len(RANGES.names))
    row: Row = {
        "valid_pixels": len(pixels.truth),
        "nan_pixels": pixels.nan,
        "infinite_pixels": pixels.infinite,
        "nonpositive_pixels": pixels.nonpositive,
        "scale_ratio": pixels.ratio,
        **whole_frame,
    }
    for name, (count, figures) in zip(RANGES.names, parts, strict=True):
        row[of_range("valid_pixels", name)] = count
        row |= {of_range(metric, name): value for metric, value in figures.items()}
    return row


def require_same_view(what: str, size: Size, other: str, other_size: Size, stretch: bool) -> None:
    """Refuse two maps whose aspects tell that they do not show the same.

    Parameters
    ----------
    what, other : str
        What they are, for the message.
    size, other_size : (int, int)
        Height and width.
    stretch : bool
        Accept them all the same.

    Raises
    ------
    DataFault
        ``different_aspect``.
    """
    if not (stretch or same_view(size, other_size)):
        one, two = size[1] / size[0], other_size[1] / other_size[0]
        raise DataFault(
            "different_aspect",
            f"{what} is {size[1]} x {size[0]} (aspect {one:.3f}), {other} {other_size[1]} x {other_size[0]} "
            f"({two:.3f}): one may be cropped or turned; where it is squeezed on purpose, give --stretch",
        )


def same_view(size: Size, other: Size) -> bool:
    """Whether two maps of these sizes (height, width) may show the same field of view."""
    aspects = [width / height for height, width in (size, other)]
    return max(aspects) <= (1 + ASPECT_TOLERANCE) * min(aspects)
