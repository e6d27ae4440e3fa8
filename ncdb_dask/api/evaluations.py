"""Evaluating networks, and predictions that came back from a board."""

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.locations import Location, several
from ncdb_dask.dataset.layout import depth_variants
from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation import table
from ncdb_dask.evaluation.figures import CHARTS
from ncdb_dask.evaluation.job import EvaluationJob
from ncdb_dask.evaluation.plan import OVERVIEW_FILE, EvaluationPlan, make_plan
from ncdb_dask.evaluation.predictor import NetworkPredictor
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.evaluation.source import Source
from ncdb_dask.evaluation.summary import Evaluation
from ncdb_dask.exporting.manifest import read_manifest
from ncdb_dask.model.session import check
from ncdb_dask.runtime.events import Observer, RunFinished, RunStarted, nobody
from ncdb_dask.runtime.fanout import RESUMABLE, run_shards
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.runtime.watched import watched
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import open_folder, reported

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client


def plan_evaluation(
    model: Location,
    out: Location,
    *,
    root: Location | None = None,
    split: str | Sequence[str] = (),
    scan: Location | None = None,
    where: str | None = None,
    model_spec: Location | None = None,
    values: str = "metres",
    manifest: Location | None = None,
    protocol: str | None = None,
    provider: str = "cpu",
    threads: int = 1,
    variants: str | Sequence[str] | None = None,
    depth_scale: float | None = None,
    stretch: bool = False,
    save_predictions: str | None = None,
    allow_root: Location | Sequence[Location] = (),
    shard_size: int | None = None,
    fresh: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **rules: Any,
) -> EvaluationPlan:
    """Say what `evaluate` would do, and write nothing.

    Parameters
    ----------
    model : path
        An ONNX network, or a folder of predictions (``.npy``, ``.npz`` with the key ``depth``, 16-bit PNG x 256).
    out : path or URL
        The folder of the table, new or holding an unfinished evaluation.
    root : path or URL
        The data set; for a scan only where it has moved.
    split : str or sequence of str
        Split files, looked for as given and then under `root`.
    scan : path or URL
        A finished scan, whose rows of status ``ok`` are evaluated instead of a split.
    where : str, optional
        Which rows of the scan: an expression over its columns and ``depth_range``, as ``pandas.DataFrame.query`` reads
        it.
    model_spec : path, optional
        The model file; left out, it lies beside the network.
    values : str
        What predictions that are files hold: ``metres``, or ``output``: what the network put out, decoded by the model
        file.
    manifest : path, optional
        The folder of an export by whose file names the predictions are matched.
    protocol : str, optional
        ``ncdb``, ``kitti-eigen``, ``kitti-devkit``, ``nyu``, ``packnet``, ``monodepth2`` or ``depth-anything``; left
        out, section [evaluation] of the model file.
    provider : str
        ONNX Runtime's execution provider: ``cpu``, ``cuda``, ``tensorrt``, ... or its full name.
    threads : int
        That one call of the network uses; as many calls are under way as there are workers.
    variants : str or sequence of str, optional
        Depth folders, as for `plan_scan`.
    depth_scale : float, optional
        Raw units a metre of the truth; left out: 256, for 16-bit maps only.
    stretch : bool
        Accept pictures, predictions and truth of different aspect.
    save_predictions : str, optional
        Keep the predictions in metres, as ``npy`` or ``png``, in ``_predictions``.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    shard_size : int, optional
        Frames a shard, the unit of retry.
    fresh : bool
        Remove what an earlier evaluation left in `out` and start over.
    storage_options : mapping, optional
        fsspec options for URLs.
    **rules
        Fields of the protocol one by one: ``min_depth``, ``max_depth``, ``bounds``, ``crop``, ``scaling``, ``clamp``,
        ``resize``, ``align_corners``, ``resize_of``, ``flip``, ``min_pixels``.

    Returns
    -------
    EvaluationPlan
        Frames, shards, what is done and what is left.

    Raises
    ------
    NcdbError
        A network, an input, an option or a folder that cannot be used; the message says what to do.
    """
    source = Source.of(model, model_spec, values)
    resolved = Protocol.of(protocol, source.evaluation, **rules)
    moved = None if root is None else open_folder(root, storage_options)
    scanned = None if scan is None else ScanTable(open_folder(scan, storage_options), moved, storage_options or {})
    target = open_folder(out, storage_options)
    with reported(target, "read"):
        request = EvaluationRequest.of(
            predictor=source.predictor(provider, threads, resolved.flip),
            protocol=resolved,
            out=target,
            root=moved,
            allowed=[open_folder(place, storage_options) for place in several(allow_root)],
            splits=[os.fspath(name) for name in several(split)],
            scan=scanned,
            where=where,
            manifest=None if manifest is None else read_manifest(open_folder(manifest)),
            variants=_variants(variants, scan),
            depth_scale=depth_scale,
            stretch=stretch,
            save=save_predictions,
            shard_size=shard_size,
            storage_options=storage_options,
        )
        return make_plan(request, fresh=fresh)


def evaluate(
    model: Location,
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    **options: Any,
) -> Evaluation:
    """Measure a network, or predictions from files, against true depth: one row of metrics a frame, in Parquet.

    An evaluation that was interrupted continues; one that is finished is only summarized.

    Parameters
    ----------
    model, out : path
        The ONNX network or folder of predictions, and the folder of the table.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    **options
        As for `plan_evaluation`; `split` and `root`, or `scan`, are needed.

    Returns
    -------
    Evaluation
        Means over frames and pooled over pixels, by depth range, recording and what a scan knows.

    Raises
    ------
    NcdbError
        Where the evaluation cannot begin or not finish, or no frame could be evaluated; what is complete stays, and
        the same call goes on from it.

    Examples
    --------
    >>> found = ncdb_dask.evaluate("net.onnx", "out/fp32", root="data", split="val_split.json")  # doctest: +SKIP
    >>> found.figures.mean["abs_rel"]  # doctest: +SKIP
    0.1127
    """
    return run_evaluation(plan_evaluation(model, out, **options), client=client, observer=observer)


def run_evaluation(plan: EvaluationPlan, *, client: "Client | None" = None, observer: Observer = nobody) -> Evaluation:
    """Carry out a plan; see `evaluate`."""
    evaluation = table.summary_of(plan) if plan.finished else _run(plan, client, observer)
    evaluation.require_frames()
    return evaluation


def _run(plan: EvaluationPlan, client: "Client | None", observer: Observer) -> Evaluation:
    request, run = plan.request, plan.run
    if isinstance(request.predictor, NetworkPredictor):
        # Where it will run, and before anything is written.
        list(ordered_stream(check, [request.predictor.reference], client))
    with reported(request.out, "write"):
        plan.write()
    with watched(client, observer) as told:
        told(RunStarted.of("evaluation", run.plan, run.done.values(), request.out.url, CHARTS))
        job = EvaluationJob.of(request, run.plan.id, run=uuid.uuid4().hex)
        receipts = [*run.done.values(), *run_shards(job, run.left, client, told)]
        with reported(request.out, "write", RESUMABLE):
            evaluation = table.finish(plan, receipts)
        told(RunFinished())
    return evaluation


def draw_evaluation(plan: EvaluationPlan, *, panels: int = 0, client: "Client | None" = None) -> list[str]:
    """Draw a finished evaluation, and some of its frames.

    Parameters
    ----------
    plan : EvaluationPlan
        As `plan_evaluation` returned it; the evaluation is finished since.
    panels : int
        How many of the worst, of the median and of the best frames are drawn: picture, truth, prediction, error.
    client : distributed.Client, optional
        Where to draw them; this process if left out.

    Returns
    -------
    list of str
        Where the pictures are: ``_overview.png``, then those in ``_panels``.

    Raises
    ------
    NcdbError
        Where the evaluation is unfinished, a frame cannot be read any more, or a picture cannot be written.
    """
    from ncdb_dask.evaluation.pictures.job import PanelJob, choose  # matplotlib takes a second to import
    from ncdb_dask.evaluation.pictures.overview import overview

    out, run = plan.request.out, plan.run.plan
    with reported(out, "write pictures"):
        table.summary_of(plan)  # nobody else's by now
        out.write(OVERVIEW_FILE, overview(table.read_table(out), os.path.basename(out.url)))
        chosen = choose(out, panels) if panels else []
        job = PanelJob(EvaluationJob.of(plan.request, run.id, run=uuid.uuid4().hex))
        for one, drawn in zip(chosen, ordered_stream(job, chosen, client), strict=True):
            out.write(one.file, drawn)
    return [f"{out.url}/{name}" for name in (OVERVIEW_FILE, *(one.file for one in chosen))]


def read_evaluation(
    evaluation: Location, columns: Sequence[str] | None = None, storage_options: Mapping[str, Any] | None = None
) -> "pd.DataFrame":
    """Read a finished evaluation as a pandas DataFrame, a row a frame.

    Parameters
    ----------
    evaluation : path or URL
        The folder that `evaluate` wrote.
    columns : sequence of str, optional
        Only these.
    storage_options : mapping, optional
        fsspec options for URLs.

    Raises
    ------
    PlanError
        Where it is unfinished or a column is unknown.
    """
    folder = open_folder(evaluation, storage_options)
    with reported(folder, "read"):
        return table.read_table(folder, columns)


def summarize_evaluation(evaluation: Location, storage_options: Mapping[str, Any] | None = None) -> Evaluation:
    """Return the figures of a finished evaluation.

    Raises
    ------
    PlanError
        Where it is unfinished.
    """
    folder = open_folder(evaluation, storage_options)
    with reported(folder, "read"):
        return table.published_summary(folder)


def _variants(given: str | Sequence[str] | None, scan: Location | None) -> tuple[str, ...]:
    if scan is None:
        return depth_variants(given, os.environ)
    if given is not None:
        raise EvaluationError("--variants is for --split; a scan knows where its frames' depth lies")
    return ()
