"""Quantizers by their names: ours and other people's are found in the same way, by entry point."""

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.base import Quantizer

GROUP = "ncdb_dask.quantizers"
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def quantizer(name: str, /, **options: Any) -> Quantizer:
    """Make a quantizer.

    Parameters
    ----------
    name : str
        Such as ``onnxruntime``.
    **options
        What its class takes; those that are None are left to its defaults.

    Raises
    ------
    QuantizationError
        For a name that is unknown, a backend that cannot be imported, or an option that it does not have.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none: install ncdb_dask again"
        raise QuantizationError(f"the backend {quoted(name)} is unknown; installed are {known}")
    made = _loaded(found[name])
    given = {option: value for option, value in options.items() if value is not None}
    parameters = inspect.signature(made).parameters.values()
    named = {parameter.name: parameter for parameter in parameters if parameter.kind not in _VARIADIC}
    unknown = [option for option in given if option not in named]
    if unknown and not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        written = ", ".join(named) or "no options"
        raise QuantizationError(f"the backend {name} has no option {unknown[0]!r}; it takes {written}")
    missing = [
        option for option, parameter in named.items() if parameter.default is parameter.empty and option not in given
    ]
    if missing:
        raise QuantizationError(f"the backend {name} needs --{missing[0].replace('_', '-')}")
    backend: Quantizer = made(**given)
    return backend


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise QuantizationError(
            f"the backend {entry.name} ({entry.value}) cannot be imported ({error}); install the package that it needs"
        ) from error
