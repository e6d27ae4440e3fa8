"""Checks of single values of a model file: each returns the value, or raises ``ValueError`` with what is expected."""

import math
from collections.abc import Callable, Sequence
from typing import Any

# Beyond this, an input is a mistake: 65,535 pixels are what picture formats hold.
MAX_SIZE = 2**16 - 1


def finite(value: object) -> float:
    """Accept a finite number; a bool or a text is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a finite number")
    return float(value)


def positive(value: object) -> float:
    """Accept a number above 0."""
    if finite(value) <= 0:
        raise ValueError("a number above 0")
    return finite(value)


def not_zero(value: object) -> float:
    """Accept a number other than 0."""
    if finite(value) == 0:
        raise ValueError("a number other than 0")
    return finite(value)


def size(value: object) -> int:
    """Accept a number of pixels."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
        raise ValueError(f"a whole number of pixels from 1 to {MAX_SIZE}")
    return value


def name(value: object) -> str:
    """Accept a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("a name")
    return value


def output_name(value: object) -> str | tuple[str, str]:
    """Accept one name, or a list of two different ones."""
    if isinstance(value, (list, tuple)):
        names = [name(one) for one in value]
        if len(names) == 2 and names[0] != names[1]:
            return (names[0], names[1])
        raise ValueError("a name, or the names of the integer and the fraction output")
    return name(value)


def one_of(known: Sequence[str]) -> Callable[[object], str]:
    """Return a check for a word among some."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return value

    return check


def triple(check: Callable[[object], float]) -> Callable[[object], tuple[Any, ...]]:
    """Return a check for three numbers; one number stands for all three."""

    def check_all(value: object) -> tuple[Any, ...]:
        values = value if isinstance(value, (list, tuple)) else [value] * 3
        if len(values) != 3:
            raise ValueError("three numbers, one a channel")
        return tuple(check(one) for one in values)

    return check_all
