"""Material for a quantizer, all of it in this process, with places at which a test can let it fail."""

import pickle
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.feed import CalibrationFeed
from ncdb_dask.calibration.frames import CalibrationFrame, CalibrationFrames, FrameReader
from ncdb_dask.calibration.job import StatisticsJob
from ncdb_dask.calibration.statistics import ActivationStatistics, added_up
from ncdb_dask.dataset.split import Roots
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.exporting.finish import Export, finish
from ncdb_dask.exporting.job import ExportJob
from ncdb_dask.exporting.plan import make_plan
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.model.providers import full_name
from ncdb_dask.quantization.base import Material
from ncdb_dask.store.folder import LocalFolder, open_folder
from ncdb_dask.testing.inputs import Inputs

if TYPE_CHECKING:
    from onnx import ModelProto

Item = TypeVar("Item")
Result = TypeVar("Result")
Trip = Callable[[str], None]
# Where material can fail; the third frame and the third result, so that work is under way.
FEED, FRAME, STATISTICS, EXPORT, STREAM, PROGRESS = "feed", "frame", "statistics", "export", "stream", "progress"
LATE = 2


def make_material(inputs: Inputs, work: Path, trip: Trip = lambda point: None) -> Material:
    """Make material.

    Parameters
    ----------
    inputs : Inputs
        Network and frames.
    work : Path
        A folder that does not exist yet.
    trip : callable
        Is told of each place where material can fail, when the quantizer comes by; it may raise.
    """
    work.mkdir()
    data = open_folder(inputs.root)
    chosen = CalibrationFrames.of(read_splits([str(inputs.split)], data), Roots.of(data))
    reader = FrameReader(data, Roots.of(data), inputs.spec.input, run=uuid.uuid4().hex)

    def feed() -> CalibrationFeed:
        trip(FEED)
        return CalibrationFeed(chosen.frames, reader, _Stream(FRAME, trip))

    def statistics(model: "ModelProto", frames: Sequence[CalibrationFrame] | None = None) -> ActivationStatistics:
        trip(STATISTICS)
        place = LocalFolder(str(work / "statistics"))
        collection = Collection.at(place, model, inputs.spec, reader, full_name("cpu"), 1)
        return _collected(collection, chosen.frames if frames is None else frames)

    def export(format: str, out: Path) -> Export:  # noqa: A002 - the name of the option
        trip(EXPORT)
        return _exported(inputs, format, out)

    return Material(
        model=inputs.model,
        spec=inputs.spec,
        frames=chosen.frames,
        reader=reader,
        split=str(inputs.split),
        root=str(inputs.root),
        work=work,
        stream=_Stream(STREAM, trip),
        feed=feed,
        statistics=statistics,
        export=export,
        progress=lambda what, done, total: trip(PROGRESS),
    )


class _Stream:
    """Maps in order; tasks and items are sent through pickle, as they are to workers."""

    def __init__(self, point: str, trip: Trip) -> None:
        self._point = point
        self._trip = trip

    def __call__(
        self, task: Callable[[Item], Result], items: Iterable[Item], *, window: int | None = None
    ) -> Generator[Result, None, None]:
        for number, item in enumerate(items):
            if number == LATE:
                self._trip(self._point)
            sent, about = _sent((task, item))
            yield sent(about)


def _sent(travelling: tuple[Callable[[Item], Result], Item]) -> tuple[Callable[[Item], Result], Item]:
    try:
        received: tuple[Callable[[Item], Result], Item] = pickle.loads(pickle.dumps(travelling))  # noqa: S301 - our own
    except Exception as error:  # whatever a class says when it is pickled
        raise AssertionError(
            f"a task for material.stream cannot travel to workers ({error}); make it of a class of a module, with "
            "plain values as its attributes"
        ) from error
    return received


def _collected(collection: Collection, frames: Sequence[CalibrationFrame]) -> ActivationStatistics:
    plan = collection.plan(frames)
    plan.write()
    job = StatisticsJob.of(collection, plan.run.plan.id)
    made = [receipt for receipt in map(job, plan.left()) if receipt is not None]
    rows = plan.rows([*plan.run.done.values(), *made])
    observed = collection.observed
    return added_up(observed.tensors, observed.axes, frames, rows, collection.out.url, skip_bad=False)


def _exported(inputs: Inputs, form: str, out: Path) -> Export:
    request = ExportRequest.of(
        split=str(inputs.split), root=open_folder(inputs.root), out=open_folder(out), format=form, spec=inputs.spec
    )
    plan = make_plan(request)
    plan.write()
    job = ExportJob.of(request, plan.run.plan.id, run=uuid.uuid4().hex)
    made = [receipt for receipt in map(job, plan.run.left) if receipt is not None]
    return finish(plan, [*plan.run.done.values(), *made])
