"""Explaining what INT8 costs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.benches import bench_of, floors_of, made_with_everything
from ncdb_dask.api.evaluations import plan_evaluation
from ncdb_dask.api.frames import calibration_frames
from ncdb_dask.api.locations import Location, local, several
from ncdb_dask.calibration.frames import CalibrationFrames
from ncdb_dask.calibration.statistics import faulty, require_usable
from ncdb_dask.comparison.beside import Intervals
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.errors import EvaluationError, QuantizationError
from ncdb_dask.explanation.explain import Work, findings
from ncdb_dask.explanation.plan import REQUEST_FILE, ExplanationPlan, keys_of
from ncdb_dask.explanation.result import Explanation, explained
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import find_spec, read_spec
from ncdb_dask.quantization.finish import work_folder
from ncdb_dask.quantization.opsets import require_unquantized
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.runtime.events import Observer, nobody
from ncdb_dask.runtime.watched import watched
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder, open_folder, reported
from ncdb_dask.store.owned import require_own

if TYPE_CHECKING:
    from distributed import Client

RESUMABLE = "the same call goes on from there"
SUSPECTS = 12


def plan_explanation(
    model: Location,
    out: Location,
    *,
    root: Location,
    split: Location | Sequence[Location],
    calibration: Location | Sequence[Location] = (),
    scan: Location | None = None,
    model_spec: Location | None = None,
    profile: str | None = None,
    method: str | None = None,
    percentile: float | None = None,
    activations: str | None = None,
    symmetric: bool | None = None,
    power_of_two: bool | None = None,
    per_channel: bool | None = None,
    suspects: int = SUSPECTS,
    fresh: bool = False,
    protocol: str | None = None,
    variants: str | Sequence[str] | None = None,
    depth_scale: float | None = None,
    stretch: bool = False,
    resamples: int = 10_000,
    seed: int = 42,
    block: int | str | None = None,
    provider: str = "cpu",
    threads: int = 1,
    allow_root: Location | Sequence[Location] = (),
    storage_options: Mapping[str, Any] | None = None,
    **rules: Any,
) -> ExplanationPlan:
    """Say what `explain` would do, and write nothing.

    Parameters
    ----------
    model : path
        The FP32 ONNX network.
    out : path
        The folder of everything that is made, new or of an earlier explanation; every worker sees it.
    root : path or URL
        The data set.
    split : path, or sequence of these
        The frames that are judged: some hundred, from many recordings, tell more than thousands of a few.
    calibration : path, or sequence of these
        The calibration set; left out, ranges are those of the frames that are judged.
    scan : path or URL, optional
        A finished scan that holds the frames that are judged, for the histograms of their true depth; left out, the
        depth maps are read once more.
    model_spec : path, optional
        The model file; left out, it lies beside the network.
    profile, method, percentile, activations, symmetric, power_of_two, per_channel
        How the NPU's tool rounds, before anything is cured; as for the backend ``onnxruntime`` of `plan_quantization`.
    suspects : int
        Tensors that are measured one by one, the noisiest ones.
    fresh : bool
        Remove what an earlier explanation left in `out` and start over, as where pictures were replaced since.
    protocol, variants, depth_scale, stretch, **rules
        How a frame is judged, as for `plan_evaluation`.
    resamples, seed, block
        How intervals are drawn, as for `compare`.
    provider, threads : str, int
        How networks are run, as for `plan_evaluation`.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    ExplanationPlan
        Network, frames, and how many evaluations it takes.

    Raises
    ------
    NcdbError
        A network, an option, a split or a folder that cannot be used; the message says what to do.
    """
    source, target = local(model, "networks"), local(out, "explanations", "folder")
    if suspects < 1:
        raise EvaluationError(f"suspects {suspects}: expected at least 1")
    asked = CompareRequest.of(None, resamples, seed, block)
    with reported(LocalFolder(str(target)), "read"):
        require_own(LocalFolder(str(target)), REQUEST_FILE, "explanation")
    given = {
        "profile": profile,
        "method": method,
        "percentile": percentile,
        "activations": activations,
        "symmetric": symmetric,
        "power_of_two": power_of_two,
        "per_channel": per_channel,
    }
    rounded: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    npu = OnnxRuntimeQuantizer(**rounded, equalize=False, bias_correction=False)
    if not source.is_file():
        found = "is a folder" if source.is_dir() else "no such file"
        raise QuantizationError(f"{source}: {found}; expected an FP32 ONNX network")
    require_unquantized(load(source))
    reference = NetworkReference.of(source, read_spec(find_spec(source, model_spec)), provider, threads)
    judged, reader = calibration_frames(split, root, allow_root, reference.spec.input, storage_options)
    kept = None
    if several(calibration):
        kept, _ = calibration_frames(calibration, root, allow_root, reference.spec.input, storage_options)
    for each in (judged, kept):
        if each is not None:
            require_usable([fault for _, fault in faulty(each.frames)], len(each.frames), skip_bad=True)
    judging = {
        "root": root,
        "split": [os.fspath(name) for name in several(split)],
        "protocol": protocol,
        "variants": variants,
        "depth_scale": depth_scale,
        "stretch": stretch,
        "provider": provider,
        "threads": threads,
        "allow_root": allow_root,
        "storage_options": storage_options,
        **rules,
    }
    request = plan_evaluation(source, target / "fp32", model_spec=model_spec, **judging).request
    return ExplanationPlan(
        reference,
        None if model_spec is None else os.fspath(model_spec),
        LocalFolder(str(target)),
        npu,
        kept,
        judged,
        reader,
        judging,
        request,
        {"evaluation": _names(split), "calibration": _names(calibration)},
        None
        if scan is None
        else _scanned(ScanTable(open_folder(scan, storage_options), None, storage_options or {}), judged),
        suspects,
        fresh,
        Intervals(asked.resamples, asked.seed, asked.block),
    )


def explain(
    model: Location,
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    **options: Any,
) -> Explanation:
    """Say where the error of INT8 comes from, and what cures it: measured part by part and tensor by tensor.

    Every evaluation is kept in `out`, so what was interrupted goes on from there.

    Parameters
    ----------
    model, out : path
        The FP32 ONNX network, and the folder of everything that is made.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    **options
        As for `plan_explanation`; `root` and `split` are needed.

    Returns
    -------
    Explanation
        ``verdict``, ``findings``, ``steps``; ``text()``, ``as_dict()``, and ``page``, the path of the HTML page.

    Raises
    ------
    NcdbError
        Where it cannot be done; the message says why, and the same call goes on from what is complete.

    Examples
    --------
    >>> print(
    ...     ncdb_dask.explain(
    ...         "net.onnx", "out/why", root="data", split="val_split.json", calibration="calibration.json"
    ...     ).verdict.sentence
    ... )  # doctest: +SKIP
    """
    return run_explanation(plan_explanation(model, out, **options), client=client, observer=observer)


def run_explanation(
    plan: ExplanationPlan, *, client: "Client | None" = None, observer: Observer = nobody
) -> Explanation:
    """Carry out a plan; see `explain`."""
    from ncdb_dask.explanation.report import write_report  # matplotlib takes a second to import

    with reported(plan.out, "write", RESUMABLE), watched(client, observer, "explanation", plan.out.path) as told:
        plan.begin()
        with work_folder(Path(plan.out.path) / "explanation") as work:
            network = prepared(load(Path(plan.reference.path)), plan.reference.spec.input, work)
            bench = bench_of(plan, work, client, observer, told)
            everything = partial(made_with_everything, plan, client, observer)
            found = findings(bench, Work(network, plan.suspects, plan.calibration is not None, everything))
            done = explained(plan, replace(found, **floors_of(plan, client)))
        write_report(done)
    return done


def _scanned(scan: ScanTable, judged: CalibrationFrames) -> ScanTable:
    """Refuse a scan that is unfinished, or of other frames."""
    with reported(scan.folder, "read"):
        rows = scan.columns(["dataset_root", "filename"])
    if not set(keys_of(judged)).intersection(rows.itertuples(index=False, name=None)):
        raise EvaluationError(
            f"{scan.folder.url}: knows none of the frames that are judged; give a scan of the same data set, or none"
        )
    return scan


def _names(splits: Location | Sequence[Location]) -> tuple[str, ...]:
    return tuple(os.fspath(name) for name in several(splits))
