"""Quantization schemes: the integers that a scheme has, and the grid that ONNX Runtime derives from a range."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import CalibrationError, QuantizationError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
LIMITS = np.finfo(np.float32)
GREATEST = float(LIMITS.max)
# ONNX Runtime takes the scale 1 in place of one that float32 holds only as a denormal number.
LEAST_SCALE = float(LIMITS.tiny)
LEAST_EXPONENT = -126


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that a quantized tensor can take: ``scale * (q - zero_point)`` for each integer q of the scheme.

    Attributes
    ----------
    scale : float
        A float32 number.
    zero_point : int
        The integer that stands for 0.
    low, high : float
        The range to hand to ONNX Runtime, float32 numbers: it derives `scale` and `zero_point` from them. The outermost
        values of the grid lie within half a step of them.
    """

    scale: float
    zero_point: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scheme:
    """How activations become integers.

    Attributes
    ----------
    bits : int
        8 or 16.
    signed : bool
        Integers from -128 or -32768 on; otherwise from 0.
    symmetric : bool
        The zero point is the middle: 0, or 128 and 32768 of what is not signed.
    power_of_two : bool
        Scales are powers of two.

    Raises
    ------
    QuantizationError
        For another number of bits.
    """

    bits: int = 8
    signed: bool = False
    symmetric: bool = False
    power_of_two: bool = False

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise QuantizationError(f"activations of {self.bits} bits; expected 8 or 16")

    @property
    def quantized_min(self) -> int:
        """The least integer; as ``onnxruntime.quantization.quant_utils.get_qmin_qmax_for_qType``, -127 if symmetric."""
        return int(self.symmetric) - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def quantized_max(self) -> int:
        """The greatest integer."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def steps(self) -> int:
        """Steps between the least and the greatest integer."""
        return self.quantized_max - self.quantized_min

    @property
    def name(self) -> str:
        """What people call it, for instance ``int8 symmetric``."""
        parts = [f"{'int' if self.signed else 'uint'}{self.bits}"]
        parts += ["symmetric"] * self.symmetric + ["power of two"] * self.power_of_two
        return " ".join(parts)

    def grid(self, low: float, high: float) -> Grid:
        """Return the grid for a range.

        Zero is always in the range, and the range of a symmetric scheme reaches as far on both sides. A power of two is
        the least whose grid spans the range (half a step can be missing at an end, as of any grid), unless its own
        range went beyond float32, from about 2**127 on: then it is the greatest that fits. A range too narrow for a
        normal float32 as scale, (0, 0) above all, gets the scale 1 and the zero point 0, as ONNX Runtime has it; a
        power of two is then at least 2**-126.

        Parameters
        ----------
        low, high : float
            In units of the tensor; rounded to float32.

        Raises
        ------
        CalibrationError
            Where low is above high, or one is no finite number.
        """
        low, high = self._widened(low, high)
        if self.power_of_two and high > low:
            return self._power_of_two(low, high)
        scale, zero_point = self.derived(np.array([low]), np.array([high]))
        # -0.0 is 0.0, for people.
        return Grid(float(scale[0]), int(zero_point[0]), low + 0.0, high + 0.0)

    def resolves(self, low: float, high: float) -> bool:
        """Tell whether ONNX Runtime derives a scale from a range, and not 1 in its place; see `grid` for errors."""
        low, high = self._widened(low, high)
        return (high - low) / self.steps >= LEAST_SCALE

    def _widened(self, low: float, high: float) -> tuple[float, float]:
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise CalibrationError(f"range from {low:g} to {high:g}; expected two finite numbers, the lower first")
        low, high = (float(np.float32(min(max(edge, -GREATEST), GREATEST))) for edge in (min(low, 0.0), max(high, 0.0)))
        return (-max(-low, high), max(-low, high)) if self.symmetric else (low, high)

    def derived(self, low: Floats, high: Floats) -> tuple[Floats, Integers]:
        """Return what ONNX Runtime derives from ranges, bit for bit, whether scales should be powers of two or not.

        Source: ``compute_scale_zp`` of onnxruntime.quantization.quant_utils, 1.32.

        Parameters
        ----------
        low, high : ndarray of float64, shape (n,)
            float32 numbers around 0; of a symmetric scheme, -high and high.

        Returns
        -------
        scale : ndarray of float64, shape (n,)
            float32 numbers.
        zero_point : ndarray of int64, shape (n,)
        """
        exact = (high - low) / self.steps
        usable = exact >= LEAST_SCALE
        exact = np.where(usable, exact, 1.0)
        if self.symmetric:
            zero_point = np.full(low.shape, round((self.quantized_min + self.quantized_max) / 2))
        else:
            zero_point = np.rint(self.quantized_min - low / exact)
        return exact.astype(np.float32).astype(np.float64), np.where(usable, zero_point, 0).astype(np.int64)

    def _power_of_two(self, low: float, high: float) -> Grid:
        """Return the grid of the least power of two that reaches over a range."""
        mantissa, exponent = math.frexp((high - low) / self.steps)
        exponent = max(exponent - (mantissa == 0.5), LEAST_EXPONENT)
        while True:
            scale = math.ldexp(1.0, exponent)
            lowest, highest = self.quantized_min - low / scale, self.quantized_max - high / scale
            zero_point = math.ceil(lowest)
            if zero_point > highest:  # no integer lets the grid reach both ends: half a step is missing, or more
                zero_point = round(min(lowest, (lowest + highest) / 2))
            grid = self.aligned(exponent, zero_point)
            if max(-grid.low, grid.high) <= GREATEST:
                return grid
            exponent -= 1

    def aligned(self, exponent: int, zero_point: int) -> Grid:
        """Return the grid of scale ``2**exponent`` with a zero point; a symmetric scheme has its own.

        Both ends are integers, or halves of them, times the scale: float32 holds them exactly, and so ONNX Runtime
        derives exactly this grid.
        """
        scale = math.ldexp(1.0, exponent)
        if self.symmetric:
            middle = round((self.quantized_min + self.quantized_max) / 2)
            return Grid(scale, middle, -self.steps / 2 * scale, self.steps / 2 * scale)
        zero_point = min(max(zero_point, self.quantized_min), self.quantized_max)
        low, high = (self.quantized_min - zero_point) * scale, (self.quantized_max - zero_point) * scale
        return Grid(scale, zero_point, low, high)
