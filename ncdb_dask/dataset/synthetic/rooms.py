"""Rooms: walls, furniture along them, a table in the middle, and a camera that walks in and looks about."""

import math
from dataclasses import replace

import numpy as np

from ncdb_dask.dataset.synthetic.furniture import FURNITURE, HANGINGS, Piece, chair, table
from ncdb_dask.dataset.synthetic.geometry import RayGrid, Shape, Solid, Vector
from ncdb_dask.dataset.synthetic.lighting import Lamp, Lighting, ceiling_lamp
from ncdb_dask.dataset.synthetic.scene import Pose, Scene, block, moved, pillar, progress, shade

EYE = 1.4
REACH = 10.0
_SIZES = ((4.2, 6.0), (3.2, 4.2), (5.2, 8.6))
_QUARTER = math.pi / 2


def room(rng: np.random.Generator, number: int, time: str, frames: int) -> Scene:
    """Return a room by day, at dusk or at night; its size, medium, small or large, goes with `number`."""
    width, length = (float(size * rng.uniform(0.94, 1.06)) for size in _SIZES[number % len(_SIZES)])
    height = float(rng.uniform(2.5, 2.9))
    lamp = (float(rng.uniform(-0.3, 0.3)), height - 0.45, float(rng.uniform(-0.05, 0.15)) * length)
    solids = [
        *_shell(rng, width, height, length),
        *_back_wall(rng, width, length),
        *_side_wall(rng, width, length, -1),
        *_side_wall(rng, width, length, 1),
        *_middle(rng, length),
        pillar((lamp[0], lamp[1] + 0.1, lamp[2]), 0.2, 0.14, "glow", (1.0, 0.92, 0.75)),
    ]
    if time != "day":
        solids = [_after_dark(solid) for solid in solids]
    path = _walk(rng, length, frames)
    corner = (width / 2, height, length / 2)
    return Scene("room", tuple(solids), _light(rng, time, lamp, corner), path, corner, REACH)


def _after_dark(solid: Solid) -> Solid:
    side, front, top, below = ("window_dark" if name == "window" else name for name in solid.faces)
    return replace(solid, faces=(side, front, top, below))


def _shell(rng: np.random.Generator, width: float, height: float, length: float) -> list[Solid]:
    walls = str(rng.choice(["plaster", "stripes", "plaster", "bricks"]))
    floor = str(rng.choice(["planks", "tiles", "carpet", "planks"]))
    faces = (walls, walls, floor, "plaster")
    centre, half = (0.0, height / 2, 0.0), (width / 2, height / 2, length / 2)
    tint = shade(rng, 0.95, 1.15, 0.1)
    skirting = [
        block((side * (width / 2 - 0.01), 0, 0), (0.02, 0.09, length), "wood", (1.2, 1.15, 1.1)) for side in (-1, 1)
    ]
    back = block((0, 0, length / 2 - 0.01), (width, 0.09, 0.02), "wood", (1.2, 1.15, 1.1))
    return [Solid(Shape.ROOM, centre, half, faces, tint), *skirting, back]


def _row(
    rng: np.random.Generator, pieces: tuple[Piece, ...], start: float, end: float
) -> list[tuple[Piece, float, float]]:
    """Return pieces side by side from `start` to `end` with gaps: (piece, middle, width)."""
    row: list[tuple[Piece, float, float]] = []
    place, last = start, -1
    while True:
        pick = int(rng.integers(len(pieces)))
        pick = (pick + 1) % len(pieces) if pick == last else pick
        width, last = float(rng.uniform(pieces[pick].narrow, pieces[pick].wide)), pick
        if place + width > end:
            return row
        row.append((pieces[pick], place + width / 2, width))
        place += width + float(rng.uniform(0.08, 0.5))


def _back_wall(rng: np.random.Generator, width: float, length: float) -> list[Solid]:
    parts: list[Solid] = []
    for piece, middle, wide in _row(rng, FURNITURE, -width / 2 + 0.15, width / 2 - 0.15):
        parts += moved(piece.make(rng, wide), middle, length / 2, 0.0)
    hanging = HANGINGS[2 * int(rng.integers(2))]
    return parts + moved(hanging.make(rng, hanging.narrow), float(rng.uniform(-0.3, 0.3)) * width, length / 2, 0.0)


def _side_wall(rng: np.random.Generator, width: float, length: float, side: int) -> list[Solid]:
    """Furnish the wall at ``side * width / 2``; nothing deep stands where the camera walks."""
    parts: list[Solid] = []
    near, far = -0.1 * length, length / 2 - 0.95
    for piece, middle, wide in _row(rng, FURNITURE, near, far):
        if piece.deep < width / 2 - 0.8:
            parts += moved(piece.make(rng, wide), side * width / 2, middle, side * _QUARTER)
    for piece, middle, wide in _row(rng, HANGINGS, -length / 2 + 0.2, length / 2 - 0.4):
        if middle < near - wide or piece is HANGINGS[0]:
            parts += moved(piece.make(rng, wide), side * width / 2, middle, side * _QUARTER)
    return parts


def _middle(rng: np.random.Generator, length: float) -> list[Solid]:
    rug = block((0, 0, 0.12 * length), (1.9, 0.012, 0.4 * length), "rug", shade(rng, 0.7, 1.4, 0.6))
    parts = [rug]
    if length < 5:
        return parts
    x, z, turn = float(rng.uniform(-0.4, 0.4)), 0.2 * length, float(rng.uniform(-0.4, 0.4))
    parts += moved(table(rng), x, z, turn)
    tint = shade(rng, 0.4, 1.1, 0.4)
    for angle in rng.choice(4, size=3, replace=False) * _QUARTER + turn:
        reach = 0.75 if round((angle - turn) / _QUARTER) % 2 == 0 else 1.0
        parts += moved(chair(rng, tint), x + reach * math.sin(angle), z + reach * math.cos(angle), float(angle))
    return parts


def _walk(rng: np.random.Generator, length: float, frames: int) -> tuple[Pose, ...]:
    swing, side = float(rng.uniform(0.25, 0.42)), float(rng.choice([-1, 1]))
    sway, pitch = float(rng.uniform(0.1, 0.25)), float(rng.uniform(-0.16, -0.09))

    def pose(s: float) -> Pose:
        x, z = sway * side * math.sin(3 * s), -length / 2 + 0.5 + 0.2 * length * s
        return Pose((x, EYE, z), side * swing * math.cos(math.pi * s), pitch + 0.02 * math.sin(9 * s))

    return tuple(pose(s) for s in progress(frames))


def _light(rng: np.random.Generator, time: str, lamp: Vector, corner: Vector) -> Lighting:
    key, brightness = ceiling_lamp(lamp, 384), float(rng.uniform(-1, 1))
    return {"day": _bright, "dusk": _dim, "night": _dark}[time](key, brightness, corner)


def _bright(key: RayGrid, brightness: float, corner: Vector) -> Lighting:
    window = Lamp((-corner[0] + 0.4, 1.6, -0.3 * corner[2]), (3.0, 3.4, 3.8))
    return Lighting(
        time="day",
        luma=122 + 10 * brightness,
        grain=1.2,
        above=(0.5, 0.5, 0.52),
        below=(0.42, 0.4, 0.38),
        key=key,
        key_colour=(2.2, 2.1, 1.9),
        lamps=(window,),
        glow=1.2,
    )


def _dim(key: RayGrid, brightness: float, corner: Vector) -> Lighting:
    return Lighting(
        time="dusk",
        luma=72.5 + 3.5 * brightness,
        grain=2.2,
        above=(0.12, 0.11, 0.1),
        below=(0.1, 0.09, 0.08),
        key=key,
        key_colour=(1.5, 1.2, 0.8),
        glow=0.6,
    )


def _dark(key: RayGrid, brightness: float, corner: Vector) -> Lighting:
    reading = Lamp((0.6 * corner[0], 1.3, 0.6 * corner[2]), (2.2, 1.4, 0.7))
    return Lighting(
        time="night",
        luma=39 + 5 * brightness,
        grain=3.5,
        above=(0.03, 0.03, 0.04),
        below=(0.03, 0.03, 0.035),
        key=key,
        key_colour=(0.25, 0.2, 0.12),
        lamps=(reading,),
        glow=0.4,
    )
