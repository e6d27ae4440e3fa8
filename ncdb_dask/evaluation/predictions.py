"""Reading and writing one predicted depth map.

A file comes from a board, or from whoever wrote a script for one, so nothing is believed before it is checked: no
pickles, and no memory for what a header merely claims.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from functools import partial
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.png import MAX_FILE_BYTES, MAX_PIXELS, decode_depth, decoding, read_header
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.model.decode import as_map, decode
from ncdb_dask.model.spec import OutputSpec
from ncdb_dask.store.folder import LocalFolder

Map = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]

STATUS = "unreadable_prediction"
FORMS = ("npy", "png")
ARRAY = "depth"  # the array of a .npz
# Of a depth PNG: raw values a metre, and the greatest of them.
PNG_SCALE, PNG_MOST = 256, 65535
# More than any header that NumPy writes or accepts (10,000); one that claims more is not waited for.
_HEADER_BYTES = 16384
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_prediction(folder: LocalFolder, files: tuple[str, ...], *, output: OutputSpec | None) -> Map:
    """Read the prediction for one frame.

    Parameters
    ----------
    folder : LocalFolder
        The predictions.
    files : tuple of str
        Relative paths, as `ncdb_dask.evaluation.matching.match` found them: one, or integer and fraction.
    output : OutputSpec or None
        How the files' values become metres; None where they are metres. A PNG always holds metres x 256.

    Returns
    -------
    ndarray of float64, shape (h, w)
        Metres. Values that are no depth (0 of a PNG, negative, NaN, infinite) are left as they are.

    Raises
    ------
    DataFault
        ``unreadable_prediction`` or ``missing_prediction``; the detail names the file.
    OSError
        A fault of the environment; also where the whole folder is gone.
    """
    if output is None:
        (path,) = files
        return _read(folder, path, raw=False)
    maps = [_read(folder, path, raw=True) for path in files]
    return blaming(" and ".join(files), partial(_mapped, partial(decode, maps, output)))


def encoded_prediction(metres: Map, form: str) -> bytes:
    """Return the bytes of a file that `read_prediction` reads as metres.

    Parameters
    ----------
    metres : ndarray of float64, shape (h, w)
        Any values.
    form : str
        ``npy``: float32. ``png``: 16-bit grey, metres x 256, rounded; what is not positive becomes 0 (no
        prediction), what is becomes 1 to 65535 (255.996 m).
    """
    stream = io.BytesIO()
    if form == "npy":
        with np.errstate(over="ignore"):  # beyond float32 is infinite
            np.save(stream, metres.astype(np.float32), allow_pickle=False)
    elif form == "png":
        bounded = np.clip(metres, 1 / PNG_SCALE, PNG_MOST / PNG_SCALE)
        raw = np.where(metres > 0, np.rint(bounded * PNG_SCALE), 0).astype(np.uint16)
        Image.fromarray(raw).save(stream, "PNG")
    else:
        raise ValueError(f"unknown form {form!r}; known are {', '.join(FORMS)}")
    return stream.getvalue()


def _read(folder: LocalFolder, path: str, *, raw: bool) -> Map:
    """Return the values of one file: the network's own, or metres."""
    tree = Tree(folder, Roots((folder.url,)), ())
    data = read_listed("prediction", tree, path, whole)
    return blaming(path, partial(_values, data, os.path.splitext(path)[1].lower(), raw))


def _values(data: bytes, suffix: str, raw: bool) -> Map:
    with decoding(STATUS):
        if suffix == ".png":
            return _from_png(data, raw)
        values = _from_npz(data) if suffix == ".npz" else _from_npy(io.BytesIO(data))
    return _mapped(partial(as_map, values, ARRAY))


def _mapped(convert: Callable[[], Map]) -> Map:
    with decoding(STATUS), np.errstate(all="ignore"):  # beyond float64 is infinite
        try:
            return convert()
        except ValueError as error:
            raise DataFault(STATUS, str(error)) from error


def _from_png(data: bytes, raw: bool) -> Map:
    if raw:
        raise DataFault(
            STATUS,
            "is a PNG, which holds metres; expected the network's raw output as .npy or .npz, or metres throughout",
        )
    header = read_header(data)
    if header is not None and header.bit_depth != 16:
        raise DataFault(STATUS, f"is a PNG of {header.bit_depth} bits; expected 16-bit grey that holds metres x 256")
    try:
        return decode_depth(data) / np.float64(PNG_SCALE)
    except DataFault as fault:
        raise DataFault(STATUS, fault.detail) from fault


def _from_npz(data: bytes) -> Array:
    member = f"{ARRAY}.npy"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if member not in names:
            found = ", ".join(name.removesuffix(".npy") for name in names[:5]) or "none"
            raise DataFault(STATUS, f"holds no array {ARRAY!r} (arrays: {found}); write np.savez(file, {ARRAY}=...)")
        kind = archive.getinfo(member).compress_type
        if kind not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a limit
            raise DataFault(
                STATUS, f"is compressed by method {kind}; expected what np.savez or np.savez_compressed write"
            )
        with archive.open(member) as file:
            return _from_npy(file)


def _from_npy(file: IO[bytes]) -> Array:
    """Read an array from a stream, of which no more is read than a frame can have."""
    head = file.read(_HEADER_BYTES)
    if not head.startswith(np.lib.format.MAGIC_PREFIX):
        found = f"begins with {head[:8].hex(' ')!r}" if head else "is empty"
        raise DataFault(STATUS, f"{found}; expected an array as np.save writes it")
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise DataFault(STATUS, f"is a .npy of version {version[0]}.{version[1]}; expected 1.0 or 2.0")
    shape, fortran, dtype = _HEADERS[version](stream)
    size = _checked_size(shape, dtype)
    end = stream.tell() + size
    # One byte more than there should be: it tells of a longer file, and lets a zip member check its sum.
    data = head + file.read(max(0, end - len(head)) + 1)
    if len(data) != end:
        found = "more" if len(data) > end else f"only {len(data) - stream.tell()}"
        raise DataFault(STATUS, f"holds {found} bytes of values; its header claims {size}, {shape} of {dtype}")
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def _checked_size(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    """Return the bytes of an array, once it is known that a frame can have as many."""
    if dtype.kind not in "fiu":
        raise DataFault(STATUS, f"holds values of type {dtype}; expected a float or integer type")
    if not shape or min(shape) < 1:
        raise DataFault(STATUS, f"has the shape {shape}; expected a map of height x width")
    pixels = math.prod(shape)
    if pixels > MAX_PIXELS or pixels * dtype.itemsize > MAX_FILE_BYTES:
        raise DataFault(STATUS, f"claims {pixels} values of {dtype}; the limit is {MAX_PIXELS}")
    return pixels * dtype.itemsize
