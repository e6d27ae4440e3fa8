"""Reading depth PNGs: what the header says first, then the pixels.

Only one-channel PNGs are depth. Pillow would silently halve the precision of 16-bit RGB and grey + alpha, hand out
palette indices, and rescale 1, 2 and 4 bits; so the header decides before the decoder sees a byte.
"""

import errno
import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from ncdb_dask.errors import DataFault

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 33  # signature, then the IHDR chunk: length, type, 13 bytes of data, CRC
# Depth and colour frames have less than 4 megapixels. 64 bound what one frame takes to some 400 MB: the file, Pillow's
# picture and the array, 128 MB each for 16 bits.
MAX_PIXELS = 64 * 2**20
# No picture of that many pixels has more bytes: 8 each for 16-bit RGBA, uncompressed.
MAX_FILE_BYTES = 8 * MAX_PIXELS
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey + alpha", 6: "RGB + alpha"}


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The image header chunk (PNG specification, section 11.2.1)."""

    width: int
    height: int
    bit_depth: int
    colour_type: int


def read_header(data: bytes) -> PngHeader | None:
    """Return the header, or None where `data` does not begin like a PNG."""
    if len(data) < HEADER_BYTES or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        return None
    return PngHeader(*struct.unpack(">IIBB", data[16:26]))


def decode_depth(data: bytes, *, allow_8bit: bool = False) -> npt.NDArray[np.uint16]:
    """Decode a depth PNG from memory.

    Parameters
    ----------
    data : bytes
        The whole file.
    allow_8bit : bool
        Accept 8-bit grey as well, for callers that were told its scale.

    Returns
    -------
    ndarray of uint16, shape (H, W)
        Raw values; 0 is invalid.

    Raises
    ------
    DataFault
        ``unsupported_depth`` for another kind of PNG, ``unreadable_depth`` for bytes that do not decode.
    """
    header = read_header(data)
    if header is None:
        raise DataFault("unreadable_depth", f"is no PNG ({beginning(data)})")
    _check_supported(header, allow_8bit)
    with decoding("unreadable_depth"), whole_files_only, Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        # A second header chunk would overrule the one that was checked.
        if (image.size, image.mode) != ((header.width, header.height), "I;16" if header.bit_depth == 16 else "L"):
            raise ValueError(f"opens as {image.mode} of size {image.size}, unlike its header")
        return np.asarray(image, dtype=np.uint16)


def beginning(data: bytes) -> str:
    """Describe bytes that are not what they should be."""
    return f"{len(data)} bytes, beginning with {data[:8].hex(' ')!r}" if data else "it is empty: 0 bytes"


def _check_supported(header: PngHeader, allow_8bit: bool) -> None:
    colour = _COLOUR_TYPES.get(header.colour_type, f"colour type {header.colour_type}")
    if header.colour_type != 0 or header.bit_depth not in (8, 16):
        found = f"is {'an' if header.bit_depth == 8 else 'a'} {header.bit_depth}-bit {colour} PNG"
        raise DataFault("unsupported_depth", f"{found}; depth is 16-bit grey with one channel")
    if header.bit_depth == 8 and not allow_8bit:
        raise DataFault("unsupported_depth", "is an 8-bit grey PNG; say what its values mean with --depth-scale")
    check_pixels("unsupported_depth", header.width, header.height)


def check_pixels(status: str, width: int, height: int) -> None:
    """Refuse a picture that claims more pixels than any frame has, before memory is taken for it."""
    if width * height > MAX_PIXELS:
        raise DataFault(status, f"claims {width} x {height} pixels; the limit is {MAX_PIXELS}")


class _WholeFilesOnly:
    """Forces Pillow to refuse truncated files while any thread is inside.

    Training scripts set the process-wide switch; it would turn the missing part into zeros, that is into
    "invalid depth", without a word.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


whole_files_only = _WholeFilesOnly()


@contextmanager
def decoding(status: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a fault with `status`: its bytes are in memory, so it is their fault.

    Raises
    ------
    OSError
        Where memory runs out, which is a fault of the environment.
    """
    try:
        yield
    except DataFault:
        raise
    except MemoryError as error:
        raise OSError(errno.ENOMEM, "out of memory while decoding") from error
    except Exception as error:
        raise DataFault(status, f"does not decode: {str(error) or type(error).__name__}") from error
