"""Furniture of familiar size. Each piece stands with its back at z = 0 and reaches towards the camera (negative z)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Solid, Vector
from ncdb_dask.dataset.synthetic.scene import ball, block, pillar, shade

WOODS: tuple[Vector, ...] = ((0.75, 0.5, 0.3), (0.45, 0.28, 0.16), (1.1, 0.85, 0.6), (0.95, 0.93, 0.9))
Maker = Callable[[np.random.Generator, float], list[Solid]]


@dataclass(frozen=True)
class Piece:
    """A maker of solids (given a random generator and the width), its range of widths and its depth in metres."""

    make: Maker
    narrow: float
    wide: float
    deep: float


def _wood(rng: np.random.Generator) -> Vector:
    return WOODS[int(rng.integers(len(WOODS)))]


def _legs(width: float, depth: float, top: float, thick: float, tint: Vector, *, back: float = 0.0) -> list[Solid]:
    xs, zs = (width / 2 - thick / 2) * np.array([-1, 1]), (-back - thick / 2, -back - depth + thick / 2)
    return [block((float(x), 0, z), (thick, top, thick), "wood", tint) for x in xs for z in zs]


def _bookcase(rng: np.random.Generator, width: float) -> list[Solid]:
    size = (width, rng.uniform(1.7, 2.15), 0.33)
    return [block((0, 0, -0.165), size, ("wood", "books", "wood", "wood"), _wood(rng))]


def _sofa(rng: np.random.Generator, width: float) -> list[Solid]:
    tint = shade(rng, 0.35, 0.95, 0.45)
    arms = [block((side * (width / 2 - 0.1), 0.05, -0.45), (0.2, 0.55, 0.9), "weave", tint) for side in (-1, 1)]
    seats = [
        block((side * (width - 0.4) / 4, 0.36, -0.52), ((width - 0.42) / 2, 0.12, 0.72), "weave", tint)
        for side in (-1, 1)
    ]
    return [
        block((0, 0.05, -0.45), (width - 0.4, 0.3, 0.88), "weave", tint),
        block((0, 0.05, -0.1), (width, 0.8, 0.2), "weave", tint),
        *arms,
        *seats,
    ]


def _cabinet(rng: np.random.Generator, width: float) -> list[Solid]:
    high = rng.uniform(0.7, 0.95)
    parts = [block((0, 0, -0.22), (width, high, 0.44), ("wood", "drawers", "wood", "wood"), _wood(rng))]
    if rng.random() < 0.5:
        return [*parts, *(_lifted(part, high) for part in _vase(rng))]
    screen = block((0, high + 0.06, -0.2), (min(width, 1.0), 0.58, 0.06), ("matt", "screen", "matt", "matt"))
    foot = block((0, high, -0.2), (0.3, 0.06, 0.2), "matt", (0.05, 0.05, 0.05))
    return [*parts, foot, screen]


def _vase(rng: np.random.Generator) -> list[Solid]:
    return [
        pillar((0, 0, -0.22), 0.08, 0.2, "matt", shade(rng, 0.3, 1.2, 0.6)),
        ball((0, 0.17, -0.22), (0.34, 0.36, 0.34), "leaves", (0.45, 0.9, 0.3)),
    ]


def _lifted(part: Solid, by: float) -> Solid:
    x, y, z = part.centre
    return replace(part, centre=(x, y + by, z))


def _desk(rng: np.random.Generator, width: float) -> list[Solid]:
    tint = _wood(rng)
    top = block((0, 0.7, -0.35), (width, 0.04, 0.7), "wood", tint)
    screen = block((0, 0.86, -0.22), (0.56, 0.34, 0.04), ("matt", "screen", "matt", "matt"))
    foot = block((0, 0.74, -0.2), (0.2, 0.13, 0.1), "matt", (0.08, 0.08, 0.08))
    return [top, *_legs(width, 0.68, 0.7, 0.05, tint), screen, foot]


def _plant(rng: np.random.Generator, width: float) -> list[Solid]:
    green = (0.35 + 0.3 * rng.random(), 0.8, 0.25)
    return [
        pillar((0, 0, -0.3), 0.17, 0.34, "matt", shade(rng, 0.3, 1.0, 0.5)),
        pillar((0, 0.3, -0.3), 0.025, 0.4, "bark", (0.8, 0.6, 0.4)),
        ball((0, 0.55, -0.3), (width, 0.75, width), "leaves", green),
        ball((0.08, 0.95, -0.26), (0.7 * width, 0.5, 0.7 * width), "leaves", green),
    ]


def _fridge(rng: np.random.Generator, width: float) -> list[Solid]:
    tint = shade(rng, 0.9, 1.3, 0.03)
    handle = block((0.22 * width / 0.6, 0.75, -0.66), (0.025, 0.5, 0.03), "matt", (0.15, 0.15, 0.15))
    lower = block((0, 0, -0.31), (width, 1.2, 0.62), "matt", tint)
    upper = block((0, 1.22, -0.31), (width, 0.56, 0.62), "matt", tint)
    return [lower, upper, handle]


def _crates(rng: np.random.Generator, width: float) -> list[Solid]:
    brown = (0.85, 0.6, 0.36)
    lower = block((0, 0, -0.3), (width, 0.45, 0.5), "wood", brown, turn=float(rng.uniform(-0.1, 0.1)))
    upper = block((0.05, 0.45, -0.3), (0.7 * width, 0.35, 0.4), "wood", brown, turn=float(rng.uniform(-0.3, 0.3)))
    return [lower, upper]


def _picture(rng: np.random.Generator, width: float) -> list[Solid]:
    size = (width, rng.uniform(0.45, 0.7), 0.03)
    return [block((0, 1.3, -0.015), size, ("matt", "picture", "matt", "matt"), (1.2, 1.2, 1.2))]


def _door(rng: np.random.Generator, width: float) -> list[Solid]:
    tint = _wood(rng)
    return [
        block((0, 0, -0.02), (width, 2.03, 0.04), ("wood", "door", "wood", "wood"), tint),
        *(block((side * (width / 2 + 0.04), 0, -0.03), (0.08, 2.1, 0.06), "matt", WOODS[3]) for side in (-1, 1)),
        block((0, 2.03, -0.03), (width + 0.16, 0.08, 0.06), "matt", WOODS[3]),
    ]


def _window(rng: np.random.Generator, width: float) -> list[Solid]:
    cloth = shade(rng, 0.6, 1.3, 0.4)
    curtains = [block((side * (width / 2 + 0.12), 0.5, -0.07), (0.28, 1.75, 0.1), "weave", cloth) for side in (-1, 1)]
    glass = block((0, 0.9, -0.015), (width, 1.2, 0.03), ("matt", "window", "matt", "matt"))
    sill = block((0, 0.86, -0.09), (width + 0.1, 0.04, 0.18), "matt", WOODS[3])
    return [glass, sill, *curtains]


def table(rng: np.random.Generator) -> list[Solid]:
    """Return a table with chairs around the origin and things on it."""
    width, depth, tint = float(rng.uniform(1.1, 1.6)), 0.8, _wood(rng)
    top = block((0, 0.72, 0), (width, 0.04, depth), "wood", tint)
    legs = _legs(width - 0.1, depth - 0.1, 0.72, 0.06, tint, back=-(depth - 0.1) / 2)
    x, z, aside = (float(value) for value in rng.uniform(-0.3, 0.3, 3))
    bowl = ball((x, 0.76, 0.6 * z), (0.26, 0.16, 0.26), "matt", shade(rng, 0.4, 1.2, 0.6))
    mug = pillar((aside, 0.76, -0.25), 0.04, 0.1, "matt", shade(rng, 0.4, 1.3, 0.6))
    return [top, *legs, bowl, mug]


def chair(rng: np.random.Generator, tint: Vector) -> list[Solid]:
    """Return a chair whose back rest is at z = 0."""
    seat = block((0, 0.43, -0.22), (0.44, 0.05, 0.44), "wood", tint)
    rest = block((0, 0.6, -0.02), (0.44, 0.32, 0.03), "wood", tint)
    posts = [block((side * 0.2, 0.45, -0.02), (0.04, 0.46, 0.04), "wood", tint) for side in (-1, 1)]
    return [seat, rest, *posts, *_legs(0.44, 0.44, 0.43, 0.04, tint)]


FURNITURE: tuple[Piece, ...] = (
    Piece(_bookcase, 0.8, 1.3, 0.35),
    Piece(_sofa, 1.6, 2.1, 0.9),
    Piece(_cabinet, 0.9, 1.4, 0.46),
    Piece(_desk, 1.1, 1.5, 0.7),
    Piece(_plant, 0.5, 0.65, 0.62),
    Piece(_fridge, 0.6, 0.7, 0.68),
    Piece(_crates, 0.5, 0.7, 0.6),
    Piece(_bookcase, 0.8, 1.3, 0.35),
)
HANGINGS: tuple[Piece, ...] = (
    Piece(_picture, 0.5, 0.95, 0.03),
    Piece(_door, 0.85, 0.95, 0.07),
    Piece(_window, 1.1, 1.5, 0.2),
)
