"""From a picture's bytes to the network's input: the one way for calibration, export and evaluation.

Every step is defined down to the last bit, so that calibration and deployment can be compared byte by byte: integer
resizing by Pillow, then float32 arithmetic with one rounding an operation, in the order of the formula.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.png import decoding
from ncdb_dask.model.spec import InputSpec

# When they shrink a picture, these widen with the factor (antialiasing), other than cv2.resize and torch's interpolate
# do by default; but for nearest, which takes single pixels.
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(data: bytes, spec: InputSpec) -> npt.NDArray[np.float32]:
    """Turn a PNG or JPEG file into the network's input, without the batch dimension.

    Parameters
    ----------
    data : bytes
        The whole file.
    spec : InputSpec
        Section [input] of the model file.

    Returns
    -------
    ndarray of float32, shape (3, height, width) for nchw, (height, width, 3) for nhwc
        C-contiguous.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it does not decode.
    OSError
        Where memory runs out.
    """
    return normalised(resized(data, spec), spec)


def resized(data: bytes, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Decode a PNG or JPEG file and bring it to the network's size.

    Width and height are scaled each by its own factor, without border or crop; a picture that has the size already is
    left as it is.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Always red, green, blue, whatever `spec.channels` says; 0 to 255.

    Raises
    ------
    DataFault
        ``unreadable_image`` where it does not decode.
    OSError
        Where memory runs out.
    """
    # Filters of very long and thin pictures take memory too.
    with decoding("unreadable_image"):
        return np.asarray(decode_rgb(data).resize((spec.width, spec.height), FILTERS[spec.resize]))


def normalised(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Compute (pixel / scale - mean) / std in the network's order of channels and dimensions.

    The arithmetic is torchvision's (ToTensor divides by 255 in float32, Normalize subtracts, then divides): with
    scale = 255 the pixels 0, 127 and 255 become 0, 0.49803922 and 1.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Red, green, blue, as `resized` returns them.
    spec : InputSpec
        Its `mean` and `std` are in the order of its `channels`: for bgr, the first is that of blue.

    Returns
    -------
    ndarray of float32, shape (3, height, width) for nchw, (height, width, 3) for nhwc
        C-contiguous.

    Raises
    ------
    ValueError
        For pixels of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.shape != (spec.height, spec.width, 3):
        found = f"found {pixels.dtype} of shape {pixels.shape}"
        raise ValueError(f"{found}; expected uint8 of shape {(spec.height, spec.width, 3)}, as resized() returns")
    ordered = pixels[:, :, ::-1] if spec.channels == "bgr" else pixels
    values = ordered.astype(np.float32)
    values /= np.float32(spec.scale)
    values -= np.asarray(spec.mean, dtype=np.float32)
    values /= np.asarray(spec.std, dtype=np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if spec.layout == "nchw" else values)
