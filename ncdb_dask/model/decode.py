"""From the network's outputs to a map of metres: the formulas that a model file can name."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ncdb_dask.model.spec import OutputSpec
from ncdb_dask.model.values import quoted

Map = npt.NDArray[np.float64]
# What networks return as one map. Where two of them fit, which takes a side of 1, the first counts.
MAP_SHAPES: Sequence[Sequence[int | str]] = (
    ("H", "W"),
    (1, "H", "W"),
    ("H", "W", 1),
    (1, 1, "H", "W"),
    (1, "H", "W", 1),
)
MAP_SHAPES_WRITTEN = ", ".join(" x ".join(map(str, shape)) for shape in MAP_SHAPES)


def decode(outputs: Sequence[npt.NDArray[np.generic]], spec: OutputSpec) -> Map:
    """Turn what a network returned into metres.

    Everything is computed in float64. A division by zero gives inf and what is no number stays none, both without a
    warning: judging such pixels is the evaluation's work.

    Parameters
    ----------
    outputs : sequence of ndarray
        In the order of `spec.name`: one map, or integer and fraction for ``integer-fraction``.
    spec : OutputSpec
        Section [output] of the model file.

    Returns
    -------
    ndarray of float64, shape (H, W)
        Metres, C-contiguous.

    Raises
    ------
    ValueError
        For another number of outputs, or one that is no map; for integer and fraction of different sizes.
    """
    wanted = 2 if spec.decode == "integer-fraction" else 1
    if len(outputs) != wanted:
        raise ValueError(f"found {len(outputs)} outputs; decode = {quoted(spec.decode)} takes {wanted}")
    names = spec.name or ("depth",)
    maps = [as_map(values, name) for values, name in zip(outputs, names, strict=True)]
    with np.errstate(all="ignore"):
        return FORMULAS[spec.decode](spec, *maps)


def as_map(values: npt.NDArray[np.generic], name: str) -> Map:
    """Return a network's output as one map, whatever dimensions of 1 it has around.

    Parameters
    ----------
    values : ndarray of any float or integer type
        Of shape (H, W), (1, H, W), (H, W, 1), (1, 1, H, W) or (1, H, W, 1). A shape that two of them fit, such as
        (1, 5, 1), is read as the first of them.
    name : str
        Of the output, for errors.

    Returns
    -------
    ndarray of float64, shape (H, W)
        C-contiguous; a copy.

    Raises
    ------
    ValueError
        For another shape or type.
    """
    if values.dtype.kind not in "fiu":
        raise ValueError(f"the output {quoted(name)} is {values.dtype}; expected a float or integer type")
    for shape in MAP_SHAPES:
        if _fits(values.shape, shape):
            size = [found for found, want in zip(values.shape, shape, strict=True) if isinstance(want, str)]
            return np.array(values.reshape(size), dtype=np.float64, order="C")
    found = " x ".join(map(str, values.shape)) or "of a single number"
    raise ValueError(f"the output {quoted(name)} has the shape {found}; expected one map: {MAP_SHAPES_WRITTEN}")


def _fits(found: Sequence[int], shape: Sequence[int | str]) -> bool:
    return len(found) == len(shape) and all(
        size > 0 if isinstance(want, str) else size == want for size, want in zip(found, shape, strict=True)
    )


def _linear(spec: OutputSpec, values: Map) -> Map:
    return spec.factor * values + spec.offset


def _reciprocal(spec: OutputSpec, values: Map) -> Map:
    return spec.factor / (spec.offset + spec.gain * values)


def _inverse_sigmoid(spec: OutputSpec, values: Map) -> Map:
    """Inverse depth is linear in the sigmoid: 0 is the farthest, 1 the nearest depth."""
    far, near = _inverse_range(spec)
    return 1 / (far + (near - far) * values)


def _log_sigmoid(spec: OutputSpec, values: Map) -> Map:
    """Inverse depth is exponential in the sigmoid, so that equal steps of it are equal ratios of depth."""
    far, near = map(math.log, _inverse_range(spec))
    return 1 / np.exp(far + (near - far) * values)


def _integer_fraction(spec: OutputSpec, integer: Map, fraction: Map) -> Map:
    assert spec.max is not None  # the model file was checked
    if integer.shape != fraction.shape:
        sizes = " and ".join(f"{height} x {width}" for height, width in (integer.shape, fraction.shape))
        raise ValueError(f"integer and fraction have the sizes {sizes}; expected two maps of the same size")
    return integer * spec.max + fraction


def _inverse_range(spec: OutputSpec) -> tuple[float, float]:
    assert spec.min is not None  # the model file was checked
    assert spec.max is not None
    return 1 / spec.max, 1 / spec.min


# For every name in `ncdb_dask.model.keys.DECODINGS`.
FORMULAS: Mapping[str, Callable[..., Map]] = {
    "linear": _linear,
    "reciprocal": _reciprocal,
    "inverse-sigmoid": _inverse_sigmoid,
    "log-sigmoid": _log_sigmoid,
    "integer-fraction": _integer_fraction,
}
