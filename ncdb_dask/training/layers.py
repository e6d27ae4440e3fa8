"""The layers of a torch network that have weights for each output channel, as a quantizer will see them.

Before a BatchNorm the scale of a layer's weights is free: the norm takes any factor out again, and the export folds it
into the weights. What is rounded is w gamma / sqrt(running_var + eps), so a penalty on the raw weights of such a layer
says nothing of INT8. Which BatchNorm belongs to which layer is found by running the network once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class WeightLayer:
    """A layer and what belongs to its weights.

    Attributes
    ----------
    name : str
        As in `torch.nn.Module.named_modules`.
    module : nn.Module
        One of `WEIGHTED`.
    batch_norm : nn.Module or None
        The BatchNorm that alone takes what the layer makes, and that an export folds into it.
    """

    name: str
    module: nn.Module
    batch_norm: nn.Module | None = None

    @property
    def end(self) -> nn.Module:
        """The module whose output is that of the layer: the BatchNorm, where there is one."""
        return self.module if self.batch_norm is None else self.batch_norm

    @property
    def axis(self) -> int:
        """The axis of the channels in what the layer makes, counted from the last (negative)."""
        return 1 - int(self.module.weight.dim())

    def by_channel(self) -> Tensor:
        """Return the weights that are rounded, a row an output channel; differentiable.

        Returns
        -------
        Tensor, shape (C_out, K)
            K is the number of weights that meet in one value: input channels of a group times taps.
        """
        weight = self.module.weight
        if isinstance(self.module, TRANSPOSED):  # (C_in, C_out / groups, taps)
            groups = self.module.groups
            weight = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1).transpose(1, 2)
            weight = weight.flatten(0, 1)
        rows = weight.flatten(1)
        return rows if self.batch_norm is None else rows * _factors(self.batch_norm)[:, None]


def find_layers(model: nn.Module, example: Tensor | None = None) -> list[WeightLayer]:
    """Return every layer with weights for each output channel, in the order of `named_modules`.

    Parameters
    ----------
    model : nn.Module
        Its parameters, statistics and training flags are left as they are.
    example : Tensor, optional
        An input. With it the network is run once, in eval mode and without gradients, and a BatchNorm is folded into a
        layer whose every output it takes, if nothing else does. Without it nothing is folded.
    """
    layers = [WeightLayer(name, module) for name, module in model.named_modules() if isinstance(module, WEIGHTED)]
    if example is None:
        return layers
    takers = _takers(model, layers, example)
    return [replace(layer, batch_norm=_only(takers[layer.module])) for layer in layers]


def _factors(norm: nn.Module) -> Tensor:
    factors = torch.rsqrt(norm.running_var + norm.eps)
    return factors if norm.weight is None else factors * norm.weight


def _only(takers: "set[nn.Module | None]") -> nn.Module | None:
    """Return the one that takes all outputs; what has no statistics cannot be folded."""
    (taker,) = takers if len(takers) == 1 else (None,)
    return None if taker is None or taker.running_var is None else taker


def _takers(model: nn.Module, layers: Iterable[WeightLayer], example: Tensor) -> "Mapping[nn.Module, set[Any]]":
    """Run the network, and return who takes what each layer makes: BatchNorms, and None for anything else."""
    uses = _Uses()
    handles = [layer.module.register_forward_hook(uses.made) for layer in layers]
    for module in model.modules():
        if isinstance(module, NORMS):
            handles.append(module.register_forward_pre_hook(uses.entered, with_kwargs=True))
            handles.append(module.register_forward_hook(uses.left))
    try:
        with _evaluating(model), torch.no_grad(), uses:
            result = model(example)
        uses.taken(result, None)
    finally:
        for handle in handles:
            handle.remove()
    return uses.takers


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


class _Uses(TorchFunctionMode):
    """Sees every torch function that is called, and so who takes a tensor, be it a module or not."""

    def __init__(self) -> None:
        super().__init__()
        self.takers = defaultdict[Any, set[Any]](set)
        self._made: dict[int, tuple[Tensor, nn.Module]] = {}  # with the tensor, whose id is not given out again
        self._inside: list[nn.Module] = []

    def made(self, module: nn.Module, _given: Any, output: Tensor) -> None:
        """Hear of what a layer has made."""
        self._made[id(output)] = output, module
        if isinstance(module, nn.Linear) and output.dim() != 2:  # a norm has its channels on another axis
            self.takers[module].add(None)

    def entered(self, norm: nn.Module, given: Any, named: Any) -> None:
        """Hear of what a BatchNorm takes."""
        self.taken((given, named), norm)
        self._inside.append(norm)

    def left(self, _norm: nn.Module, _given: Any, _output: Any) -> None:
        """Hear that a BatchNorm is done."""
        self._inside.pop()

    def taken(self, values: Any, taker: nn.Module | None) -> None:
        """Note who takes the outputs of layers that are among some values."""
        for tensor in _tensors(values):
            if id(tensor) in self._made:
                self.takers[self._made[id(tensor)][1]].add(taker)

    def __torch_function__(self, called: Callable[..., Any], _types: Any, given: Any = (), named: Any = None) -> Any:
        result = called(*given, **(named or {}))
        if not self._inside and any(True for _ in _tensors(result)):  # asking for a shape uses nothing
            self.taken((given, named), None)
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list, Mapping)):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _tensors(value)
