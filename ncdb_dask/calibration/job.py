"""The task of a statistics run: one shard of frames -> one shard of rows."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ncdb_dask.calibration.activations import SCHEMA, Row, measure
from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.observed import Observed
from ncdb_dask.errors import DataFault
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.plan import Assignment, read_items
from ncdb_dask.store.shards import Receipt, commit


@dataclass(frozen=True)
class StatisticsJob:
    """What every task of one run shares; made of values, so that it travels to any worker.

    Attributes
    ----------
    out : LocalFolder
        What is written.
    observed : Observed
        The network.
    reader : FrameReader
        Reads the frames.
    plan : str
        Id of the plan.
    """

    out: LocalFolder
    observed: Observed
    reader: FrameReader
    plan: str

    @classmethod
    def of(cls, collection: Collection, plan: str) -> "StatisticsJob":
        """Collect what the tasks of a run need."""
        return cls(collection.out, collection.observed, collection.reader, plan)

    def __call__(self, assignment: Assignment) -> Receipt | None:
        """Run a shard and commit it, or only try a part of it.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        SpecError
            A network that cannot be run here.
        PlanError
            Another run has taken over the output folder.
        """
        started = time.perf_counter()
        items = read_items(self.out, assignment)
        start, stop = assignment.probe or (0, len(items))
        rows = [self._row(items[number], number in assignment.crashed) for number in range(start, stop)]
        if assignment.probe is not None:
            return None
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        return commit(self.out, self.plan, assignment.shard, table, time.perf_counter() - started)

    def _row(self, item: dict[str, Any], crashed: bool) -> Row:
        frame = CalibrationFrame(item["dataset_root"], item["stem"])
        row: Row = {"dataset_root": frame.dataset_root, "filename": frame.stem, "status": "ok"}
        if crashed:
            detail = (
                "running this frame killed its worker every time; give the workers more memory, or look at its picture"
            )
            return row | {"status": "crashed", "detail": detail}
        try:
            path, data = self.reader.picture(frame)
            tensor = self.reader.preprocessed(path, data)
        except DataFault as fault:
            return row | {"status": fault.status, "detail": fault.detail}
        about = {"image": path, "sha256": hashlib.sha256(data).hexdigest()}
        return row | about | measure(self.observed, tensor)
