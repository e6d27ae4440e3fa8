"""What an explanation measures with, on a cluster or in this process."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.judging import Judge
from ncdb_dask.api.quantizations import quantize
from ncdb_dask.api.statistics import collected
from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.frames import CalibrationFrame, CalibrationFrames
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.explanation.bench import Bench
from ncdb_dask.explanation.heads import floors, span
from ncdb_dask.explanation.plan import CURED_FOLDER, STATISTICS_FOLDER, ExplanationPlan
from ncdb_dask.explanation.truth import read_histograms, scanned_histograms
from ncdb_dask.quantization.prepare import load
from ncdb_dask.quantization.steps import apart, spread_evenly
from ncdb_dask.runtime.events import Observer, StepProgress
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.store.folder import LocalFolder, reported

if TYPE_CHECKING:
    from distributed import Client
    from onnx import ModelProto


def bench_of(plan: ExplanationPlan, work: Path, client: "Client | None", observer: Observer, told: Observer) -> Bench:
    """Return what measures a network.

    Parameters
    ----------
    plan : ExplanationPlan
        By which frames and rules.
    work : Path
        A folder for files on the way.
    client : distributed.Client, optional
        Where to run.
    observer, told : callable
        Get the events of the runs within, and the progress of the explanation.
    """
    measure = partial(_measured, plan, client, observer)
    return Bench(
        plan.reference.spec,
        plan.npu,
        work,
        lambda model: measure(model, plan.calibration or plan.evaluation),
        lambda model: measure(model, plan.evaluation),
        Judge(plan.out, plan.judging, client),
        partial(_apart, plan, client, work),
        plan.intervals,
        lambda what, done, total: told(StepProgress(what, done, total)),
    )


def floors_of(plan: ExplanationPlan, client: "Client | None") -> dict[str, Any]:
    """Return what the usual heads would cost by their grid alone."""
    rules = plan.request.options.rules
    if plan.scan is None:
        histograms = read_histograms(plan.request, partial(ordered_stream, client=client))
    else:
        histograms = scanned_histograms(plan.scan, plan.judged_keys, rules.min_depth, rules.max_depth)
    if not len(histograms):
        return {}
    ends = span(histograms, rules.min_depth, rules.max_depth)
    return {
        "floors": floors(histograms, *ends, plan.npu.target().scheme),
        "span": ends,
        "floor_frames": len(histograms),
    }


def _apart(
    plan: ExplanationPlan,
    client: "Client | None",
    work: Path,
    model: "ModelProto",
    name: str,
    keys: Sequence[tuple[str, str]],
) -> float:
    frames = spread_evenly([CalibrationFrame(*key) for key in keys])
    task = apart(Path(plan.reference.path), model, plan.reference.spec, plan.reader, work / f"{name}.onnx")
    return max(ordered_stream(task, frames, client))


def _measured(
    plan: ExplanationPlan,
    client: "Client | None",
    observer: Observer,
    model: "ModelProto",
    frames: CalibrationFrames,
) -> ActivationStatistics:
    reference = plan.reference
    place = LocalFolder(f"{plan.out.path}/{STATISTICS_FOLDER}")
    with reported(place, "write"):
        kept = Collection.at(place, model, reference.spec, plan.reader, reference.provider, reference.threads)
    return collected(kept, frames.frames, skip_bad=True, client=client, observer=observer)


def made_with_everything(plan: ExplanationPlan, client: "Client | None", observer: Observer) -> "ModelProto":
    """Return the network that `quantize` makes with everything on; what an earlier call has made is only read."""
    made = Path(plan.out.path) / CURED_FOLDER / plan.cured / "int8.onnx"
    if not made.exists():
        npu = plan.npu
        options = {name: getattr(npu, name) for name in ("method", "percentile", "activations", "symmetric")}
        quantize(
            plan.reference.path,
            made,
            root=plan.reader.root.url,
            split=plan.splits["calibration"] or plan.splits["evaluation"],
            model_spec=plan.model_spec,
            statistics=f"{plan.out.path}/{STATISTICS_FOLDER}",
            skip_bad=True,
            provider=plan.reference.provider,
            threads=plan.reference.threads,
            allow_root=plan.judging["allow_root"],
            storage_options=plan.judging["storage_options"],
            client=client,
            observer=observer,
            power_of_two=npu.power_of_two,
            per_channel=npu.per_channel,
            profile=npu.profile,
            **options,
        )
    return load(made)
