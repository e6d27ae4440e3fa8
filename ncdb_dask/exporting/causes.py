"""Why exported data differ from what the network takes: the usual mistakes, tried one after another.

Each is a way to make the input that is wrong but common (all raise no error, and cost accuracy): another colour order,
axes in another order, a division too many or too few, a normalisation too many or too few, another resize filter.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.model.preprocess import FILTERS, normalised, resized
from ncdb_dask.model.spec import InputSpec

Array = npt.NDArray[Any]
Triple = tuple[float, float, float]
# The statistics of ImageNet's training images in units of 0 to 1: what "normalised" means where nothing is said.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of the range of the values: float16 keeps 2^-11, an 8-bit resize of another library differs by a level or two (1/255).
CLOSE = 1e-3


def likely_cause(found: Array, original: bytes, spec: InputSpec, framed: bool = False) -> str | None:
    """Name the mistakes that turn the picture into what was found, the fewest first; None where none does.

    Parameters
    ----------
    found : ndarray
        What was exported.
    original : bytes
        The file of the picture.
    spec : InputSpec
        What the network takes; `found` should be ``preprocess(original, spec)``.
    framed : bool
        Whether `found` has the shape and order that its file tells, and should have a batch axis of 1; bare values
        tell neither.
    """
    pixels = {filter_: resized(original, replace(spec, resize=filter_)) for filter_ in FILTERS}
    written = [] if found.dtype == np.float32 else [f"written as {found.dtype}"]
    for steps, wrong in sorted(_wrong_specs(spec), key=lambda pair: len(pair[0])):
        value = normalised(pixels[wrong.resize], wrong)
        mistakes = [*steps, *written, *(_framing(found, spec, wrong) if framed else ())]
        # Some tools reshape where they should transpose.
        if mistakes and found.size == value.size and _alike(found.reshape(value.shape), value):
            return " and ".join(mistakes)
    return None


def _framing(found: Array, spec: InputSpec, wrong: InputSpec) -> list[str]:
    """Say what of shape and order a reader that takes the bytes as they are would stumble over."""
    mistakes = []
    if found.shape in (spec.shape, wrong.shape):
        mistakes.append("written without a batch axis")
    elif found.shape not in ((1, *spec.shape), (1, *wrong.shape)):
        shapes = (" x ".join(map(str, shape)) for shape in (found.shape, (1, *spec.shape)))
        mistakes.append("shape {} instead of {}".format(*shapes))
    if not found.flags.c_contiguous:
        mistakes.append("written in Fortran order")
    return mistakes


def pixel_cause(found: Array, original: bytes, spec: InputSpec) -> str | None:
    """As `likely_cause`, for pictures of shape (height, width, 3) that the tool normalises by itself."""
    for filter_ in FILTERS:
        pixels = resized(original, replace(spec, resize=filter_))
        filtered = [] if filter_ == spec.resize else [f"resized with {filter_} instead of {spec.resize}"]
        for mistakes, value in ((filtered, pixels), ([*filtered, "red and blue swapped"], pixels[..., ::-1])):
            if mistakes and found.shape == value.shape and np.array_equal(found, value):
                return " and ".join(mistakes)
    return None


def _wrong_specs(spec: InputSpec) -> Iterator[tuple[tuple[str, ...], InputSpec]]:
    """Yield every combination of right and wrong steps as the input that it makes, with the mistakes in words."""
    for filter_, (swapped, colours, late), (scaled, factor), (norm, mean, std), layout in product(
        FILTERS, _colours(spec), _scalings(spec), _normalisations(spec), ("nchw", "nhwc")
    ):
        # Swapped late, the values of a colour are by its own mean and std, which have moved with it.
        statistics = (_reversed(mean), _reversed(std)) if late else (mean, std)
        if late and statistics == (mean, std):
            continue  # alike for all colours: late is early
        mistakes = (
            "" if filter_ == spec.resize else f"resized with {filter_} instead of {spec.resize}",
            swapped,
            scaled,
            norm,
            "" if layout == spec.layout else f"layout {layout} instead of {spec.layout}",
        )
        wrong = replace(spec, resize=filter_, channels=colours, scale=factor, layout=layout)
        wrong = replace(wrong, mean=statistics[0], std=statistics[1])
        yield tuple(mistake for mistake in mistakes if mistake), wrong


def _colours(spec: InputSpec) -> list[tuple[str, str, bool]]:
    """Return a mistake, the order of the channels, and whether they were swapped after the normalisation."""
    other = "rgb" if spec.channels == "bgr" else "bgr"
    order = f"channels in the order {other} instead of {spec.channels}"
    return [("", spec.channels, False), (order, other, False), (f"{order}, swapped after normalising", other, True)]


def _scalings(spec: InputSpec) -> list[tuple[str, float]]:
    once = f"{spec.scale:g}"
    if spec.scale == 1:
        return [("", 1.0), ("divided by 255", 255.0)]
    return [("", spec.scale), (f"not divided by {once}", 1.0), (f"divided by {once} twice", spec.scale**2)]


def _normalisations(spec: InputSpec) -> list[tuple[str, Triple, Triple]]:
    found: list[tuple[str, Triple, Triple]] = [("", spec.mean, spec.std)]
    if (spec.mean, spec.std) == ((0.0,) * 3, (1.0,) * 3):
        why = "normalised with ImageNet's mean and std, which the model file does not have (twice, if the network does)"
        return [*found, (why, IMAGENET_MEAN, IMAGENET_STD)]
    # ((x - m) / s - m) / s = (x - m (1 + s)) / s^2
    mean, std = np.asarray(spec.mean), np.asarray(spec.std)
    twice = _triple(mean * (1 + std)), _triple(std * std)
    return [*found, ("not normalised", (0.0,) * 3, (1.0,) * 3), ("normalised twice", *twice)]


def _reversed(three: Triple) -> Triple:
    return three[2], three[1], three[0]


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    first, second, third = values.tolist()
    return first, second, third


def _alike(found: Array, value: Array) -> bool:
    with np.errstate(invalid="ignore"):  # damaged bytes may be any number, signalling NaN too
        apart = np.abs(found.astype(np.float64) - value.astype(np.float64)).max()
    return bool(apart <= CLOSE * max(np.ptp(value), 1e-12))
