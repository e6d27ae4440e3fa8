"""The frames that are kept out of a calibration set, such as those of the validation split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.split import Entry, Roots, entries
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import SampleError
from ncdb_dask.sampling import neighbours
from ncdb_dask.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]
Key = tuple[str, str]


@dataclass
class Excluded:
    """Frames by name, by picture and by their place in a recording.

    Attributes
    ----------
    names : tuple of str
        The split files.
    keys : frozenset of (str, str)
        The frames that they name.
    scanned : int or None
        How many of the frames are in the scan with a picture that can be compared; None before `among` was asked.
    """

    names: tuple[str, ...] = ()
    keys: frozenset[Key] = frozenset()
    scanned: int | None = None
    _hashes: neighbours.Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64), repr=False)

    @classmethod
    def read(cls, names: Sequence[str], root: Folder, roots: Roots, options: Mapping[str, Any]) -> "Excluded":
        """Read split files, looked for as given and then under the root; `options` are fsspec's for URLs.

        Raises
        ------
        SplitError
            A file that is missing or no split.
        SampleError
            An item that names no frame of the data set: it would keep nothing out.
        """
        if not names:
            return cls()
        found, _ = entries(read_splits(names, root, options), roots)
        require_sound(found, "would keep none out")
        return cls(tuple(names), frozenset(entry.key for entry in found))

    def among(self, frames: "pd.DataFrame") -> Mask:
        """Say which rows are frames to keep out, and remember what these look like."""
        pairs = zip(frames["dataset_root"].tolist(), frames["filename"].tolist(), strict=True)
        named = np.fromiter((pair in self.keys for pair in pairs), dtype=bool, count=len(frames))
        if self.keys:
            pictures = frames.loc[named, "phash"].dropna()
            self._hashes = neighbours.hash_values(pictures.tolist())
            self.scanned = len(pictures)
        return named

    def pictured(self, frames: "pd.DataFrame") -> Mask:
        """Say which rows are the same picture as a frame to keep out."""
        known = frames["phash"].notna().to_numpy()
        same = np.zeros(len(frames), dtype=bool)
        same[known] = neighbours.same_picture(neighbours.hash_values(frames["phash"][known].tolist()), self._hashes)
        return same

    def near(self, keys: Sequence[Key], gap: int) -> Mask:
        """Say which frames are nearer than `gap` to a frame to keep out, in the same recording."""
        codes: dict[str, int] = {}
        place = [
            (
                np.fromiter((codes.setdefault(root, len(codes)) for root, _ in some), dtype=np.int64, count=len(some)),
                neighbours.frame_numbers([stem for _, stem in some]),
            )
            for some in (keys, sorted(self.keys))
        ]
        return neighbours.near(*place[0], *place[1], gap)


def require_sound(found: Sequence[Entry], therefore: str) -> None:
    """Refuse a split with items that name no frame of the data set.

    Raises
    ------
    SampleError
        With the first of them.
    """
    faulty = [entry for entry in found if entry.status is not None]
    if faulty:
        raise SampleError(
            f"{faulty[0].detail}; {len(faulty)} of {len(found)} items name no frame here, and {therefore}: "
            "mend them, or name the data set's folder with --root"
        )
