"""The model file: what a network wants as its input, what its output means, and how it is judged.

One description for calibration, export and evaluation; docs/reference/model_file.md explains every key.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ncdb_dask.errors import SpecError
from ncdb_dask.model.keys import DECODINGS, DEFAULT_DECODING, read_keys
from ncdb_dask.model.values import read_toml


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a picture becomes before it enters the network: (pixel / scale - mean) / std.

    Attributes
    ----------
    width, height : int
        Of the network's input, pixels.
    name : str or None
        Of the graph's input; None stands for its only one.
    resize : str
        Pillow's filter: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
    channels : str
        ``rgb`` or ``bgr``, the order in which the network wants the colours.
    scale : float
        Divides pixels of 0 to 255.
    mean, std : tuple of float
        After `scale`, for each channel in the order of `channels`.
    layout : str
        ``nchw`` or ``nhwc``.
    """

    width: int
    height: int
    name: str | None = None
    resize: str = "lanczos"
    channels: str = "rgb"
    scale: float = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: str = "nchw"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input without the batch dimension."""
        return (3, self.height, self.width) if self.layout == "nchw" else (self.height, self.width, 3)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How the network's output v becomes metres.

    Attributes
    ----------
    name : tuple of str
        Of the graph's output; empty for its only one; integer and fraction for ``integer-fraction``.
    decode : str
        One of `ncdb_dask.model.keys.DECODINGS`.
    factor, offset, gain : float
        ``linear``: factor v + offset. ``reciprocal``: factor / (offset + gain v).
    min, max : float or None
        Metres. ``inverse-sigmoid``: 1 / (1/max + (1/min - 1/max) v). ``log-sigmoid``:
        1 / exp(ln(1/max) + (ln(1/min) - ln(1/max)) v). ``integer-fraction``: integer max + fraction.
    """

    name: tuple[str, ...] = ()
    decode: str = DEFAULT_DECODING
    factor: float = 1.0
    offset: float = 0.0
    gain: float = 1.0
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """Over which pixels the network is judged.

    Attributes
    ----------
    min_depth, max_depth : float
        Metres; true depths strictly between them count.
    crop : str
        ``none``, ``garg``, ``eigen`` or ``nyu``.
    scaling : str
        ``none``, or ``median``: predictions are scaled by the ratio of the medians, frame by frame.
    """

    min_depth: float = 0.001
    max_depth: float = 80.0
    crop: str = "none"
    scaling: str = "none"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model file that was read and checked."""

    input: InputSpec
    output: OutputSpec = field(default_factory=OutputSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], source: str = "model file") -> "ModelSpec":
        """Check the sections of a model file, or what `as_dict` returned.

        Parameters
        ----------
        values : mapping
            Section -> key -> value, as TOML or JSON gives them.
        source : str
            What errors name.

        Raises
        ------
        SpecError
            For a key or value that is unknown, missing or out of range; the message names its place.
        """
        read = read_keys(source, values)
        evaluation = EvaluationSpec(**read["evaluation"])
        low, high = evaluation.min_depth, evaluation.max_depth
        if low >= high:
            raise SpecError(f"{source}: [evaluation] min_depth = {low:g} is not below max_depth = {high:g}")
        return cls(InputSpec(**read["input"]), OutputSpec(**read["output"]), evaluation)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return values that JSON and TOML can hold and `from_dict` reads; what is None or unused is left out."""
        output = self.output
        used = ("decode", *DECODINGS[output.decode])
        names: str | list[str] = list(output.name) if len(output.name) > 1 else "".join(output.name)
        return {
            "input": _plain(asdict(self.input)),
            "output": ({"name": names} if names else {}) | _plain({key: getattr(output, key) for key in used}),
            "evaluation": asdict(self.evaluation),
        }

    def as_toml(self) -> str:
        """Return a model file; its values are strings, numbers and lists of these, which TOML writes as JSON does."""
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
            for name, keys in self.as_dict().items()
        )


def find_spec(model: str | os.PathLike[str], given: str | os.PathLike[str] | None = None) -> Path:
    """Return where a network's model file is: the one given, else ``model.toml`` beside ``model.onnx``.

    Raises
    ------
    SpecError
        Where none is given and none lies there.
    """
    if given is not None:
        return Path(given).expanduser()
    path = Path(model).expanduser()
    beside = path.parent / f"{path.stem}.toml"
    if not beside.exists():
        raise SpecError(
            f"{model}: has no model file (looked for {beside}); write one with at least [input] width and height "
            "(docs/reference/model_file.md), or name another network's with --model-spec"
        )
    return beside


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read a model file.

    Raises
    ------
    SpecError
        Where it cannot be read, is no TOML, or holds a value that cannot be used.
    """
    return ModelSpec.from_dict(read_toml(path, "a model file in TOML, such as model.toml"), os.fspath(path))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value is not None
    }


def _toml(value: object) -> str:
    # The one character that JSON may hold as it is, and TOML may not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
