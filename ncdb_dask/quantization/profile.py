"""NPU profiles: in one file, what an NPU can do, so that nobody asks it for more."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import quoted

TYPES: Mapping[str, tuple[int, bool]] = {
    "uint8": (8, False),
    "int8": (8, True),
    "uint16": (16, False),
    "int16": (16, True),
}
SYMMETRIC, ASYMMETRIC = "symmetric", "asymmetric"
_SHIPPED = "profiles"
_KEYS: Mapping[str, type] = {
    "description": str,
    "source": str,
    "activations": list,
    "zero_points": list,
    "power_of_two": bool,
    "per_channel_weights": bool,
    "operators": list,
    "fixed_softmax": bool,
}


@dataclass(frozen=True)
class Profile:
    """What an NPU can do; the first of several possibilities is what it gets if nothing else is asked for.

    Attributes
    ----------
    name : str
        Of a shipped profile, or the path of a file.
    description, source : str
        What it is, and where that is written.
    activations : tuple of str
        Types of activations: ``uint8``, ``int8``, ``uint16``, ``int16``.
    zero_points : tuple of str
        ``asymmetric``, ``symmetric``; empty: any, and if nothing is asked for, unsigned types are asymmetric and signed
        ones symmetric.
    power_of_two : bool
        Whether all scales must be powers of two.
    per_channel_weights : bool
        Whether each output channel may have a scale of its own for its weights.
    operators : tuple of str
        Kinds of ONNX nodes that run in integers; empty: all that ONNX Runtime can quantize.
    fixed_softmax : bool
        Whether the output of a Softmax has a range of its own, from 0 to 1, whatever was measured.
    """

    name: str
    description: str = ""
    source: str = ""
    activations: tuple[str, ...] = tuple(TYPES)
    zero_points: tuple[str, ...] = ()
    power_of_two: bool = False
    per_channel_weights: bool = True
    operators: tuple[str, ...] = ()
    fixed_softmax: bool = False

    def scheme(self, activations: str | None, symmetric: bool | None, power_of_two: bool | None) -> Scheme:
        """Return the scheme for what was asked for; None leaves it to the profile.

        Raises
        ------
        QuantizationError
            For what the NPU cannot do.
        """
        kind = activations or self.activations[0]
        if kind not in TYPES:
            raise QuantizationError(f"activations {quoted(kind)}: expected {', '.join(TYPES)}")
        self._require(kind in self.activations, f"activations of type {kind}", ", ".join(self.activations))
        bits, signed = TYPES[kind]
        usual = self.zero_points or ((SYMMETRIC, ASYMMETRIC) if signed else (ASYMMETRIC, SYMMETRIC))
        wanted = usual[0] if symmetric is None else SYMMETRIC if symmetric else ASYMMETRIC
        self._require(wanted in usual, f"{wanted} activations", " or ".join(usual))
        self._require(
            power_of_two is not False or not self.power_of_two, "scales that are no powers of two", "powers of two"
        )
        return Scheme(bits, signed, wanted == SYMMETRIC, bool(power_of_two or self.power_of_two))

    def require(self, scheme: Scheme, *, per_channel: bool) -> None:
        """Refuse a type of activations, or scales per channel, where the NPU has none.

        Raises
        ------
        QuantizationError
            Says what it can.
        """
        kind = next(name for name, value in TYPES.items() if value == (scheme.bits, scheme.signed))
        self._require(kind in self.activations, f"activations of type {kind}", ", ".join(self.activations))
        self._require(self.per_channel_weights or not per_channel, "weights with a scale a channel", "one a tensor")

    def _require(self, possible: bool, what: str, expected: str) -> None:
        if not possible:
            raise QuantizationError(f"the profile {self.name} has no {what}; it has {expected}")


GENERIC = Profile("none", "no limits but those of ONNX Runtime's QDQ form")


def read_profile(given: str | None) -> Profile:
    """Read a profile: a shipped one by its name, or a TOML file.

    Raises
    ------
    QuantizationError
        Where there is none, or it cannot be used.
    """
    if given is None:
        return GENERIC
    known = shipped()
    if given in known:
        return _profile(given, known[given])
    path = Path(given).expanduser()
    if path.suffix != ".toml" and not path.exists():
        raise QuantizationError(
            f"the profile {quoted(given)} is unknown; expected {', '.join(known)}, or the path of a TOML file"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise QuantizationError(f"{given}: cannot be read ({reason}); expected an NPU profile in TOML") from error
    return _profile(given, text)


def shipped() -> dict[str, str]:
    """Return the text of every profile that comes with the package, by name."""
    folder = files(__package__) / _SHIPPED
    found = {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def _profile(name: str, text: str) -> Profile:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise QuantizationError(f"{name}: is no TOML ({error}); expected an NPU profile") from error
    for key, value in values.items():
        kind = _KEYS.get(key)
        if kind is None:
            raise QuantizationError(f"{name}: the key {quoted(key)} is unknown; expected {', '.join(_KEYS)}")
        if type(value) is not kind or (isinstance(value, list) and not all(isinstance(each, str) for each in value)):
            written = "a list of strings" if kind is list else f"a {kind.__name__}"
            raise QuantizationError(f"{name}: found {key} = {value!r}; expected {written}")
    _require_known(name, values, "activations", tuple(TYPES))
    _require_known(name, values, "zero_points", (ASYMMETRIC, SYMMETRIC))
    _require_operators(name, values.get("operators", ()))
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return replace(Profile(name), **plain)


def _require_known(name: str, values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> None:
    given = values.get(key, known)
    if not given or not set(given) <= set(known):
        raise QuantizationError(f"{name}: found {key} = {given!r}; expected some of {', '.join(known)}")


def _require_operators(name: str, kinds: Sequence[str]) -> None:
    """Refuse misspelt ones, which would quietly leave nodes in floating point."""
    from onnx import defs

    unknown = [kind for kind in kinds if not defs.has(kind)]
    if unknown:
        raise QuantizationError(
            f"{name}: found {quoted(unknown[0])} among operators; expected names of ONNX, such as Conv"
        )
