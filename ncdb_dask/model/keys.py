"""The keys of a model file: what each may hold, and which of them go together."""

from collections.abc import Mapping
from typing import Any

from ncdb_dask.dataset.png import MAX_PIXELS
from ncdb_dask.errors import SpecError
from ncdb_dask.model.values import Sections, choice, number, per_channel, quoted, read_sections, text, texts, whole

MAX_SIDE = int(MAX_PIXELS**0.5)  # a square of it is the largest picture that is opened
# Far beyond every real normalisation, and near enough that float32 holds what comes out.
SMALLEST, LARGEST = 1e-6, 1e6
# The keys of [output] that each decoding uses.
DECODINGS = {
    "linear": ("factor", "offset"),
    "reciprocal": ("factor", "offset", "gain"),
    "inverse-sigmoid": ("min", "max"),
    "log-sigmoid": ("min", "max"),
    "integer-fraction": ("max",),
}
DEFAULT_DECODING = "linear"
KEYS: Sections = {
    "input": {
        "width": whole(1, MAX_SIDE),
        "height": whole(1, MAX_SIDE),
        "name": text,
        "resize": choice("nearest", "bilinear", "bicubic", "lanczos"),
        "channels": choice("rgb", "bgr"),
        "scale": number(SMALLEST, LARGEST),
        "mean": per_channel(-LARGEST, LARGEST),
        "std": per_channel(SMALLEST, LARGEST),
        "layout": choice("nchw", "nhwc"),
    },
    "output": {
        "name": texts,
        "decode": choice(*DECODINGS),
        "factor": number(nonzero=True),
        "offset": number(),
        "gain": number(nonzero=True),
        "min": number(SMALLEST, LARGEST),
        "max": number(SMALLEST, LARGEST),
    },
    "evaluation": {
        "min_depth": number(SMALLEST, LARGEST),
        "max_depth": number(SMALLEST, LARGEST),
        "crop": choice("none", "garg", "eigen", "nyu"),
        "scaling": choice("none", "median"),
    },
}


def read_keys(source: str, values: object) -> dict[str, dict[str, Any]]:
    """Check the sections of a model file and return what they give, without defaults.

    Raises
    ------
    SpecError
        For a key or value that is unknown, missing, out of range or of no use beside the others.
    """
    read = read_sections(source, values, KEYS)
    try:
        _check_input(read["input"])
        _check_output(read["output"])
    except ValueError as error:
        raise SpecError(f"{source}: {error}") from error
    return read


def _check_input(values: Mapping[str, Any]) -> None:
    missing = " and ".join(key for key in ("width", "height") if key not in values)
    if missing:
        raise ValueError(f"[input] has no {missing}; expected the size of the network's input in pixels")


def _check_output(values: Mapping[str, Any]) -> None:
    """Refuse keys that the decoding does not use: they mean that another one was meant."""
    decode = values.get("decode", DEFAULT_DECODING)
    used = DECODINGS[decode]
    for key in values:
        if key not in ("name", "decode", *used):
            users = " or ".join(quoted(name) for name, keys in DECODINGS.items() if key in keys)
            raise ValueError(f"[output] has {key}, which decode = {quoted(decode)} does not use; it goes with {users}")
    for key in ("min", "max"):
        if key in used and key not in values:
            raise ValueError(f"[output] decode = {quoted(decode)} needs {key}, the depth in metres used in training")
    if "min" in values and values["min"] >= values["max"]:
        raise ValueError(f"[output] min = {values['min']:g} is not below max = {values['max']:g}")
    names = values.get("name", ())
    if decode == "integer-fraction" and len(names) < 2:
        raise ValueError(f'[output] decode = {quoted(decode)} needs two outputs, name = ["INTEGER", "FRACTION"]')
    if decode != "integer-fraction" and len(names) > 1:
        raise ValueError(f"[output] decode = {quoted(decode)} takes one output; name has {', '.join(names)}")
