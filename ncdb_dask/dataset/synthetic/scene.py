"""What a scene is: solids, light, a camera path; and the small tools with which rooms and streets are put together."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Faces, Shape, Solid, Vector
from ncdb_dask.dataset.synthetic.lighting import Lighting

WHITE: Vector = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Pose:
    """Where the camera is: position in metres, heading and elevation in radians."""

    position: Vector
    yaw: float
    pitch: float


@dataclass(frozen=True)
class Scene:
    """Everything that a picture needs.

    Attributes
    ----------
    kind : str
        ``room`` or ``street``.
    solids : tuple of Solid
        The world.
    lighting : Lighting
        Its light.
    path : tuple of Pose
        One pose a frame.
    corner : tuple of float
        Half width, height and half length of the space, for the darkening of corners; ``inf`` where it is open.
    reach : float
        Depth in metres beyond which the depth sensor sees nothing.
    """

    kind: str
    solids: tuple[Solid, ...]
    lighting: Lighting
    path: tuple[Pose, ...]
    corner: Vector
    reach: float


def named(faces: str | Faces) -> Faces:
    """Return one texture name for each face."""
    return (faces, faces, faces, faces) if isinstance(faces, str) else faces


def block(at: Vector, size: Vector, faces: str | Faces, tint: Vector = WHITE, *, turn: float = 0.0) -> Solid:
    """Return a box that stands on the point `at` (middle of its bottom), `size` metres wide, high and deep."""
    return _standing(Shape.BOX, at, size, faces, tint, turn=turn)


def pillar(at: Vector, radius: float, height: float, faces: str | Faces, tint: Vector = WHITE) -> Solid:
    """Return an upright cylinder that stands on the point `at`."""
    return _standing(Shape.CYLINDER, at, (2 * radius, height, 2 * radius), faces, tint)


def ball(at: Vector, size: Vector, faces: str | Faces, tint: Vector = WHITE) -> Solid:
    """Return an ellipsoid whose lowest point is `at`."""
    return _standing(Shape.SPHERE, at, size, faces, tint)


def _standing(shape: Shape, at: Vector, size: Vector, faces: str | Faces, tint: Vector, *, turn: float = 0.0) -> Solid:
    centre = (at[0], at[1] + size[1] / 2, at[2])
    return Solid(shape, centre, (size[0] / 2, size[1] / 2, size[2] / 2), named(faces), tint, turn)


def moved(parts: Iterable[Solid], x: float, z: float, turn: float) -> list[Solid]:
    """Return `parts` turned about the origin's vertical and then moved along the ground."""
    c, s = math.cos(turn), math.sin(turn)

    def place(part: Solid) -> Solid:
        px, py, pz = part.centre
        return replace(part, centre=(x + c * px + s * pz, py, z - s * px + c * pz), turn=part.turn + turn)

    return [place(part) for part in parts]


def progress(frames: int, usual: int = 40) -> list[float]:
    """Return how far along its path each frame is, in [0, 1]; a short video covers only the beginning."""
    return [k / max(frames - 1, usual - 1) for k in range(frames)]


def shade(rng: np.random.Generator, low: float, high: float, colourful: float = 0.3) -> Vector:
    """Return a random tint between `low` and `high`; `colourful` is the spread between its channels."""
    level, spread = rng.uniform(low, high), rng.uniform(1 - colourful, 1 + colourful, 3)
    red, green, blue = (float(value) for value in level * spread)
    return red, green, blue
