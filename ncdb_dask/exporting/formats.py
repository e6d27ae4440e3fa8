"""The forms in which a calibration set is handed over: what is made of each frame, and where it goes."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncdb_dask.dataset.layout import IMAGE_SUFFIXES

ORIGINAL, PIXELS, TENSOR, NOTHING = "original", "pixels", "tensor", "nothing"
FILES, ARRAY, TAR = "files", "array", "tar"

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One form.

    Attributes
    ----------
    name : str
        As the user gives it.
    payload : str
        What a frame becomes: ``original`` (the picture's file as it is), ``pixels`` (a PNG of the network's size, whose
        resizing and normalising is left to the tool), ``tensor`` (what the network takes) or ``nothing``.
    container : str
        ``files`` (one a frame), one ``array`` of all frames, or a ``tar`` of one file a frame.
    folder : str
        Of the files.
    layout : str or None
        Of the tensors; None is that of the model file.
    suffix : str
        Of a frame's file; of an original, that of the original.
    wants_spaces : bool
        Whether the tool reads paths that hold spaces.
    """

    name: str
    payload: str
    container: str = FILES
    folder: str = "frames"
    layout: str | None = None
    suffix: str = ".npy"
    wants_spaces: bool = True


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("images", ORIGINAL, folder="images", suffix=""),
        Format("split", NOTHING),
        Format("npy", TENSOR, folder="tensors"),
        Format("raw", TENSOR, folder="raw", layout="nhwc", suffix=".raw", wants_spaces=False),
        Format("rknn", PIXELS, folder="images", suffix=".png", wants_spaces=False),
        Format("hailo", TENSOR, ARRAY, layout="nhwc"),
        Format("ncnn", PIXELS, folder="images", suffix=".png", wants_spaces=False),
        Format("pulsar2", TENSOR, TAR),
    )
}
# The tools of these take tensors in either layout, by their own options or by the network that they were given.
EITHER_LAYOUT = ("npy", "raw", "pulsar2")
FRAME_SUFFIXES = (*IMAGE_SUFFIXES, ".npy", ".raw")
# Where the frames of one array, or of one tar, lie.
CONTAINER_FILES = {ARRAY: "calibration.npy", TAR: "calibration.tar"}


def has_batch_axis(form: Format) -> bool:
    """Whether a frame is a ``.npy`` file, which tells its shape: that of the network's input with a batch of 1."""
    return form.payload == TENSOR and form.container != ARRAY and form.suffix == ".npy"


def encoded(value: Array, form: Format) -> bytes:
    """Return the bytes of one frame: a PNG, a ``.npy`` with a batch axis of 1, or bare little-endian values."""
    if form.payload == PIXELS:
        buffer = io.BytesIO()
        Image.fromarray(value).save(buffer, "PNG")
        return buffer.getvalue()
    return npy(value[None]) if has_batch_axis(form) else value.astype("<f4", copy=False).tobytes()


def decoded(data: bytes, form: Format, shape: tuple[int, ...]) -> Array:
    """Undo `encoded`, but for the batch axis; for bare values, `shape` tells theirs.

    Raises
    ------
    ValueError
        Where the bytes are not of that form.
    """
    if form.payload != PIXELS and not has_batch_axis(form):
        return np.frombuffer(data, dtype="<f4").reshape(shape)
    try:
        if form.payload == PIXELS:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                return np.asarray(picture)
        return _read_npy(data)
    except Exception as error:  # whatever a decoder raises, the bytes are in memory: it is their fault
        raise ValueError(str(error) or type(error).__name__) from error


def _read_npy(data: bytes) -> Array:
    """Read numbers, and none where the header claims more of them than there are: memory would be taken for all."""
    buffer = io.BytesIO(data)
    if np.lib.format.read_magic(buffer)[0] == 1:
        shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(buffer)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "biuf" or not size or size != len(data) - buffer.tell():
        raise ValueError(f"its header tells of {dtype} values, {size} bytes")
    buffer.seek(0)
    return np.asarray(np.load(buffer, allow_pickle=False))


def npy(value: Array) -> bytes:
    """Return an array as a ``.npy`` file (format 1.0)."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(value), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return what stands before the values of a float32 ``.npy`` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()
