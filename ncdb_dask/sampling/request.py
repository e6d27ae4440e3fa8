"""What a calibration set is asked to be: the options, checked and with every default resolved."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.strata import DEFAULT_SIZE, DEPTH_RANGE, DepthBins, as_written, check_ratios
from ncdb_dask.sampling.weights import WeightTable, read_weights
from ncdb_dask.scanning.schema import SCHEMA
from ncdb_dask.store.folder import Location

# Strategy to the columns that it groups frames by.
STRATEGIES: Mapping[str, tuple[str, ...]] = {
    "stratified": (DEPTH_RANGE,),
    "balanced": (DEPTH_RANGE, "scene_type"),
    "matched": (DEPTH_RANGE,),
    "coverage": (),
    "random": (),
    "uniform": (),
    "first": (),
}
# What frames can be grouped by: a histogram is no value.
GROUPED_BY = (DEPTH_RANGE, *(field.name for field in SCHEMA if not field.type.num_fields))
LEAVE_OUT, KEEP, NEAREST = "leave-out", "keep", "nearest"

Weights = Location | Mapping[Any, Any]


@dataclass(frozen=True)
class Eligibility:
    """Which frames of status ``ok`` may be chosen at all.

    Attributes
    ----------
    min_pixels, min_share : int, Fraction
        Least valid pixels of the depth map, as a number and as a share of all.
    ambiguous, synthetic : str
        ``keep`` or ``leave-out``: frames whose depth unit is in doubt; frames whose depth variant is synthetic only.
    beyond : str
        ``leave-out`` or ``nearest``: frames whose mean depth lies in no depth range.
    """

    min_pixels: int = 0
    min_share: Fraction = Fraction()
    ambiguous: str = LEAVE_OUT
    synthetic: str = KEEP
    beyond: str = LEAVE_OUT

    @classmethod
    def of(cls, min_valid: int | str, ambiguous: str, synthetic: str, beyond: str) -> "Eligibility":
        """Check the options.

        Raises
        ------
        SampleError
            An option of an unknown value.
        """
        for name, value, known in (
            ("ambiguous", ambiguous, (KEEP, LEAVE_OUT)),
            ("synthetic", synthetic, (KEEP, LEAVE_OUT)),
            ("beyond", beyond, (NEAREST, LEAVE_OUT)),
        ):
            if value not in known:
                raise SampleError(f"{name} {value!r}: expected {' or '.join(known)}")
        text = str(min_valid).strip()
        percent = text.endswith("%")
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if not (0 <= number <= 100 if percent else 0 <= number < 2**53 and number.is_integer()):
            raise SampleError(
                f"min-valid {min_valid!r}: expected a number of pixels such as 1000, or a share such as 1%"
            )
        # As written, in billionths at the finest: 64 bits hold them times the pixels of any frame.
        share = Fraction(repr(number)).limit_denominator(10**7) / 100 if percent else Fraction()
        pixels = 0 if percent else int(number)
        return cls(pixels, share, ambiguous, synthetic, beyond)


@dataclass(frozen=True)
class SampleRequest:
    """What is asked for.

    Attributes
    ----------
    size : int
        Frames of the set.
    strategy : str
        One of `STRATEGIES`.
    bins : DepthBins
        The depth ranges.
    by : tuple of str
        Columns whose values make the cells.
    ratios : tuple of Fraction or None
        Share of each depth range, for ``stratified``.
    weights : WeightTable or None
        For ``balanced``; None weighs all cells that hold frames alike.
    seed : int
        Of the draw.
    exclude : tuple of str
        Split files whose frames are kept out.
    min_gap : int
        Least difference of frame numbers within a recording; 0 for none.
    eligible : Eligibility
        Which frames may be chosen at all.
    statistics : str or None
        Folder of the activation statistics, for ``coverage``.
    """

    size: int
    strategy: str
    bins: DepthBins
    by: tuple[str, ...]
    ratios: tuple[Fraction, ...] | None
    weights: WeightTable | None
    seed: int
    exclude: tuple[str, ...]
    min_gap: int
    eligible: Eligibility
    statistics: str | None = None

    @classmethod
    def of(
        cls,
        *,
        size: int = DEFAULT_SIZE,
        strategy: str = "stratified",
        bins: str | Sequence[float] | None = None,
        names: str | Sequence[str] | None = None,
        ratios: str | Sequence[float] | None = None,
        by: str | Sequence[str] | None = None,
        weights: Weights | None = None,
        seed: int = 42,
        exclude: Location | Sequence[Location] = (),
        min_gap: int = 0,
        min_valid: int | str = 0,
        ambiguous: str = LEAVE_OUT,
        synthetic: str = KEEP,
        beyond: str = LEAVE_OUT,
        statistics: Location | None = None,
    ) -> "SampleRequest":
        """Check the options; texts are comma lists.

        Raises
        ------
        SampleError
            An option outside its range, or one that the strategy does not use.
        """
        if strategy not in STRATEGIES:
            raise SampleError(f"strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
        _check_whole("size", size, "a number of frames, at least 1", least=1)
        _check_whole("min-gap", min_gap, "a difference of frame numbers, 0 for none", least=0)
        _check_whole("seed", seed, "a whole number")
        for name, value, users in (
            ("ratios", ratios, ("stratified",)),
            ("weights", weights, ("balanced",)),
            ("by", by, ("balanced", "matched")),
            ("statistics", statistics, ("coverage",)),
        ):
            if value is not None and strategy not in users:
                raise SampleError(f"--{name} is for --strategy {' or '.join(users)}; {strategy} does not use it")
        if strategy == "coverage" and statistics is None:
            raise SampleError(
                "strategy coverage: found no --statistics, expected the folder in which "
                "ncdb_dask.activation_statistics or ncdb-dask quantize keeps those of the frames"
            )
        depth_bins = DepthBins.of(_numbers("bins", bins), _listed(names))
        columns = STRATEGIES[strategy] if by is None else _columns(_listed(by) or ())
        table = None if weights is None else read_weights(weights, columns, depth_bins)
        shares = check_ratios(_fractions(ratios), depth_bins) if strategy == "stratified" else None
        eligible = Eligibility.of(min_valid, ambiguous, synthetic, beyond)
        excluded = [exclude] if isinstance(exclude, (str, os.PathLike)) else exclude or ()
        kept_out = tuple(os.fspath(place) for place in excluded)
        kept = None if statistics is None else os.fspath(statistics)
        return cls(size, strategy, depth_bins, columns, shares, table, seed, kept_out, min_gap, eligible, kept)


def _check_whole(name: str, value: object, expected: str, least: int | None = None) -> None:
    if type(value) is not int or (least is not None and value < least):  # a bool is an int to isinstance
        raise SampleError(f"{name} {value!r}: expected {expected}")


def _listed(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else tuple(given)


def _numbers(name: str, given: str | Sequence[float] | None) -> tuple[float, ...] | None:
    try:
        return (
            None
            if given is None
            else tuple(float(part) for part in (given.split(",") if isinstance(given, str) else given))
        )
    except ValueError as error:
        raise SampleError(f"{name} {given!r}: expected numbers separated by commas") from error


def _fractions(given: str | Sequence[float] | None) -> tuple[Fraction, ...] | None:
    """Take ratios as they are written: 0.1 is a tenth, not the nearest binary number."""
    if given is None:
        return None
    try:
        return tuple(as_written(part) for part in (given.split(",") if isinstance(given, str) else given))
    except ValueError as error:
        raise SampleError(f"ratios {given!r}: expected numbers separated by commas") from error


def _columns(given: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in given if name not in GROUPED_BY]
    if unknown or not given or len(set(given)) != len(given):
        found = f"{unknown[0]!r} is no column" if unknown else f"{','.join(given)!r}"
        raise SampleError(f"by {found}; expected different columns among {', '.join(GROUPED_BY)}")
    return tuple(given)
