"""Fine-tuning networks, and what it did to their INT8."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.comparisons import compare
from ncdb_dask.api.evaluations import plan_evaluation, run_evaluation
from ncdb_dask.api.locations import Location, local
from ncdb_dask.api.quantizations import quantize
from ncdb_dask.errors import PlanError, TrainingError
from ncdb_dask.quantization.registry import quantizer
from ncdb_dask.runtime.events import Observer, StepProgress, nobody
from ncdb_dask.runtime.watched import watched
from ncdb_dask.store.folder import LocalFolder, reported

if TYPE_CHECKING:
    from distributed import Client

    from ncdb_dask.comparison.comparison import Comparison
    from ncdb_dask.training.finetune import Trained
    from ncdb_dask.training.plan import FinetunePlan
    from ncdb_dask.training.result import Finetuned

RESUMABLE = "the same call goes on from the last checkpoint"


def plan_finetune(recipe: Location | Mapping[str, object], out: Location, *, fresh: bool = False) -> "FinetunePlan":
    """Say what `finetune` would do, and write nothing.

    Parameters
    ----------
    recipe : path or mapping
        A recipe in TOML, whose relative paths count from its folder, or what one holds; docs/reference/recipe.md
        explains every key.
    out : path
        The folder of everything that is made, new or of an earlier fine-tuning, on a file system that every worker
        sees.
    fresh : bool
        Forget an earlier training in `out` and start over.

    Returns
    -------
    FinetunePlan
        Network, frames, trainings.

    Raises
    ------
    NcdbError
        A recipe, or what it names, that cannot be used; the message says what to do. So where torch is missing.
    """
    _require_torch()
    from ncdb_dask.training.plan import make_plan
    from ncdb_dask.training.recipe import read_recipe

    read, target = read_recipe(recipe), local(out, "trained networks", "folder")
    quantizer(read.quantization.backend, **read.quantization.options)
    with reported(LocalFolder(str(target)), "read"):
        return make_plan(read, target, fresh)


def finetune(
    recipe: Location | Mapping[str, object],
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    fresh: bool = False,
) -> "Finetuned":
    """Fine-tune a network with a penalty on its weights, export it, and quantize and evaluate it before and after.

    Training runs in this process, on its CPU or GPU; quantization and evaluation run on `client`. What was interrupted
    goes on from the last epoch; on a CPU, to the same weights. Processes that read pictures import the calling script
    again, so it needs ``if __name__ == "__main__":`` (or ``workers = 0`` in the recipe).

    Parameters
    ----------
    recipe : path or mapping
        As for `plan_finetune`.
    out : path
        The folder of everything that is made.
    client : distributed.Client, optional
        Where to quantize and evaluate; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    fresh : bool
        Forget an earlier training in `out` and start over.

    Returns
    -------
    Finetuned
        ``rows``, the table; ``text()``, ``as_dict()``.

    Raises
    ------
    NcdbError
        Where it cannot be done, or the training has diverged; the last good checkpoint is kept.

    Examples
    --------
    >>> print(ncdb_dask.finetune("recipe.toml", "out/tuned").text())  # doctest: +SKIP
    """
    return run_finetune(plan_finetune(recipe, out, fresh=fresh), client=client, observer=observer)


def run_finetune(plan: "FinetunePlan", *, client: "Client | None" = None, observer: Observer = nobody) -> "Finetuned":
    """Carry out a plan; see `finetune`."""
    from ncdb_dask.training.finetune import train
    from ncdb_dask.training.plan import PAGE_FILE
    from ncdb_dask.training.report import write_report
    from ncdb_dask.training.result import FP32, INT8, Finetuned, label

    with reported(plan.out, "write", RESUMABLE), watched(client, observer, "fine-tuning", plan.out.path) as told:
        plan.begin()
        trained, fp32, int8 = list["Trained"](), dict[str, str](), dict[str, str]()
        # The one that was given is quantized before any is trained: what cannot be done is found at once.
        for one in train(plan, lambda what, done, total: told(StepProgress(what, done, total))):
            trained.append(one)
            fp32[label(one.name, FP32)] = _evaluated(plan, one.network, one.beside(FP32), client, observer)
            made = _quantized(plan, one.network, one.int8, client, observer)
            int8[label(one.name, INT8)] = _evaluated(plan, made, one.beside(INT8), client, observer)
    page = os.path.join(plan.out.path, PAGE_FILE)
    done = Finetuned(
        plan.out.path,
        tuple(trained),
        comparison=_compared(plan, fp32 | int8, page),
        gains=_compared(plan, int8),
        control=_controlled(plan, trained, int8),
    )
    with reported(plan.out, "write", RESUMABLE):
        write_report(plan.out, done)
    return done


def _quantized(plan: "FinetunePlan", network: str, out: str, client: "Client | None", observer: Observer) -> str:
    from ncdb_dask.training.plan import STATISTICS_FOLDER

    recipe, data = plan.recipe.quantization, plan.recipe.data
    made = quantize(
        network,
        out,
        root=data.root,
        split=plan.calibration,
        backend=recipe.backend,
        statistics=os.path.join(plan.out.path, STATISTICS_FOLDER),
        skip_bad=recipe.skip_bad or not recipe.split,
        allow_root=data.allow_root,
        client=client,
        observer=observer,
        **recipe.options,
    )
    return str(made.out)


def _evaluated(plan: "FinetunePlan", network: str, out: str, client: "Client | None", observer: Observer) -> str:
    recipe, data = plan.recipe.evaluation, plan.recipe.data
    options: dict[str, Any] = {
        "root": data.root,
        "split": recipe.split or data.validation,
        "variants": data.variants or None,
        "depth_scale": data.depth_scale,
        "stretch": data.stretch,
        "allow_root": data.allow_root,
    }
    try:
        evaluation = plan_evaluation(network, out, **options)
    except PlanError:  # of an earlier network or split, by the same recipe or by another
        evaluation = plan_evaluation(network, out, fresh=True, **options)
    run_evaluation(evaluation, client=client, observer=observer)
    return out


def _compared(plan: "FinetunePlan", evaluations: Mapping[str, str], page: str | None = None) -> "Comparison":
    resamples = plan.recipe.evaluation.resamples
    return compare(*evaluations.values(), labels=list(evaluations), out=page, resamples=resamples)


def _controlled(plan: "FinetunePlan", trained: "Sequence[Trained]", int8: Mapping[str, str]) -> "Comparison | None":
    """Compare trainings with a penalty with the one without, where there are both."""
    ordered = sorted(trained[1:], key=lambda one: bool(one.factor))
    if len(ordered) < 2 or ordered[0].factor:
        return None
    from ncdb_dask.training.result import INT8, label

    return _compared(plan, {name: int8[name] for name in (label(one.name, INT8) for one in ordered)})


def _require_torch() -> None:
    if any(find_spec(name) is None for name in ("torch", "onnxscript")):
        raise TrainingError("fine-tuning needs torch and onnxscript; pip install 'ncdb-dask[train]'")
