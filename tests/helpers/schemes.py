"""What quantization makes of values, from the definition."""

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.scheme import Grid, Scheme


def fake_quantized(values: np.ndarray, grid: Grid, scheme: Scheme) -> npt.NDArray[np.float64]:
    """Quantize values and turn them back, in float64.

    As QuantizeLinear and DequantizeLinear of ONNX, halves to even; those divide in float32, which can decide a value in
    the middle of two steps the other way.
    """
    steps = np.rint(values.astype(np.float64) / grid.scale)
    least, greatest = scheme.quantized_min - grid.zero_point, scheme.quantized_max - grid.zero_point
    return np.clip(steps, least, greatest) * grid.scale
