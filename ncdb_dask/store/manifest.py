"""The manifest: written last, it publishes a run's shards as one table, by which readers go."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.plan import PLAN_FILE, PLAN_FOLDER, Plan, plan_document, plan_from, read_plan
from ncdb_dask.store.shards import RECEIPT_FOLDER, Receipt, remove_strays, shard_file

MANIFEST_FILE = "_manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The published table: what a reader needs to know, and where it came from."""

    plan: Plan
    receipts: tuple[Receipt, ...]
    finished: str
    summary: Mapping[str, Any]


def publish(folder: Folder, plan: Plan, receipts: Iterable[Receipt], summary: Mapping[str, Any]) -> None:
    """Clear away what crashed attempts left, then write the manifest.

    Raises
    ------
    PlanError
        Where the receipts do not cover the plan.
    """
    ordered = tuple(sorted(receipts, key=lambda receipt: receipt.shard))
    if [receipt.shard for receipt in ordered] != list(range(plan.shards)):
        raise PlanError(f"{folder.url}: {len(ordered)} of {plan.shards} shards are done; run the command again")
    remove_strays(folder, {shard_file(receipt.shard) for receipt in ordered})
    document = {
        "format": FORMAT,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": plan.entries,
        "summary": dict(summary),
        "shards": [{"file": shard_file(receipt.shard), **_witness(receipt)} for receipt in ordered],
        "plan": plan_document(plan),
    }
    folder.write(MANIFEST_FILE, json.dumps(document, indent=1).encode())


def _witness(receipt: Receipt) -> dict[str, Any]:
    return {name: value for name, value in asdict(receipt).items() if name not in ("figures", "faults")}


def read_manifest(folder: Folder) -> Manifest | None:
    """Return the manifest of the folder's own plan, or None where the run is unfinished.

    Raises
    ------
    PlanError
        Where the file is damaged or of another format.
    """
    plan = read_plan(folder)
    try:
        data = folder.read(MANIFEST_FILE)
    except FileNotFoundError:
        return None
    try:
        manifest = _manifest_from(json.loads(data))
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(folder, error) from error
    # A plan that has grown since leaves its manifest behind.
    return manifest if plan is not None and manifest.plan == plan else None


def damaged(folder: Folder, error: Exception) -> PlanError:
    """Return what to say of a manifest that cannot be read."""
    return PlanError(
        f"{folder.url}/{MANIFEST_FILE} is damaged or of another version of ncdb_dask ({error!r}); "
        "remove it and run the same command again"
    )


def _manifest_from(document: Any) -> Manifest:
    if not isinstance(document, dict) or document["format"] != FORMAT:
        raise ValueError(f"expected an object of format {FORMAT}")
    shards = [{name: value for name, value in shard.items() if name != "file"} for shard in document["shards"]]
    receipts = tuple(Receipt(**shard) for shard in shards)
    return Manifest(plan_from(document["plan"]), receipts, document["finished"], document["summary"])


def clear(folder: Folder, beside: Iterable[str] = ()) -> None:
    """Remove a run's own files, and nothing else, so that another can begin in its folder.

    The plan goes last: a removal that is interrupted leaves a run that can be continued or cleared again. What lies
    beside the shards goes after their receipts, so that none of them speaks for files that are gone.

    Parameters
    ----------
    folder : Folder
        The run's output.
    beside : iterable of str
        Folders of files that shards have made besides their rows.
    """
    folder.remove(MANIFEST_FILE)
    remove_strays(folder)
    for place in (RECEIPT_FOLDER, *beside, PLAN_FOLDER):
        for name in sorted(folder.list(place).sizes, key=lambda name: f"{place}/{name}" == PLAN_FILE):
            folder.remove(f"{place}/{name}")
