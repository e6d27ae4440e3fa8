"""A penalty on activations: channels that meet under one step are drawn to one range.

Equalization balances channels without changing the network, but not where an operator lets no scale through, such as
an ELU before a Concat. There only training can: this penalty is on what the layers make, in the batch at hand.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ncdb_dask.errors import TrainingError
from ncdb_dask.training.layers import WeightLayer
from ncdb_dask.training.penalty import log_variance


class BranchRanges:
    """Listens to layers during forward passes, and tells how far apart the ranges of their channels were.

    What is measured is the layer's own output (behind its BatchNorm, before any activation function). Passes without
    gradients are not listened to, so that a validation in between is no part of the next penalty. Close it, or use it
    as a context manager, before the network is exported.

    Parameters
    ----------
    groups : iterable of sequence of WeightLayer
        The layers of each group make channels that share one step; see `ncdb_dask.training.unbalanced`.

    Examples
    --------
    ::

        groups = read_unbalanced("int8.onnx", model, example)
        with BranchRanges(group.layers for group in groups) as ranges:
            loss = task_loss(model(batch)) + 0.01 * ranges.penalty()
    """

    def __init__(self, groups: Iterable[Sequence[WeightLayer]]) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self._peaks: dict[nn.Module, Tensor] = {}
        layers = {layer.end: layer for group in self.groups for layer in group}
        self._handles = [end.register_forward_hook(self._listener(layer)) for end, layer in layers.items()]

    def penalty(self) -> Tensor:
        """Return the sum, over groups, of the variance of log max |x_c| over all channels, and forget the activations.

        The maximum is over batch and space, and over all calls of a layer since the last penalty. Channels that are
        zero everywhere are left out, and so are layers that were not called.

        Returns
        -------
        Tensor, shape ()
            Differentiable.

        Raises
        ------
        TrainingError
            Where no layer was called with gradients since the last penalty.
        """
        peaks, self._peaks = self._peaks, {}
        met = [[peaks[layer.end] for layer in group if layer.end in peaks] for group in self.groups]
        terms = [log_variance(torch.cat(found)) for found in met if found]
        if not terms and any(self.groups):
            names = sorted({layer.name for group in self.groups for layer in group})
            raise TrainingError(
                f"no activations of {', '.join(names)} since the last penalty; run the network with gradients first"
            )
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def close(self) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
        self._peaks = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _listener(self, layer: WeightLayer) -> Any:
        def listen(end: nn.Module, _given: Any, output: Tensor) -> None:
            if torch.is_grad_enabled():
                found, before = _largest(output, layer.axis), self._peaks.get(end)
                self._peaks[end] = found if before is None else torch.maximum(before, found)

        return listen


def _largest(values: Tensor, axis: int) -> Tensor:
    """Return max |x| of each channel.

    The place is looked up first: `amax` would keep the values for its derivative, and the next module may overwrite
    them, as ``nn.ReLU(inplace=True)`` does.
    """
    channels = values.movedim(axis, 0)[:, None]  # one value a channel is all that a vector has
    with torch.no_grad():
        places = channels.abs().flatten(1).argmax(dim=1)
        rest = torch.unravel_index(places, channels.shape[1:])
    return channels[torch.arange(len(channels), device=values.device), *rest].abs()
