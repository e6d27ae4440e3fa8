"""Drawing the sets of a study from its scan, in memory."""

from collections.abc import Mapping, Sequence

from ncdb_dask.calibration.frame_figures import frame_figures
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.errors import SampleError, StudyError
from ncdb_dask.sampling.calibration_set import chosen_keys
from ncdb_dask.sampling.coverage import Activations
from ncdb_dask.sampling.request import STRATEGIES, SampleRequest
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.studies.cells import AskedSet
from ncdb_dask.studies.recipe import StudyRecipe

Key = tuple[str, str]
# Strategies whose sets of n frames are no beginnings of larger ones.
NOT_NESTED = ("uniform",)
STATISTICS = "those of this study"


def requested(recipe: StudyRecipe, asked: AskedSet) -> SampleRequest:
    """Return what the sampler is asked for a set.

    Raises
    ------
    StudyError
        For options that the sampler refuses.
    """
    if asked.strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise StudyError(f'{recipe.source}: [[sets]] strategy = "{asked.strategy}"; expected one of {known}')
    try:
        return SampleRequest.of(
            size=asked.size,
            strategy=asked.strategy,
            seed=asked.seed,
            exclude=recipe.excluded,
            **recipe.data.eligible,
            **asked.options,
            statistics=STATISTICS if asked.late else None,
        )
    except SampleError as error:
        raise StudyError(f"{recipe.source}: [[sets]] {asked.label}: {error}") from error


def drawn(table: ScanTable, recipe: StudyRecipe, sets: Sequence[AskedSet]) -> dict[str, tuple[Key, ...]]:
    """Return the frames of each set, by its label, in the order of a split.

    The first n frames of a set are the set of n, so that of sets that differ in size alone only the largest is drawn.

    Raises
    ------
    NcdbError
        A scan that is unfinished, a split that cannot be read, options that do not fit, or too few frames.
    """
    return _by_kind(table, recipe, sets)


def _by_kind(
    table: ScanTable, recipe: StudyRecipe, sets: Sequence[AskedSet], activations: Activations | None = None
) -> dict[str, tuple[Key, ...]]:
    kinds = dict[tuple[object, ...], list[AskedSet]]()
    for asked in sets:
        alone = asked.size if asked.strategy in NOT_NESTED else None
        kinds.setdefault((asked.name, asked.seed, alone), []).append(asked)
    found = dict[str, tuple[Key, ...]]()
    for kind in kinds.values():
        request = requested(recipe, max(kind, key=lambda asked: asked.size))
        try:
            keys = chosen_keys(table, request, activations)
        except SampleError as error:
            raise StudyError(f"{recipe.source}: [[sets]] {kind[0].name}: {error}") from error
        found |= {asked.label: keys[: asked.size] for asked in kind}
    return found


def candidates(
    table: ScanTable, recipe: StudyRecipe, early: Mapping[str, Sequence[Key]], number: int
) -> tuple[Key, ...]:
    """Return the frames that are run: those of all sets, and `number` that are drawn in strata; some may be both.

    Raises
    ------
    NcdbError
        As `drawn`.
    """
    union = dict.fromkeys(key for keys in early.values() for key in keys)
    if number:
        asked = AskedSet("candidates", "stratified", number, recipe.evaluation.seed)
        union |= dict.fromkeys(_by_kind(table, recipe, [asked])[asked.label])
    return tuple(union)


def split_items(keys: Sequence[Key]) -> list[dict[str, str]]:
    """Return frames as a split in the guide's form."""
    return [{"dataset_root": root, "new_filename": stem} for root, stem in keys]


def covering(
    table: ScanTable, recipe: StudyRecipe, among: Sequence[Key], sets: Sequence[AskedSet], measured: Measured
) -> dict[str, tuple[Key, ...]]:
    """Choose sets by what activations reach, among frames that were run; see `drawn`.

    Parameters
    ----------
    among : sequence of (str, str)
        The frames.
    sets : sequence of AskedSet
        Those that are wanted.
    measured : Measured
        The statistics of these frames.
    """
    figures = frame_figures(measured.folder, among)
    activations = Activations(figures.keys, figures.ranges, measured.folder.url, table.root.url)
    return _by_kind(table, recipe, sets, activations)
