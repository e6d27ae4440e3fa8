"""The rows of frames that were measured: where they are, and which of several counts."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ncdb_dask.calibration.activations import Row, rows_of
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.errors import DataFault
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.shards import Receipt, read_shards

Key = tuple[str, str]
_KEY = ("dataset_root", "filename")


def picture_digest(reader: FrameReader, frame: CalibrationFrame) -> str | None:
    """Return the SHA-256 of a frame's picture; None where it is gone, which says nothing against what was measured.

    Raises
    ------
    OSError
        A fault of the environment: try again.
    """
    try:
        _, data = reader.picture(frame)
    except DataFault:
        return None
    return hashlib.sha256(data).hexdigest()


def rows_of_frames(
    out: LocalFolder,
    receipts: Iterable[Receipt],
    wanted: Iterable[Key],
    pictures: Mapping[Key, str] | None = None,
) -> Iterator[Row]:
    """Yield a row for every frame that was run: of several, the last one that is ok.

    Parameters
    ----------
    out : LocalFolder
        Holds the shards.
    receipts : iterable of Receipt
        Of all shards that are done.
    wanted : iterable of (str, str)
        Keys of the frames.
    pictures : mapping of (str, str) to str, optional
        SHA-256 of a frame's picture: rows that are ok and were made of another one do not count.

    Raises
    ------
    PlanError
        Where a shard is not what its receipt says.
    """
    by_shard = {receipt.shard: receipt for receipt in receipts}
    rows, chosen = chosen_places(places_of(out, by_shard.values()), pictures or {}), dict[int, set[Key]]()
    for key in wanted:
        if key in rows:
            chosen.setdefault(rows[key].shard, set()).add(key)
    for shard in sorted(chosen):
        (table,) = read_shards(out, [by_shard[shard]], check=True)
        yield from (row for row in rows_of(table) if _key(row) in chosen[shard])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row of a frame is, and of which picture."""

    shard: int
    status: str
    sha256: str | None


def places_of(out: LocalFolder, receipts: Iterable[Receipt]) -> dict[Key, list[Place]]:
    """Find the rows of each frame that was run, in the order of the shards."""
    found: dict[Key, list[Place]] = {}
    for receipt in sorted(receipts, key=lambda receipt: receipt.shard):
        (table,) = read_shards(out, [receipt], [*_KEY, "status", "sha256"])
        for row in table.to_pylist():
            found.setdefault(_key(row), []).append(Place(receipt.shard, row["status"], row["sha256"]))
    return found


def chosen_places(places: Mapping[Key, Sequence[Place]], pictures: Mapping[Key, str]) -> dict[Key, Place]:
    """Choose the row of each frame: of several, the last one that is ok and of its picture, else the last fault."""
    chosen: dict[Key, Place] = {}
    for key, rows in places.items():
        fitting = [row for row in rows if row.status == "ok" and pictures.get(key, row.sha256) == row.sha256]
        faults = [row for row in rows if row.status != "ok"]
        if fitting or faults:
            chosen[key] = (fitting or faults)[-1]
    return chosen


def _key(row: Row) -> Key:
    root, name = (row[part] for part in _KEY)
    return root, name
