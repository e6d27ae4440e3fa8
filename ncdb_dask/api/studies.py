"""Studies: many calibration sets and quantizers, judged beside each other."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.evaluations import plan_evaluation
from ncdb_dask.api.judging import EVALUATIONS, Judge
from ncdb_dask.api.locations import Location, local
from ncdb_dask.api.quantizations import quantize
from ncdb_dask.api.statistics import measured
from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.runtime.events import Observer, StepProgress, nobody
from ncdb_dask.runtime.stream import ordered_stream
from ncdb_dask.runtime.watched import watched
from ncdb_dask.store.folder import LocalFolder, reported
from ncdb_dask.studies.cells import AskedQuantizer
from ncdb_dask.studies.draw import covering
from ncdb_dask.studies.findings import Study
from ncdb_dask.studies.means import Means
from ncdb_dask.studies.plan import StudyPlan
from ncdb_dask.studies.planning import allowed, judge_options, make_plan, scan_of
from ncdb_dask.studies.recipe import read_study_recipe
from ncdb_dask.studies.report import write_report
from ncdb_dask.studies.run import carried_out

if TYPE_CHECKING:
    from distributed import Client
    from onnx import ModelProto

RESUMABLE = "the same call goes on from there"


def plan_study(recipe: Location | Mapping[str, object], out: Location, *, fresh: bool = False) -> StudyPlan:
    """Say what `study` would do and what it would cost, and write nothing.

    Parameters
    ----------
    recipe : path or mapping
        A recipe in TOML, whose relative paths count from its folder, or what one holds; docs/reference/study_recipe.md
        explains every key.
    out : path
        The folder of everything that is made, new or of an earlier study, on a file system that every worker sees.
    fresh : bool
        Forget an earlier study in `out` and start over.

    Returns
    -------
    StudyPlan
        Sets, quantizers, cells; ``text()`` and ``as_dict()`` tell the cost.

    Raises
    ------
    NcdbError
        A recipe, or what it names, that cannot be used; the message says what to do.
    """
    read, target = read_study_recipe(recipe), local(out, "studies", "folder")
    table = scan_of(read)
    with reported(table.folder, "read"):
        options = judge_options(read, table)
    spec = read.network.model_spec or None
    judged = plan_evaluation(read.network.model, target / EVALUATIONS / "planned", model_spec=spec, **options)
    settings = dict(judged.run.plan.settings)
    network = settings.pop("predictor")["model"]
    splits = [digest for name, digest in judged.run.plan.inputs.items() if name != network]
    with reported(LocalFolder(str(target)), "read"):
        shaping = {"settings": settings, "splits": splits}
        return make_plan(read, table, target, shaping, judged.run.plan.entries, fresh)


def study(
    recipe: Location | Mapping[str, object],
    out: Location,
    *,
    client: "Client | None" = None,
    observer: Observer = nobody,
    fresh: bool = False,
) -> Study:
    """Quantize a network with many calibration sets in many ways, and judge what comes out, with error bars.

    The frames of all sets are run once: the ranges of each set are a merge of what was measured then. What was
    interrupted goes on with the cells that are left, and a recipe to which something was added costs only that, but for
    cells of ``equalize`` and ``coverage``: they rest on the frames of all sets, and are made again where these change.

    Parameters
    ----------
    recipe : path or mapping
        As for `plan_study`.
    out : path
        The folder of everything that is made.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    fresh : bool
        Forget an earlier study in `out` and start over.

    Returns
    -------
    Study
        ``table()``, a row a cell; ``text()``, ``as_dict()``, and ``page``, what to read first.

    Raises
    ------
    NcdbError
        Where it cannot be done. What fails for one cell alone is told in the result, and tried again by the next call.

    Examples
    --------
    >>> print(ncdb_dask.study("recipe.toml", "out/study").text())  # doctest: +SKIP
    """
    return run_study(plan_study(recipe, out, fresh=fresh), client=client, observer=observer)


def run_study(plan: StudyPlan, *, client: "Client | None" = None, observer: Observer = nobody) -> Study:
    """Carry out a plan; see `study`."""
    with reported(plan.out, "write", RESUMABLE), watched(client, observer, "study", plan.out.path) as told:
        plan.begin()
        means = Means(
            stream=partial(ordered_stream, client=client),
            measure=partial(_measured, plan, client, observer),
            judge=Judge(plan.out, judge_options(plan.recipe, plan.table), client),
            quantize=partial(_quantized, plan, client),
            choose=partial(covering, plan.table, plan.recipe, plan.union),
            progress=lambda what, done, total: told(StepProgress(what, done, total)),
        )
        done = Study.of(plan, carried_out(plan, means))
        write_report(plan.out, done)
        plan.tidy()
    return done


def _measured(
    plan: StudyPlan,
    client: "Client | None",
    observer: Observer,
    model: "ModelProto",
    frames: Sequence[CalibrationFrame],
) -> Measured:
    reference = plan.reference
    with reported(plan.statistics, "write", RESUMABLE):
        kept = Collection.at(plan.statistics, model, reference.spec, plan.reader, reference.provider, reference.threads)
    return measured(kept, frames, client=client, observer=observer)


def _quantized(plan: StudyPlan, client: "Client | None", asked: AskedQuantizer, split: str, out: str) -> Path:
    options: dict[str, Any] = dict(asked.options)
    made = quantize(
        plan.reference.path,
        out,
        root=plan.reader.root.url,
        split=split,
        model_spec=plan.recipe.network.model_spec or None,
        backend=asked.backend,
        statistics=plan.statistics.path,
        provider=plan.reference.provider,
        threads=plan.reference.threads,
        allow_root=allowed(plan.recipe, plan.table),
        client=client,
        **options,
    )
    return Path(os.fspath(made.out))
