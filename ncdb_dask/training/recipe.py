"""A recipe: everything that a fine-tuning is, in one TOML file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ncdb_dask.errors import TrainingError
from ncdb_dask.model.values import read_given, read_sections
from ncdb_dask.training.recipe_keys import KEYS
from ncdb_dask.training.recipe_sections import (
    OWN,
    RANDOM,
    SHIPPED,
    DataRecipe,
    EvaluationRecipe,
    ExportRecipe,
    LossRecipe,
    NetworkRecipe,
    PenaltyRecipe,
    QuantizationRecipe,
    TrainingRecipe,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and checked; its paths are absolute."""

    data: DataRecipe
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    penalty: PenaltyRecipe = field(default_factory=PenaltyRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    export: ExportRecipe = field(default_factory=ExportRecipe)
    quantization: QuantizationRecipe = field(default_factory=QuantizationRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], source: str = "recipe", base: Path | None = None) -> "Recipe":
        """Check the sections of a recipe.

        Parameters
        ----------
        values : mapping
            Section -> key -> value, as TOML gives them.
        source : str
            What errors name.
        base : Path, optional
            The folder from which relative paths count; the current one if left out.

        Raises
        ------
        NcdbError
            For a key or value that is unknown, missing or out of range; the message names its place.
        """
        read = read_sections(source, values, KEYS)
        if "root" not in read["data"]:
            raise TrainingError(f"{source}: [data] has no root; expected the folder of the data set")
        penalty = read["penalty"]
        if penalty.get("kind") == "none":
            penalty.setdefault("lambda", (0.0,))
        if "lambda" in penalty:
            penalty["lambdas"] = penalty.pop("lambda")
        recipe = cls(**{one.name: _SECTIONS[one.name](**read[one.name]) for one in fields(cls)})
        _require_fit(recipe, source)
        return _placed(recipe, Path(base or "."))

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the sections as JSON values; what JSON has no kind of, such as a date among arguments, as strings."""
        values: dict[str, dict[str, Any]] = json.loads(json.dumps(asdict(self), default=str))
        return values


_SECTIONS: Mapping[str, Any] = {
    "network": NetworkRecipe,
    "data": DataRecipe,
    "loss": LossRecipe,
    "penalty": PenaltyRecipe,
    "training": TrainingRecipe,
    "export": ExportRecipe,
    "quantization": QuantizationRecipe,
    "evaluation": EvaluationRecipe,
}


def read_recipe(recipe: str | os.PathLike[str] | Mapping[str, object]) -> Recipe:
    """Read a recipe from a file, whose folder its relative paths count from, or take one from Python.

    Raises
    ------
    NcdbError
        Where it cannot be read, is no TOML, or holds what cannot be used.
    """
    return Recipe.from_dict(*read_given(recipe, "a recipe"))


def _require_fit(recipe: Recipe, source: str) -> None:
    """Refuse what would be without effect, or is missing beside what is given."""
    network, penalty = recipe.network, recipe.penalty
    own = network.factory == OWN
    if not own and SHIPPED in (network.checkpoint, network.model_spec):
        key = "checkpoint" if network.checkpoint == SHIPPED else "model_spec"
        raise TrainingError(f"{source}: [network] {network.factory} needs {key}, the path of a file of its own")
    if own and network.arguments:
        raise TrainingError(f"{source}: [network] arguments are for a factory of yours; that of this package has none")
    if (penalty.kind == "branch-range") != bool(penalty.report):
        what = "needs report, that of a quantization" if not penalty.report else "has report, which it does not use"
        raise TrainingError(f"{source}: [penalty] kind = {penalty.kind!r} {what}; report goes with branch-range")
    if penalty.kind == "none" and penalty.lambdas != (0.0,):
        raise TrainingError(f"{source}: [penalty] kind = 'none' has lambda, which it does not use")
    if penalty.kind in ("none", "branch-range") and (penalty.include, penalty.exclude) != (("*",), ()):
        raise TrainingError(f"{source}: [penalty] kind = {penalty.kind!r} takes neither include nor exclude")


def _placed(recipe: Recipe, base: Path) -> Recipe:
    """Make relative paths absolute; a split that does not lie beside the recipe is looked for under the root."""

    def at(name: str) -> str:
        return name if "://" in name else os.path.abspath(os.path.join(base, os.path.expanduser(name)))

    def file(name: str) -> str:
        return name if name in ("", SHIPPED, RANDOM) else at(name)

    def splits(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(at(name) if (base / name).is_file() else name for name in names)

    network, data = recipe.network, recipe.data
    return replace(
        recipe,
        network=replace(network, checkpoint=file(network.checkpoint), model_spec=file(network.model_spec)),
        data=replace(
            data,
            root=at(data.root),
            allow_root=tuple(map(at, data.allow_root)),
            train=splits(data.train),
            validation=splits(data.validation),
        ),
        penalty=replace(recipe.penalty, report=file(recipe.penalty.report)),
        quantization=replace(recipe.quantization, split=splits(recipe.quantization.split)),
        evaluation=replace(recipe.evaluation, split=splits(recipe.evaluation.split)),
    )
