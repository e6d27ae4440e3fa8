"""Histograms of the true depths of the frames that are judged."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import Frame, read_truth
from ncdb_dask.evaluation.frames import of_splits
from ncdb_dask.evaluation.job import EvaluationJob, tree_of
from ncdb_dask.evaluation.pixels import chosen
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.quantization.base import Stream
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.scanning.stats import HIST_BINS, histogram_edges

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TruthHistogram:
    """The task: one frame -> the histogram of its pixels that are judged; None where its truth cannot be read."""

    job: EvaluationJob

    def __call__(self, frame: Frame) -> Counts | None:
        """Read a frame's true depth.

        Raises
        ------
        OSError
            A fault of the environment: try again.
        """
        if frame.status is not None:
            return None
        options = self.job.options
        try:
            _, truth = read_truth(frame, tree_of(self.job), options)
            found = truth[chosen(truth, options.rules)]
        except DataFault:
            return None
        return np.histogram(found, histogram_edges())[0] if found.size else None


def read_histograms(request: EvaluationRequest, stream: Stream) -> Counts:
    """Read the true depth of all frames once more, on the workers.

    Returns
    -------
    ndarray of int64, shape (frames, HIST_BINS)
        Of the frames that can be read.
    """
    frames = of_splits(read_splits(request.splits, request.root, request.storage_options), request.roots).frames
    task = TruthHistogram(EvaluationJob.of(request, plan="", run=uuid.uuid4().hex))
    found = [each for each in stream(task, frames) if each is not None]
    return np.stack(found) if found else np.zeros((0, HIST_BINS), dtype=np.int64)


def scanned_histograms(scan: ScanTable, keys: Sequence[tuple[str, str]], low: float, high: float) -> Counts:
    """Return what a scan holds of some frames: all valid pixels from `low` to `high`, whatever a crop leaves out.

    Parameters
    ----------
    scan : ScanTable
        A finished scan.
    keys : sequence of (str, str)
        Of the frames; those that it does not know are left out.
    low, high : float
        Metres; a bin that lies in part within counts.

    Returns
    -------
    ndarray of int64, shape (frames, HIST_BINS)
        Of the frames that it knows.
    """
    import pandas as pd

    rows = scan.columns(["dataset_root", "filename", "status"])
    known = pd.MultiIndex.from_frame(rows[["dataset_root", "filename"]])
    wanted = np.flatnonzero(known.isin(list(keys)) & (rows["status"] == "ok").to_numpy())
    edges = histogram_edges()
    inside = (edges[1:] > low) & (edges[:-1] < high)
    if not len(wanted):
        return np.zeros((0, HIST_BINS), dtype=np.int64)
    held = np.stack(scan.rows(wanted, ["depth_hist"])["depth_hist"].to_list()).astype(np.int64) * inside
    return np.asarray(held[held.any(axis=1)])
