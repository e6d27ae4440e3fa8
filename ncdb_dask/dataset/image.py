"""Opening and decoding RGB images: PNG or JPEG files that are in memory."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from ncdb_dask.dataset.png import beginning, check_pixels, decoding, read_header, whole_files_only
from ncdb_dask.errors import DataFault


def open_image(data: bytes) -> Image.Image:
    """Open a picture, which reads its header only; the size is checked before memory is taken.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it is no PNG or JPEG, or claims too many pixels. What else Pillow raises is for
        `ncdb_dask.dataset.png.decoding` around the whole use of the picture.
    """
    claimed = read_header(data)
    if claimed is not None:
        check_pixels("unreadable_image", claimed.width, claimed.height)
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"])
    except UnidentifiedImageError as error:
        raise DataFault("unreadable_image", f"is no PNG or JPEG ({beginning(data)})") from error
    check_pixels("unreadable_image", *image.size)
    return image


def decode_rgb(data: bytes) -> Image.Image:
    """Decode a picture to mode RGB: alpha is dropped, palettes are expanded, grey is repeated.

    An orientation that a camera left in the EXIF block is not applied: the depth map belongs to the pixels as they
    are stored, and the loaders that networks are trained with do not apply it either.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it does not decode.
    """
    with decoding("unreadable_image"), whole_files_only, open_image(data) as image:
        return as_rgb(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an open picture to mode RGB; see `decode_rgb`."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clamp at 255 instead of scaling it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":  # by way of RGBA, because Pillow warns about palettes that hold transparency
        image = image.convert("RGBA")
    return image.convert("RGB")
