"""A PNG writer that shares no code with the decoder under test: zlib and struct, no filters, no interlacing."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
# Every colour type with every bit depth that the PNG specification allows it (section 11.2.1).
KINDS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((colour, bits) for colour in (RGB, GREY_ALPHA, RGB_ALPHA) for bits in (8, 16)),
]


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Frame a chunk: length, type, data, CRC."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, bit_depth: int = 16, colour_type: int = GREY) -> bytes:
    """Return an IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0))


def encode(
    samples: np.ndarray, bit_depth: int = 16, colour_type: int = GREY, before_data: Sequence[bytes] = ()
) -> bytes:
    """Write samples of shape (H, W) or (H, W, channels) as a PNG, with further chunks before the pixels."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    pixels = b"".join(b"\0" + _packed(row, bit_depth) for row in rows)
    first = header(width, height, bit_depth, colour_type)
    return SIGNATURE + first + b"".join(before_data) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND")


def palette(colours: np.ndarray) -> bytes:
    """Return a PLTE chunk of colours of shape (n, 3)."""
    return chunk(b"PLTE", np.asarray(colours, dtype=np.uint8).tobytes())


def example(colour_type: int, bit_depth: int, width: int = 5, height: int = 3) -> bytes:
    """Return a valid PNG of a kind, with different samples in every pixel where the bits allow it."""
    samples = np.arange(width * height * CHANNELS[colour_type]) % 2**bit_depth
    shape = (height, width, CHANNELS[colour_type])
    colours = [palette(np.arange(3 * 2**bit_depth).reshape(-1, 3) % 256)] if colour_type == PALETTE else []
    return encode(samples.reshape(shape), bit_depth, colour_type, colours)


def _packed(row: np.ndarray, bit_depth: int) -> bytes:
    bits = "".join(format(int(sample), f"0{bit_depth}b") for sample in row)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
