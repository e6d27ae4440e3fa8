"""Handing calibration sets over to quantizers, and verifying what was handed over."""

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.locations import Location, several
from ncdb_dask.errors import ExportError, PlanError, StorageError
from ncdb_dask.exporting.compare import chunks, job_of
from ncdb_dask.exporting.finish import Export, finish
from ncdb_dask.exporting.job import ExportJob
from ncdb_dask.exporting.manifest import read_manifest
from ncdb_dask.exporting.plan import ExportPlan, make_plan
from ncdb_dask.exporting.request import ExportRequest
from ncdb_dask.exporting.verify import Verification, verified
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import ModelSpec, find_spec, read_spec
from ncdb_dask.runtime.events import Observer, RunFinished, RunStarted, nobody
from ncdb_dask.runtime.fanout import RESUMABLE, run_shards
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.runtime.watched import watched
from ncdb_dask.store.folder import LocalFolder, open_folder, reported

if TYPE_CHECKING:
    from distributed import Client


def plan_export(
    split: Location,
    out: Location,
    *,
    root: Location,
    format: str,  # noqa: A002 - the name of the option
    model_spec: Location | None = None,
    model: Location | None = None,
    link: bool = False,
    stack: bool = False,
    resized: bool = False,
    layout: str | None = None,
    skip_bad: bool = False,
    allow_root: Location | Sequence[Location] = (),
    shard_size: int | None = None,
    fresh: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> ExportPlan:
    """Say what `export` would do, and write nothing.

    Parameters
    ----------
    split : path
        The calibration set; looked for as given and then under the root.
    out : path
        The folder to write: new, empty, or holding an unfinished export.
    root : path or URL
        The data set.
    format : str
        ``images``, ``split``, ``npy``, ``raw``, ``rknn``, ``hailo``, ``ncnn`` or ``pulsar2``.
    model_spec : path, optional
        The model file, for formats that hold tensors or pictures of the network's size.
    model : path, optional
        The ONNX file: the model file is checked against it, gets the names of its input from it, and is looked for
        beside it where `model_spec` is left out.
    link : bool
        For ``images``: symbolic links instead of copies.
    stack : bool
        For ``npy``: one array of all frames.
    resized : bool
        For ``images``: PNGs of the network's size.
    layout : str, optional
        ``nchw`` or ``nhwc`` for the tensors, where the tool wants another than the format's own.
    skip_bad : bool
        Leave out frames that cannot be read, and report them, instead of stopping.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    shard_size : int, optional
        Frames a shard, the unit of retry.
    fresh : bool
        Remove what an earlier export left in `out` and start over.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    ExportPlan
        Frames, shards, what is done and what is left.

    Raises
    ------
    NcdbError
        A set, an option or a folder that cannot be used; the message says what to do.
    """
    request = ExportRequest.of(
        split=os.fspath(split),
        root=open_folder(root, storage_options),
        out=open_folder(out),
        allowed=[open_folder(place, storage_options) for place in several(allow_root)],
        format=format,
        spec=_spec(model_spec, model),
        link=link,
        stack=stack,
        resized=resized,
        layout=layout,
        skip_bad=skip_bad,
        storage_options=storage_options,
    )
    with reported(request.out, "read"):
        return make_plan(request, fresh=fresh, shard_size=shard_size)


def export(
    split: Location,
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    **options: Any,
) -> Export:
    """Write the frames of a calibration set in the form that a quantizer or a vendor's tool chain reads.

    An export that was interrupted continues; one that is finished only mends files that are gone.

    Parameters
    ----------
    split, out : path
        The calibration set and the folder to write.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    **options
        As for `plan_export`; `root` and `format` are needed.

    Returns
    -------
    Export
        What was written; ``manifest.json`` in the folder says the same.

    Raises
    ------
    NcdbError
        Where the export cannot begin or not finish; what is complete stays, and the same call goes on from it.
    """
    return run_export(plan_export(split, out, **options), client=client, observer=observer)


def run_export(plan: ExportPlan, *, client: "Client | None" = None, observer: Observer = nobody) -> Export:
    """Carry out a plan; see `export`."""
    out = plan.request.out
    if plan.finished:
        return read_export(out.path)
    with reported(out, "write"):
        plan.write()
    run = plan.run
    with watched(client, observer) as told:
        told(RunStarted.of("export", run.plan, run.done.values(), out.url))
        job = ExportJob.of(plan.request, run.plan.id, run=uuid.uuid4().hex)
        receipts = [*run.done.values(), *run_shards(job, run.left, client, told)]
        with reported(out, "write", RESUMABLE):
            exported = finish(plan, receipts)
        told(RunFinished())
    return exported


def read_export(out: Location) -> Export:
    """Return what a finished export holds.

    Raises
    ------
    ExportError
        Where the folder holds none.
    """
    folder = open_folder(out)
    with reported(folder, "read"):
        return Export(folder.url, read_manifest(folder))


def verify_export(
    out: Location | Export,
    *,
    root: Location | None = None,
    model_spec: Location | None = None,
    model: Location | None = None,
    client: "Client | None" = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Verification:
    """Read an export again and say what differs from its manifest, and from what the network takes.

    Parameters
    ----------
    out : path or Export
        The folder that `export` wrote, or what `read_export` has read there.
    root : path or URL, optional
        Where the data set is now, if not where it was. Without this and a model file, a data set that is not there
        is no error: the files are verified alone, and ``not_compared`` says so.
    model_spec, model : path, optional
        Compare with another model file than that of the export.
    client : distributed.Client, optional
        Where to run; this process if left out.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    Verification
        Its ``differences`` name files and frames, and the likely cause (colour order, layout, scale, normalisation,
        resize filter).

    Raises
    ------
    NcdbError
        A folder that holds no finished export, or a given data set that is not there.
    """
    folder = open_folder(out.out if isinstance(out, Export) else out)
    if not isinstance(folder, LocalFolder):
        raise ExportError(f"{folder.url}: expected a local folder that holds an export")
    manifest = out.manifest if isinstance(out, Export) else read_export(folder.path).manifest
    spec = _spec(model_spec, model)
    with reported(folder, "read"):
        try:
            job = job_of(folder, manifest, open_folder(root or manifest.root, storage_options), spec)
        except (PlanError, StorageError) as error:
            if root is not None or spec is not None:
                raise
            return verified(folder, manifest, (), not_compared=str(error))
        return verified(
            folder, manifest, ordered_stream(job, chunks(manifest), client), None if spec is None else job.spec
        )


def _spec(model_spec: Location | None, model: Location | None) -> ModelSpec | None:
    if model is None:
        return None if model_spec is None else read_spec(model_spec)
    return check_graph(model, read_spec(find_spec(model, model_spec)))
