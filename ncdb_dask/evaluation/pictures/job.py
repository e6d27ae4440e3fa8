"""Which frames of a finished evaluation are drawn, and the task that draws one."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from PIL import Image

from ncdb_dask.dataset.image import decode_rgb
from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.errors import DataFault, EvaluationError
from ncdb_dask.evaluation.frame import Frame, read_truth
from ncdb_dask.evaluation.job import EvaluationJob, tree_of
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.pictures.panels import chosen_frames, panel
from ncdb_dask.evaluation.plan import PANELS, shard_frames
from ncdb_dask.evaluation.table import published, read_table
from ncdb_dask.store.folder import Folder

NO_PICTURE = (128, 128, 128)


@dataclass(frozen=True)
class Chosen:
    """A frame that is drawn.

    Attributes
    ----------
    place : str
        Such as ``worst-1``.
    frame : Frame
        What is drawn.
    figures : mapping
        Its metrics and ``valid_pixels``.
    """

    place: str
    frame: Frame
    figures: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.frame.dataset_root}/{self.frame.stem}"

    @property
    def file(self) -> str:
        """The picture's name in the evaluation's folder."""
        return f"{PANELS}/{self.place}-{self.frame.name}.png"


@dataclass(frozen=True)
class PanelJob:
    """Draws frames; made of values, so that it travels to any worker."""

    job: EvaluationJob

    def __call__(self, chosen: Chosen) -> bytes:
        """Return the picture of a frame, a PNG.

        Raises
        ------
        EvaluationError
            Where the frame was evaluated and cannot be read any more.
        OSError
            A fault of the environment: try again.
        """
        job, frame, tree = self.job, chosen.frame, tree_of(self.job)
        try:
            _, truth = read_truth(frame, tree, job.options)
            prediction = job.predictor.predict(frame, tree, truth.shape, stretch=job.options.stretch)
        except DataFault as fault:
            raise EvaluationError(
                f"{chosen}: {fault.detail}; it was sound when it was evaluated: evaluate again with --fresh"
            ) from fault
        picture = _picture(frame, tree) or Image.new("RGB", truth.shape[::-1], NO_PICTURE)
        key = (str(frame.dataset_root), str(frame.stem))
        place = chosen.place.replace("-", " ")
        return panel(key, place, picture, truth, prediction.depth, job.options.rules, chosen.figures)


def choose(out: Folder, count: int) -> list[Chosen]:
    """Choose the worst, median and best frames of a finished evaluation, so many of each."""
    columns = ["dataset_root", "filename", "status", "valid_pixels", *METRICS]
    rows = read_table(out, columns)
    ok = rows[rows["status"] == "ok"]
    keys = list(zip(ok["dataset_root"], ok["filename"], strict=True))
    assignments = list(published(out).plan.assignments())
    ends = list(accumulate(assignment.rows for assignment in assignments))
    found = []
    for place, number in chosen_frames(ok["abs_rel"].tolist(), keys, count):
        row = ok.iloc[number]
        position = int(str(row.name))
        shard = bisect_right(ends, position)
        frame = shard_frames(out, assignments[shard])[position - ends[shard] + assignments[shard].rows]
        found.append(Chosen(place, frame, {name: row[name] for name in ("valid_pixels", *METRICS)}))
    return found


def _picture(frame: Frame, tree: Tree) -> Image.Image | None:
    try:
        path = frame.image or tree.locate_image(str(frame.dataset_root), str(frame.stem))
        data = read_listed("image", tree, path, whole)
        return blaming(path, lambda: decode_rgb(data))
    except DataFault:  # predictions from files need no picture
        return None
