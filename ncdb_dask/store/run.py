"""A run in its output folder: what the folder holds, whether a request may continue it, and what is left to do.

It is the same for every stage that turns items into shards. Nothing is written here but by `PlannedRun.write`.
"""

import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import MANIFEST_FILE, clear, read_manifest
from ncdb_dask.store.plan import Assignment, Plan, cut_parts, default_shard_size, read_plan, write_parts, write_plan
from ncdb_dask.store.shards import Receipt, read_receipts, witnessed


@dataclass(frozen=True, slots=True)
class Kind:
    """What a stage's runs are called, and what of theirs lies beside the shards.

    Attributes
    ----------
    name, article : str
        As the plan and messages have it: ``scan`` and ``a``.
    command : str
        How it is asked for, without options.
    inputs : str
        What messages call the input files, for instance ``splits``.
    update : str
        The verb for what ``--update`` does to added items; empty where runs of this kind do not grow.
    files : tuple of str
        Files made from the finished table, which are gone once more items are planned.
    folders : tuple of str
        Folders of files that shards make besides their rows.
    """

    name: str
    article: str = "a"
    command: str = ""
    inputs: str = "inputs"
    update: str = ""
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedRun:
    """A run that can be carried out: its plan, what of it is done, and what has to be written first.

    Attributes
    ----------
    out : Folder
        The run's output.
    kind : Kind
        What is run.
    plan : Plan
        Items and shards.
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

    out: Folder
    kind: Kind
    plan: Plan
    done: Mapping[int, Receipt]
    finished: bool = False
    new_items: pa.Table | None = None
    new_parts: int = 0
    fresh: bool = False
    seen: Plan | None = None

    @property
    def left(self) -> list[Assignment]:
        """The shards that are still to be done."""
        return [assignment for assignment in self.plan.assignments() if assignment.shard not in self.done]

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
        if self.fresh:
            clear(self.out, self.kind.folders)
        elif read_plan(self.out) not in (self.seen, self.plan):
            raise PlanError(f"{self.out.url}: another run has begun in this folder since; give the command again")
        if self.new_items is not None:
            # Nobody must take the old table, or its picture, for the one that is now planned.
            for name in (MANIFEST_FILE, *self.kind.files):
                self.out.remove(name)
            write_parts(self.out, self.plan.parts[-self.new_parts :], self.new_items)
        if read_plan(self.out) != self.plan:
            write_plan(self.out, self.plan)


def held_plan(out: Folder, kind: Kind, fresh: bool = False) -> Plan | None:
    """Return the plan that a run may go on with, or None where it has to begin (always, if `fresh`).

    Raises
    ------
    PlanError
        Where the plan is damaged or of another kind, or the folder holds other people's files.
    """
    if isinstance(out, LocalFolder) and os.path.isfile(out.path):
        expected = f"expected a folder: a new one, an empty one, or that of an earlier {kind.name}"
        raise PlanError(f"{out.url} is a file; {expected}")
    plan, planned = None, True  # a plan that is damaged was one
    try:
        plan = read_plan(out)
        planned = plan is not None
    except PlanError:
        if not fresh:
            raise
    if plan is not None and plan.kind != kind.name:
        raise PlanError(
            f"{out.url} holds a run of kind {plan.kind!r}, not {kind.article} {kind.name}; choose another folder"
        )
    held = out.list()
    own = ("_", ".", "shard-") if planned else ("_", ".")
    others = [name for name in (*held.sizes, *held.folders) if not name.startswith(own)]
    foreign = [name for name in others if not (planned and name in kind.files)]
    if foreign and (plan is None or fresh):
        what = f"what is not of {kind.article} {kind.name} ({foreign[0]}, ...)"
        raise PlanError(f"{out.url} holds {what}; choose a new or empty folder")
    return None if fresh else plan


def new_run(
    out: Folder,
    kind: Kind,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    items: pa.Table,
    *,
    shard_size: int | None = None,
    duplicates: int = 0,
    fresh: bool = False,
) -> PlannedRun:
    """Plan a run from its beginning; `held_plan` has returned None.

    Parameters
    ----------
    out, kind, fresh
        As for `held_plan`.
    settings, inputs, duplicates
        As in `Plan`.
    items : pyarrow.Table
        A row an item.
    shard_size : int, optional
        Items a shard; left out, it follows from their number.

    Raises
    ------
    PlanError
        Where there is no item.
    """
    if not items.num_rows:
        raise PlanError(f"{out.url}: nothing to be done; expected at least one entry in {', '.join(inputs)}")
    parts = cut_parts(items.num_rows, shard_size or default_shard_size(items.num_rows))
    plan = Plan(uuid.uuid4().hex, kind.name, settings, inputs, duplicates, parts)
    return PlannedRun(out, kind, plan, {}, new_items=items, new_parts=len(parts), fresh=fresh)


def continued_run(
    out: Folder,
    kind: Kind,
    plan: Plan,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    shard_size: int | None = None,
) -> PlannedRun:
    """Go on with the plan that `held_plan` has found.

    Raises
    ------
    PlanError
        Where settings or inputs are not those that were planned.
    """
    require_settings(out, plan, settings, shard_size)
    _require_inputs(out, kind, plan, inputs)
    manifest = read_manifest(out)
    done = read_receipts(out, plan) if manifest is None else witnessed(out, manifest.receipts)
    finished = manifest is not None and len(done) == plan.shards
    return PlannedRun(out, kind, plan, done, finished, seen=plan)


def grown_run(
    out: Folder, kind: Kind, plan: Plan, inputs: Mapping[str, str], added: pa.Table, duplicates: int
) -> PlannedRun:
    """Go on with a plan whose settings are still the same, and plan the items that it does not have yet, if any.

    Shards that are done stay done; `inputs` and `duplicates` are those of all items.
    """
    grown = plan.extended(added.num_rows, inputs, duplicates)
    items = added if added.num_rows else None
    new_parts = len(grown.parts) - len(plan.parts)
    return PlannedRun(out, kind, grown, read_receipts(out, plan), new_items=items, new_parts=new_parts, seen=plan)


def require_settings(out: Folder, plan: Plan, settings: Mapping[str, Any], shard_size: int | None = None) -> None:
    """Refuse to continue a run under other settings.

    Raises
    ------
    PlanError
        Names every setting that differs, with both values; a shard size that is left out is that of the plan.
    """
    now, before = dict(_flat(settings)), dict(_flat(plan.settings))
    if shard_size is not None:
        now["shard_size"], before["shard_size"] = shard_size, plan.parts[0].shard_size
    differing = [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in dict.fromkeys([*now, *before])  # one that is not given any more differs, too
        if now.get(name) != before.get(name)
    ]
    if differing:
        raise PlanError(
            f"{out.url} was begun with other options ({'; '.join(differing)}); "
            "give the same ones to continue, or --fresh to start over"
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings one by one: of a group of them, a message names those that differ."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield prefix + name, value


def _require_inputs(out: Folder, kind: Kind, plan: Plan, inputs: Mapping[str, str]) -> None:
    if plan.inputs == inputs:
        return
    if list(inputs) != list(plan.inputs):
        update = f", --update to {kind.update} what these add," if kind.update else ""
        raise PlanError(
            f"{out.url} was planned from {', '.join(plan.inputs)}, now from {', '.join(inputs)}; "
            f"give the same {kind.inputs} to continue{update} or --fresh to start over"
        )
    changed = [name for name in inputs if inputs[name] != plan.inputs[name]]
    update = f"--update {kind.update}s the entries that were added, " if kind.update else ""
    raise PlanError(f"{out.url} was planned with other contents of {', '.join(changed)}; {update}--fresh starts over")
