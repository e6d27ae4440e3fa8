"""From a network's outputs to metres, differentiable: the formulas of `ncdb_dask.model.decode`, in torch."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from ncdb_dask.errors import TrainingError
from ncdb_dask.model.spec import OutputSpec

LEAST = 1e-3  # metres; a prediction at or below 0 has no logarithm


def decoded(outputs: Sequence[torch.Tensor], spec: OutputSpec) -> torch.Tensor:
    """Turn what a network returned for a batch into metres, at least `LEAST`.

    Parameters
    ----------
    outputs : sequence of Tensor, each of N maps of one size
        One, or integer and fraction for ``integer-fraction``.
    spec : OutputSpec
        Section [output] of the model file.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        float32, whatever precision the network computed in.

    Raises
    ------
    TrainingError
        For another number of outputs, or one that is no map.
    """
    wanted = 2 if spec.decode == "integer-fraction" else 1
    if len(outputs) != wanted:
        raise TrainingError(f"the network returns {len(outputs)} outputs; decode = {spec.decode!r} takes {wanted}")
    depth: torch.Tensor = FORMULAS[spec.decode](spec, *map(as_maps, outputs))
    return depth.clamp(min=LEAST)


def as_maps(output: torch.Tensor) -> torch.Tensor:
    """Return an output as one map a picture, shape (N, 1, H, W), whatever dimensions of 1 it has."""
    shape = tuple(output.shape)
    if len(shape) == 3:
        return output.float().unsqueeze(1)
    if len(shape) == 4 and shape[1] == 1:
        return output.float()
    if len(shape) == 4 and shape[3] == 1:
        return output.float().permute(0, 3, 1, 2)
    raise TrainingError(f"the network's output has the shape {shape}; expected one map a picture, (N, 1, H, W)")


def _linear(spec: OutputSpec, values: torch.Tensor) -> torch.Tensor:
    return spec.factor * values + spec.offset


def _reciprocal(spec: OutputSpec, values: torch.Tensor) -> torch.Tensor:
    return spec.factor / (spec.offset + spec.gain * values)


def _inverse_sigmoid(spec: OutputSpec, values: torch.Tensor) -> torch.Tensor:
    far, near = _inverse_range(spec)
    return 1 / (far + (near - far) * values)


def _log_sigmoid(spec: OutputSpec, values: torch.Tensor) -> torch.Tensor:
    far, near = map(math.log, _inverse_range(spec))
    return torch.exp(-(far + (near - far) * values))


def _integer_fraction(spec: OutputSpec, integer: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
    assert spec.max is not None  # the model file was checked
    if integer.shape != fraction.shape:
        raise TrainingError(f"integer and fraction have the shapes {tuple(integer.shape)} and {tuple(fraction.shape)}")
    return integer * spec.max + fraction


def _inverse_range(spec: OutputSpec) -> tuple[float, float]:
    assert spec.min is not None  # the model file was checked
    assert spec.max is not None
    return 1 / spec.max, 1 / spec.min


FORMULAS: Mapping[str, Callable[..., torch.Tensor]] = {
    "linear": _linear,
    "reciprocal": _reciprocal,
    "inverse-sigmoid": _inverse_sigmoid,
    "log-sigmoid": _log_sigmoid,
    "integer-fraction": _integer_fraction,
}
