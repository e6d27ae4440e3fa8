"""The task of an evaluation: one shard of frames -> one shard of rows."""

import time
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.evaluation.figures import figures_of
from ncdb_dask.evaluation.frame import Frame, FrameOptions, Row, Values, empty_row, evaluate_frame
from ncdb_dask.evaluation.plan import PREDICTIONS, shard_frames
from ncdb_dask.evaluation.predictions import encoded_prediction
from ncdb_dask.evaluation.predictor import FilePredictor, NetworkPredictor
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.evaluation.schema import SCHEMA
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.plan import Assignment
from ncdb_dask.store.shards import Receipt, commit, require_current


@dataclass(frozen=True)
class EvaluationJob:
    """What every task of one evaluation shares; small and made of values, so that it travels to any worker.

    Attributes
    ----------
    out, root : Folder
        The table and the data set.
    roots : Roots
        Where frames may lie.
    variants : tuple of str
        Depth folders in the order in which they are tried.
    predictor : NetworkPredictor or FilePredictor
        What is evaluated.
    options : FrameOptions
        How a frame is judged.
    save : str or None
        Form of predictions that are kept.
    plan : str
        Id of the plan.
    run : str
        Differs from run to run: listings of an earlier run must not serve a later one.
    """

    out: Folder
    root: Folder
    roots: Roots
    variants: tuple[str, ...]
    predictor: NetworkPredictor | FilePredictor
    options: FrameOptions
    save: str | None
    plan: str
    run: str

    @classmethod
    def of(cls, request: EvaluationRequest, plan: str, run: str) -> "EvaluationJob":
        """Collect what the tasks of a request need."""
        return cls(
            request.out,
            request.root,
            request.roots,
            request.variants,
            request.predictor,
            request.options,
            request.save,
            plan,
            run,
        )

    def __call__(self, assignment: Assignment) -> Receipt | None:
        """Evaluate a shard and commit it, or only try a part of it.

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
        frames = shard_frames(self.out, assignment)
        start, stop = assignment.probe or (0, len(frames))
        rows: list[Row] = []
        for position in range(start, stop):
            if position in assignment.crashed:
                detail = "evaluating this frame killed its worker every time; look at its files"
                rows.append(empty_row(frames[position], "crashed", detail))
                continue
            row, depth = evaluate_frame(frames[position], tree_of(self), self.predictor, self.options)
            rows.append(row)
            if assignment.probe is None and depth is not None:
                self._keep(frames[position], depth)
        if assignment.probe is not None:
            return None
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        seconds = time.perf_counter() - started
        return commit(self.out, self.plan, assignment.shard, table, seconds, figures_of(table))

    def _keep(self, frame: Frame, depth: Values) -> None:
        if self.save is not None:
            require_current(self.out, self.plan)  # the files of the next run have the same names
            self.out.write(f"{PREDICTIONS}/{frame.name}.{self.save}", encoded_prediction(depth, self.save))


@lru_cache(maxsize=1)
def tree_of(job: EvaluationJob) -> Tree:
    """One tree a process, so that its listings serve all shards of a run."""
    return Tree(job.root, job.roots, job.variants)
