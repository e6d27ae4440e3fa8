"""Streets: a road between two rows of buildings, parked cars, lamps, trees, people, and a camera that drives along."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Faces, RayGrid, Shape, Solid, Vector
from ncdb_dask.dataset.synthetic.lighting import Lamp, Lighting, sun
from ncdb_dask.dataset.synthetic.scene import Pose, Scene, ball, block, moved, pillar, progress, shade

EYE = 1.5
REACH = 80.0
DRIVE = 24.0
_BEGIN, _END = -14.0, 150.0
_FACADES = (("facade_brick", 3.0), ("facade_plaster", 2.8), ("facade_glass", 2.5))
_STOREY = 3.2
_KERB = 0.12
_LAMP_STEP = 22.0


@dataclass(frozen=True)
class _Widths:
    """Half width of the road, width of the parking lane and of the sidewalk in metres."""

    road: float
    parking: float
    walk: float

    @property
    def kerb(self) -> float:
        return self.road + self.parking

    @property
    def wall(self) -> float:
        return self.kerb + self.walk


_STREETS = (_Widths(3.4, 2.2, 2.6), _Widths(6.2, 2.2, 4.6), _Widths(2.9, 2.1, 1.6))


def street(rng: np.random.Generator, number: int, time: str, frames: int) -> Scene:
    """Return a street, an avenue or an alley, as `number` goes, by day, at dusk or at night."""
    widths = _STREETS[number % len(_STREETS)]
    lamps = list(_street_lamps(widths))
    solids = [
        *_ground(rng, widths),
        *_buildings(rng, widths, -1),
        *_buildings(rng, widths, 1),
        *_parked(rng, widths),
        *_markings(rng, widths),
        *_walkside(rng, widths),
        *(part for place, side in lamps for part in _lamp_post(place, side)),
    ]
    lighting = _light(rng, time, widths, [_lamp_head(place, side) for place, side in lamps])
    corner = (widths.wall, math.inf, math.inf)
    return Scene("street", tuple(solids), lighting, _drive(rng, widths, frames), corner, REACH)


def _ground(rng: np.random.Generator, widths: _Widths) -> list[Solid]:
    long, middle = _END - _BEGIN + 200, (_BEGIN + _END) / 2
    half = (widths.kerb, 0.5, long / 2)
    road = Solid(Shape.BOX, (0, -0.5, middle), half, ("asphalt",) * 4, shade(rng, 0.9, 1.2, 0.04))
    paved: Faces = ("concrete", "concrete", "paving", "paving")
    walks = [block((side * (widths.kerb + 100), -1, middle), (200, 1 + _KERB, long), paved) for side in (-1, 1)]
    kerbs = [
        block((side * (widths.kerb + 0.08), -1, middle), (0.17, 1.005 + _KERB, long), "concrete", (1.1, 1.1, 1.1))
        for side in (-1, 1)
    ]
    return [road, *walks, *kerbs]


def _buildings(rng: np.random.Generator, widths: _Widths, side: int) -> Iterator[Solid]:
    place = _BEGIN + float(rng.uniform(-4, 0))
    while place < _END:
        facade, cell = _FACADES[int(rng.integers(len(_FACADES)))]
        front = cell * int(rng.integers(3, 7))
        storeys, deep = int(rng.integers(2, 6)), 10.0
        back = float(rng.choice([0.0, 0.0, 0.4, 1.2]))
        x, z, tint = side * (widths.wall + back + deep / 2), place + front / 2, shade(rng, 0.55, 1.2, 0.22)
        shop, high = float(rng.uniform(3.3, 3.9)), storeys * _STOREY
        dark = (tint[0] * 0.8, tint[1] * 0.8, tint[2] * 0.8)
        yield block((x, 0, z), (deep, shop, front), ("shops", "concrete", "concrete", "concrete"), dark)
        yield block((x, shop, z), (deep, high, front), (facade, "bricks", "concrete", "concrete"), tint)
        yield block((x - side * 0.12, shop - 0.15, z), (deep, 0.25, front), "concrete", dark)
        yield block((x - side * 0.2, shop + high, z), (deep + 0.1, 0.4, front), "concrete", dark)
        place += front + (0.0 if rng.random() < 0.7 else float(rng.uniform(2, 6)))


def car(rng: np.random.Generator) -> list[Solid]:
    """Return a parked car at the origin that looks along z: about 4.3 m long, 1.8 m wide, 1.45 m high."""
    long, wide, tint = float(rng.uniform(3.9, 4.7)), float(rng.uniform(1.7, 1.85)), shade(rng, 0.15, 1.3, 0.5)
    tall = 1.0 if rng.random() < 0.2 else 0.55
    half = (wide, 0.58, long / 2)
    front = block((0, 0.3, long / 4), half, ("car_side", "car_front", "matt", "matt"), tint)
    rear = block((0, 0.3, -long / 4), half, ("car_side", "car_rear", "matt", "matt"), tint)
    cabin_long = long * (0.8 if tall > 0.9 else 0.52)
    cabin = block((0, 0.88, -0.1 * long), (wide - 0.18, tall, cabin_long), ("cabin", "cabin", "matt", "matt"), tint)
    wheels = [_wheel((x * (wide / 2 - 0.09), 0.31, z * long * 0.31)) for x in (-1, 1) for z in (-1, 1)]
    return [front, rear, cabin, *wheels]


def _wheel(centre: Vector) -> Solid:
    return Solid(Shape.CYLINDER, centre, (0.31, 0.1, 0.31), ("rubber", "rubber", "wheel", "wheel"), lying=True)


def _parked(rng: np.random.Generator, widths: _Widths) -> list[Solid]:
    parts: list[Solid] = []
    for side in (-1, 1):
        place = _BEGIN + float(rng.uniform(0, 8))
        while place < 110:
            x = side * (widths.road + widths.parking / 2 + float(rng.uniform(0.0, 0.15)))
            turn = (math.pi if side < 0 else 0.0) + float(rng.normal(0, 0.02))
            parts += moved(car(rng), x, place, turn)
            place += float(rng.uniform(5.3, 6.2)) if rng.random() < 0.65 else float(rng.uniform(8, 18))
    oncoming = moved(car(rng), -widths.road / 2, float(rng.uniform(38, 60)), math.pi)
    return parts + oncoming


def _markings(rng: np.random.Generator, widths: _Widths) -> Iterator[Solid]:
    for k in range(20):
        yield block((0, 0, _BEGIN + 6.0 * k), (0.13, 0.004, 3.0), "matt", (1.4, 1.4, 1.35))
    for side in (-1, 1):
        yield block((side * widths.road, 0, 50), (0.12, 0.004, 140.0), "matt", (1.3, 1.3, 1.25))
    crossing = float(rng.uniform(14, 30))
    for k in range(int(2 * widths.road / 1.0)):
        yield block((-widths.road + 0.6 + k, 0, crossing), (0.5, 0.005, 3.0), "matt", (1.4, 1.4, 1.35))


def _walkside(rng: np.random.Generator, widths: _Widths) -> list[Solid]:
    parts: list[Solid] = []
    for side in (-1, 1):
        for place in np.arange(_BEGIN, 100, 11.0) + rng.uniform(-2, 2):
            if widths.walk > 2 and rng.random() < 0.6:
                parts += moved(_tree(rng), side * (widths.kerb + 0.9), float(place), 0.0)
        for place in rng.uniform(4, 70, 4):
            x = side * (widths.kerb + widths.walk * float(rng.uniform(0.4, 0.8)))
            parts += moved(_person(rng), x, float(place), float(rng.uniform(0, 6)))
    return parts


def _tree(rng: np.random.Generator) -> list[Solid]:
    high, wide = float(rng.uniform(2.2, 2.8)), float(rng.uniform(2.2, 3.2))
    green = (float(rng.uniform(0.35, 0.65)), 0.8, 0.22)

    def crown(k: int) -> Solid:
        x, z = (float(value) for value in rng.uniform(-0.5, 0.5, 2))
        return ball((x, high - 0.4 + 0.9 * k, z), (wide - 0.5 * k, 2.2, wide - 0.5 * k), "leaves", green)

    return [pillar((0, _KERB, 0), 0.14, high + 0.6, "bark", (0.8, 0.65, 0.5)), *map(crown, range(3))]


def _person(rng: np.random.Generator) -> list[Solid]:
    legs = [block((x, _KERB, 0), (0.15, 0.85, 0.17), "weave", shade(rng, 0.1, 0.5, 0.4)) for x in (-0.1, 0.1)]
    trunk = ball((0, _KERB + 0.75, 0), (0.48, 0.75, 0.3), "weave", shade(rng, 0.2, 1.4, 0.6))
    return [*legs, trunk, ball((0, _KERB + 1.46, 0), (0.2, 0.26, 0.22), "matt", (0.9, 0.62, 0.48))]


def _street_lamps(widths: _Widths) -> Iterator[tuple[Vector, int]]:
    for k in range(6):
        side = 1 if k % 2 else -1
        yield (side * (widths.kerb + 0.45), 0.0, 4.0 + _LAMP_STEP * k), side


def _lamp_post(place: Vector, side: int) -> list[Solid]:
    grey = (0.35, 0.37, 0.4)
    arm = block((place[0] - side * 0.7, 5.9, place[2]), (1.5, 0.08, 0.08), "matt", grey)
    lit: Faces = ("matt", "matt", "matt", "glow")
    head = block((place[0] - side * 1.4, 5.78, place[2]), (0.6, 0.12, 0.28), lit, (1.0, 0.85, 0.6))
    return [pillar((place[0], 0, place[2]), 0.08, 6.0, "matt", grey), arm, head]


def _lamp_head(place: Vector, side: int) -> Lamp:
    return Lamp((place[0] - side * 1.4, 5.7, place[2]), (13.0, 9.0, 4.6), (0.0, -1.0, 0.0), 1.5)


def _drive(rng: np.random.Generator, widths: _Widths, frames: int) -> tuple[Pose, ...]:
    swing, shift, phase = float(rng.uniform(0.03, 0.09)), float(rng.uniform(0.1, 0.3)), float(rng.uniform(0, 6))
    pitch = float(rng.uniform(-0.06, -0.02))

    def pose(s: float) -> Pose:
        position = (widths.road / 2 + shift * math.sin(4 * s + phase), EYE, DRIVE * s)
        return Pose(position, swing * math.sin(5 * s + phase), pitch + 0.006 * math.sin(25 * s))

    return tuple(pose(s) for s in progress(frames))


def _light(rng: np.random.Generator, time: str, widths: _Widths, lamps: list[Lamp]) -> Lighting:
    climb = math.radians(float(rng.uniform(38, 58) if time == "day" else rng.uniform(13, 20)))
    heading = math.radians(float(rng.uniform(20, 70) + rng.choice([0, 90, 180, 270])))
    way = (math.cos(climb) * math.sin(heading), math.sin(climb), math.cos(climb) * math.cos(heading))
    key = sun(way, (-widths.wall - 2, _BEGIN), (widths.wall + 2, 100.0), 1200)
    brightness = float(rng.uniform(-1, 1))
    return {"day": _day, "dusk": _dusk, "night": _night}[time](key, brightness, tuple(lamps))


def _day(key: RayGrid, brightness: float, lamps: tuple[Lamp, ...]) -> Lighting:
    return Lighting(
        time="day",
        luma=121 + 9 * brightness,
        grain=1.5,
        above=(0.42, 0.5, 0.64),
        below=(0.28, 0.27, 0.26),
        key=key,
        key_colour=(2.6, 2.35, 1.95),
        glow=0.15,
        zenith=(0.2, 0.45, 1.0),
        horizon=(0.8, 0.95, 1.1),
        haze=0.003,
    )


def _dusk(key: RayGrid, brightness: float, lamps: tuple[Lamp, ...]) -> Lighting:
    return Lighting(
        time="dusk",
        luma=72.5 + 3.5 * brightness,
        grain=2.5,
        above=(0.26, 0.25, 0.34),
        below=(0.16, 0.14, 0.15),
        key=key,
        key_colour=(1.2, 0.62, 0.28),
        lamps=lamps,
        glow=1.1,
        zenith=(0.12, 0.17, 0.36),
        horizon=(0.85, 0.45, 0.26),
        haze=0.004,
    )


def _night(key: RayGrid, brightness: float, lamps: tuple[Lamp, ...]) -> Lighting:
    return Lighting(
        time="night",
        luma=41 + 5 * brightness,
        grain=4.0,
        above=(0.02, 0.022, 0.035),
        below=(0.012, 0.012, 0.016),
        key=key,
        key_colour=(0.0, 0.0, 0.0),
        lamps=lamps,
        headlights=26.0,
        glow=0.8,
        zenith=(0.004, 0.006, 0.014),
        horizon=(0.02, 0.02, 0.03),
        haze=0.004,
    )
