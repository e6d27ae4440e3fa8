"""Calibration frames: those of a split, and what each becomes before it enters the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.dataset.split import Roots, entries
from ncdb_dask.dataset.split_file import SplitFile
from ncdb_dask.errors import CalibrationError, DataFault
from ncdb_dask.model.preprocess import preprocess
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.store.folder import Folder


@dataclass(frozen=True, slots=True)
class CalibrationFrame:
    """An entry of a calibration split.

    Attributes
    ----------
    dataset_root, stem : str or None
        Its key; None where the entry names no frame.
    status, detail : str or None
        What is wrong with the entry itself, if anything.
    """

    dataset_root: str | None
    stem: str | None
    status: str | None = None
    detail: str | None = None

    @property
    def key(self) -> tuple[str | None, str | None]:
        """What tells it from all others; of what names no frame, nothing does."""
        return self.dataset_root, self.stem

    def __str__(self) -> str:
        return f"{self.stem} of {self.dataset_root}"


@dataclass(frozen=True)
class CalibrationFrames:
    """The frames of one or several splits, in order, each once.

    Attributes
    ----------
    frames : tuple of CalibrationFrame
        At least one.
    duplicates : int
        Entries that repeated a frame.
    inputs : mapping of str to str
        Name of each split file to its SHA-256.
    """

    frames: tuple[CalibrationFrame, ...]
    duplicates: int
    inputs: Mapping[str, str]

    @classmethod
    def of(cls, splits: Sequence[SplitFile], roots: Roots) -> "CalibrationFrames":
        """Take the frames of split files.

        Raises
        ------
        CalibrationError
            Where they hold no entry.
        """
        found, duplicates = entries(splits, roots)
        if not found:
            names = ", ".join(split.name for split in splits)
            raise CalibrationError(f"{names}: holds no entry; expected at least one calibration frame")
        frames = tuple(CalibrationFrame(entry.dataset_root, entry.stem, entry.status, entry.detail) for entry in found)
        return cls(frames, duplicates, {split.name: split.sha256 for split in splits})


@dataclass(frozen=True)
class FrameReader:
    """Turns a frame into the network's input; made of values, so that it travels to any worker.

    Attributes
    ----------
    root : Folder
        The data set.
    roots : Roots
        Where frames may lie.
    spec : InputSpec
        The network's input.
    run : str
        Differs from run to run: listings of an earlier run must not serve a later one.
    """

    root: Folder
    roots: Roots
    spec: InputSpec
    run: str

    def tensor(self, frame: CalibrationFrame) -> npt.NDArray[np.float32]:
        """Read and preprocess the picture of a frame.

        Returns
        -------
        ndarray of float32, shape (1, 3, height, width) or (1, height, width, 3)
            With the batch dimension.

        Raises
        ------
        DataFault
            ``bad_entry``, ``unsafe_path``, ``missing_image`` or ``unreadable_image``.
        OSError
            A fault of the environment: try again.
        """
        path, data = self.picture(frame)
        return self.preprocessed(path, data)

    def picture(self, frame: CalibrationFrame) -> tuple[str, bytes]:
        """Return path and bytes of a frame's picture; see `tensor` for errors."""
        if frame.status is not None or frame.dataset_root is None or frame.stem is None:
            raise DataFault(frame.status or "bad_entry", frame.detail or f"{frame}: names no frame")
        tree = _tree(self)
        path = tree.locate_image(frame.dataset_root, frame.stem)
        return path, read_listed("image", tree, path, whole)

    def preprocessed(self, path: str, data: bytes) -> npt.NDArray[np.float32]:
        """Return the network's input for the bytes of a picture; `path` is what errors name."""
        return blaming(path, lambda: preprocess(data, self.spec))[None]


@lru_cache(maxsize=2)
def _tree(reader: FrameReader) -> Tree:
    """One tree a run and process, so that its listings serve all frames; two may be read at once."""
    return Tree(reader.root, reader.roots, ())
