"""The cells of a study: every set with every way to quantize."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ncdb_dask.errors import NcdbError, StudyError
from ncdb_dask.model.values import shown
from ncdb_dask.quantization.base import Quantizer
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.profile import TYPES, read_profile
from ncdb_dask.quantization.registry import quantizer
from ncdb_dask.quantization.target import Target
from ncdb_dask.studies.recipe import StudyRecipe
from ncdb_dask.studies.recipe_keys import COVERAGE
from ncdb_dask.studies.recipe_sections import DEFAULT_BACKEND, QuantizersRecipe, SetsRecipe

PLAIN = "plain"  # where all that is varied is off
# Strategies that draw nothing: there is no other draw of such a set.
FIXED = ("uniform", "first")
# Strategies in which the seed decides nothing, or nothing but ties; coverage chooses among frames that were drawn.
SEEDLESS = (*FIXED, COVERAGE)
# Options whose value is a list.
LISTS = ("wide", "keep")
# A study varies what is cheap: both of these need passes over frames of their own for every cell.
STUDY_DEFAULTS: Mapping[str, Any] = {"equalize": False, "bias_correction": False}


@dataclass(frozen=True)
class AskedSet:
    """A calibration set that is wanted.

    Attributes
    ----------
    name : str
        Of its kind.
    strategy : str
        Of the sampler.
    size, seed : int
        Frames, and the seed of the draw.
    options : mapping
        Of the strategy.
    """

    name: str
    strategy: str
    size: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def group(self) -> str:
        """What it is called, whatever the seed."""
        return f"{self.name} {self.size}"

    @property
    def label(self) -> str:
        """What it is called."""
        return self.group if self.strategy in SEEDLESS else f"{self.group}, seed {self.seed}"

    @property
    def file(self) -> str:
        """The name of its file, without suffix."""
        return self.label.replace(",", "").replace(" ", "_")

    @property
    def late(self) -> bool:
        """Whether it is chosen by what activations reach, so that frames must be run before."""
        return self.strategy == COVERAGE


@dataclass(frozen=True)
class AskedQuantizer:
    """A way to quantize that is wanted.

    Attributes
    ----------
    label : str
        What it is called.
    backend : str
        Name of the backend.
    options : mapping
        Of the backend, those of `STUDY_DEFAULTS` included.
    """

    label: str
    backend: str
    options: Mapping[str, Any] = field(hash=False)

    @property
    def written(self) -> str:
        """The options as JSON."""
        return json.dumps(dict(self.options), sort_keys=True, default=str)

    def make(self) -> Quantizer:
        """Make the quantizer, which checks the options."""
        return quantizer(self.backend, **self.options)

    @property
    def built_in(self) -> OnnxRuntimeQuantizer | None:
        """The quantizer, where it is the one of this package."""
        made = self.make()
        return made if isinstance(made, OnnxRuntimeQuantizer) else None

    @property
    def merged(self) -> bool:
        """Whether ranges are a merge of stored statistics, so that a cell needs no inference to be made."""
        made = self.built_in
        return made is not None and not made.bias_correction

    def allowed(self, profile: str, softmax: bool = True) -> bool | None:
        """Whether an NPU can run what comes out; None where that is not known, or no NPU is named.

        `softmax` says whether the network holds a Softmax, whose range is fixed on some NPUs.
        """
        made = self.built_in
        if made is None or not profile:
            return None
        target, npu = made.target(), read_profile(profile)
        scheme = target.scheme
        kind = next(name for name, value in TYPES.items() if value == (scheme.bits, scheme.signed))
        try:
            npu.scheme(kind, scheme.symmetric, scheme.power_of_two)
            npu.require(replace(scheme, bits=16) if target.wide else scheme, per_channel=target.per_channel)
        except NcdbError:
            return False
        if softmax and npu.fixed_softmax and target.quantizes("Softmax") and not target.fixed_softmax:
            return False
        return not npu.operators or (bool(target.operators) and set(target.operators) <= set(npu.operators))


@dataclass(frozen=True)
class Cell:
    """A set with a way to quantize."""

    set: AskedSet
    quantizer: AskedQuantizer

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.set.label}, {self.quantizer.label}"

    def identity(self, keys: Sequence[tuple[str, str]], shaping: Mapping[str, Any]) -> str:
        """Return the SHA-256 of what shapes the result.

        Parameters
        ----------
        keys : sequence of (str, str)
            Of the set's frames; their order does not matter.
        shaping : mapping
            JSON values: what shapes all cells, such as the network.
        """
        own = {
            "keys": sorted(keys),
            "backend": self.quantizer.backend,
            "options": dict(self.quantizer.options),
            "files": _digests(self.quantizer.options),
            "shaping": dict(shaping),
        }
        return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()


def _digests(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the files that options name, such as a template."""
    found = {}
    for value in options.values():
        path = Path(value).expanduser() if isinstance(value, str) else None
        if path is not None and path.is_file():
            found[str(value)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def asked_sets(recipe: StudyRecipe) -> tuple[AskedSet, ...]:
    """Return the sets of a recipe, in its order.

    Raises
    ------
    StudyError
        Sets that cannot be told apart by name.
    """
    found, kinds = dict[str, AskedSet](), dict[str, tuple[str, Mapping[str, Any]]]()
    files = dict[str, str]()
    for each in recipe.sets:
        name = each.name or each.strategy
        if kinds.setdefault(name, (each.strategy, each.options)) != (each.strategy, each.options):
            raise StudyError(
                f"{recipe.source}: two [[sets]] are called {name} and have other strategies or options; expected a "
                "name of its own in one of them"
            )
        for asked in _of_kind(name, each):
            if asked.label in found:
                raise StudyError(
                    f"{recipe.source}: [[sets]] ask for {asked.label} twice; expected each pair of size and seed once"
                )
            if asked.file in files:
                raise StudyError(
                    f"{recipe.source}: the sets {files[asked.file]} and {asked.label} would both lie in "
                    f"{asked.file}.json; expected another name in one of their [[sets]]"
                )
            files[asked.file] = asked.label
            found[asked.label] = asked
    return tuple(found.values())


def _of_kind(name: str, kind: SetsRecipe) -> Iterator[AskedSet]:
    seeds = kind.seeds[:1] if kind.strategy in SEEDLESS else kind.seeds
    for size, seed in itertools.product(kind.sizes, seeds):
        yield AskedSet(name, kind.strategy, size, seed, kind.options)


def asked_quantizers(recipe: StudyRecipe) -> tuple[AskedQuantizer, ...]:
    """Return the ways to quantize of a recipe, each checked, in its order.

    Raises
    ------
    StudyError
        An option that the backend does not have or take, or two that are called the same.
    """
    found = dict[str, AskedQuantizer]()
    for number, each in enumerate(recipe.quantizers, 1):
        for asked in expanded(each):
            try:
                asked.make()
            except NcdbError as error:
                where = f"[[quantizers]] {number} ({asked.label})"
                raise StudyError(f"{recipe.source}: {where}: {error}") from error
            if asked.label in found:
                raise StudyError(
                    f"{recipe.source}: two [[quantizers]] are called {asked.label}; expected a name of its own in one "
                    "of them"
                )
            found[asked.label] = asked
    return tuple(found.values())


def expanded(recipe: QuantizersRecipe) -> Iterator[AskedQuantizer]:
    """Yield a way to quantize for each combination of the values of options that are lists."""
    defaults = STUDY_DEFAULTS if recipe.backend == DEFAULT_BACKEND else {}
    varied = {name: _values(name, value) for name, value in recipe.options.items()}
    for chosen in itertools.product(*varied.values()):
        options = dict(zip(varied, chosen, strict=True))
        told = [_told(name, value) for name, value in options.items() if len(varied[name]) > 1]
        parts = [recipe.name, *told]
        label = " ".join(part for part in parts if part) or (PLAIN if told else recipe.backend)
        yield AskedQuantizer(label, recipe.backend, {**defaults, **options})


def _values(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value]
    whole = name in LISTS and not any(isinstance(each, list | tuple) for each in value)
    return [value] if whole else list(value)


def _told(name: str, value: Any) -> str:
    """Say what a value is in a word or two; what is off is not said."""
    if isinstance(value, bool):
        return name.replace("_", " ") if value else ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"{name} {'+'.join(map(str, value))}" if value else ""
    return f"{name} {shown(value)}"


def cells(sets: Iterable[AskedSet], quantizers: Sequence[AskedQuantizer]) -> tuple[Cell, ...]:
    """Return every set with every way to quantize."""
    return tuple(Cell(each, way) for each in sets for way in quantizers)


def target_of(asked: AskedQuantizer) -> Target:
    """Return what a built-in quantizer rounds to."""
    made = asked.built_in
    assert made is not None
    return made.target()
