"""Quantizing networks, and verifying what was made."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.exports import export
from ncdb_dask.api.frames import calibration_frames
from ncdb_dask.api.locations import Location, local, several
from ncdb_dask.api.statistics import collected
from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.feed import CalibrationFeed
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.errors import QuantizationError
from ncdb_dask.exporting.finish import Export
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import find_spec, read_spec
from ncdb_dask.quantization import verify
from ncdb_dask.quantization.base import Material, Statistics
from ncdb_dask.quantization.finish import finish, require_all, work_folder, write_split, written_at
from ncdb_dask.quantization.plan import QuantizationPlan, log_path
from ncdb_dask.quantization.registry import quantizer
from ncdb_dask.quantization.result import Quantization, read_quantization
from ncdb_dask.runtime.events import Observer, StepProgress, nobody
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.runtime.watched import watched
from ncdb_dask.store.folder import LocalFolder, open_folder, reported

if TYPE_CHECKING:
    from distributed import Client
    from onnx import ModelProto

STATISTICS_FOLDER, SPLIT_FILE = "statistics", "split.json"
# Measured are frames that could be read before, so nothing leaves them out by itself.
TAKE_OUT = "mend them, or take them out of the split"


def plan_quantization(
    model: Location,
    out: Location,
    *,
    root: Location,
    split: Location | Sequence[Location],
    model_spec: Location | None = None,
    backend: str = "onnxruntime",
    statistics: Location | None = None,
    skip_bad: bool = False,
    provider: str = "cpu",
    threads: int = 1,
    allow_root: Location | Sequence[Location] = (),
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> QuantizationPlan:
    """Say what `quantize` would do, and write nothing.

    Parameters
    ----------
    model : path
        The FP32 ONNX network.
    out : path
        The file to write, on a file system that every worker sees.
    root : path or URL
        The data set.
    split : path, or sequence of these
        The calibration set, looked for as given and then under `root`.
    model_spec : path, optional
        The model file; left out, it lies beside the network.
    backend : str
        ``onnxruntime``, ``nncf``, ``quark``, ``command``, or one that another package has registered.
    statistics : path, optional
        Folder in which activation statistics are kept, for this and later quantizations; left out, ``statistics``
        beside `out`.
    skip_bad : bool
        Leave out frames that cannot be read, and report them, instead of stopping.
    provider : str
        ONNX Runtime's execution provider for the FP32 network.
    threads : int
        That one call of the network uses; as many calls are under way as there are workers.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    storage_options : mapping, optional
        fsspec options for URLs.
    **options
        Of the backend; None stands for its default. ``onnxruntime`` has ``method``, ``percentile``, ``activations``,
        ``symmetric``, ``power_of_two``, ``per_channel``, ``equalize``, ``bias_correction``, ``wide``, ``keep`` and
        ``profile``, as the command line tells; ``command`` has ``template``; ``nncf`` has ``preset``, ``device``,
        ``transformer`` and ``fast_bias_correction``; ``quark`` has ``config``, ``cle``, ``adaround`` and
        ``iterations``; both of them ``python``, the interpreter that has the quantizer.

    Returns
    -------
    QuantizationPlan
        Network, frames and backend.

    Raises
    ------
    NcdbError
        A network, an option, a split or a file that cannot be used; the message says what to do.
    """
    source, target = local(model, "networks"), local(out, "quantized networks")
    spec = None if model_spec is None else local(model_spec, "model files")
    kept = local(statistics or target.parent / STATISTICS_FOLDER, "statistics", "folder")
    chosen = quantizer(backend, **options)
    if not source.is_file():
        raise QuantizationError(f"{source}: no such file; expected an ONNX network")
    reference = NetworkReference.of(source, read_spec(find_spec(source, spec)), provider, threads)
    frames, reader = calibration_frames(split, root, allow_root, reference.spec.input, storage_options)
    return QuantizationPlan(
        reference=reference,
        model_spec=None if spec is None else str(spec),
        out=target,
        backend=backend,
        quantizer=chosen,
        frames=frames,
        reader=reader,
        allowed=[open_folder(place, storage_options) for place in several(allow_root)],
        statistics=LocalFolder(str(kept)),
        skip_bad=skip_bad,
        storage_options=storage_options or {},
        options={name: value for name, value in options.items() if value is not None},
    )


def quantize(
    model: Location,
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    **options: Any,
) -> Quantization:
    """Quantize a network with calibration frames.

    Beside the quantized network lie its model file and ``<name>.report.json``, which tells everything that was done.
    All of them appear at the end, or none.

    Parameters
    ----------
    model, out : path
        The FP32 ONNX network, and the file to write.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    **options
        As for `plan_quantization`; `root` and `split` are needed.

    Returns
    -------
    Quantization
        Path and report.

    Raises
    ------
    NcdbError
        Where it cannot be done; the message says why. Nothing is written then but statistics, which the same call uses
        again.

    Examples
    --------
    >>> made = ncdb_dask.quantize("net.onnx", "out/int8.onnx", root="data", split="set.json")  # doctest: +SKIP
    >>> ncdb_dask.evaluate(made.out, "out/int8", root="data", split="val_split.json")  # doctest: +SKIP
    """
    return run_quantization(plan_quantization(model, out, **options), client=client, observer=observer)


def run_quantization(
    plan: QuantizationPlan, *, client: "Client | None" = None, observer: Observer = nobody
) -> Quantization:
    """Carry out a plan; see `quantize`."""
    stream = partial(ordered_stream, client=client)
    feed = CalibrationFeed(plan.frames.frames, plan.reader, stream, skip_bad=True)
    require_all(feed.skipped, plan.skip_bad)
    log = log_path(plan.out)
    with (
        reported(LocalFolder(str(plan.out.parent)), "write"),
        work_folder(plan.out) as work,
        watched(client, observer, "quantization", str(plan.out)) as told,
    ):
        earlier = written_at(log)
        material = Material(
            model=Path(plan.reference.path),
            spec=plan.reference.spec,
            frames=feed.frames,
            reader=plan.reader,
            split=str(write_split(feed.frames, work / SPLIT_FILE)),
            root=plan.reader.root.url,
            work=work,
            stream=stream,
            feed=lambda: CalibrationFeed(feed.frames, plan.reader, stream),
            statistics=_measuring(plan, feed.frames, client, observer),
            export=partial(_export, plan, str(work / SPLIT_FILE), client, observer),
            progress=lambda what, done, total: told(StepProgress(what, done, total)),
            log=log,
        )
        made = plan.quantizer.quantize(material, work / plan.out.name)
        finish(plan, work / plan.out.name, made, feed.frames, feed.skipped)
        if written_at(log) == earlier:
            log.unlink(missing_ok=True)  # it is of an earlier quantization's tool
    return read_quantization(plan.out)


def verify_quantization(out: Location) -> list[str]:
    """Derive the ranges of a quantized network again from the stored statistics, and compare.

    Parameters
    ----------
    out : path
        What `quantize` wrote.

    Returns
    -------
    list of str
        What differs, a sentence each; empty where all is as reported.

    Raises
    ------
    NcdbError
        Where there is no report, or the statistics are gone.
    """
    path = local(out, "quantized networks")
    with reported(LocalFolder(str(path.parent)), "read"):
        return list(verify.differences(read_quantization(path)))


def _measuring(
    plan: QuantizationPlan, usable: Sequence[CalibrationFrame], client: "Client | None", observer: Observer
) -> Statistics:
    reference = plan.reference

    def measure(model: "ModelProto", frames: Sequence[CalibrationFrame] | None = None) -> ActivationStatistics:
        with reported(plan.statistics, "write"):
            kept = Collection.at(
                plan.statistics, model, reference.spec, plan.reader, reference.provider, reference.threads
            )
        wanted = usable if frames is None else frames
        return collected(kept, wanted, advice=TAKE_OUT, client=client, observer=observer)

    return measure


def _export(
    plan: QuantizationPlan,
    split: str,
    client: "Client | None",
    observer: Observer,
    format: str,  # noqa: A002 - as `export` has it
    out: Path,
) -> Export:
    return export(
        split,
        out,
        root=plan.reader.root.url,
        format=format,
        allow_root=[folder.url for folder in plan.allowed],
        client=client,
        observer=observer,
        storage_options=plan.storage_options,
        model=plan.reference.path,
        model_spec=plan.model_spec,
    )
