"""From which stratum each frame of a set comes: one frame at a time, so that a set begins with every smaller one."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import lcm


def sequence(weights: Sequence[Fraction], available: Sequence[int], size: int) -> list[int]:
    """Share `size` frames out by largest remainder, one frame at a time.

    Frame n goes to the stratum that lacks most of its exact share of n frames (the first of equals). Where the usual
    largest-remainder rule (Hamilton's) never takes a frame back as `size` grows, the numbers are the same; where it
    does (the Alabama paradox; with 25/40/25/10 % already from 6 to 7 frames), this keeps what was given. A stratum
    never has a whole frame more than its share, and shares that are whole numbers are met exactly. What a stratum
    cannot give is shared out among the others in proportion to their weights.

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
        The stratum of each frame; as many as `size`, or as the strata of positive weight hold where that is less.
    """
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * scale) for weight in weights]  # integers: no rounding decides between strata
    granted = [0] * len(whole)
    order = []
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
        order.append(max(able, key=lacks.__getitem__))
        granted[order[-1]] += 1
    return order


def quotas(weights: Sequence[Fraction], available: Sequence[int], size: int) -> list[int]:
    """Return how many frames each stratum gives; see `sequence`."""
    granted = Counter(sequence(weights, available, size))
    return [granted[k] for k in range(len(weights))]
