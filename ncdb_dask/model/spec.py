"""The model file: one description of a network's input and output for calibration, export and evaluation."""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ncdb_dask.errors import SpecError
from ncdb_dask.model import checks

RESIZES = ("nearest", "bilinear", "bicubic", "lanczos")
CHANNELS = ("rgb", "bgr")
LAYOUTS = ("nchw", "nhwc")
DECODES = ("linear", "reciprocal", "inverse-sigmoid", "log-sigmoid", "integer-fraction")
CROPS = ("none", "garg", "eigen", "nyu")
SCALINGS = ("none", "median")

Triple = tuple[float, float, float]
T = TypeVar("T")


def _key(check: Callable[[object], Any], **default: Any) -> Any:
    """Declare a key of the file by the check of its value."""
    return field(metadata={"check": check}, **default)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes the network's input.

    Attributes
    ----------
    width, height : int
        Of the input, pixels.
    name : str or None
        Of the graph's input; None where it has only one.
    resize : str
        Filter, as Pillow does it: one of `RESIZES`.
    channels : str
        Order of the colours: one of `CHANNELS`.
    scale : float
        ``x = pixel / scale``, pixels being 0 to 255.
    mean, std : tuple of 3 float
        Then ``(x - mean) / std``, in the order of `channels`.
    layout : str
        One of `LAYOUTS`.
    """

    width: int = _key(checks.size)
    height: int = _key(checks.size)
    name: str | None = _key(checks.name, default=None)
    resize: str = _key(checks.one_of(RESIZES), default="lanczos")
    channels: str = _key(checks.one_of(CHANNELS), default="rgb")
    scale: float = _key(checks.positive, default=255.0)
    mean: Triple = _key(checks.triple(checks.finite), default=(0.0, 0.0, 0.0))
    std: Triple = _key(checks.triple(checks.positive), default=(1.0, 1.0, 1.0))
    layout: str = _key(checks.one_of(LAYOUTS), default="nchw")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input without the batch axis."""
        return (3, self.height, self.width) if self.layout == "nchw" else (self.height, self.width, 3)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How the network's output becomes metres.

    Attributes
    ----------
    name : str, tuple of 2 str, or None
        The graph's output (two for ``integer-fraction``); None where it has only one.
    decode : str
        One of `DECODES`.
    factor, offset, gain : float
        Of ``linear`` (``factor * v + offset``) and ``reciprocal`` (``factor / (offset + gain * v)``).
    min, max : float or None
        Nearest and farthest depth in metres, for the other forms.
    """

    name: str | tuple[str, str] | None = _key(checks.output_name, default=None)
    decode: str = _key(checks.one_of(DECODES), default="linear")
    factor: float = _key(checks.not_zero, default=1.0)
    offset: float = _key(checks.finite, default=0.0)
    gain: float = _key(checks.not_zero, default=1.0)
    min: float | None = _key(checks.positive, default=None)
    max: float | None = _key(checks.positive, default=None)

    def __post_init__(self) -> None:
        wanted = {"inverse-sigmoid": ("min", "max"), "log-sigmoid": ("min", "max"), "integer-fraction": ("max",)}
        for name in wanted.get(self.decode, ()):
            if getattr(self, name) is None:
                raise SpecError(f"[output] has no {name}; decode {self.decode!r} needs it, in metres")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise SpecError(f"[output] min {self.min:g} is not below max {self.max:g}")
        if self.decode == "integer-fraction" and not isinstance(self.name, tuple):
            raise SpecError('[output] decode \'integer-fraction\' needs name = ["integer output", "fraction output"]')
        if self.decode != "integer-fraction" and isinstance(self.name, tuple):
            raise SpecError(f"[output] names two outputs; decode {self.decode!r} needs one")


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """How depth is compared with the ground truth.

    Attributes
    ----------
    min_depth, max_depth : float
        Metres.
    crop, scaling : str
        One of `CROPS`, one of `SCALINGS`.
    """

    min_depth: float = _key(checks.positive, default=0.001)
    max_depth: float = _key(checks.positive, default=80.0)
    crop: str = _key(checks.one_of(CROPS), default="none")
    scaling: str = _key(checks.one_of(SCALINGS), default="none")

    def __post_init__(self) -> None:
        if self.min_depth >= self.max_depth:
            raise SpecError(f"[evaluation] min_depth {self.min_depth:g} is not below max_depth {self.max_depth:g}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A whole model file."""

    input: InputSpec
    output: OutputSpec = OutputSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "ModelSpec":
        """Check a document and make a spec of it.

        Raises
        ------
        SpecError
            A section, key or value that is missing, unknown or out of range.
        """
        _known("section", document, [part.name for part in fields(cls)])
        if "input" not in document:
            raise SpecError("has no section [input]; expected one with width and height at least")
        return cls(
            _section(InputSpec, "input", document["input"]),
            _section(OutputSpec, "output", document.get("output", {})),
            _section(EvaluationSpec, "evaluation", document.get("evaluation", {})),
        )

    def as_dict(self) -> dict[str, Any]:
        """Undo `from_dict`: JSON values, without what is None."""
        return {
            section: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in keys.items()
                if value is not None
            }
            for section, keys in asdict(self).items()
        }


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read a model file.

    Raises
    ------
    SpecError
        A file that cannot be read or is not as expected; the message begins with its path.
    """
    try:
        return ModelSpec.from_dict(tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such model file; expected TOML with a section [input]") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: is no TOML file that can be read ({error})") from error


def beside(model: str | os.PathLike[str]) -> Path:
    """Return where the model file of an ONNX file is looked for: the same stem, ``.toml``."""
    return Path(model).with_suffix(".toml")


def _section(kind: type[T], name: str, given: object) -> T:
    if not isinstance(given, Mapping):
        raise SpecError(f"{name} is {given!r}; expected a section [{name}]")
    keys = {key.name: key for key in fields(kind)}  # type: ignore[arg-type]
    _known(f"[{name}] key", given, list(keys))
    values = {}
    for key, value in given.items():
        try:
            values[key] = keys[key].metadata["check"](value)
        except ValueError as error:
            raise SpecError(f"[{name}] {key} is {value!r}; expected {error}") from error
    missing = [key for key in ("width", "height") if key in keys and key not in values]
    if missing:
        raise SpecError(f"[{name}] has no {missing[0]}; expected the network's input in pixels")
    return kind(**values)


def _known(what: str, given: Mapping[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise SpecError(f"unknown {what} {name!r}; {hint}expected {', '.join(known)}")
