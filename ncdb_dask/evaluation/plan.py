"""Planning an evaluation: from frames and options to frozen data that says what will be done."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import PlanError
from ncdb_dask.evaluation.frame import Frame
from ncdb_dask.evaluation.frames import Frames, of_scan, of_splits
from ncdb_dask.evaluation.matching import Matched, match
from ncdb_dask.evaluation.predictor import FilePredictor
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.exporting.names import file_names
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.manifest import read_manifest
from ncdb_dask.store.plan import Assignment, default_shard_size, read_items, read_plan
from ncdb_dask.store.run import Kind, PlannedRun, continued_run, held_plan, new_run

OVERVIEW_FILE = "_overview.png"
PREDICTIONS, PANELS = "_predictions", "_panels"
EVALUATION = Kind(
    "evaluation",
    article="an",
    command="ncdb-dask evaluate MODEL.onnx OUT",
    inputs="inputs",
    files=(OVERVIEW_FILE,),
    folders=(PREDICTIONS, PANELS),
)
# A frame takes tens of milliseconds: a shard of the most frames is seconds of work, which is what a dead worker loses;
# one of the least takes ten times as long as its own cost of some 20 ms on a cluster.
MAX_SHARD_SIZE, MIN_SHARD_SIZE = 128, 8
_TEXT = ("split", "dataset_root", "stem", "name", "status", "detail", "image", "depth", "variant")
_ITEMS = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        ("entry", pa.int64()),
        ("depth_scale", pa.float64()),
        *((name, pa.string()) for name in ("depth_range", "scene_type", "lighting")),
        ("files", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that can be carried out.

    Attributes
    ----------
    request : EvaluationRequest
        What was asked for.
    run : PlannedRun
        Frames and shards in the output folder.
    extra : tuple of str
        Files among the predictions that belong to no frame.
    """

    request: EvaluationRequest
    run: PlannedRun
    extra: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the table is published already."""
        return self.run.finished

    @property
    def drawn(self) -> bool:
        """Whether the overview is there."""
        return OVERVIEW_FILE in self.request.out.list().sizes

    @property
    def left(self) -> list[Assignment]:
        """The shards that are still to be done."""
        return self.run.left

    def write(self) -> None:
        """Put the plan on disk; see `PlannedRun.write`."""
        self.run.write()

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.run.done)} done, {len(self.left)} left"
        return (
            f"<evaluation of {self.run.plan.entries} frames into {self.request.out.url}; "
            f"shards: {self.run.plan.shards}, {state}>"
        )

    def text(self) -> str:
        """Return the plan as lines for people."""
        values = self.as_dict()
        predictor = values["settings"]["predictor"]
        rows = {
            "Evaluated": predictor.get("model") or predictor["folder"],
            "Data set": values["root"],
            "Frames": f"{values['frames']} from {', '.join(self.request.splits) or values['settings']['scan']}",
            "Protocol": self.request.options.rules.text(),
            "Table": values["out"],
            "Shards": f"{values['shards']}, of which {values['shards_done']} are done",
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in figures, as JSON values."""
        return {
            "root": self.request.root.url,
            "out": self.request.out.url,
            "frames": self.run.plan.entries,
            "duplicates": self.run.plan.duplicates,
            "shards": self.run.plan.shards,
            "shards_done": len(self.run.done),
            "finished": self.finished,
            "extra_predictions": len(self.extra),
            "settings": dict(self.run.plan.settings),
        }


def make_plan(request: EvaluationRequest, *, fresh: bool = False) -> EvaluationPlan:
    """Read splits or scan and decide what is to be done.

    Raises
    ------
    NcdbError
        Inputs that cannot be used, a folder that holds something else, or an evaluation under other options.
    """
    for folder in (request.root, *request.allowed):
        require_data_root(folder)
    fresh = fresh or _in_vain(request.out)
    held = held_plan(request.out, EVALUATION, fresh)
    found = _frames(request)
    inputs, matched = dict(found.inputs), None
    if isinstance(request.predictor, FilePredictor):
        matched = _matched(request, request.predictor, found.frames)
        inputs[request.predictor.folder.url] = matched.digest
    else:
        inputs[request.predictor.reference.path] = request.predictor.reference.sha256
    extra = () if matched is None else matched.extra
    settings = request.settings()
    if held is not None:
        run = continued_run(request.out, EVALUATION, held, settings, inputs, shard_size=request.shard_size)
        return EvaluationPlan(request, run, extra)
    run = new_run(
        request.out,
        EVALUATION,
        settings,
        inputs,
        _table(found.frames, matched),
        shard_size=request.shard_size or default_shard_size(len(found.frames), MAX_SHARD_SIZE, MIN_SHARD_SIZE),
        duplicates=found.duplicates,
        fresh=fresh,
    )
    return EvaluationPlan(request, run, extra)


def _in_vain(out: Folder) -> bool:
    """Whether an earlier evaluation could not judge a single frame: then there is nothing to lose by starting over."""
    try:
        plan = read_plan(out)
        manifest = None if plan is None or plan.kind != EVALUATION.name else read_manifest(out)
    except PlanError:
        return False
    return manifest is not None and not manifest.summary.get("frames", 1)


def shard_frames(out: Folder, assignment: Assignment) -> list[Frame]:
    """Return the frames of one shard."""
    return [Frame(**item) for item in read_items(out, assignment)]


def _frames(request: EvaluationRequest) -> Frames:
    if request.scan is not None:
        return of_scan(request.scan, request.where)
    splits = read_splits(request.splits, request.root, request.storage_options)
    return of_splits(splits, request.roots)


def _matched(request: EvaluationRequest, predictor: FilePredictor, frames: list[Frame]) -> Matched:
    """Find the files of each frame's prediction; the digest tells whose they are, too."""
    outputs = predictor.outputs
    matched = match(predictor.folder, _keys(frames), outputs if len(outputs) > 1 else (), request.manifest)
    whose = json.dumps([matched.digest, matched.files])
    return replace(matched, digest=hashlib.sha256(whose.encode()).hexdigest())


def _keys(frames: list[Frame]) -> list[tuple[str, str]]:
    return [(str(frame.dataset_root), str(frame.stem)) for frame in frames if frame.status is None]


def _table(frames: list[Frame], matched: Matched | None) -> pa.Table:
    """Return the plan's items: the frames, with names for what is made of them and the files of their predictions."""
    columns: dict[str, list[Any]] = {name: [getattr(frame, name) for frame in frames] for name in _ITEMS.names}
    sound = [number for number, frame in enumerate(frames) if frame.status is None]
    for number, name in zip(sound, file_names(_keys(frames)), strict=True):
        columns["name"][number] = name
    if matched is not None:
        for number, files in zip(sound, matched.files, strict=True):
            columns["files"][number] = files
    return pa.table(columns, schema=_ITEMS)
