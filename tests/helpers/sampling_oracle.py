"""Calibration sets by their definitions, in plain Python: no NumPy, no floats where a share decides."""

import math
from collections.abc import Sequence
from fractions import Fraction

Key = tuple[str, str]


def hamilton(weights: Sequence[Fraction], size: int) -> list[int]:
    """Largest remainder as textbooks have it: whole parts first, then the largest fractions (the first of equals)."""
    shares = [weight * size / sum(weights) for weight in weights]
    granted = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda k: (granted[k] - shares[k], k))
    for k in by_remainder[: size - sum(granted)]:
        granted[k] += 1
    return granted


def water_filled(weights: Sequence[Fraction], available: Sequence[int], size: int) -> list[Fraction]:
    """Exact shares: min(available, level x weight), at the level that makes them `size` together."""
    rising = sorted(
        (Fraction(held) / weight, weight, held) for weight, held in zip(weights, available, strict=True) if weight
    )
    full, open_weight = 0, sum(weights)
    level = Fraction(0)
    for bound, weight, held in rising:
        level = (size - full) / Fraction(open_weight)
        if level <= bound:
            break
        full, open_weight = full + held, open_weight - weight
        level = bound
    return [min(Fraction(held), level * weight) for weight, held in zip(weights, available, strict=True)]


def one_by_one(weights: Sequence[Fraction], available: Sequence[int], size: int) -> list[int]:
    """Give frame n to the stratum that lacks most of its exact share of n frames, the first of equals."""
    granted = [0] * len(weights)
    for n in range(1, size + 1):
        shares = water_filled(weights, available, n)
        able = [k for k, held in enumerate(available) if weights[k] and granted[k] < held]
        granted[max(able, key=lambda k: shares[k] - granted[k])] += 1
    return granted


def thinned(frames: Sequence[tuple[str, int | None, int]], gap: int) -> list[bool]:
    """Take frames (recording, number, priority) by rising priority, if none that is taken is nearer than the gap."""
    taken: list[int] = []
    for k in sorted(range(len(frames)), key=lambda k: frames[k][2]):
        if all(_apart(frames[k], frames[other], gap) for other in taken):
            taken.append(k)
    return [k in taken for k in range(len(frames))]


def _apart(one: tuple[str, int | None, int], other: tuple[str, int | None, int], gap: int) -> bool:
    (scene, number, _), (scene_2, number_2, _) = one, other
    return scene != scene_2 or number is None or number_2 is None or abs(number - number_2) >= gap


def bits_apart(one: int, other: int) -> int:
    """Hamming distance."""
    return bin(one ^ other).count("1")


def effective(hashes: Sequence[int], bits: int) -> float:
    """Each frame counts as one divided by the frames like it."""
    return math.fsum(1 / sum(bits_apart(one, other) <= bits for other in hashes) for one in hashes)


def earth_mover(first: Sequence[float], second: Sequence[float]) -> float:
    """Repeat both samples to one length, sort, and pair them: the cheapest transport on a line keeps the order."""
    length = math.lcm(len(first), len(second))
    one, two = (sorted(value for value in some for _ in range(length // len(some))) for some in (first, second))
    return math.fsum(abs(a - b) for a, b in zip(one, two, strict=True)) / length


def shares_apart(first: Sequence[str], second: Sequence[str]) -> float:
    """Total variation: the largest difference of the probability of any set of values."""
    gaps = [first.count(value) / len(first) - second.count(value) / len(second) for value in {*first, *second}]
    return math.fsum(gap for gap in gaps if gap > 0)


def depth_range(depth: float, edges: Sequence[float], names: Sequence[str]) -> str | None:
    """The range that holds a depth: its lower edge belongs to it, its upper one does not."""
    return next((name for name, low, high in zip(names, edges, edges[1:], strict=False) if low <= depth < high), None)
