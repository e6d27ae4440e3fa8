"""A study's recipe: sets, quantizers and rules in one TOML file."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ncdb_dask.errors import StudyError
from ncdb_dask.model.values import read_given, read_section, read_sections, shown
from ncdb_dask.studies.recipe_keys import COVERAGE, KEYS, MANY, QUANTIZERS, SETS, STRATEGY_OPTIONS
from ncdb_dask.studies.recipe_sections import (
    DataRecipe,
    EvaluationRecipe,
    GuideRecipe,
    NetworkRecipe,
    NpuRecipe,
    QuantizersRecipe,
    SetsRecipe,
)


@dataclass(frozen=True, slots=True)
class StudyRecipe:
    """A recipe that was read and checked; its paths are absolute."""

    network: NetworkRecipe
    data: DataRecipe
    sets: tuple[SetsRecipe, ...]
    quantizers: tuple[QuantizersRecipe, ...] = (QuantizersRecipe(),)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    npu: NpuRecipe = field(default_factory=NpuRecipe)
    guide: GuideRecipe = field(default_factory=GuideRecipe)
    source: str = "recipe"

    @classmethod
    def from_dict(cls, values: Mapping[str, object], source: str = "recipe", base: Path | None = None) -> "StudyRecipe":
        """Check the sections of a recipe.

        Parameters
        ----------
        values : mapping
            Section -> key -> value, or a list of these, as TOML gives them.
        source : str
            What errors name.
        base : Path, optional
            The folder from which relative paths count; the current one if left out.

        Raises
        ------
        NcdbError
            For a key or value that is unknown, missing or out of range; the message names its place.
        """
        single = {name: value for name, value in values.items() if name not in MANY}
        read = read_sections(source, single, {**KEYS, **{name: {} for name in MANY}})
        for section, key, what in (
            ("network", "model", "the FP32 ONNX network"),
            ("data", "scan", "the folder of a finished scan (ncdb-dask scan ROOT OUT makes one)"),
        ):
            if key not in read[section]:
                raise StudyError(f"{source}: [{section}] has no {key}; expected {what}")
        sets = tuple(_sets(source, values.get(SETS)))
        quantizers = tuple(_quantizers(source, values.get(QUANTIZERS, [{}])))
        recipe = cls(
            NetworkRecipe(**read["network"]),
            DataRecipe(**read["data"]),
            sets,
            quantizers,
            EvaluationRecipe(**read["evaluation"]),
            NpuRecipe(**read["npu"]),
            GuideRecipe(**read["guide"]),
            source,
        )
        return _placed(recipe, Path(base or "."))

    @property
    def excluded(self) -> tuple[str, ...]:
        """Splits whose frames no set may hold: those that networks are judged on, and those of [data] exclude."""
        return tuple(dict.fromkeys((*self.evaluation.split, *self.data.exclude)))

    def as_dict(self) -> dict[str, Any]:
        """Return the sections as JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        del values["source"]
        return values


def read_study_recipe(recipe: str | os.PathLike[str] | Mapping[str, object]) -> StudyRecipe:
    """Read a recipe from a file, whose folder its relative paths count from, or take one from Python.

    Raises
    ------
    NcdbError
        Where it cannot be read, is no TOML, or holds what cannot be used.
    """
    return StudyRecipe.from_dict(*read_given(recipe, "a study's recipe"))


def _tables(source: str, name: str, values: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what errors call each table of a name, and its content."""
    if not isinstance(values, list | tuple) or not values or not all(isinstance(each, Mapping) for each in values):
        found = "is missing" if values is None else f"= {shown(values)}"
        raise StudyError(f"{source}: {name} {found}; expected at least one table [[{name}]] with its keys below it")
    for number, each in enumerate(values, 1):
        yield f"{source}: table {number}" if len(values) > 1 else source, dict(each)


def _sets(source: str, values: object) -> Iterator[SetsRecipe]:
    place = f"[{SETS}]"
    for where, each in _tables(source, SETS, values):
        read = read_section(where, place, each, {place: MANY[SETS]})
        for key, what in (("strategy", "such as stratified"), ("sizes", "numbers of frames, such as [100, 300]")):
            if key not in read:
                raise StudyError(f"{where}: [{place}] has no {key}; expected {what}")
        if "candidates" in read and read["strategy"] != COVERAGE:
            raise StudyError(f"{where}: [{place}] has candidates, which only strategy {COVERAGE} chooses among")
        options = {key: read.pop(key) for key in STRATEGY_OPTIONS if key in read}
        yield SetsRecipe(**read, options=options)


def _quantizers(source: str, values: object) -> Iterator[QuantizersRecipe]:
    place = f"[{QUANTIZERS}]"
    for where, each in _tables(source, QUANTIZERS, values):
        own = {key: each.pop(key) for key in MANY[QUANTIZERS] if key in each}
        read = read_section(where, place, own, {place: MANY[QUANTIZERS]})
        empty = next((key for key, value in each.items() if value == []), None)
        if empty is not None:
            raise StudyError(f"{where}: [{place}] {empty} = []; expected a value, or a list of at least one")
        for key, value in each.items():
            if isinstance(value, list | tuple) and len({json.dumps(one, default=str) for one in value}) < len(value):
                raise StudyError(f"{where}: [{place}] {key} = {shown(value)}; expected each value once")
        yield QuantizersRecipe(**read, options=each)


def _placed(recipe: StudyRecipe, base: Path) -> StudyRecipe:
    """Make relative paths absolute; a split that does not lie beside the recipe is looked for under the root."""

    def at(name: str) -> str:
        outside = "://" in name or not name
        return name if outside else os.path.abspath(os.path.join(base, os.path.expanduser(name)))

    def beside(name: str) -> str:
        return at(name) if name and (base / os.path.expanduser(name)).is_file() else name

    def splits(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(beside, names))

    def options(given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: beside(value) if key in ("weights", "profile") and isinstance(value, str) else value
            for key, value in given.items()
        }

    network, data, evaluation = recipe.network, recipe.data, recipe.evaluation
    return replace(
        recipe,
        network=replace(network, model=at(network.model), model_spec=at(network.model_spec)),
        data=replace(
            data,
            scan=at(data.scan),
            root=at(data.root),
            allow_root=tuple(map(at, data.allow_root)),
            exclude=splits(data.exclude),
        ),
        sets=tuple(replace(each, options=options(each.options)) for each in recipe.sets),
        quantizers=tuple(replace(each, options=options(each.options)) for each in recipe.quantizers),
        evaluation=replace(evaluation, split=splits(evaluation.split)),
        npu=replace(recipe.npu, profile=beside(recipe.npu.profile)),
    )
