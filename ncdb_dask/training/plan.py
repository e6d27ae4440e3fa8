"""A fine-tuning that can be carried out: the recipe with everything read that it names."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncdb_dask.dataset.layout import depth_variants, require_data_root
from ncdb_dask.dataset.split import Roots
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import TrainingError
from ncdb_dask.evaluation.frame import Frame, FrameOptions
from ncdb_dask.evaluation.frames import of_splits
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.model.spec import ModelSpec, read_spec
from ncdb_dask.sampling.draw import first_by_priority, priorities
from ncdb_dask.store.folder import Folder, LocalFolder, open_folder
from ncdb_dask.store.owned import require_own
from ncdb_dask.training.checkpoint import LAST, load
from ncdb_dask.training.data import DepthFrames
from ncdb_dask.training.recipe import Recipe
from ncdb_dask.training.recipe_sections import SHIPPED
from ncdb_dask.training.shipped import shipped_file
from ncdb_dask.training.source import Source

RECIPE_FILE, CALIBRATION_FILE = "recipe.json", "calibration.json"
REPORT_FILE, PAGE_FILE, PICTURE_FILE = "report.json", "comparison.html", "report.png"
BEFORE, TRAINED, STATISTICS_FOLDER = "before", "lambda_", "statistics"
DEFAULT_SCALE = 256.0


@dataclass(frozen=True)
class FinetunePlan:
    """What will be trained, with what, and where it goes.

    Attributes
    ----------
    recipe : Recipe
        As it was given.
    out : LocalFolder
        The folder of everything that is made.
    source : Source
        The network.
    spec : ModelSpec
        Its model file.
    train, validation : DepthFrames
        The frames.
    inputs : mapping of str to str
        Split files and the report of the penalty to their SHA-256.
    structure : str
        As `Source.structure`: a factory that was edited builds another network.
    fresh : bool
        Whether an earlier training in `out` is forgotten.
    """

    recipe: Recipe
    out: LocalFolder
    source: Source
    spec: ModelSpec
    train: DepthFrames
    validation: DepthFrames
    inputs: Mapping[str, str] = field(default_factory=dict)
    structure: str = ""
    fresh: bool = False

    @property
    def names(self) -> dict[str, float]:
        """The trainings by the names of their folders: a factor of the penalty each."""
        return {f"{TRAINED}{factor:g}": factor for factor in self.recipe.penalty.lambdas}

    @property
    def rules(self) -> Protocol:
        """How a prediction is judged."""
        return self.train.options.rules

    def folder(self, name: str) -> LocalFolder:
        """Return the folder of a training, or of the network as it was given."""
        return LocalFolder(os.path.join(self.out.path, name))

    def identity(self, factor: float) -> str:
        """Return the SHA-256 of what shapes the result of a training; where it runs does not."""
        recipe = self.recipe.as_dict()
        training = {name: value for name, value in recipe["training"].items() if name not in ("device", "amp")}
        data = {name: value for name, value in recipe["data"].items() if name != "workers"}
        shaping = {
            "network": recipe["network"] | {"checkpoint": self.source.sha256, "model_spec": self.spec.as_dict()},
            "data": data | {"variants": self.train.variants},
            "loss": recipe["loss"],
            "penalty": recipe["penalty"] | {"lambdas": factor},
            "training": training,
            "inputs": dict(self.inputs),
            "structure": self.structure,
        }
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()

    @property
    def calibration(self) -> tuple[str, ...]:
        """The splits of the calibration set: those of the recipe, or the one that `begin` draws."""
        return self.recipe.quantization.split or (os.path.join(self.out.path, CALIBRATION_FILE),)

    def begin(self) -> None:
        """Write the recipe and a drawn calibration set into the folder; forget an earlier training if that is wanted.

        Raises
        ------
        PlanError
            Where the folder holds something else, or an earlier training of another recipe.
        OSError
            Where the storage fails.
        """
        require_own(self.out, RECIPE_FILE, "fine-tuning")
        if self.fresh:
            self._forget()
        for name, factor in self.names.items():
            load(self.folder(name), LAST, self.identity(factor))
        self.out.remove(REPORT_FILE)  # of an earlier recipe, perhaps
        # The recipe is first: it says whose folder this is.
        self.out.write(RECIPE_FILE, json.dumps(self.recipe.as_dict(), indent=1).encode())
        if not self.recipe.quantization.split:
            self.out.write(CALIBRATION_FILE, json.dumps(self._drawn(), indent=1).encode())
        self.out.remove_abandoned()

    def _forget(self) -> None:
        """Remove what earlier recipes have left in the folder, by its names: somebody may have put more there."""
        for name in self.out.list().folders:
            if name in (BEFORE, STATISTICS_FOLDER) or name.startswith(TRAINED):
                shutil.rmtree(self.folder(name).path)
        for name in (CALIBRATION_FILE, REPORT_FILE, PAGE_FILE, PICTURE_FILE):
            self.out.remove(name)

    def _drawn(self) -> list[dict[str, str]]:
        """Return a calibration set as a split: frames of the training split by their priority."""
        keys = [(str(one.dataset_root), str(one.stem)) for one in self.train.frames if one.status is None]
        places = first_by_priority(priorities(self.recipe.training.seed, keys), self.recipe.quantization.size)
        return [{"dataset_root": keys[place][0], "new_filename": keys[place][1]} for place in places.tolist()]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "recipe": self.recipe.as_dict(),
            "out": self.out.url,
            "train": len(self.train),
            "validation": len(self.validation),
            "inputs": dict(self.inputs),
            "trainings": self.names,
        }

    def text(self) -> str:
        """Return the plan as lines for people."""
        recipe, training = self.recipe, self.recipe.training
        penalty = recipe.penalty
        factors = ", ".join(f"{factor:g}" for factor in penalty.lambdas)
        kept = recipe.quantization.split or (f"{recipe.quantization.size} drawn from the training split",)
        rows = {
            "Network": f"{recipe.network.factory}, weights: {recipe.network.checkpoint}",
            "Data set": f"{recipe.data.root}: {len(self.train)} frames to train, {len(self.validation)} to validate",
            "Loss": recipe.loss.kind + (f", smoothness {recipe.loss.smoothness:g}" if recipe.loss.smoothness else ""),
            "Penalty": penalty.kind if penalty.kind == "none" else f"{penalty.kind}, lambda {factors}",
            "Training": f"{training.epochs} epochs, AdamW at {training.learning_rate:g} ({training.schedule})",
            "Calibration": ", ".join(kept),
            "Into": self.out.url,
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def make_plan(recipe: Recipe, out: Path, fresh: bool = False) -> FinetunePlan:
    """Read what a recipe names.

    Parameters
    ----------
    recipe : Recipe
        What is wanted.
    out : Path
        Absolute.
    fresh : bool
        Forget an earlier training there.

    Raises
    ------
    NcdbError
        Where something cannot be read or does not fit.
    """
    place = LocalFolder(str(out))
    require_own(place, RECIPE_FILE, "fine-tuning")
    source = Source.of(recipe.network)
    given = recipe.network.model_spec
    spec = read_spec(shipped_file(".toml") if given == SHIPPED else given)
    data = recipe.data
    root, allowed = open_folder(data.root), [open_folder(name) for name in data.allow_root]
    for folder in (root, *allowed):
        require_data_root(folder)
    roots, inputs = Roots.of(root, allowed), dict[str, str]()
    options = FrameOptions(
        Protocol.of(None, spec.evaluation),
        data.depth_scale or DEFAULT_SCALE,
        allow_8bit=data.depth_scale is not None,
        stretch=data.stretch,
    )
    variants = depth_variants(data.variants or None, os.environ)

    def frames(splits: Sequence[str]) -> DepthFrames:
        found = _listed(splits, root, roots, inputs)
        return DepthFrames(found, root, roots, variants, spec.input, options)

    train, validation = frames(data.train), frames(data.validation)
    _require_apart(train, validation)
    if recipe.penalty.report:
        inputs[recipe.penalty.report] = _digest(recipe.penalty.report)
    for later in (recipe.quantization.split, recipe.evaluation.split):
        read_splits(later, root)  # they are needed after the training only
    return FinetunePlan(recipe, place, source, spec, train, validation, inputs, source.structure(), fresh)


def _listed(splits: Sequence[str], root: Folder, roots: Roots, inputs: dict[str, str]) -> list[Frame]:
    found = of_splits(read_splits(splits, root), roots)
    inputs.update(found.inputs)
    return found.frames


def _require_apart(train: DepthFrames, validation: DepthFrames) -> None:
    """Refuse a validation that was trained on: its figures would tell nothing."""
    keys = [{(one.dataset_root, one.stem) for one in part.frames if one.status is None} for part in (train, validation)]
    both = keys[0] & keys[1]
    if both:
        scene, stem = min(both)
        raise TrainingError(
            f"{len(both)} frames are in the splits of both training and validation, such as {stem} of {scene}; take "
            "them out of one"
        )


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"[penalty] report {path}: cannot be read ({error.strerror or error})") from error
