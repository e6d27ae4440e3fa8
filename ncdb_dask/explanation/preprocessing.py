"""Whether the model file says what the network was trained with: the same frames, preprocessed otherwise, in FP32."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.evaluation.bootstrap import LEVEL
from ncdb_dask.explanation.bench import Bench
from ncdb_dask.model.spec import InputSpec

if TYPE_CHECKING:
    from onnx import ModelProto

# Of ImageNet's pictures, for pixels of 0 to 1: what most encoders were trained with (torchvision's transforms).
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
# By less, another filter or a lucky draw may be better: nobody would change a model file for it.
CLEARLY = 0.02


@dataclass(frozen=True, slots=True)
class Alternative:
    """What FP32 gives with another preprocessing.

    Attributes
    ----------
    title : str
        What is changed, in words.
    spec : InputSpec
        The other section [input].
    change : Figure
        abs_rel as the model file says (baseline), and so (other).
    """

    title: str
    spec: InputSpec
    change: Figure

    @property
    def better(self) -> bool:
        """Whether it is clearly better: it can be seen, and is worth a change."""
        return self.change.seen and self.change.difference < -CLEARLY * self.change.baseline

    def keys(self, given: InputSpec) -> dict[str, Any]:
        """Return the keys of [input] that it changes, with their new values."""
        names = ("channels", "scale", "mean", "std", "resize")
        return {name: getattr(self.spec, name) for name in names if getattr(self.spec, name) != getattr(given, name)}

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        spec = {name: getattr(self.spec, name) for name in ("channels", "scale", "mean", "std", "resize")}
        return {"title": self.title, "input": spec, "better": self.better, "abs_rel": self.change.as_dict()}


def alternatives(given: InputSpec) -> Iterator[tuple[str, InputSpec]]:
    """Yield the usual mistakes, as other sections [input]."""
    other = "bgr" if given.channels == "rgb" else "rgb"
    swapped = replace(given, channels=other, mean=_reversed(given.mean), std=_reversed(given.std))
    yield f"channels in the order {other}", swapped
    scale = 1.0 if given.scale == 255 else 255.0
    yield f"pixels divided by {scale:g}", replace(given, scale=scale)
    imagenet = IMAGENET if given.channels == "rgb" else (_reversed(IMAGENET[0]), _reversed(IMAGENET[1]))
    for title, (mean, std), divisor in (
        ("neither mean nor std", NONE, 255.0),
        ("mean and std of ImageNet", imagenet, 255.0),
        ("mean and std of 0.5", HALF, 255.0),
        ("pixels as they are, 0 to 255", NONE, 1.0),
    ):
        # The scale alone was changed above.
        if (given.mean, given.std) != (mean, std):
            yield title, replace(given, mean=mean, std=std, scale=divisor)
    for name in FILTERS:
        if name != given.resize:
            yield f"resized with {name}", replace(given, resize=name)


def _reversed(values: tuple[float, float, float]) -> tuple[float, float, float]:
    first, second, third = values
    return third, second, first


def checked_preprocessing(bench: Bench, model: "ModelProto", fp32: Evaluated) -> list[Alternative]:
    """Evaluate the FP32 network with other preprocessings, the best first."""
    given, found = bench.spec.input, []
    others = list(alternatives(given))
    # So many are tried that the best of them would often look better by chance (Bonferroni).
    level = 1 - (1 - LEVEL) / len(others)
    for number, (title, spec) in enumerate(others):
        bench.progress("checking the preprocessing", number, len(others))
        evaluated = bench.judge(model, replace(bench.spec, input=spec), title)
        found.append(Alternative(title, spec, bench.intervals.beside(fp32, evaluated, level=level)))
    bench.progress("checking the preprocessing", len(others), len(others))
    return sorted(found, key=lambda one: one.change.other)
