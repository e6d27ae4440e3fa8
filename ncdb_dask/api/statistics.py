"""Collecting the activation statistics of a network over calibration frames."""

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.frames import calibration_frames
from ncdb_dask.api.locations import Location, local
from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.job import StatisticsJob
from ncdb_dask.calibration.statistics import LEAVE_OUT, ActivationStatistics, Measured, faulty, require_usable
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import find_spec, read_spec
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.runtime.events import Observer, RunFinished, RunStarted, nobody
from ncdb_dask.runtime.fanout import RESUMABLE, run_shards
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.runtime.watched import watched
from ncdb_dask.store.folder import LocalFolder, reported

if TYPE_CHECKING:
    from distributed import Client

NAME = "activation statistics"


def activation_statistics(
    model: Location,
    out: Location,
    *,
    root: Location,
    split: Location | Sequence[Location],
    model_spec: Location | None = None,
    skip_bad: bool = False,
    provider: str = "cpu",
    threads: int = 1,
    allow_root: Location | Sequence[Location] = (),
    client: "Client | None" = None,
    observer: Observer = nobody,
    storage_options: Mapping[str, Any] | None = None,
) -> ActivationStatistics:
    """Measure every activation of a network over the frames of a split.

    Each frame's statistics are kept in `out`, so that other frames of the same network cost only those that are not
    there yet, and ranges of any subset cost no inference. They add up to the same bits in any order and on any number
    of workers.

    Parameters
    ----------
    model : path
        The FP32 ONNX network. It is prepared as `quantize` does: its input gets the model file's size, batch norms and
        constants are folded.
    out : path
        A local folder for the statistics of any number of networks and data sets, which every worker sees. Each has a
        sub-folder there, named by the network's SHA-256, preprocessing, provider, root and ONNX Runtime's version. Of a
        frame whose picture was replaced since by another one, the new one is measured.
    root : path or URL
        The data set.
    split : path, or sequence of these
        Split files, looked for as given and then under `root`.
    model_spec : path, optional
        The model file; left out, it lies beside the network.
    skip_bad : bool
        Leave out frames that cannot be used, and report them, instead of refusing the whole set.
    provider : str
        ONNX Runtime's execution provider.
    threads : int
        That one call of the network uses; as many calls are under way as there are workers.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    ActivationStatistics
        Histogram, least and greatest value and channels of every tensor; ``ranges()`` for any method and scheme.

    Raises
    ------
    NcdbError
        A network, a split, a frame or a folder that cannot be used; what is complete stays, and the same call goes on
        from it.

    Examples
    --------
    >>> found = ncdb_dask.activation_statistics(
    ...     "net.onnx", "out/statistics", root="data", split="calibration.json"
    ... )  # doctest: +SKIP
    >>> found.write_cache("ranges.json", found.ranges("percentile"))  # doctest: +SKIP
    """
    source, place = local(model, "networks"), LocalFolder(str(local(out, "statistics", "folder")))
    reference = NetworkReference.of(source, read_spec(find_spec(source, model_spec)), provider, threads)
    frames, reader = calibration_frames(split, root, allow_root, reference.spec.input, storage_options)
    require_usable([fault for _, fault in faulty(frames.frames)], len(frames.frames), skip_bad=skip_bad)
    with reported(place, "write"):
        with tempfile.TemporaryDirectory() as work:
            network = prepared(load(source), reference.spec.input, Path(work))
        collection = Collection.at(place, network, reference.spec, reader, reference.provider, threads)
    return collected(collection, frames.frames, skip_bad=skip_bad, client=client, observer=observer)


def collected(
    collection: Collection,
    frames: Sequence[CalibrationFrame],
    *,
    skip_bad: bool = False,
    advice: str = LEAVE_OUT,
    client: "Client | None" = None,
    observer: Observer = nobody,
) -> ActivationStatistics:
    """Run the frames that are missing, and add up all; see `activation_statistics`.

    At least one frame is not faulty by itself, as `require_usable` finds. `advice` is its, too.
    """
    found = measured(collection, frames, client=client, observer=observer)
    with reported(collection.out, "read"):
        return found.statistics(frames, skip_bad=skip_bad, advice=advice)


def measured(
    collection: Collection,
    frames: Sequence[CalibrationFrame],
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
) -> Measured:
    """Run the frames that are missing, so that any of the frames can be added up."""
    out, observed = collection.out, collection.observed
    with reported(out, "write", RESUMABLE):
        plan = collection.plan(frames, partial(ordered_stream, client=client))
        plan.write()
    left, receipts = plan.left(), list(plan.run.done.values())
    if left:
        count = sum(each.rows for each in left)
        with watched(client, observer) as told:
            told(RunStarted(NAME, len(left), count, run=uuid.uuid4().hex, out=out.url))
            job = StatisticsJob.of(collection, plan.run.plan.id)
            receipts.extend(run_shards(job, left, client, told))
            with reported(out, "write"):
                plan.tidy()
            told(RunFinished())
    return Measured(out, observed.tensors, observed.axes, tuple(receipts), plan.pictures)
