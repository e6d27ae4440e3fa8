"""Opening and decoding RGB images: one way for the scan, calibration, export and evaluation.

EXIF orientation is not applied. The depth map belongs to the stored pixels, not to a turned copy of them, and the
loader that the networks were trained with (Pillow's `Image.open`) does not turn pictures either.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from ncdb_dask.dataset.png import beginning, check_pixels, decoding, read_header, whole_files_only
from ncdb_dask.errors import DataFault


def decode_rgb(data: bytes) -> Image.Image:
    """Decode a PNG or JPEG file from memory to 8-bit RGB.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, in the orientation in which the pixels are stored. Alpha is dropped and not blended, a palette is
        expanded, grey is repeated in all three channels, and 16 bits give their upper 8.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it does not decode.
    OSError
        Where memory runs out.
    """
    with opened(data) as image:
        return simplified(image).convert("RGB")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture, which reads its header only; the size is checked before memory is taken.

    Yields
    ------
    PIL.Image.Image
        Of any mode. Whatever is raised while it is open becomes a fault of the picture.

    Raises
    ------
    DataFault
        ``unreadable_image``, as for `decode_rgb`.
    """
    with decoding("unreadable_image"), whole_files_only, _open(data) as image:
        yield image


def simplified(image: Image.Image) -> Image.Image:
    """Resolve the modes that Pillow's own conversions would spoil; all others are returned as they are.

    Returns
    -------
    PIL.Image.Image
        Mode L for 16-bit grey (its upper 8 bits), mode RGBA for a palette.
    """
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clamp at 255 instead of scaling it
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":  # by way of RGBA, because Pillow warns about palettes that hold transparency
        return image.convert("RGBA")
    return image


def _open(data: bytes) -> Image.Image:
    claimed = read_header(data)
    if claimed is not None:
        check_pixels("unreadable_image", claimed.width, claimed.height)
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"])
    except UnidentifiedImageError as error:
        raise DataFault("unreadable_image", f"is no PNG or JPEG ({beginning(data)})") from error
    check_pixels("unreadable_image", *image.size)
    return image
