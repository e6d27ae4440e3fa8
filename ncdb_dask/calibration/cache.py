"""Ranges as ONNX Runtime's calibration cache, from which its own tool builds the quantized network."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.calibration.ranges import Range
from ncdb_dask.store.folder import file_at

if TYPE_CHECKING:
    from os import PathLike


def write_cache(path: "str | PathLike[str]", ranges: Mapping[str, Range]) -> None:
    """Write a calibration cache.

    Parameters
    ----------
    path : path
        The JSON file.
    ranges : mapping of str to Range
        Of every tensor that is quantized.

    Raises
    ------
    OSError
        Where the storage fails.
    """
    from onnxruntime.quantization.calibrate import CalibrationCacheEncoder, CalibrationMethod, TensorsData

    # Whatever found them: to ONNX Runtime they are two numbers a tensor, as its own MinMax has them.
    data = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(found.low), np.float32(found.high)) for name, found in ranges.items()},
    )
    content = json.dumps({**data.to_dict(), "smooth_quant": False}, cls=CalibrationCacheEncoder)
    folder, name = file_at(os.fspath(path))
    folder.write(name, content.encode())
