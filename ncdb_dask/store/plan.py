"""The plan of a run: which items there are, cut into shards, written once before any work begins.

A shard is a row group of the plan's Parquet file, so a task carries a few numbers and reads its own items. The plan
grows by parts: a later part holds what a grown input has added, and the shards before it keep their numbers.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import Folder

PLAN_FOLDER = "_plan"
PLAN_FILE = f"{PLAN_FOLDER}/plan.json"
# It is Parquet, but by its suffix dask.dataframe.read_parquet(OUT) would take it for a part of the table.
PART_SUFFIX = ".plan"
FORMAT = 1
# A shard is the unit of retry and of scheduling. Its own cost of some 10 ms is a quarter of the time for 8 frames of
# 640 x 384, a twentieth for 32, and hidden by 512; 20,000 shards are what a scheduler holds with ease; 64 keep every
# core of a workstation busy.
MAX_SHARD_SIZE = 512
MIN_SHARD_SIZE = 32
WANTED_SHARDS = 64
MAX_SHARDS = 20_000
# A task parses the footer of the plan's file, which lists its row groups: 10 ms for 2,000 of them, 1 ms for 256.
MAX_PART_SHARDS = 256


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one task does: a shard, or a part of it on probation.

    Attributes
    ----------
    shard, rows : int
        Number of the shard in the run, and how many items it has.
    part, row_group : str, int
        Where the plan holds its items.
    crashed : tuple of int
        Positions in the shard that are known to kill their worker and are not touched again.
    probe : tuple of int, or None
        Only run the positions ``[start, stop)`` and write nothing, to find out which one kills its worker.
    alone : bool
        Run while nothing else does, so that a death of the worker is this assignment's own doing.
    attempt : int
        Tells a repeated assignment from the one before.
    """

    shard: int
    rows: int
    part: str
    row_group: int
    crashed: tuple[int, ...] = ()
    probe: tuple[int, int] | None = None
    alone: bool = False
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of the plan and the shards that are its row groups."""

    file: str
    first_shard: int
    rows: int
    shard_size: int

    @property
    def shards(self) -> int:
        """Its number of shards."""
        return math.ceil(self.rows / self.shard_size)

    def assignments(self) -> Iterator[Assignment]:
        """Yield one assignment a shard, in order."""
        for group in range(self.shards):
            rows = min(self.shard_size, self.rows - group * self.shard_size)
            yield Assignment(self.first_shard + group, rows, self.file, group)


@dataclass(frozen=True)
class Plan:
    """What a run will do, as frozen data.

    Attributes
    ----------
    id : str
        Random; receipts carry it, and a worker of an older plan that wakes up late finds that it is not its own.
    kind : str
        What is run, for instance ``scan``.
    settings : mapping
        Everything that shapes the rows; a run continues only under equal settings.
    inputs : mapping
        Name of each input file to its SHA-256.
    duplicates : int
        Items that were left out because an earlier one is the same.
    parts : tuple of Part
        Where the items lie.
    """

    id: str
    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    duplicates: int
    parts: tuple[Part, ...]

    @property
    def entries(self) -> int:
        """Number of items in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def shards(self) -> int:
        """Number of shards in all parts."""
        return sum(part.shards for part in self.parts)

    def assignments(self) -> Iterator[Assignment]:
        """Yield one assignment a shard, in order."""
        for part in self.parts:
            yield from part.assignments()

    def extended(self, rows: int, inputs: Mapping[str, str], duplicates: int) -> "Plan":
        """Return the plan with further parts for `rows` new items."""
        new = cut_parts(rows, self.parts[0].shard_size, first_shard=self.shards, first_part=len(self.parts))
        return replace(self, inputs=inputs, duplicates=duplicates, parts=(*self.parts, *new))


def cut_parts(rows: int, shard_size: int, first_shard: int = 0, first_part: int = 0) -> tuple[Part, ...]:
    """Cut items into parts of at most `MAX_PART_SHARDS` shards."""
    step = shard_size * MAX_PART_SHARDS
    return tuple(
        Part(
            f"{PLAN_FOLDER}/items-{first_part + number:03d}{PART_SUFFIX}",
            first_shard + number * MAX_PART_SHARDS,
            min(step, rows - start),
            shard_size,
        )
        for number, start in enumerate(range(0, rows, step))
    )


def default_shard_size(entries: int, most: int = MAX_SHARD_SIZE, least: int = MIN_SHARD_SIZE) -> int:
    """Choose how many items make a shard: at most and at least so many, as long as the shards are not too many."""
    size = min(most, max(least, math.ceil(entries / WANTED_SHARDS)))
    return max(size, math.ceil(entries / MAX_SHARDS))


def write_parts(folder: Folder, parts: Iterable[Part], items: pa.Table) -> None:
    """Write the items of consecutive parts, a row group a shard."""
    start = 0
    for part in parts:
        sink = pa.BufferOutputStream()
        pq.write_table(items.slice(start, part.rows), sink, row_group_size=part.shard_size, compression="zstd")
        folder.write(part.file, sink.getvalue().to_pybytes())
        start += part.rows


def write_plan(folder: Folder, plan: Plan) -> None:
    """Publish the plan; its parts are there already."""
    folder.write(PLAN_FILE, json.dumps(plan_document(plan), indent=1).encode())


def read_plan(folder: Folder) -> Plan | None:
    """Return the folder's plan, or None where it has none.

    Raises
    ------
    PlanError
        Where the file is damaged or of another format.
    """
    try:
        data = folder.read(PLAN_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return plan_from(json.loads(data))
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(
            f"{folder.url}/{PLAN_FILE} is damaged or of another version of ncdb_dask ({error!r}); --fresh starts over"
        ) from error


def plan_from(document: Any) -> Plan:
    """Undo `plan_document`; what does not fit raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    if not isinstance(document, dict) or document["format"] != FORMAT:
        raise ValueError(f"expected an object of format {FORMAT}")
    fields = {name: value for name, value in document.items() if name != "format"}
    plan = Plan(**{**fields, "parts": tuple(Part(**part) for part in fields["parts"])})
    kinds = {"id": str, "kind": str, "settings": dict, "inputs": dict, "duplicates": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(plan, name), kind)]
    if wrong or not plan.parts:
        raise ValueError(f"field {wrong[0] if wrong else 'parts'!r} is not as expected")
    return plan


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values."""
    return {"format": FORMAT, **asdict(plan)}


def read_items(folder: Folder, assignment: Assignment) -> list[dict[str, Any]]:
    """Read the items of one shard.

    Raises
    ------
    PlanError
        Where the plan's file is damaged.
    """
    try:
        with folder.open(assignment.part) as file:
            rows: list[dict[str, Any]] = pq.ParquetFile(file).read_row_group(assignment.row_group).to_pylist()
    except pa.ArrowException as error:
        raise PlanError(f"{folder.url}/{assignment.part} is damaged ({error}); --fresh starts over") from error
    return rows
