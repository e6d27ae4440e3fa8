"""Shards: written atomically, and witnessed by a receipt.

Tasks run at least once; the published table holds each item exactly once. A shard's name is fixed by the plan, its
file appears whole or not at all, and its receipt is written after it, so a run that died anywhere goes on from the
receipts.
"""

import errno
import hashlib
import io
import json
import posixpath
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ncdb_dask.errors import PlanError
from ncdb_dask.store.figures import Fault, Figures, faults_of, label_counts
from ncdb_dask.store.folder import Folder, is_temporary
from ncdb_dask.store.plan import PLAN_FILE, PLAN_FOLDER, Plan, read_plan

RECEIPT_FOLDER = f"{PLAN_FOLDER}/receipts"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Witness that a shard's file is complete.

    Attributes
    ----------
    plan : str
        The plan's id.
    shard, rows, bytes : int
        Number of the shard, its rows, and the size of its file.
    sha256 : str
        Of the file.
    counts : mapping
        Rows by status.
    seconds : float
        What the task took.
    at : float
        When it was written, in Unix seconds of the worker's clock; 0 in receipts of older versions.
    figures : mapping
        Of its rows, for those who watch the run; the manifest does without.
    faults : tuple of Fault
        Some of the rows that are not ``ok``.
    """

    plan: str
    shard: int
    rows: int
    bytes: int
    sha256: str
    counts: Mapping[str, int]
    seconds: float
    at: float = 0.0
    figures: Figures = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def shard_file(shard: int) -> str:
    """Name the file of a shard."""
    return f"shard-{shard:06d}.parquet"


def _receipt_file(shard: int) -> str:
    return f"{RECEIPT_FOLDER}/shard-{shard:06d}.json"


def require_current(folder: Folder, plan_id: str) -> None:
    """Check that the folder still holds the plan that a task works for.

    Raises
    ------
    PlanError
        Where it meanwhile holds another plan.
    OSError
        Where the plan is gone, or the storage fails.
    """
    current = read_plan(folder)
    if current is None:
        raise OSError(errno.ESTALE, "the run's plan is gone", f"{folder.url}/{PLAN_FILE}")
    if current.id != plan_id:
        raise PlanError(f"{folder.url}: another run has started over in this folder; this one gives up")


def commit(
    folder: Folder, plan_id: str, shard: int, table: pa.Table, seconds: float, figures: Figures | None = None
) -> Receipt:
    """Write a shard's file, then its receipt.

    Parameters
    ----------
    folder : Folder
        The run's output.
    plan_id : str
        The plan that the rows were made under.
    shard : int
        Its number.
    table : pyarrow.Table
        Its rows; the column ``status`` is counted.
    seconds : float
        What making them took.
    figures : mapping, optional
        As in `Receipt`.

    Raises
    ------
    PlanError
        Where the folder meanwhile holds another plan: nothing is written.
    OSError
        Where the storage fails.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    data = sink.getvalue().to_pybytes()
    require_current(folder, plan_id)
    receipt = Receipt(
        plan_id,
        shard,
        table.num_rows,
        len(data),
        hashlib.sha256(data).hexdigest(),
        label_counts(table["status"]),
        round(seconds, 4),
        round(time.time(), 3),
        figures or {},
        faults_of(table),
    )
    folder.write(shard_file(shard), data)
    folder.write(_receipt_file(shard), json.dumps(asdict(receipt)).encode())
    return receipt


def read_receipts(folder: Folder, plan: Plan) -> dict[int, Receipt]:
    """Return the receipts whose shards need no more work, by shard."""
    wanted = {assignment.shard: assignment.rows for assignment in plan.assignments()}
    names = folder.list(RECEIPT_FOLDER).sizes
    found = (_read_receipt(folder, shard) for shard in wanted if posixpath.basename(_receipt_file(shard)) in names)
    fitting = [r for r in found if r is not None and r.plan == plan.id and r.rows == wanted[r.shard]]
    return witnessed(folder, fitting)


def _read_receipt(folder: Folder, shard: int) -> Receipt | None:
    try:
        values = json.loads(folder.read(_receipt_file(shard)))
        receipt = Receipt(**{**values, "faults": tuple(Fault(**fault) for fault in values.get("faults", ()))})
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return None  # none yet, or not one of ours: the shard is done again
    return receipt if receipt.shard == shard else None


def witnessed(folder: Folder, receipts: Iterable[Receipt]) -> dict[int, Receipt]:
    """Return the receipts whose files are there with their full size, by shard."""
    sizes = folder.list(sizes=True).sizes
    return {receipt.shard: receipt for receipt in receipts if sizes.get(shard_file(receipt.shard)) == receipt.bytes}


def read_shards(
    folder: Folder, receipts: Iterable[Receipt], columns: Sequence[str] | None = None, check: bool = False
) -> Iterator[pa.Table]:
    """Yield the rows of each shard, in order.

    Parameters
    ----------
    folder : Folder
        The run's output.
    receipts : iterable of Receipt
        Of the shards to read.
    columns : sequence of str, optional
        Only these.
    check : bool
        Compare each file with the SHA-256 of its receipt.

    Raises
    ------
    PlanError
        Where a file is not what its receipt says.
    """
    wanted = None if columns is None else list(columns)
    for receipt in receipts:
        name = shard_file(receipt.shard)
        try:
            with _checked(folder, receipt) if check else folder.open(name) as file:
                table = pq.ParquetFile(file).read(columns=wanted, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the storage's; what Arrow finds in the bytes has no number
            raise PlanError(
                f"{folder.url}/{name} is damaged ({_line(error)}); remove it and run the command that wrote it again"
            ) from error
        yield table


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _checked(folder: Folder, receipt: Receipt) -> BinaryIO:
    """Open a shard whose bytes are those of its receipt; forget the receipt where they are not."""
    data = folder.read(shard_file(receipt.shard))
    if hashlib.sha256(data).hexdigest() != receipt.sha256:
        folder.remove(_receipt_file(receipt.shard))
        raise PlanError(
            f"{folder.url}/{shard_file(receipt.shard)} was overwritten since it was committed; "
            "the same command does it again"
        )
    return io.BytesIO(data)


def remove_strays(folder: Folder, keep: Iterable[str] = ()) -> None:
    """Remove shard files that are not in `keep`, and half-written files of attempts that died."""
    kept = set(keep)
    for place in ("", PLAN_FOLDER, RECEIPT_FOLDER):
        for name in folder.list(place).sizes:
            stray = name.startswith("shard-") and name.endswith(".parquet") and name not in kept
            if stray or is_temporary(name):
                folder.remove(f"{place}/{name}" if place else name)
