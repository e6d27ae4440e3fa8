"""Penalties on weights, to be added to any loss, which draw the channels of a layer to one range.

One INT8 step for all weights of a layer is max |w| / 127, the maximum over all its channels: a channel whose largest
weight is 1/r of the layer's largest loses log2 r of its eight bits.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ncdb_dask.errors import TrainingError
from ncdb_dask.training.layers import WeightLayer, find_layers

ALL = ("*",)
SHOWN = 5  # names in an error


def channel_mean_variance(model: nn.Module, include: Sequence[str] = ALL, exclude: Sequence[str] = ()) -> Tensor:
    """Return the sum, over all weights, of the variance of the means of their channels: the guide's form.

    For every parameter p with ``weight`` in its name and more than one dimension,
    ``torch.var(p.view(p.size(0), -1).mean(dim=1))``, with one departure: a parameter with a single row has no variance
    and counts 0, where `torch.var` gives NaN. The heads of depth networks have one channel. Means say little of ranges:
    channels with weights of mean zero are equal under this form, however far their ranges are apart. See
    `channel_range_variance`.

    Parameters
    ----------
    model : nn.Module
        Any.
    include, exclude : sequence of str
        Patterns, as of `fnmatch`, on the names of parameters.

    Returns
    -------
    Tensor, shape ()
        Differentiable, on the parameters' device; 0 where there is no such parameter.

    Raises
    ------
    TrainingError
        Where a pattern fits no such parameter, or none is left.
    """
    weights = {name: one for name, one in model.named_parameters() if "weight" in name and one.dim() > 1}
    chosen = [weights[name] for name in _chosen(list(weights), include, exclude, "weights")]
    # `flatten` where the guide has `view`, which refuses weights in channels_last.
    return _sum([torch.var(one.flatten(1).mean(dim=1)) for one in chosen if len(one) > 1], model.parameters())


def channel_range_variance(
    layers: nn.Module | Iterable[WeightLayer], include: Sequence[str] = ALL, exclude: Sequence[str] = ()
) -> Tensor:
    """Return the sum, over layers, of the variance of log max |w_c| over their output channels c.

    It is that of the natural logarithm, so exp of its root is by how much ranges typically differ. Multiplying all
    weights of a layer by a constant changes nothing. Channels without weights other than zero are left out; a layer
    with fewer than two others counts 0.

    Parameters
    ----------
    layers : nn.Module or iterable of WeightLayer
        Of a module, the raw weights of all layers count. Layers from `find_layers` with an example count with the
        BatchNorms that are folded into them, which is what INT8 sees.
    include, exclude : sequence of str
        Patterns, as of `fnmatch`, on the names of layers.

    Returns
    -------
    Tensor, shape ()
        Differentiable, on the weights' device.

    Raises
    ------
    TrainingError
        Where a pattern fits no layer, or none is left.
    """
    found = find_layers(layers) if isinstance(layers, nn.Module) else layers
    by_name = {layer.name: layer for layer in found}
    chosen = [by_name[name] for name in _chosen(list(by_name), include, exclude, "layers")]
    peaks = [layer.by_channel().abs().amax(dim=1) for layer in chosen]
    return _sum([log_variance(one) for one in peaks], (layer.module.weight for layer in by_name.values()))


def log_variance(peaks: Tensor) -> Tensor:
    """Return the unbiased variance of the logarithms of ranges, shape (C,), that are live; 0 of fewer than two."""
    wide = peaks.float() if torch.finfo(peaks.dtype).bits < 32 else peaks
    used = wide[live(wide)]
    return torch.log(used).var() if len(used) > 1 else wide.new_zeros(())


def live(peaks: Tensor) -> Tensor:
    """Return which ranges have a logarithm that means something: not zero, nor below the least normal number."""
    return peaks > torch.finfo(peaks.dtype).tiny


def _sum(terms: Sequence[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    """Add up; what is added to a loss must be on its device even where there is nothing."""
    if terms:
        return torch.stack(list(terms)).sum()
    some = next(iter(parameters), None)
    return torch.zeros(()) if some is None else some.new_zeros(())


def _chosen(names: Sequence[str], include: Sequence[str], exclude: Sequence[str], what: str) -> list[str]:
    wanted, unwanted = ((given,) if isinstance(given, str) else tuple(given) for given in (include, exclude))
    for pattern in (*wanted, *unwanted):
        if pattern not in ALL and not any(fnmatchcase(name, pattern) for name in names):
            raise TrainingError(f"pattern {pattern!r} fits none of the network's {what} ({_some(names)})")
    found = [
        name
        for name in names
        if any(fnmatchcase(name, one) for one in wanted) and not any(fnmatchcase(name, one) for one in unwanted)
    ]
    if names and not found:
        raise TrainingError(
            f"include {list(wanted)} and exclude {list(unwanted)} leave none of the network's {what} ({_some(names)}); "
            "a penalty on nothing does nothing"
        )
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN]) or "it has none"
    return shown if len(names) <= SHOWN else f"{shown}, and {len(names) - SHOWN} more"
