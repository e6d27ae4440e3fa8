"""The sections of a study's recipe, with their defaults; docs/reference/study_recipe.md explains every key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ncdb_dask.sampling.request import KEEP, LEAVE_OUT

DEFAULT_BACKEND = "onnxruntime"
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """What is quantized.

    Attributes
    ----------
    model, model_spec : str
        The FP32 ONNX network and its model file; without the latter, it lies beside the network.
    provider : str
        ONNX Runtime's execution provider.
    threads : int
        That one call of the network uses.
    """

    model: str = ""
    model_spec: str = ""
    provider: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Which frames may be chosen.

    Attributes
    ----------
    scan : str
        A finished scan: the frames that sets are drawn from.
    root : str
        Where the data set is now, if not where it was scanned.
    allow_root : tuple of str
        Further folders in which frames may lie.
    exclude : tuple of str
        Splits whose frames are kept out besides those of the evaluation.
    min_gap, min_valid, ambiguous, synthetic, beyond
        As of `ncdb_dask.sample`, for all sets.
    """

    scan: str = ""
    root: str = ""
    allow_root: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_gap: int = 0
    min_valid: int | str = 0
    ambiguous: str = LEAVE_OUT
    synthetic: str = KEEP
    beyond: str = LEAVE_OUT

    @property
    def eligible(self) -> dict[str, Any]:
        """The options of the sampler that all sets share, but for what is kept out."""
        names = ("min_gap", "min_valid", "ambiguous", "synthetic", "beyond")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How networks are judged.

    Attributes
    ----------
    split : tuple of str
        Frames that networks are judged on.
    protocol : str
        A preset; empty for section [evaluation] of the model file.
    variants : tuple of str
        Depth folders in the order in which they are tried; empty for the usual ones.
    depth_scale : float or None
        Raw units a metre; None for 256, and 16-bit maps only.
    stretch : bool
        Whether picture and depth may differ in aspect.
    resamples, seed : int
        Of the intervals.
    block : int, "recording" or None
        Frames a block; None for as many as neighbours are alike.
    """

    split: tuple[str, ...] = ("val_split.json",)
    protocol: str = ""
    variants: tuple[str, ...] = ()
    depth_scale: float | None = None
    stretch: bool = False
    resamples: int = 10_000
    seed: int = 42
    block: int | str | None = None


@dataclass(frozen=True, slots=True)
class SetsRecipe:
    """Calibration sets of one kind.

    Attributes
    ----------
    name : str
        What they are called; empty for the strategy.
    strategy : str
        As of `ncdb_dask.sample`.
    sizes, seeds : tuple of int
        Frames, and seeds of the draw: a set for each pair.
    candidates : int
        For ``coverage``: so many frames, drawn in strata, are run as well; it may choose among these and those of all
        other sets. Frames that are in both count once.
    options : mapping
        Of the strategy: ``bins``, ``names``, ``ratios``, ``by``, ``weights``.
    """

    strategy: str
    sizes: tuple[int, ...]
    name: str = ""
    seeds: tuple[int, ...] = (42,)
    candidates: int = 0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuantizersRecipe:
    """Ways to quantize.

    Attributes
    ----------
    name : str
        In front of what tells them apart; empty for nothing.
    backend : str
        One whose networks ONNX Runtime runs.
    options : mapping
        Of the backend. A list stands for each of its values in turn, for each combination with the others.
    """

    name: str = ""
    backend: str = DEFAULT_BACKEND
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NpuRecipe:
    """What the NPU can do: a shipped profile's name or a TOML file; empty for anything."""

    profile: str = ""


@dataclass(frozen=True, slots=True)
class GuideRecipe:
    """Sets of the guide's table, such as ``random 100``; empty for the guide's own, where they are there."""

    before: str = ""
    after: str = ""
