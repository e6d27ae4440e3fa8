"""Training with one lambda, epoch by epoch: the same whether it is interrupted or not.

Nothing but the last checkpoint counts at the beginning of an epoch: its order, mirroring and dropout come from the seed
and its number, its learning rates from the numbers of its steps.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from ncdb_dask.errors import TrainingError
from ncdb_dask.quantization.opsets import one_line
from ncdb_dask.training.checkpoint import BEST, LAST, load, save
from ncdb_dask.training.data import Batch
from ncdb_dask.training.history import HISTORY_FILE, Row, as_parquet
from ncdb_dask.training.layers import NORMS
from ncdb_dask.training.loader import Loader
from ncdb_dask.training.source import Outputs
from ncdb_dask.training.step import DivergedError, Setting, Stepper
from ncdb_dask.training.validation import Validation, validate

Progress = Callable[[str, int, int], None]


@dataclass
class Trainer:
    """A training under way.

    Attributes
    ----------
    setting : Setting
        What it is.
    network : Outputs
        What is trained, on its device.
    penalty : callable
        Returns the penalty on the weights, after a forward pass.
    loader : Loader
        Reads the frames of training and of validation.
    progress : callable
        Told what is under way, and how far.
    """

    setting: Setting
    network: Outputs
    penalty: Callable[[], torch.Tensor]
    loader: Loader
    progress: Progress
    history: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make what belongs to the network."""
        self.stepper = Stepper(self.setting, self.network, self.penalty)

    def run(self) -> list[Row]:
        """Train to the end, or go on to it, and return a row for each epoch; the first, 0, is before.

        Raises
        ------
        TrainingError
            Where the loss is no number any more, or torch fails.
        """
        self._resume()
        try:
            if not self.history:
                self._keep(0, {}, self._validated(), 0.0)
            while not self.finished:
                self._epoch(len(self.history))
        except RuntimeError as error:  # of the network, of CUDA's memory, of processes that read
            raise TrainingError(
                f"epoch {len(self.history)}: torch stops: {one_line(error)}; where memory is short, try a smaller "
                "batch_size; where a process that reads has died, workers = 0 tells why"
            ) from error
        self.setting.folder.remove_abandoned()
        return self.history

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or nothing has become better for long."""
        training, done = self.setting.training, len(self.history) - 1
        waited = done - self.best if done else 0
        return done >= training.epochs or (0 < training.patience <= waited)

    @property
    def best(self) -> int:
        """The epoch of the least validation abs_rel; the state before training does not count."""
        trained = self.history[1:]
        return min(trained, key=lambda row: row["abs_rel"])["epoch"] if trained else 0

    def _epoch(self, epoch: int) -> None:
        training, begun = self.setting.training, time.monotonic()
        torch.manual_seed(training.seed + epoch)
        self._begin_training()
        sums, frames, faults = dict.fromkeys(("loss", "penalty", "gradient_norm"), 0.0), 0, list[str]()
        what = f"epoch {epoch} of {training.epochs}, lambda {self.setting.factor:g}"
        for step, batch in enumerate(self._told(what, self.loader.epoch(epoch), self.loader.steps)):
            faults += batch.faults.values()
            if batch.indices:
                done = (epoch - 1) * self.loader.steps + step
                try:
                    found = self.stepper.step(batch, done, training.epochs * self.loader.steps)
                except DivergedError as error:
                    raise self._diverged(f"epoch {epoch}, step {step + 1}: {error}") from error
                for name, value in found.items():
                    sums[name] += value * len(batch.indices)
                frames += len(batch.indices)
        if not frames:
            raise TrainingError(f"no frame of the training split can be used; the first: {faults[0]}")
        if not all(bool(torch.isfinite(one).all()) for one in self.network.parameters()):
            raise self._diverged(f"epoch {epoch}: weights are not finite any more")
        means = {name: value / frames for name, value in sums.items()}
        self._keep(
            epoch, means | {"frames": frames, "left_out": len(faults)}, self._validated(), time.monotonic() - begun
        )

    def _begin_training(self) -> None:
        self.network.train()
        if self.setting.training.freeze_batch_norm:
            for module in self.network.modules():
                if isinstance(module, NORMS):
                    module.eval()

    def _validated(self) -> Validation:
        setting = self.setting
        done = f"after epoch {len(self.history)}" if self.history else "before training"
        what = f"validation {done}, lambda {setting.factor:g}"
        batches = self._told(what, self.loader.validation(), self.loader.validation_steps)
        found: Validation = validate(self.network, batches, setting.spec.output, setting.rules, setting.device)
        return found

    def _told(self, what: str, batches: Iterator[Batch], steps: int) -> Iterator[Batch]:
        """Pass batches on, and tell when one is done."""
        for step, batch in enumerate(batches):
            yield batch
            self.progress(what, step + 1, steps)

    def _keep(self, epoch: int, means: Row, found: Validation, seconds: float) -> None:
        """Write the checkpoints of an epoch; the best one first, because the last one says that it is there."""
        setting = self.setting
        row: Row = {"lambda": setting.factor, "epoch": epoch, **means, **found.figures}
        row |= {"learning_rate": self.stepper.optimizer.param_groups[0]["lr"]} if epoch else {}
        self.history.append(row | {"validated": found.frames, "not_validated": len(found.faults), "seconds": seconds})
        # Of the CPU, so that who reads it with torch alone needs no GPU.
        weights = {name: value.cpu() for name, value in self.network.network.state_dict().items()}
        if epoch and self.best == epoch:
            save(setting.folder, BEST, {"identity": setting.identity, "epoch": epoch, "network": weights, "row": row})
        held = self.stepper.state_dict() | {"history": self.history}
        save(setting.folder, LAST, {"identity": setting.identity, "network": weights, **held})
        setting.folder.write(HISTORY_FILE, as_parquet(self.history))

    def _resume(self) -> None:
        held = load(self.setting.folder, LAST, self.setting.identity)
        if held is not None:
            self.network.network.load_state_dict(held["network"])
            self.stepper.load_state_dict(held)
            self.history = held["history"]
            # A kill behind the checkpoint has left the older one.
            self.setting.folder.write(HISTORY_FILE, as_parquet(self.history))

    def _diverged(self, what: str) -> TrainingError:
        best = self.best
        kept = f"the best so far, of epoch {best}, is {self.setting.folder.path}/{BEST}" if best else "no epoch is done"
        rate = self.setting.training.learning_rate
        return TrainingError(
            f"{what}: the training has diverged; {kept}. Try a learning_rate below {rate:g}, a smaller lambda, "
            f"clip_norm = 1{', or amp = false' if self.stepper.half else ''}"
        )


def best_weights(setting: Setting, epoch: int) -> dict[str, torch.Tensor]:
    """Return the weights of the best epoch of a training that has ended.

    Raises
    ------
    TrainingError
        Where somebody has taken them away, or a device that does not compute the same twice was killed between the two
        checkpoints of an epoch.
    """
    held = load(setting.folder, BEST, setting.identity)
    if held is None or held["epoch"] != epoch:
        found = "no such file" if held is None else f"is of epoch {held['epoch']}"
        raise TrainingError(f"{setting.folder.path}/{BEST}: {found}; expected the best epoch, {epoch}: use --fresh")
    weights: dict[str, torch.Tensor] = held["network"]
    return weights
