"""The network that a recipe names: its factory, its checkpoint, and where its outputs are."""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from ncdb_dask.errors import TrainingError
from ncdb_dask.training.recipe_sections import RANDOM, SHIPPED, NetworkRecipe
from ncdb_dask.training.shipped import shipped_file

# Under which checkpoints keep a network's weights beside other things: Lightning, packnet-sfm; others.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
NAMED = 3  # of many names, so many are told


class Outputs(nn.Module):
    """A network, and where its outputs are in what it returns.

    Parameters
    ----------
    network : nn.Module
        Takes a batch of pictures.
    where : sequence of str
        As `NetworkRecipe.output`.
    """

    def __init__(self, network: nn.Module, where: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.where = tuple(where)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs, each of N maps."""
        returned = self.network(pictures)
        return tuple(_at(returned, place) for place in self.where or ("",))


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Attributes
    ----------
    recipe : NetworkRecipe
        What names it.
    sha256 : str
        Of its checkpoint; empty for random weights.
    """

    recipe: NetworkRecipe
    sha256: str

    @classmethod
    def of(cls, recipe: NetworkRecipe) -> "Source":
        """Refer to a network, and find its checkpoint.

        Raises
        ------
        TrainingError
            Where it cannot be read.
        """
        path = checkpoint_path(recipe)
        if path is None:
            return cls(recipe, "")
        try:
            with path.open("rb") as file:
                return cls(recipe, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise TrainingError(
                f"[network] checkpoint {path}: cannot be read ({error.strerror or error}); expected weights that "
                "torch.save wrote"
            ) from error

    def structure(self) -> str:
        """Return what the factory builds, in words: modules, and names and shapes of parameters.

        Raises
        ------
        TrainingError
            As `build`.
        """
        with torch.random.fork_rng(devices=[]):  # who only plans draws the same numbers afterwards
            network = self.build(0).network
        shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
        return f"{network}\n{shapes}"

    def build(self, seed: int) -> Outputs:
        """Make the network anew, with its weights; random ones come from `seed`.

        Raises
        ------
        TrainingError
            Where the factory cannot be found or fails, or the checkpoint does not fit.
        """
        torch.manual_seed(seed)
        network = _made(self.recipe)
        path = checkpoint_path(self.recipe)
        if path is not None:
            _load(network, _weights(path, self.recipe), path)
        return Outputs(network, self.recipe.output)


def checkpoint_path(recipe: NetworkRecipe) -> Path | None:
    """Return where the weights lie; None for random ones."""
    if recipe.checkpoint == RANDOM:
        return None
    return shipped_file(".pt") if recipe.checkpoint == SHIPPED else Path(recipe.checkpoint)


def _made(recipe: NetworkRecipe) -> nn.Module:
    module, colon, name = recipe.factory.partition(":")
    if not (module and colon and name):
        raise TrainingError(f"[network] factory = {recipe.factory!r}; expected package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` has it: a command's own path is that of its script
    try:
        network = getattr(import_module(module), name)(**recipe.arguments)
    except Exception as error:  # a stranger's code
        raise TrainingError(
            f"[network] factory = {recipe.factory!r}: {type(error).__name__}: {error}; expected a function that can be "
            "imported from here and returns a torch.nn.Module"
        ) from error
    if not isinstance(network, nn.Module):
        raise TrainingError(
            f"[network] factory = {recipe.factory!r} returns a {type(network).__name__}; expected a torch.nn.Module"
        )
    if not any(one.requires_grad for one in network.parameters()):
        raise TrainingError(f"[network] factory = {recipe.factory!r}: has no parameter that can be trained")
    return network


def _weights(path: Path, recipe: NetworkRecipe) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint by name, without the prefix."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=not recipe.trust_checkpoint)
    except UnpicklingError as error:
        raise TrainingError(
            f"[network] checkpoint {path}: holds more than tensors, or is no file of torch.save "
            f"({str(error).splitlines()[0]}); where you trust its source, set trust_checkpoint = true, which runs code "
            "that it brings along"
        ) from error
    except Exception as error:  # a zip file that is cut short, a class that is not here, ...
        raise TrainingError(
            f"[network] checkpoint {path}: cannot be read ({type(error).__name__}: {error}); expected weights that "
            "torch.save wrote"
        ) from error
    while isinstance(held, Mapping):
        inner = next((held[name] for name in WRAPPERS if isinstance(held.get(name), Mapping | nn.Module)), None)
        if inner is None:
            break
        held = inner
    if isinstance(held, nn.Module):
        held = held.state_dict()
    tensors = {str(name): value for name, value in _items(held) if isinstance(value, torch.Tensor)}
    found = {
        name.removeprefix(recipe.prefix): value for name, value in tensors.items() if name.startswith(recipe.prefix)
    }
    if not found:
        some = f"; its names begin like {_some(tensors)}" if tensors else ""
        raise TrainingError(f"[network] checkpoint {path}: no tensor under prefix = {recipe.prefix!r}{some}")
    return found


def _items(held: object) -> Any:
    return held.items() if isinstance(held, Mapping) else ()


def _load(network: nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    own = network.state_dict()
    missing, extra = [name for name in own if name not in weights], [name for name in weights if name not in own]
    other = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if missing or extra or other:
        told = [
            f"{what} {_some(names)}"
            for what, names in (("lacks", missing), ("has also", extra), ("has another shape of", other))
            if names
        ]
        raise TrainingError(
            f"[network] checkpoint {path}: is not of this network: it {', '.join(told)}; name another factory, "
            "arguments or prefix"
        )
    network.load_state_dict(dict(weights))


def _some(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def _at(returned: Any, place: str) -> torch.Tensor:
    """Follow a path such as ``inv_depths.0``; without one, take the only or the first tensor."""
    found = returned
    try:
        for step in place.split(".") if place else ():
            found = found[int(step)] if isinstance(found, list | tuple) else found[step]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise TrainingError(f"[network] output = {place!r}: is not in what it returns, {_kind(returned)}") from error
    if isinstance(found, list | tuple) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise TrainingError(
            f"[network] the network returns {_kind(returned)}; expected a tensor: name its place in output, such as "
            '"inv_depths.0"'
        )
    return found


def _kind(returned: object) -> str:
    if isinstance(returned, Mapping):
        return f"a dict of {', '.join(map(str, returned))}"
    if isinstance(returned, list | tuple):
        return f"a {type(returned).__name__} of {len(returned)}"
    return f"a {type(returned).__name__}"
