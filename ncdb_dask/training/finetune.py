"""Carrying out a fine-tuning: a network for each lambda, and the one that was given, as ONNX."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ncdb_dask.errors import TrainingError
from ncdb_dask.quantization.opsets import one_line
from ncdb_dask.training.branches import BranchRanges
from ncdb_dask.training.data import Sample
from ncdb_dask.training.history import Row
from ncdb_dask.training.layers import find_layers
from ncdb_dask.training.loader import Loader
from ncdb_dask.training.loop import Progress, Trainer, best_weights
from ncdb_dask.training.onnx_export import NETWORK_FILE, export_onnx
from ncdb_dask.training.penalty import channel_mean_variance, channel_range_variance
from ncdb_dask.training.plan import BEFORE, FinetunePlan
from ncdb_dask.training.recipe_sections import PenaltyRecipe
from ncdb_dask.training.source import Outputs
from ncdb_dask.training.spread import LayerSpread, layer_spreads
from ncdb_dask.training.step import Setting
from ncdb_dask.training.unbalanced import read_unbalanced

CHECKED = 4  # frames on which an exported network is compared


@dataclass(frozen=True)
class Trained:
    """A network that was trained, or the one that was given.

    Attributes
    ----------
    name : str
        Of its folder.
    factor : float or None
        Lambda; None for the one that was given.
    network : str
        Path of the ONNX file.
    epoch : int
        From which its weights are.
    history : list of dict
        A row an epoch; empty for the one that was given.
    layers : list of LayerSpread
        Of its weights.
    difference : float
        Of ONNX Runtime from torch, relative.
    """

    name: str
    factor: float | None
    network: str
    epoch: int
    history: list[Row]
    layers: list[LayerSpread]
    difference: float

    @property
    def int8(self) -> str:
        """Where its INT8 form goes."""
        return self.beside("int8.onnx")

    def beside(self, name: str) -> str:
        """Return a path in its folder."""
        return os.path.join(os.path.dirname(self.network), name)


def train(plan: FinetunePlan, progress: Progress) -> Iterator[Trained]:
    """Export the network as it was given, then train with each lambda and export; what is done is only exported.

    What comes of a network can so be found out before the next one is trained.

    Parameters
    ----------
    plan : FinetunePlan
        What is wanted; `FinetunePlan.begin` was called.
    progress : callable
        Told what is under way, and how far.

    Yields
    ------
    Trained
        The network as it was given first.

    Raises
    ------
    NcdbError
        Where the network cannot be made, trained or exported.
    OSError
        Where the storage fails.
    """
    recipe, training = plan.recipe, plan.recipe.training
    device = device_of(training.device)
    loader = Loader(
        plan.train,
        plan.validation,
        batch_size=recipe.data.batch_size,
        workers=recipe.data.workers,
        seed=training.seed,
        flip=recipe.data.flip,
        pinned=device.type == "cuda",
    )
    pictures = _pictures(plan)
    given = plan.source.build(training.seed)
    with _penalty(recipe.penalty, given.network, pictures[0]):
        pass  # what it refuses, it refuses now
    yield _finished(plan, BEFORE, None, given, 0, [], pictures)
    for name, factor in plan.names.items():
        setting = Setting(
            recipe.loss,
            training,
            factor,
            plan.spec,
            plan.rules,
            plan.identity(factor),
            plan.folder(name),
            device,
        )
        network = plan.source.build(training.seed)
        with ExitStack() as held:
            try:
                penalty = held.enter_context(_penalty(recipe.penalty, network.to(device).network, pictures[0]))
            except RuntimeError as error:  # of CUDA's memory, of tensors that a stranger's code makes on the CPU
                raise TrainingError(
                    f"[training] device = {training.device!r}: torch stops: {one_line(error)}"
                ) from error
            trainer = Trainer(setting, network, penalty, loader, progress)
            history = trainer.run()
        network.network.load_state_dict(best_weights(setting, trainer.best))
        yield _finished(plan, name, factor, network.cpu(), trainer.best, history, pictures)


def device_of(name: str) -> torch.device:
    """Return where to compute; ``auto`` is CUDA where there is any.

    Raises
    ------
    TrainingError
        Where the machine does not have it.
    """
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # torch has no kind of its own for what it was built without
        raise TrainingError(
            f"[training] device = {name!r}: {str(error).splitlines()[0]}; expected auto, cpu, or a device that this "
            "machine and its torch have"
        ) from error
    return device


def _finished(
    plan: FinetunePlan,
    name: str,
    factor: float | None,
    network: Outputs,
    epoch: int,
    history: list[Row],
    pictures: list[npt.NDArray[np.float32]],
) -> Trained:
    folder = plan.folder(name)
    difference = export_onnx(network, plan.spec, plan.recipe.export, folder, pictures)
    layers = find_layers(network.network, torch.from_numpy(pictures[0])[None])
    path = f"{folder.path}/{NETWORK_FILE}"
    return Trained(name, factor, path, epoch, history, layer_spreads(layers), difference)


def _pictures(plan: FinetunePlan) -> list[npt.NDArray[np.float32]]:
    """Return the first frames that can be read."""
    pictures, faults = [], []
    for index in range(len(plan.validation)):
        found = plan.validation[index, False]
        if not isinstance(found, Sample):
            faults.append(found[1])
            continue
        pictures.append(found.picture)
        if len(pictures) == CHECKED:
            break
    if not pictures:
        raise TrainingError(f"no frame of the validation split can be read; the first: {faults[0]}")
    return pictures


@contextmanager
def _penalty(
    recipe: PenaltyRecipe, network: nn.Module, picture: npt.NDArray[np.float32]
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield what returns the penalty after a forward pass."""
    device = next(network.parameters()).device
    example = torch.from_numpy(picture)[None].to(device)
    if recipe.kind == "channel-mean":
        channel_mean_variance(network, recipe.include, recipe.exclude)  # patterns that fit nothing are refused here
        yield lambda: channel_mean_variance(network, recipe.include, recipe.exclude)
    elif recipe.kind == "channel-range":
        layers = find_layers(network, example)
        channel_range_variance(layers, recipe.include, recipe.exclude)
        yield lambda: channel_range_variance(layers, recipe.include, recipe.exclude)
    elif recipe.kind == "branch-range":
        groups = read_unbalanced(recipe.report, network, example)
        if not groups:
            raise TrainingError(
                f"{recipe.report}: equalization has balanced everything there, so a penalty on branches has nothing to "
                "do; choose another penalty"
            )
        with BranchRanges(group.layers for group in groups) as ranges:
            yield ranges.penalty
    else:
        yield lambda: torch.zeros((), device=device)
