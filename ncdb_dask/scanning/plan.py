"""Planning a scan: from split files and options to frozen data that says what will be done.

Nothing is written here but by `ScanPlan.write`; a plan can be printed and thrown away.
"""

import os
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.split import Entry, Roots, SplitFile, entries, find_split, parse_split, plain
from ncdb_dask.errors import PlanError, SplitError
from ncdb_dask.scanning.request import ScanRequest
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.plan import (
    Assignment,
    Plan,
    cut_parts,
    default_shard_size,
    read_items,
    read_plan,
    write_parts,
    write_plan,
)
from ncdb_dask.store.shards import MANIFEST_FILE, Receipt, clear, read_manifest, read_receipts, witnessed

KIND = "scan"
OVERVIEW_FILE = "_overview.png"
_ITEMS = pa.schema(
    [
        ("split", pa.string()),
        ("index", pa.int64()),
        ("dataset_root", pa.string()),
        ("stem", pa.string()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("item", pa.string()),
    ]
)


@dataclass(frozen=True)
class ScanPlan:
    """A scan that can be run: the plan, what of it is done, and what has to be written first.

    Attributes
    ----------
    request : ScanRequest
        What was asked for.
    plan : Plan
        Entries and shards.
    done : mapping of int to Receipt
        Shards that need no more work.
    finished : bool
        Whether the table is published already.
    new_items : pyarrow.Table or None
        Items of the plan's last parts, when these are not on disk yet.
    new_parts : int
        How many parts that are.
    fresh : bool
        Whether what the folder holds is removed first.
    seen : Plan or None
        What the folder held when this was planned.
    """

    request: ScanRequest
    plan: Plan
    done: Mapping[int, Receipt]
    finished: bool
    new_items: pa.Table | None = None
    new_parts: int = 0
    fresh: bool = False
    seen: Plan | None = None

    @property
    def left(self) -> list[Assignment]:
        """The shards that are still to be done."""
        return [assignment for assignment in self.plan.assignments() if assignment.shard not in self.done]

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.done)} done, {len(self.left)} left"
        return (
            f"<scan of {self.request.root.url} into {self.request.out.url}: {self.plan.entries} entries "
            f"({self.plan.duplicates} duplicates left out); shards: {self.plan.shards}, {state}>"
        )

    def text(self) -> str:
        """Return the plan as lines for people."""
        done, rows, _ = self.progress()
        inputs = ", ".join(self.plan.inputs)
        lines = [f"{'Data set':<14}{self.request.root.url}", f"{'Table':<14}{self.request.out.url}"]
        lines.append(f"{'Entries':<14}{self.plan.entries} from {inputs}; {self.plan.duplicates} duplicates left out")
        lines.append(f"{'Shards':<14}{self.plan.shards}, of which {done} are done ({rows} entries)")
        lines += [f"{name:<14}{value}" for name, value in self.plan.settings.items() if name not in ("root", "schema")]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in figures, as JSON values."""
        done, rows, counts = self.progress()
        return {
            "root": self.request.root.url,
            "out": self.request.out.url,
            "entries": self.plan.entries,
            "duplicates": self.plan.duplicates,
            "shards": self.plan.shards,
            "shards_done": done,
            "entries_done": rows,
            "status": counts,
            "finished": self.finished,
            "settings": dict(self.plan.settings),
        }

    def progress(self) -> tuple[int, int, dict[str, int]]:
        """Return the shards and rows that are done, and those rows by status."""
        counts = Counter[str]()
        for receipt in self.done.values():
            counts.update(receipt.counts)
        return len(self.done), counts.total(), dict(counts)

    def write(self) -> None:
        """Put the plan on disk; what is there already is not written again.

        Raises
        ------
        PlanError
            Where another run has planned in the folder since.
        """
        out = self.request.out
        if self.fresh:
            clear(out)
        elif read_plan(out) not in (self.seen, self.plan):
            raise PlanError(f"{out.url}: another run has begun in this folder since; give the command again")
        if self.new_items is not None:
            # Nobody must take the old table, or its picture, for the one that is now planned.
            out.remove(MANIFEST_FILE)
            out.remove(OVERVIEW_FILE)
            write_parts(out, self.plan.parts[-self.new_parts :], self.new_items)
        if read_plan(out) != self.plan:
            write_plan(out, self.plan)


def make_plan(request: ScanRequest, *, fresh: bool = False, update: bool = False) -> ScanPlan:
    """Read the splits and decide what is to be done.

    Parameters
    ----------
    request : ScanRequest
        What is asked for.
    fresh : bool
        Leave aside what the output folder holds.
    update : bool
        Accept splits that have grown, and plan their new entries only.

    Raises
    ------
    SplitError
        A split that cannot be used.
    PlanError
        A folder that holds something else, or a scan under other options.
    """
    if fresh and update:
        raise PlanError("--fresh starts over and --update goes on from what is there; give one of them")
    for folder in (request.root, *request.allowed):
        _check_root(folder)
    names = _split_names(request.splits)
    splits = [
        parse_split(find_split(given, request.root, request.storage_options), name) for given, name in names.items()
    ]
    inputs = {split.name: split.sha256 for split in splits}
    existing = _existing_plan(request.out, fresh)
    if existing is None:
        return _new_plan(request, splits, inputs, fresh)
    _check_settings(request, existing)
    if existing.inputs == inputs:
        manifest = read_manifest(request.out)
        done = read_receipts(request.out, existing) if manifest is None else witnessed(request.out, manifest.receipts)
        finished = manifest is not None and len(done) == existing.shards
        return ScanPlan(request, existing, done, finished, seen=existing)
    if not update:
        if list(inputs) != list(existing.inputs):
            raise PlanError(
                f"{request.out.url} was planned from {', '.join(existing.inputs)}, now from {', '.join(inputs)}; "
                "give the same splits to continue, --update to scan what these add, or --fresh to start over"
            )
        changed = [name for name in inputs if inputs[name] != existing.inputs[name]]
        raise PlanError(
            f"{request.out.url} was planned with other contents of {', '.join(changed)}; "
            "--update scans the entries that were added, --fresh starts over"
        )
    return _grown_plan(request, existing, splits, inputs)


def _check_root(root: Folder) -> None:
    try:
        there = root.holds_something()
    except OSError as error:
        raise PlanError(f"{root.url}: cannot be read ({error.strerror or error})") from error
    if not there:
        raise PlanError(f"{root.url}: no such folder, or an empty one; expected a folder that holds a data set")


def _split_names(given: Sequence[str]) -> dict[str, str]:
    """Name each split by its file name, or as given where two share one."""
    for path in given:
        if plain(path) != path:
            raise SplitError(f"{plain(path)}: the file's name is no UTF-8; rename it")
    bases = Counter(path.rsplit("/", 1)[-1] for path in dict.fromkeys(given))
    return {path: base if bases[base := path.rsplit("/", 1)[-1]] == 1 else path for path in dict.fromkeys(given)}


def _existing_plan(out: Folder, fresh: bool) -> Plan | None:
    """Return the plan to go on with; refuse a folder whose files are not a scan's own."""
    if isinstance(out, LocalFolder) and os.path.isfile(out.path):
        raise PlanError(f"{out.url} is a file; expected a folder: a new one, an empty one, or that of an earlier scan")
    own: tuple[str, ...] = ("_", ".", "shard-")
    plan = None
    try:
        plan = read_plan(out)
        own = own if plan is not None else ("_", ".")
    except PlanError:
        if not fresh:
            raise
    if plan is not None and plan.kind != KIND:
        raise PlanError(f"{out.url} holds a run of kind {plan.kind!r}, not a scan; choose another folder")
    held = out.list()
    foreign = [name for name in (*held.sizes, *held.folders) if not name.startswith(own)]
    if foreign and (plan is None or fresh):
        raise PlanError(f"{out.url} holds what is not of a scan ({foreign[0]}, ...); choose a new or empty folder")
    return None if fresh else plan


def _check_settings(request: ScanRequest, plan: Plan) -> None:
    now, before = request.settings(), dict(plan.settings)
    if request.shard_size is not None:
        now["shard_size"], before["shard_size"] = request.shard_size, plan.parts[0].shard_size
    differing = [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in now if now[name] != before.get(name)
    ]
    if differing:
        raise PlanError(
            f"{request.out.url} was begun with other options ({'; '.join(differing)}); "
            "give the same ones to continue, or --fresh to start over"
        )


def _new_plan(request: ScanRequest, splits: list[SplitFile], inputs: dict[str, str], fresh: bool) -> ScanPlan:
    found, duplicates = entries(splits, Roots.of(request.root, request.allowed))
    size = request.shard_size or default_shard_size(len(found))
    parts = cut_parts(len(found), size)
    plan = Plan(uuid.uuid4().hex, KIND, request.settings(), inputs, duplicates, parts)
    return ScanPlan(request, plan, {}, False, _table(found), len(parts), fresh)


def _grown_plan(request: ScanRequest, plan: Plan, splits: list[SplitFile], inputs: dict[str, str]) -> ScanPlan:
    found, duplicates = entries(splits, Roots.of(request.root, request.allowed))
    known = Counter(entry.key for entry in planned_entries(request.out, plan))
    added = []
    for entry in found:
        if known[entry.key]:
            known[entry.key] -= 1
        else:
            added.append(entry)
    vanished = [key for key, count in known.items() if count]
    if vanished:
        raise PlanError(
            f"{request.out.url}: {len(vanished)} entries that were planned are no longer in the splits "
            f"({'/'.join(vanished[0]).strip(chr(0))}, ...); --update only adds, --fresh starts over"
        )
    grown = plan.extended(len(added), inputs, duplicates)
    done = read_receipts(request.out, plan)
    new_parts = len(grown.parts) - len(plan.parts)
    return ScanPlan(request, grown, done, False, _table(added) if added else None, new_parts, seen=plan)


def planned_entries(out: Folder, plan: Plan) -> list[Entry]:
    """Return every entry of a plan that is on disk, in order."""
    return [entry for assignment in plan.assignments() for entry in shard_entries(out, assignment)]


def shard_entries(out: Folder, assignment: Assignment) -> list[Entry]:
    """Return the entries of one shard."""
    return [Entry(**item) for item in read_items(out, assignment)]


def _table(found: Sequence[Entry]) -> pa.Table:
    columns = {name: [getattr(entry, name) for entry in found] for name in _ITEMS.names}
    return pa.table(columns, schema=_ITEMS)
