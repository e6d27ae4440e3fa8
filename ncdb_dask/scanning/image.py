"""Statistics of one RGB image: brightness, lighting, and a hash that near-duplicates share."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncdb_dask.dataset.image import opened, simplified

# Exposure meters aim a scene at 18 % grey, which sRGB (IEC 61966-2-1) encodes as 118. A mean one stop below that
# (9 %, encoded 85) is a scene that the camera could not expose for: dusk; two stops below (4.5 %, encoded 60): night.
DUSK_LUMA = 85.0
NIGHT_LUMA = 60.0
# Three stops below and two above 18 % grey: the shadows and highlights in which 8 bits carry little texture.
DARK_LUMA = 41
BRIGHT_LUMA = 221
_HASH_SIDE = 8
_HASH_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the file says of itself: Pillow's mode and the size in pixels."""

    mode: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageStats:
    """Brightness of an image as 8-bit luma (ITU-R BT.601), 0 to 255.

    Attributes
    ----------
    luma_mean, luma_std : float
        Mean and population standard deviation.
    dark_fraction, bright_fraction : float
        Share of pixels below `DARK_LUMA` and at or above `BRIGHT_LUMA`, 0 to 1.
    lighting : str
        ``night``, ``dusk`` or ``day`` by `luma_mean`.
    phash : str
        64-bit perceptual hash as 16 hexadecimal digits; the number of differing bits is the distance.
    """

    luma_mean: float
    luma_std: float
    dark_fraction: float
    bright_fraction: float
    lighting: str
    phash: str


def read_image_header(data: bytes) -> ImageHeader:
    """Read mode and size from the first bytes of a PNG or JPEG file.

    Raises
    ------
    DataFault
        ``unreadable_image`` where they do not begin a picture.
    """
    with opened(data) as image:
        return ImageHeader(image.mode, *image.size)


def image_stats(data: bytes) -> tuple[ImageHeader, ImageStats]:
    """Decode a PNG or JPEG file from memory and measure it.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it does not decode.
    """
    with opened(data) as image:
        header = ImageHeader(image.mode, *image.size)
        luma = _luma(simplified(image))
    return header, luma_stats(luma)


def _luma(image: Image.Image) -> Image.Image:
    return image.convert("L") if image.mode in ("RGB", "L") else image.convert("RGB").convert("L")


def luma_stats(luma: Image.Image) -> ImageStats:
    """Measure a picture of mode L."""
    counts = np.asarray(luma.histogram(), dtype=np.int64)
    pixels = int(counts.sum())
    levels = np.arange(256)
    mean = int(levels @ counts) / pixels
    variance = float((levels - mean) ** 2 @ counts) / pixels
    return ImageStats(
        luma_mean=mean,
        luma_std=variance**0.5,
        dark_fraction=int(counts[:DARK_LUMA].sum()) / pixels,
        bright_fraction=int(counts[BRIGHT_LUMA:].sum()) / pixels,
        lighting="night" if mean < NIGHT_LUMA else "dusk" if mean < DUSK_LUMA else "day",
        phash=perceptual_hash(luma),
    )


def perceptual_hash(luma: Image.Image) -> str:
    """Hash the coarse structure of a picture.

    The signs of its 8 x 8 lowest DCT coefficients against their median (Zauner, *Implementation and Benchmarking of
    Perceptual Image Hash Functions*, 2010, section 3.2.1), from a 32 x 32 reduction.
    """
    small = luma.resize((_HASH_SAMPLES, _HASH_SAMPLES), Image.Resampling.BOX)
    basis = _dct_basis()
    low = basis @ np.asarray(small, dtype=np.float64) @ basis.T
    # Rounded, so that the last bit of a sum, which differs between machines, cannot turn a flat picture's signs.
    low = np.round(low, 6).ravel()
    return np.packbits(low > np.median(low[1:])).tobytes().hex()


@lru_cache(maxsize=1)
def _dct_basis() -> npt.NDArray[np.float64]:
    """First rows of the orthonormal type-II DCT, shape (8, 32)."""
    k, n = np.arange(_HASH_SIDE)[:, None], np.arange(_HASH_SAMPLES)[None, :]
    basis = np.asarray(np.cos(np.pi * (2 * n + 1) * k / (2 * _HASH_SAMPLES)) * np.sqrt(2 / _HASH_SAMPLES))
    basis[0] /= np.sqrt(2)
    return basis
