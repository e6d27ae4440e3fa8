"""Making the plan of a study: all is read that its recipe names, and its sets are drawn."""

import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.collection import held_frames
from ncdb_dask.calibration.frames import FrameReader
from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import StudyError
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import find_spec, read_spec
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.quantization.profile import read_profile
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder, open_folder
from ncdb_dask.store.owned import require_own
from ncdb_dask.studies.cells import AskedSet, asked_quantizers, asked_sets
from ncdb_dask.studies.draw import Key, candidates, drawn, requested
from ncdb_dask.studies.plan import RECIPE_FILE, StudyPlan
from ncdb_dask.studies.recipe import StudyRecipe


def scan_of(recipe: StudyRecipe) -> ScanTable:
    """Return the scan that sets are drawn from."""
    root = recipe.data.root
    return ScanTable(open_folder(recipe.data.scan), open_folder(root) if root else None)


def allowed(recipe: StudyRecipe, table: ScanTable) -> list[str]:
    """Return further folders in which frames may lie: those of the recipe, or those of the scan."""
    return list(recipe.data.allow_root or table.manifest.plan.settings["allow_root"])


def judge_options(recipe: StudyRecipe, table: ScanTable) -> dict[str, Any]:
    """Return how networks are judged, as `ncdb_dask.evaluate` takes it."""
    rules, network = recipe.evaluation, recipe.network
    return {
        "root": table.root.url,
        "split": rules.split,
        "protocol": rules.protocol or None,
        "variants": rules.variants or None,
        "depth_scale": rules.depth_scale,
        "stretch": rules.stretch,
        "provider": network.provider,
        "threads": network.threads,
        "allow_root": allowed(recipe, table),
    }


def make_plan(
    recipe: StudyRecipe, table: ScanTable, out: Path, judged: Mapping[str, Any], frames: int, fresh: bool = False
) -> StudyPlan:
    """Read what a recipe names, and draw its sets.

    Parameters
    ----------
    recipe : StudyRecipe
        What is wanted.
    table : ScanTable
        Its scan.
    out : Path
        Absolute.
    judged, frames
        As of `StudyPlan`.
    fresh : bool
        Forget an earlier study there.

    Raises
    ------
    NcdbError
        Where something cannot be read or does not fit.
    """
    place = LocalFolder(str(out))
    require_own(place, RECIPE_FILE, "study")
    sets, ways = asked_sets(recipe), asked_quantizers(recipe)
    read_profile(recipe.npu.profile or None)
    for asked in sets:
        requested(recipe, asked)
    early = drawn(table, recipe, [asked for asked in sets if not asked.late])
    union = candidates(table, recipe, early, max(each.candidates for each in recipe.sets))
    _require_room(recipe, sets, union)
    _require_guide(recipe, sets)
    given, spec = recipe.network, find_spec(recipe.network.model, recipe.network.model_spec or None)
    reference = NetworkReference.of(given.model, read_spec(spec), given.provider, given.threads)
    folders = [open_folder(name) for name in allowed(recipe, table)]
    for folder in (table.root, *folders):
        require_data_root(folder)
    reader = FrameReader(table.root, Roots.of(table.root, folders), reference.spec.input, run=uuid.uuid4().hex)
    plan = StudyPlan(recipe, place, reference, table, reader, sets, ways, early, union, judged, frames, fresh=fresh)
    return plan if fresh else replace(plan, measured=_measured(plan))


def _require_guide(recipe: StudyRecipe, sets: Sequence[AskedSet]) -> None:
    """Refuse names of sets that are not there; the usual ones need not be."""
    groups = list(dict.fromkeys(asked.group for asked in sets))
    for key in ("before", "after"):
        name = getattr(recipe.guide, key)
        if name and name not in groups:
            raise StudyError(f'{recipe.source}: [guide] {key} = "{name}"; expected one of {", ".join(groups)}')


def _measured(plan: StudyPlan) -> int:
    """Count the frames whose statistics are there."""
    if not os.path.isdir(plan.statistics.path):
        return 0
    with tempfile.TemporaryDirectory() as work:
        network = prepared(load(Path(plan.reference.path)), plan.reference.spec.input, Path(work))
    held = held_frames(plan.statistics, network, plan.reader, plan.reference.provider)
    return len(held.intersection(plan.union))


def _require_room(recipe: StudyRecipe, sets: Sequence[AskedSet], union: Sequence[Key]) -> None:
    """Refuse a set that is chosen among fewer frames than it has."""
    for asked in sets:
        if asked.late and asked.size > len(union):
            raise StudyError(
                f"{recipe.source}: [[sets]] {asked.label} is chosen among the {len(union)} frames of the other sets; "
                f"expected at least {asked.size}: add candidates"
            )
