"""Resizing by its definition, one pixel after the other; places are fractions, so that nothing is rounded."""

import math
from collections.abc import Callable
from fractions import Fraction

Map = list[list[float]]
Sides = tuple[int, int]


def place(index: int, size: int, target: int, align_corners: bool) -> Fraction:
    """Where the centre of a target pixel lies, counted in source pixels from the centre of the first.

    With aligned corners the first and last centres of both pictures coincide, and those between are even. Without, the
    pictures cover the same area: the centre of pixel i lies (i + 1/2) / target from its edge.
    """
    if align_corners:
        return Fraction(index * (size - 1), target - 1) if target > 1 else Fraction(0)
    return Fraction(2 * index + 1, 2 * target) * size - Fraction(1, 2)


def taps(index: int, size: int, target: int, align_corners: bool) -> list[tuple[int, float]]:
    """The source pixels on both sides with their weights; beyond the last centre its value goes on."""
    where = min(max(place(index, size, target, align_corners), Fraction(0)), Fraction(size - 1))
    first = math.floor(where)
    part = where - first
    return [(first, float(1 - part)), *([(first + 1, float(part))] if part else [])]


def bilinear(values: Map, shape: Sides, align_corners: bool) -> Map:
    """Weighted means of up to four neighbours; a neighbour without weight is none."""
    height, width = len(values), len(values[0])
    down = [taps(index, height, shape[0], align_corners) for index in range(shape[0])]
    across = [taps(index, width, shape[1], align_corners) for index in range(shape[1])]
    return [
        [sum(a * b * values[row][column] for row, a in rows for column, b in columns) for columns in across]
        for rows in down
    ]


def nearest(values: Map, shape: Sides, align_corners: bool) -> list[list[set[float]]]:
    """The nearest pixel's value; several where they are equally near."""
    height, width = len(values), len(values[0])
    down = [_nearest(index, height, shape[0], align_corners) for index in range(shape[0])]
    across = [_nearest(index, width, shape[1], align_corners) for index in range(shape[1])]
    return [[{values[row][column] for row in rows for column in columns} for columns in across] for rows in down]


def _nearest(index: int, size: int, target: int, align_corners: bool) -> list[int]:
    where = place(index, size, target, align_corners)
    gaps = [abs(where - source) for source in range(size)]
    return [source for source in range(size) if gaps[source] == min(gaps)]


def inverted(values: Map) -> Map:
    """One divided by each."""
    return _each(lambda value: 1 / value, values)


def _each(term: Callable[[float], float], values: Map) -> Map:
    return [[term(value) for value in row] for row in values]
