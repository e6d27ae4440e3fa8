"""Frames for training: pictures through the preprocessing of calibration and evaluation, and their true depth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import Frame, FrameOptions, read_truth
from ncdb_dask.evaluation.pixels import chosen
from ncdb_dask.evaluation.predictor import read_input
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.store.folder import Folder

WAITS = (0.1, 1.0, 5.0)  # seconds before reading is tried again
Request = tuple[int, bool]  # which frame, and whether it is mirrored


@dataclass(frozen=True)
class Sample:
    """A frame as it is trained with.

    Attributes
    ----------
    index : int
        Which frame.
    picture : ndarray of float32, shape (3, h, w) or (h, w, 3)
        The network's input.
    truth : ndarray of float, shape (H, W)
        Metres; 0 where a pixel is not judged.
    """

    index: int
    picture: npt.NDArray[np.float32]
    truth: npt.NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Frames together, and what became of the others that were asked for.

    Attributes
    ----------
    indices : list of int
        Which frames.
    pictures : Tensor, shape (N, ...)
        The network's input; N may be 0.
    truths : list of N Tensor, each of shape (H, W)
        Metres, 0 where a pixel is not judged; sizes may differ.
    faults : dict of int to str
        Frame to what is wrong with it.
    """

    indices: list[int]
    pictures: torch.Tensor
    truths: list[torch.Tensor]
    faults: dict[int, str]

    @classmethod
    def of(cls, found: Sequence[Sample | tuple[int, str]]) -> "Batch":
        """Collect what was read."""
        sound = [one for one in found if isinstance(one, Sample)]
        pictures = [torch.from_numpy(one.picture) for one in sound]
        return cls(
            [one.index for one in sound],
            torch.stack(pictures) if pictures else torch.empty(0),
            [torch.from_numpy(one.truth) for one in sound],
            dict(one for one in found if not isinstance(one, Sample)),
        )

    def pin_memory(self) -> "Batch":
        """Move to memory from which CUDA copies faster; torch's loader calls it."""
        return Batch(
            self.indices, self.pictures.pin_memory(), [truth.pin_memory() for truth in self.truths], self.faults
        )


@dataclass(frozen=True)
class DepthFrames:
    """A data set as torch's loader wants one; made of values, so that it travels to worker processes.

    Attributes
    ----------
    frames : sequence of Frame
        Which.
    root, roots, variants
        As in `ncdb_dask.evaluation.job.EvaluationJob`.
    spec : InputSpec
        The network's input.
    options : FrameOptions
        Which pixels are judged, and what depth is.
    """

    frames: Sequence[Frame]
    root: Folder
    roots: Roots
    variants: tuple[str, ...]
    spec: InputSpec
    options: FrameOptions

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    def __getitem__(self, request: Request) -> Sample | tuple[int, str]:
        """Read a frame; one whose data is at fault gives its number and a sentence.

        Raises
        ------
        OSError
            A fault of the environment.
        """
        index, mirrored = request
        frame = self.frames[index]
        try:
            if frame.status is not None:
                raise DataFault(frame.status, frame.detail or "")
            picture, truth = self._read_again(frame)
        except DataFault as fault:
            return index, f"{frame.stem} of {frame.dataset_root}: {fault.status} ({fault.detail})"
        if mirrored:
            across = 2 if self.spec.layout == "nchw" else 1
            picture, truth = np.flip(picture, across).copy(), truth[:, ::-1].copy()
        return Sample(index, picture, truth)

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self.root, self.roots, self.variants)

    def _read_again(self, frame: Frame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Read a frame; a fault of the environment may have passed at the next try."""
        for wait in WAITS:
            try:
                return self._read(frame)
            except OSError:
                time.sleep(wait)
        return self._read(frame)

    def _read(self, frame: Frame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        _, truth = read_truth(frame, self._tree, self.options)
        size = (truth.shape[0], truth.shape[1])
        _, picture = read_input(frame, self._tree, self.spec, size, stretch=self.options.stretch)
        judged, pixels = np.zeros_like(truth), chosen(truth, self.options.rules)
        count, least = len(pixels[0]), self.options.rules.min_pixels
        if count < least:
            raise DataFault("no_valid_pixels", f"{count} pixels count, expected at least {least}")
        judged[pixels] = truth[pixels]
        return picture, judged
