"""PNG files: quick writers for pictures and depth, and a small encoder for the kinds that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4


def picture(values: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return a PNG of an 8-bit RGB picture ``(H, W, 3)`` or a 16-bit grey one ``(H, W)``."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode(rows: NDArray[np.uint8], width: int, bits: int, colour: int, palette: bytes = b"") -> bytes:
    """Return a PNG of any kind.

    Parameters
    ----------
    rows : ndarray of uint8, shape (H, bytes per row)
        The packed scan lines; 16-bit samples with the high byte first.
    width : int
        Pixels per row.
    bits, colour : int
        Bit depth and colour type of the IHDR chunk (PNG specification, section 11.2.2).
    palette : bytes
        Red, green, blue of each palette entry, for colour type 3.
    """
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    unfiltered = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(unfiltered, 6)), (b"IEND", b"")]
    if palette:
        chunks.insert(1, (b"PLTE", palette))
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def cut(data: bytes) -> bytes:
    """Return the first half of the file: it ends in the middle of IDAT."""
    return data[: max(len(data) // 2, data.index(b"IDAT") + 8)]


def flipped(data: bytes) -> bytes:
    """Return the file with two bits of IDAT set so that no decoder can read the stream.

    Behind the two bytes of the zlib header lies the first block's header: its type becomes 3, which deflate reserves
    (RFC 1951, section 3.2.3). The checksum is left as it was.
    """
    first = data.index(b"IDAT") + 4 + 2
    return data[:first] + bytes([data[first] | 0b110]) + data[first + 1 :]
