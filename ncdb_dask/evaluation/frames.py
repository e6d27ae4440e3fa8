"""Which frames are evaluated: those of split files, or rows of a finished scan."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ncdb_dask.dataset.split import Roots, entries
from ncdb_dask.dataset.split_file import SplitFile
from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.frame import Frame
from ncdb_dask.evaluation.schema import RANGES
from ncdb_dask.evaluation.where import columns_of, fitting
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import DEPTH_RANGE
from ncdb_dask.scanning.schema import SCHEMA as SCAN_SCHEMA
from ncdb_dask.store.shards import Receipt

if TYPE_CHECKING:
    import pandas as pd

NEEDED = {
    "dataset_root": "dataset_root",
    "filename": "stem",
    "image_path": "image",
    "depth_path": "depth",
    "depth_variant": "variant",
    "depth_scale": "depth_scale",
    DEPTH_RANGE: DEPTH_RANGE,
    "scene_type": "scene_type",
    "lighting": "lighting",
    "split": "split",
    "entry": "entry",
}
SHOWN = 6  # values of a column that a message names
# What an expression may name; lists cannot be compared.
COMPARABLE = (*(name for name in SCAN_SCHEMA.names if name != "depth_hist"), DEPTH_RANGE)


@dataclass(frozen=True)
class Frames:
    """The frames of an evaluation.

    Attributes
    ----------
    frames : list of Frame
        In the order of the input.
    duplicates : int
        Entries that repeated a frame.
    inputs : mapping of str to str
        Name of each input to what identifies its content.
    """

    frames: list[Frame]
    duplicates: int
    inputs: Mapping[str, str]


def of_splits(splits: Sequence[SplitFile], roots: Roots) -> Frames:
    """Return the frames of split files, in order, each once."""
    found, duplicates = entries(splits, roots)
    frames = [
        Frame(entry.split, entry.index, entry.dataset_root, entry.stem, status=entry.status, detail=entry.detail)
        for entry in found
    ]
    return Frames(frames, duplicates, {split.name: split.sha256 for split in splits})


def of_scan(table: ScanTable, where: str | None = None) -> Frames:
    """Return the frames of a scan's rows of status ``ok``.

    Parameters
    ----------
    table : ScanTable
        The scan.
    where : str, optional
        An expression over its columns and `DEPTH_RANGE` (the range of the frame's mean depth), as
        ``pandas.DataFrame.query`` reads it: only rows for which it is true.

    Raises
    ------
    EvaluationError
        An expression that cannot be read, or that no row fits.
    """
    named = set() if where is None else columns_of(where, COMPARABLE)
    wanted = {*NEEDED, "status", "mean_depth", *named}
    rows = table.columns([name for name in SCAN_SCHEMA.names if name in wanted])
    rows = rows[rows["status"] == "ok"]
    names = [*RANGES.names]
    rows = rows.assign(**{DEPTH_RANGE: [names[k] for k in RANGES.place(rows["mean_depth"].to_numpy(dtype=float))]})
    chosen = rows if where is None else fitting(rows, where)
    if chosen.empty:
        that = "" if where is None else f" that fits {where!r} ({_values(rows, named)})"
        raise EvaluationError(f"{table.folder.url}: no row of status ok{that}; expected at least one")
    values = chosen[list(NEEDED)].astype(object)
    columns = [values[name].where(values[name].notna(), None) for name in NEEDED]
    frames = [Frame(**dict(zip(NEEDED.values(), row, strict=True))) for row in zip(*columns, strict=True)]
    return Frames(frames, 0, {table.folder.url: _content(table.manifest.receipts)})


def _values(rows: "pd.DataFrame", named: Iterable[str]) -> str:
    """Say what the columns of an expression hold."""
    found = []
    for name in sorted(named):
        values = rows[name].dropna()
        if values.dtype.kind in "if":
            found.append(f"{name} is from {values.min():g} to {values.max():g}" if len(values) else f"{name} is empty")
        else:
            some = sorted({str(value) for value in values})
            more = ", ..." if len(some) > SHOWN else ""
            found.append(f"{name} is {', '.join(some[:SHOWN]) or 'empty'}{more}")
    return "; ".join(found) or "it names no column"


def _content(receipts: Sequence[Receipt]) -> str:
    """Return the SHA-256 of a table: of those of its shards. A scan that has grown keeps the id of its plan."""
    return hashlib.sha256("".join(receipt.sha256 for receipt in receipts).encode()).hexdigest()
