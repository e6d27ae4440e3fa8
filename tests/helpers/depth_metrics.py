"""The metrics by their definitions, one pixel after the other in plain floats, with exact sums."""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import pytest


def mean(values: Iterable[float]) -> float:
    """The mean as if numbers had no end."""
    found = [Fraction(value) for value in values]
    return float(sum(found) / len(found))


def root_mean_square(values: Iterable[float]) -> float:
    """The root is rounded, its square is not."""
    squares = [Fraction(value) ** 2 for value in values]
    return math.sqrt(sum(squares) / len(squares))


def deviation(values: Sequence[float]) -> float:
    """Root of the population's variance."""
    exact = [Fraction(value) for value in values]
    centre = sum(exact) / len(exact)
    return math.sqrt(sum((value - centre) ** 2 for value in exact) / len(exact))


def within(truth: float, prediction: float, factor: float) -> bool:
    """Whether the larger is less than `factor` times the smaller."""
    return max(truth / prediction, prediction / truth) < factor


def measured(truth: Sequence[float], prediction: Sequence[float]) -> dict[str, float]:
    """Every metric of pairs of depths."""
    pairs = list(zip(truth, prediction, strict=True))

    def each(term: Callable[[float, float], float]) -> list[float]:
        return [term(g, p) for g, p in pairs]

    logs = each(lambda g, p: math.log(p) - math.log(g))
    inverses = each(lambda g, p: 1000 / p - 1000 / g)
    return {
        "abs_rel": mean(each(lambda g, p: abs(g - p) / g)),
        "sq_rel": mean(each(lambda g, p: (g - p) ** 2 / g)),
        "kitti_sq_rel": mean(each(lambda g, p: (g - p) ** 2 / g**2)),
        "rmse": root_mean_square(each(lambda g, p: g - p)),
        "rmse_log": root_mean_square(logs),
        "mae": mean(each(lambda g, p: abs(g - p))),
        "log10": mean(each(lambda g, p: abs(math.log10(g) - math.log10(p)))),
        "silog": 100 * deviation(logs),
        "silog_half": math.sqrt(mean(log**2 for log in logs) - 0.5 * mean(logs) ** 2),
        "irmse": root_mean_square(inverses),
        "imae": mean(map(abs, inverses)),
        "a1": mean(each(lambda g, p: within(g, p, 1.25))),
        "a2": mean(each(lambda g, p: within(g, p, 1.25 * 1.25))),
        "a3": mean(each(lambda g, p: within(g, p, 1.25 * 1.25 * 1.25))),
        "bias": mean(each(lambda g, p: p - g)),
        "log_bias": mean(logs),
    }


def near(expected: dict[str, float]) -> dict[str, object]:
    """What rounding may make of it; logarithms of nearly equal depths end in 16 decimals, not in 16 digits."""
    return {name: pytest.approx(value, rel=1e-9, abs=1e-9) for name, value in expected.items()}
