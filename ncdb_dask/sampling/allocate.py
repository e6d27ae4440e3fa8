"""How many frames each stratum gives: exactly the wanted number, and a larger set never takes one back."""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm


def quotas(weights: Sequence[Fraction], available: Sequence[int], size: int) -> list[int]:
    """Share `size` frames out by largest remainder, one frame at a time.

    Frame n goes to the stratum that lacks most of its exact share of n frames (the first of equals). Where the usual
    largest-remainder rule (Hamilton's) never takes a frame back as `size` grows, this is the same; where it does (the
    Alabama paradox; with 25/40/25/10 % already from 6 to 7 frames), this keeps what was given, so that a set contains
    every smaller one. A stratum never has a whole frame more than its share, and shares that are whole numbers are
    met exactly. What a stratum cannot give is shared out among the others in proportion to their weights.

    Parameters
    ----------
    weights : sequence of Fraction
        Relative, not negative.
    available : sequence of int
        Frames that each stratum holds.
    size : int
        How many are wanted together.

    Returns
    -------
    list of int
        Not more than `available`; together `size`, or all that the strata of positive weight hold where that is less.
    """
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * scale) for weight in weights]  # integers: no rounding decides between strata
    granted = [0] * len(whole)
    sharing = {k for k, weight in enumerate(whole) if weight}
    settled, total = 0, sum(whole)
    for n in range(1, min(size, sum(available[k] for k in sharing)) + 1):
        while short := {k for k in sharing if (n - settled) * whole[k] > total * available[k]}:
            sharing -= short  # they give all that they hold, and the others share the rest
            settled, total = settled + sum(available[k] for k in short), total - sum(whole[k] for k in short)
        # What each lacks of its exact share, times the weights that still share, so that all are integers.
        lacks = [
            (n - settled) * weight - total * granted[k] if k in sharing else max(total, 1) * (available[k] - granted[k])
            for k, weight in enumerate(whole)
        ]
        able = [k for k, weight in enumerate(whole) if weight and granted[k] < available[k]]
        granted[max(able, key=lacks.__getitem__)] += 1
    return granted
