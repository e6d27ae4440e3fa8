"""Everything once, from a data set to the page that says what INT8 cost."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.comparisons import compare
from ncdb_dask.api.evaluations import draw_evaluation, plan_evaluation, run_evaluation
from ncdb_dask.api.locations import Location, local
from ncdb_dask.api.quantizations import plan_quantization, run_quantization
from ncdb_dask.api.scans import draw_scan, plan_scan, scan
from ncdb_dask.api.sets import sample
from ncdb_dask.comparison.comparison import Comparison
from ncdb_dask.dataset.synthetic import write_tree
from ncdb_dask.demonstration.plan import SEED, TRAIN, VAL, DemoPlan
from ncdb_dask.demonstration.result import Demo, Steps, Tell, evaluation_line, quantization_lines, set_line, untold
from ncdb_dask.demonstration.variant import Variant
from ncdb_dask.errors import PlanError
from ncdb_dask.evaluation.summary import Evaluation
from ncdb_dask.model.spec import find_spec
from ncdb_dask.quantization.result import Quantization
from ncdb_dask.runtime.events import Observer, StepProgress, nobody
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.sampling.sizes import compared_sizes
from ncdb_dask.scanning.summary import Summary
from ncdb_dask.store.folder import LocalFolder, open_folder, reported

if TYPE_CHECKING:
    from distributed import Client

FP32 = "FP32"
PANELS = 3


def demo(
    out: Location = "demo",
    *,
    root: Location | None = None,
    model: Location | None = None,
    model_spec: Location | None = None,
    train: str = TRAIN,
    val: str = VAL,
    seed: int = SEED,
    client: "Client | None" = None,
    observer: Observer = nobody,
    tell: Tell = untold,
) -> Demo:
    """Do everything once: scan a data set, choose two calibration sets, quantize with each, evaluate and compare.

    The sets are a random one and a stratified one, 100 and 300 frames or fewer where the data set is small. With each,
    the network is quantized as ONNX Runtime's tool does it, and with channels balanced and biases corrected. A
    demonstration that was interrupted continues.

    Parameters
    ----------
    out : path
        The folder of everything, on a file system that every worker sees: new, empty, or of this demonstration.
    root : path or URL, optional
        Your data set; left out, one is rendered into ``out/tree``.
    model : path, optional
        Your network, given together with `root`; left out, the one that comes with ncdb_dask.
    model_spec : path, optional
        The model file; left out, it lies beside the network.
    train, val : str
        The split that calibration frames are chosen from, and the one that networks are evaluated on.
    seed : int
        Of the rendered tree, the sets and the intervals.
    client : distributed.Client, optional
        Where to run; this process if left out.
    observer : callable
        Gets the events of `ncdb_dask.runtime.events`.
    tell : callable
        Gets lines for people: what is done, the commands that do the same by hand, and what was found.

    Returns
    -------
    Demo
        ``text()``, ``as_dict()``, and the figures of every step.

    Raises
    ------
    NcdbError
        An input or a folder that cannot be used; what is complete stays, and the same call goes on from it.

    Examples
    --------
    >>> print(ncdb_dask.demo("demo", tell=print).page)  # doctest: +SKIP
    """
    plan = plan_demo(out, root=root, model=model, model_spec=model_spec, train=train, val=val, seed=seed)
    return run_demo(plan, client=client, observer=observer, tell=tell)


def plan_demo(
    out: Location,
    *,
    root: Location | None = None,
    model: Location | None = None,
    model_spec: Location | None = None,
    train: str = TRAIN,
    val: str = VAL,
    seed: int = SEED,
) -> DemoPlan:
    """Check what `demo` would be given, and write nothing; see there."""
    local(out, "demonstrations", "folder")
    # Relative paths stay so: they are in the commands that are told.
    folder = Path(os.path.expanduser(os.fspath(out).removeprefix("file://")))
    network = None if model is None else local(model, "networks")
    if network is not None and not network.is_file():
        raise PlanError(f"{network}: no such file; expected an ONNX network")
    spec = None if model_spec is None else local(model_spec, "model files")
    plan = DemoPlan.of(folder, root, network, spec, train, val, seed)
    if plan.shipped is None and not plan.begun:
        # A data set that cannot be used leaves no folder behind which is that of another demonstration then.
        plan_scan(plan.root, plan.scan, split=[plan.train, plan.val])
    return plan


def run_demo(
    plan: DemoPlan, *, client: "Client | None" = None, observer: Observer = nobody, tell: Tell = untold
) -> Demo:
    """Carry out a plan; see `demo`."""
    plan.claim()
    work = _Work(plan, Steps(tell), client, observer)
    if plan.shipped is not None:
        _render(work)
        _bring(work, plan.shipped)
    scanned = _scan(work)
    sets = _sample(work)
    variants = [Variant(strategy, one.report.size, full) for strategy, one in sets.items() for full in (False, True)]
    networks = {variant.label: _quantize(work, variant) for variant in variants}
    evaluations = _evaluate(work, variants)
    comparison = _compare(work, variants)
    page, network = str(plan.page.absolute()), str(plan.network.absolute())
    return Demo(page, open_folder(plan.root).url, network, scanned, sets, networks, evaluations, comparison)


@dataclass(frozen=True)
class _Work:
    plan: DemoPlan
    steps: Steps
    client: "Client | None"
    observer: Observer


def _render(work: _Work) -> None:
    plan, steps, tree = work.plan, work.steps, Path(work.plan.root)
    steps.begin("A data set: rendered rooms and streets, and every kind of broken entry")
    steps.command("synth", tree, "--faults", *plan.seeded())
    if tree.exists():  # it gets its name when it is complete
        steps.found("it is there from an earlier start")
        return
    unfinished = tree.with_name(f".{tree.name}")

    def on_frame(done: int, total: int) -> None:
        work.observer(StepProgress("rendering frames", done, total))

    with reported(LocalFolder(str(plan.out)), "write"):
        shutil.rmtree(unfinished, ignore_errors=True)
        made = write_tree(unfinished, seed=plan.seed, faults=True, on_frame=on_frame)
        unfinished.rename(tree)
    steps.found(f"{made.frames} frames in {len(made.scenes)} scenes; {made.train} to train, {made.val} to validate")
    steps.found(f"{made.faults} broken entries")


def _bring(work: _Work, shipped: Path) -> None:
    """Copy the network to where every worker sees it."""
    spec, folder = find_spec(shipped), LocalFolder(str(work.plan.network.parent))
    with reported(folder, "write"):
        folder.write_all({path.name: path.read_bytes() for path in (spec, shipped)})
    work.steps.found(f"and the network that comes with ncdb_dask: {work.plan.network}")


def _scan(work: _Work) -> Summary:
    plan, steps = work.plan, work.steps
    steps.begin("A scan: every entry becomes a row, a broken one too")
    steps.command("scan", plan.root, plan.scan, "--split", plan.train, "--split", plan.val)
    found = scan(plan.root, plan.scan, split=[plan.train, plan.val], client=work.client, observer=work.observer)
    steps.found(f"{found.samples} frames measured, {found.skipped} broken entries")
    for status, count in found.status.items():
        if status != "ok":
            steps.found(f"  {count} {status}")
    steps.found(f"picture: {draw_scan(plan.scan)}")
    return found


def _sample(work: _Work) -> dict[str, CalibrationSet]:
    plan, steps = work.plan, work.steps
    steps.begin("Two calibration sets, without the frames that networks are evaluated on")
    options: dict[str, Any] = {"exclude": plan.val, "seed": plan.seed}
    # A set of one frame tells how many there are to choose from.
    available = sample(plan.scan, size=1, strategy="random", **options).report.population
    sets = {}
    for strategy, size in zip(("random", "stratified"), compared_sizes(available), strict=True):
        out, asked = plan.set_file(strategy, size), ("--size", size, "--strategy", strategy, "--exclude", plan.val)
        steps.command("sample", plan.scan, out, *asked, *plan.seeded())
        sets[strategy] = sample(plan.scan, out, size=size, strategy=strategy, **options)
        steps.found(set_line(sets[strategy].report))
        steps.found(f"picture: {out.with_suffix('.png')}")
    return sets


def _quantize(work: _Work, variant: Variant) -> Quantization:
    plan, steps = work.plan, work.steps
    split, out = plan.set_file(variant.strategy, variant.size), plan.network_file(variant)
    steps.begin(variant.title)
    at = ("--root", plan.root, "--split", split, *plan.described())
    steps.command("quantize", plan.network, out, *at, *variant.options)
    planned = plan_quantization(
        plan.network,
        out,
        root=plan.root,
        split=split,
        model_spec=plan.model_spec,
        equalize=variant.full,
        bias_correction=variant.full,
    )
    made = plan.made_before(planned) or run_quantization(planned, client=work.client, observer=work.observer)
    for line in quantization_lines(made):
        steps.found(line)
    return made


def _evaluate(work: _Work, variants: Sequence[Variant]) -> dict[str, Evaluation]:
    plan, steps = work.plan, work.steps
    steps.begin("What each network is worth in metres, over frames that no set has seen")
    networks = {FP32: (plan.network, plan.evaluation(FP32.lower()))}
    networks |= {variant.label: (plan.network_file(variant), plan.evaluation(variant.name)) for variant in variants}
    found = {}
    for label, (network, out) in networks.items():
        described = plan.described() if label == FP32 else ()  # a quantized network has its own beside it
        steps.command(
            *("evaluate", network, out, "--root", plan.root, "--split", plan.val, "--panels", PANELS, *described)
        )
        spec = plan.model_spec if described else None
        planned = plan_evaluation(network, out, root=plan.root, split=plan.val, model_spec=spec)
        drawn = planned.finished and planned.drawn
        found[label] = run_evaluation(planned, client=work.client, observer=work.observer)
        if not drawn:
            draw_evaluation(planned, panels=PANELS, client=work.client)
        steps.found(f"{label}: {evaluation_line(found[label])}")
    return found


def _compare(work: _Work, variants: Sequence[Variant]) -> Comparison:
    plan, steps = work.plan, work.steps
    steps.begin("What INT8 cost")
    folders = [plan.evaluation(FP32.lower()), *(plan.evaluation(variant.name) for variant in variants)]
    labels = [FP32, *(variant.label for variant in variants)]
    named = [word for label in labels for word in ("--label", label)]
    steps.command("compare", *folders, "--out", plan.page, *named, *plan.seeded())
    return compare(*folders, out=plan.page, labels=labels, seed=plan.seed)
