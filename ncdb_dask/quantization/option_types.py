"""Of which type the options of the backend ``onnxruntime`` are."""

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ncdb_dask.calibration.ranges import METHODS, PERCENTILE
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import shown
from ncdb_dask.quantization.profile import TYPES

if TYPE_CHECKING:
    from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer


def check_types(options: "OnnxRuntimeQuantizer") -> None:
    """Refuse values of another type: "no" would quietly count as true.

    Raises
    ------
    QuantizationError
        Names the option, what was found and what was expected.
    """
    for name in ("equalize", "bias_correction", "per_channel", "symmetric", "power_of_two"):
        value = getattr(options, name)
        optional = name in ("symmetric", "power_of_two") and value is None
        _require_type(name, value, optional or isinstance(value, bool), "true or false")
    _require_type("method", options.method, isinstance(options.method, str), f"one of {', '.join(METHODS)}")
    kind, percentile, profile = options.activations, options.percentile, options.profile
    _require_type("activations", kind, kind is None or isinstance(kind, str), f"one of {', '.join(TYPES)}")
    number = isinstance(percentile, int | float) and not isinstance(percentile, bool)
    _require_type("percentile", percentile, percentile is None or number, f"a number, such as {PERCENTILE}")
    path = profile is None or isinstance(profile, str | os.PathLike)
    _require_type("profile", profile, path, "the name of a profile, or the path of a TOML file")
    for name in ("wide", "keep"):
        value = getattr(options, name)
        several = isinstance(value, Collection) and not isinstance(value, bytes | Mapping)
        _require_type(name, value, several and all(isinstance(each, str) for each in value), "names of tensors")


def _require_type(option: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise QuantizationError(f"{option} = {shown(value)}: expected {expected}")
