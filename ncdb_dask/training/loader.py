"""Reading frames ahead in worker processes, in an order that the seed and the epoch alone decide."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ncdb_dask.errors import TrainingError
from ncdb_dask.training.data import Batch, DepthFrames, Request


@dataclass
class _Requests:
    """What torch's loader is to read next; it outlives an epoch, and its worker processes with it."""

    batches: list[list[Request]] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[Request]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Loader:
    """Reads the frames of training and of validation, with the same processes.

    Parameters
    ----------
    train, validation : DepthFrames
        The frames; both of the same data set.
    batch_size : int
        Frames together.
    workers : int
        Processes that read; 0 reads in this one.
    seed : int
        Of the order and of what is mirrored.
    flip : bool
        Whether half of the frames of an epoch are mirrored.
    pinned : bool
        For CUDA.
    """

    def __init__(
        self,
        train: DepthFrames,
        validation: DepthFrames,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        flip: bool,
        pinned: bool = False,
    ) -> None:
        self._train, self._validation = len(train), len(validation)
        self._size, self._seed, self._flip = batch_size, seed, flip
        self._root = train.root
        self._requests = _Requests()
        self._loader: DataLoader[Any] = DataLoader(
            replace(train, frames=[*train.frames, *validation.frames]),
            batch_sampler=self._requests,
            num_workers=workers,
            collate_fn=Batch.of,
            pin_memory=pinned,
            persistent_workers=workers > 0,
            # A fork would copy whatever locks the threads of a Dask client hold just then.
            multiprocessing_context="forkserver" if workers else None,
            worker_init_fn=_end_with_training,
            # Of its own: the network's random numbers must not depend on how often the loader has drawn.
            generator=torch.Generator(),
        )

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self._train / self._size)

    @property
    def validation_steps(self) -> int:
        """Batches of a validation."""
        return math.ceil(self._validation / self._size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Read the training frames in the order of an epoch."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(self._train).tolist()
        mirrored = ((rng.random(self._train) < 0.5) & self._flip).tolist()
        return self._read(list(zip(order, mirrored, strict=True)))

    def validation(self) -> Iterator[Batch]:
        """Read the frames of validation, in their order."""
        return self._read([(self._train + index, False) for index in range(self._validation)])

    def _read(self, requests: Sequence[Request]) -> Iterator[Batch]:
        self._requests.batches = self._together(requests)
        try:
            yield from self._loader
        except OSError as error:  # from another process, its traceback comes along; the last line tells
            reason = str(error).strip().splitlines()[-1]
            raise TrainingError(
                f"{self._root.url}: cannot be read ({reason}); the same command goes on then"
            ) from error

    def _together(self, requests: Sequence[Request]) -> list[list[Request]]:
        return [list(requests[start : start + self._size]) for start in range(0, len(requests), self._size)]


def _end_with_training(_worker: int) -> None:
    """Let a process that reads end when the one that trains is gone, even killed.

    What torch does for this is to look at the parent process, which is the fork server and stays.
    """
    training = parent_process()
    assert training is not None  # torch calls it in processes that it starts

    def watch() -> None:
        training.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
