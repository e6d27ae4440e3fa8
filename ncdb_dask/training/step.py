"""One step of a training: the loss of a batch, its slope, and what the optimizer makes of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.training.data import Batch
from ncdb_dask.training.decode import decoded
from ncdb_dask.training.losses import smoothness, supervised
from ncdb_dask.training.recipe_sections import LossRecipe, TrainingRecipe
from ncdb_dask.training.source import Outputs

LEAST_FACTOR = 2.0**-16  # of half precision, which begins at 2^16: a slope that is too large with it is none


class DivergedError(Exception):
    """A loss that is no number; the training says what to do."""


@dataclass(frozen=True)
class Setting:
    """What a training is.

    Attributes
    ----------
    loss : LossRecipe
        What a prediction costs.
    training : TrainingRecipe
        Epochs, rates, seed.
    factor : float
        Lambda.
    spec : ModelSpec
        The model file.
    rules : Protocol
        How validation judges.
    identity : str
        Of everything that shapes the result.
    folder : LocalFolder
        Where checkpoints lie.
    device : torch.device
        Where it computes.
    """

    loss: LossRecipe
    training: TrainingRecipe
    factor: float
    spec: ModelSpec
    rules: Protocol
    identity: str
    folder: LocalFolder
    device: torch.device


class Stepper:
    """The optimizer of a network, and what it minimizes.

    Parameters
    ----------
    setting : Setting
        Loss, lambda, rates.
    network : Outputs
        On its device.
    penalty : callable
        Returns the penalty on the weights, after a forward pass.
    """

    def __init__(self, setting: Setting, network: Outputs, penalty: Callable[[], torch.Tensor]) -> None:
        self._setting, self._network, self._penalty = setting, network, penalty
        training, kind = setting.training, setting.device.type
        self.optimizer = torch.optim.AdamW(
            [one for one in network.parameters() if one.requires_grad],
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        self.half = training.amp and kind == "cuda"
        self._scaler = torch.amp.GradScaler(kind, enabled=self.half)

    def step(self, batch: Batch, done: int, steps: int) -> dict[str, float]:
        """Go one step; where half precision is too small for its slope, with another factor until it is not.

        Parameters
        ----------
        batch : Batch
            With at least one frame.
        done, steps : int
            How many lie behind, and how many the whole training has; a cosine schedule goes by it.

        Returns
        -------
        dict of str to float
            ``loss``, without the penalty; ``penalty``, before it is multiplied by lambda; ``gradient_norm``, before it
            is limited.

        Raises
        ------
        DivergedError
            Where their sum is no finite number, or in half precision its slope; the weights are as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(done, steps)
        while True:
            factor, found = self._scaler.get_scale(), self._tried(batch)
            now = self._scaler.get_scale()
            if now >= factor:
                return found
            # The step was left out. Going on with the next batch would lose this one, and tell nothing of a slope
            # that is never a number.
            if now < LEAST_FACTOR:
                raise DivergedError(f"the loss is {found['loss']:g}, but its slope is no finite number")

    def _tried(self, batch: Batch) -> dict[str, float]:
        """Go a step, unless the scaler leaves it out and lowers its factor."""
        loss = self._loss(batch)
        penalty = self._penalty()
        total = loss + self._setting.factor * penalty
        if not torch.isfinite(total):
            raise DivergedError(f"the loss is {loss.item():g}, the penalty {penalty.item():g}")
        self.optimizer.zero_grad()
        self._scaler.scale(total).backward()
        self._scaler.unscale_(self.optimizer)
        limit = self._setting.training.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), limit)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        finite = norm.item() if torch.isfinite(norm) else 0.0
        return {"loss": loss.item(), "penalty": penalty.item(), "gradient_norm": finite}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, held: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.optimizer.load_state_dict(held["optimizer"])
        if held["scaler"] and self.half:  # it may go on elsewhere than it was begun
            self._scaler.load_state_dict(held["scaler"])

    def _loss(self, batch: Batch) -> torch.Tensor:
        setting, device = self._setting, self._setting.device
        pictures = batch.pictures.to(device, non_blocking=True)
        truths = [truth.to(device, non_blocking=True).float() for truth in batch.truths]
        with torch.autocast(device.type, enabled=self.half):
            outputs = self._network(pictures)
        depth = decoded(outputs, setting.spec.output)
        loss = supervised(setting.loss.kind, depth, truths)
        if setting.loss.smoothness:
            loss = loss + setting.loss.smoothness * smoothness(depth, colours(pictures, setting.spec.input, depth))
        return loss

    def _rate(self, done: int, steps: int) -> float:
        training = self._setting.training
        falls = (1 + math.cos(math.pi * done / steps)) / 2 if training.schedule == "cosine" else 1.0
        return training.learning_rate * falls


def colours(pictures: torch.Tensor, spec: InputSpec, depth: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation of a batch: from 0 to 1, shape (N, 3, H, W), of the size of the depth."""
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(values, device=pictures.device).reshape(shape) for values in (spec.mean, spec.std))
    nchw = pictures if spec.layout == "nchw" else pictures.permute(0, 3, 1, 2)
    return functional.interpolate((nchw * std + mean) * (spec.scale / 255), size=tuple(depth.shape[2:]), mode="area")
