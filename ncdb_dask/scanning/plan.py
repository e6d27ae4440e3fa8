"""Planning a scan: from split files and options to frozen data that says what will be done.

Nothing is written here but by `ScanPlan.write`; a plan can be printed and thrown away.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.dataset.split import Entry, Roots, entries
from ncdb_dask.dataset.split_file import SplitFile, read_splits
from ncdb_dask.errors import PlanError
from ncdb_dask.scanning.request import ScanRequest
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.plan import Assignment, Plan, read_items
from ncdb_dask.store.run import Kind, PlannedRun, continued_run, grown_run, held_plan, new_run, require_settings
from ncdb_dask.store.shards import Receipt

OVERVIEW_FILE = "_overview.png"
SCAN = Kind("scan", command="ncdb-dask scan ROOT OUT", inputs="splits", update="scan", files=(OVERVIEW_FILE,))
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
    """A scan that can be carried out: what was asked for, and what of it is done and left.

    Attributes
    ----------
    request : ScanRequest
        What was asked for.
    run : PlannedRun
        Entries and shards in the output folder.
    """

    request: ScanRequest
    run: PlannedRun

    @property
    def plan(self) -> Plan:
        """Entries and shards."""
        return self.run.plan

    @property
    def done(self) -> Mapping[int, Receipt]:
        """Shards that need no more work."""
        return self.run.done

    @property
    def left(self) -> list[Assignment]:
        """The shards that are still to be done."""
        return self.run.left

    @property
    def finished(self) -> bool:
        """Whether the table is published already."""
        return self.run.finished

    def progress(self) -> tuple[int, int, dict[str, int]]:
        """Return the shards and rows that are done, and those rows by status."""
        return self.run.progress()

    def write(self) -> None:
        """Put the plan on disk; see `PlannedRun.write`."""
        self.run.write()

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
        require_data_root(folder)
    splits = read_splits(request.splits, request.root, request.storage_options)
    inputs = {split.name: split.sha256 for split in splits}
    held = held_plan(request.out, SCAN, fresh)
    if held is None:
        return ScanPlan(request, _new(request, splits, inputs, fresh))
    settings, size = request.settings(), request.shard_size
    if update and held.inputs != inputs:
        require_settings(request.out, held, settings, size)
        return ScanPlan(request, _grown(request, held, splits, inputs))
    return ScanPlan(request, continued_run(request.out, SCAN, held, settings, inputs, shard_size=size))


def _new(request: ScanRequest, splits: list[SplitFile], inputs: dict[str, str], fresh: bool) -> PlannedRun:
    found, duplicates = entries(splits, Roots.of(request.root, request.allowed))
    return new_run(
        request.out,
        SCAN,
        request.settings(),
        inputs,
        _table(found),
        shard_size=request.shard_size,
        duplicates=duplicates,
        fresh=fresh,
    )


def _grown(request: ScanRequest, plan: Plan, splits: list[SplitFile], inputs: dict[str, str]) -> PlannedRun:
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
    return grown_run(request.out, SCAN, plan, inputs, _table(added), duplicates)


def planned_entries(out: Folder, plan: Plan) -> list[Entry]:
    """Return every entry of a plan that is on disk, in order."""
    return [entry for assignment in plan.assignments() for entry in shard_entries(out, assignment)]


def shard_entries(out: Folder, assignment: Assignment) -> list[Entry]:
    """Return the entries of one shard."""
    return [Entry(**item) for item in read_items(out, assignment)]


def _table(found: Sequence[Entry]) -> pa.Table:
    columns = {name: [getattr(entry, name) for entry in found] for name in _ITEMS.names}
    return pa.table(columns, schema=_ITEMS)
