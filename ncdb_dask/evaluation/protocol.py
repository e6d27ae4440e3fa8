"""Protocols: over which pixels a prediction is judged, and what is done to it before.

The presets follow the evaluation code that published tables come from; docs/reference/protocols.md names each source.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ncdb_dask.errors import EvaluationError
from ncdb_dask.model.spec import EvaluationSpec

CHOICES: Mapping[str, tuple[str, ...]] = {
    "bounds": ("strict", "inclusive"),
    "crop": ("none", "garg", "eigen", "nyu"),
    "scaling": ("none", "median"),
    "resize": ("bilinear", "nearest"),
    "resize_of": ("depth", "inverse"),
    "flip": ("none", "mean", "fuse"),
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a prediction is compared with the truth, in this order.

    The prediction is averaged with that of the mirrored picture (`flip`) and brought to the truth's size (`resize`,
    `align_corners`, `resize_of`); pixels are chosen (`min_depth`, `max_depth`, `bounds`, `crop`); predictions are
    scaled (`scaling`) and limited to the range (`clamp`).

    Attributes
    ----------
    min_depth, max_depth : float
        Metres; true depths between them count. 0 and inf stand for no limit: a truth of 0 is invalid anyway.
    bounds : str
        ``strict`` or ``inclusive``: whether depths equal to the limits count.
    crop : str
        ``none``, ``garg``, ``eigen`` or ``nyu``.
    scaling : str
        ``none``, or ``median``: predictions times median(truth) / median(prediction) over the chosen pixels.
    clamp : bool
        Limit predictions to `min_depth` and `max_depth`.
    resize : str
        ``bilinear`` or ``nearest``.
    align_corners : bool
        Whether the centres of the corner pixels lie on each other, or the corners of the pictures.
    resize_of : str
        ``depth``, or ``inverse``: resize 1 / depth.
    flip : str
        ``none``; ``mean`` of both depths; ``fuse``: mean of both inverse depths, but for the borders.
    min_pixels : int
        A frame with fewer chosen pixels is not judged.
    name : str
        The preset that it comes from, or ``model file`` or ``default``.
    """

    min_depth: float = 0.001
    max_depth: float = 80.0
    bounds: str = "strict"
    crop: str = "none"
    scaling: str = "none"
    clamp: bool = True
    resize: str = "bilinear"
    align_corners: bool = False
    resize_of: str = "depth"
    flip: str = "none"
    min_pixels: int = 1
    name: str = "default"

    @classmethod
    def of(cls, preset: str | None = None, spec: EvaluationSpec | None = None, **options: Any) -> "Protocol":
        """Resolve a protocol: options outrank the preset, which outranks the model file.

        Parameters
        ----------
        preset : str, optional
            One of `PRESETS`.
        spec : EvaluationSpec, optional
            Section [evaluation] of the model file, for where no preset is given.
        **options
            Fields that are set one by one; None stands for one that is not.

        Raises
        ------
        EvaluationError
            An unknown preset, or a value that a field cannot have.
        """
        if preset is not None and preset not in PRESETS:
            raise EvaluationError(f"protocol {preset!r}: expected one of {', '.join(PRESETS)}")
        if preset is not None:
            base = replace(PRESETS[preset], name=preset)
        else:
            base = cls() if spec is None else cls(**asdict(spec), name="model file")
        unknown = [name for name in options if name not in FIELDS]
        if unknown:
            raise EvaluationError(f"{unknown[0]!r} is no rule of a protocol; there are {', '.join(FIELDS)}")
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in given.items():
            _check_type(name, value)
        return _checked(replace(base, **given))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; no limit is None."""
        return {**asdict(self), "max_depth": None if self.max_depth == float("inf") else self.max_depth}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Protocol":
        """Undo `as_dict`."""
        limit = values["max_depth"]
        return cls(**{**values, "max_depth": float("inf") if limit is None else limit})

    def text(self) -> str:
        """Return the protocol as a line for people."""
        upper = "no limit" if self.max_depth == float("inf") else f"{self.max_depth:g} m"
        parts = [f"{self.min_depth:g} m to {upper} ({self.bounds})", f"crop {self.crop}", f"scaling {self.scaling}"]
        corners = "corners aligned" if self.align_corners else "half-pixel centres"
        parts += ["clamped" if self.clamp else "not clamped", f"{self.resize} resize of {self.resize_of}, {corners}"]
        parts += [f"flip {self.flip}"] * (self.flip != "none")
        return f"{self.name}: {', '.join(parts)}"


PRESETS: Mapping[str, Protocol] = {
    "ncdb": Protocol(min_depth=0.5, max_depth=15.0, clamp=False, align_corners=True),
    "kitti-eigen": Protocol(crop="garg", align_corners=True),
    "kitti-devkit": Protocol(min_depth=0.0, max_depth=float("inf"), clamp=False),
    "nyu": Protocol(max_depth=10.0, crop="nyu", align_corners=True),
    "packnet": Protocol(min_depth=0.0, crop="garg", align_corners=True),
    "monodepth2": Protocol(crop="garg", scaling="median", resize_of="inverse"),
    "depth-anything": Protocol(bounds="inclusive", clamp=False, align_corners=True, min_pixels=10),
}


def _check_type(name: str, value: object) -> None:
    kind = type(getattr(PRESETS["nyu"], name))
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise EvaluationError(f"{name} {value!r}: expected {_KINDS[kind]}")


def _checked(protocol: Protocol) -> Protocol:
    for name, known in CHOICES.items():
        value = getattr(protocol, name)
        if value not in known:
            raise EvaluationError(f"{name} {value!r}: expected one of {', '.join(known)}")
    low, high = protocol.min_depth, protocol.max_depth
    if not 0 <= low < high:
        raise EvaluationError(f"depths from {low:g} to {high:g} m: expected a least depth from 0 below the greatest")
    if protocol.min_pixels < 1:
        raise EvaluationError(f"min pixels {protocol.min_pixels}: expected at least 1")
    return protocol


_KINDS = {float: "a number", int: "a whole number", bool: "True or False", str: "a word"}
FIELDS = tuple(each.name for each in fields(Protocol) if each.name != "name")
