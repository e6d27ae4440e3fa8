"""From the bytes of a picture to the network's input: the one function for calibration, export and evaluation.

The steps are those of the loaders that depth networks are trained with: decode to RGB, resize with Pillow (whose
filters widen with the reduction, unlike OpenCV's), then 8 bits to float32, scaled and normalised.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.model.spec import InputSpec

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(data: bytes, spec: InputSpec) -> npt.NDArray[np.float32]:
    """Turn a PNG or JPEG file into the network's input.

    Parameters
    ----------
    data : bytes
        The whole file.
    spec : InputSpec
        What the network takes.

    Returns
    -------
    ndarray of float32, shape ``spec.shape``
        Without a batch axis, contiguous. Equal bytes give equal bytes.

    Raises
    ------
    DataFault
        ``unreadable_image`` where the picture does not decode.
    """
    return normalised(resized(data, spec), spec)


def resized(data: bytes, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Decode a picture and bring it to the network's size, without regard to its aspect.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB, whatever order the network takes. A picture of that size is returned as it is.
    """
    picture = decode_rgb(data)
    if picture.size != (spec.width, spec.height):
        picture = picture.resize((spec.width, spec.height), _FILTERS[spec.resize])
    return np.asarray(picture)


def normalised(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Scale and normalise pixels of shape (height, width, 3), RGB: ``(pixel / scale - mean) / std`` in float32.

    With scale 255, mean 0 and std 1 this is, bit for bit, torchvision's ``ToTensor``: 127 becomes 0.49803922.
    """
    ordered = pixels if spec.channels == "rgb" else pixels[..., ::-1]
    mean, std = (np.asarray(three, dtype=np.float32) for three in (spec.mean, spec.std))
    values = np.asarray((ordered.astype(np.float32) / np.float32(spec.scale) - mean) / std)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if spec.layout == "nchw" else values)
