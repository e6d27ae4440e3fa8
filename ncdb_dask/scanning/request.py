"""What a scan is asked to do: the options, checked and with every default resolved."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ncdb_dask.errors import PlanError
from ncdb_dask.scanning.schema import SCHEMA_VERSION
from ncdb_dask.store.folder import Folder


@dataclass(frozen=True)
class ScanRequest:
    """What the caller asks for, with every default resolved.

    Attributes
    ----------
    root, out : Folder
        The data set and the table.
    allowed : tuple of Folder
        Further folders in which frames may lie.
    splits : tuple of str
        Split files as given.
    variants : tuple of str
        Depth folders in the order in which they are tried.
    depth_scale : float, "auto" or None
        Raw units a metre; None is 256 for 16-bit maps only.
    image_stats : bool
        Whether images are decoded.
    shard_size : int or None
        Entries a shard; None lets the plan choose.
    storage_options : mapping
        For splits that are URLs.
    """

    root: Folder
    out: Folder
    allowed: tuple[Folder, ...]
    splits: tuple[str, ...]
    variants: tuple[str, ...]
    depth_scale: float | str | None
    image_stats: bool
    shard_size: int | None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        *,
        root: Folder,
        out: Folder,
        allowed: Iterable[Folder],
        splits: Iterable[str],
        variants: Iterable[str],
        depth_scale: float | str | None,
        image_stats: bool,
        shard_size: int | None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> "ScanRequest":
        """Check the options and make a request of them.

        Raises
        ------
        PlanError
            An option outside its range.
        """
        if shard_size is not None and shard_size < 1:
            raise PlanError(f"shard size {shard_size}: expected at least 1")
        names = tuple(splits)
        if not names:
            raise PlanError("no split file given; expected at least one, such as train_split.json")
        places = tuple(allowed)
        other = [place.url for place in places if type(place) is not type(root)]
        if other:
            raise PlanError(f"allowed root {other[0]}: expected the same kind of storage as ROOT, {root.url}")
        scale = checked_scale(depth_scale)
        return cls(root, out, places, names, tuple(variants), scale, image_stats, shard_size, storage_options or {})

    def settings(self) -> dict[str, Any]:
        """Return what shapes the rows, as JSON values: a scan continues only under the same."""
        return {
            "root": self.root.url,
            "allow_root": [folder.url for folder in self.allowed],
            "variants": list(self.variants),
            "depth_scale": self.depth_scale,
            "image_stats": self.image_stats,
            "schema": SCHEMA_VERSION,
        }


def checked_scale(given: float | str | None) -> float | str | None:
    """Return the depth scale as a number, "auto" or None.

    Raises
    ------
    PlanError
        Where it is neither a positive number nor ``auto``.
    """
    if given is None or given == "auto":
        return given
    try:
        scale = float(given)
    except ValueError:
        scale = math.nan
    if not (0 < scale < math.inf and 2**16 / scale < math.inf):
        raise PlanError(f"depth scale {given!r}: expected raw units a metre, such as 256 or 1000, or auto")
    return scale
