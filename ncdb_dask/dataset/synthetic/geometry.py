"""Which surface a ray meets first: affine grids of rays against boxes, cylinders, spheres and the inside of a room.

The world is right-handed in metres: x to the right, y up, z ahead. Every solid is a unit shape under a rotation about y
and a scaling, so that the ray parameter ``t`` is the same in the world and in the frame of the solid.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]  # float32 wherever there is one value a pixel
Ints = NDArray[np.int32]
Vector = tuple[float, float, float]
Faces = tuple[str, str, str, str]

NEAR = 0.02
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)


class Shape(IntEnum):
    """The unit shapes; ROOM is the box seen from its inside."""

    BOX = 0
    ROOM = 1
    CYLINDER = 2
    SPHERE = 3


@dataclass(frozen=True)
class Solid:
    """A textured solid in the world.

    Attributes
    ----------
    shape : Shape
        The unit shape, ``[-1, 1]`` on each axis of the solid's own frame.
    centre, half : tuple of float
        Centre and half extents in metres.
    faces : tuple of str
        Texture names of the x sides, the z sides, the top and the bottom.
    tint : tuple of float
        Linear RGB factor on the texture's albedo.
    turn : float
        Rotation about the vertical in radians; positive turns ahead (z) towards the right (x).
    lying : bool
        The solid's y axis lies along the (turned) x axis, as a wheel's axle does.
    """

    shape: Shape
    centre: Vector
    half: Vector
    faces: Faces
    tint: Vector = (1.0, 1.0, 1.0)
    turn: float = 0.0
    lying: bool = False

    def rotation(self) -> NDArray[np.float64]:
        """Return the matrix ``(3, 3)`` from the solid's axes to the world's."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return about_y @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) if self.lying else about_y

    def to_unit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``A`` (3, 3) and ``b`` (3,): ``A @ point + b`` is the point in the frame of the unit shape."""
        inward = self.rotation().T / np.asarray(self.half)[:, None]
        return inward, -inward @ np.asarray(self.centre)


@dataclass(frozen=True)
class RayGrid:
    """Rays ``origin @ (u, v, 1) + t * direction @ (u, v, 1)``, one for each row ``v`` and column ``u``.

    For a perspective grid ``t`` is the depth along the optical axis (z-depth), since no direction is normalised.
    """

    u: Floats
    v: Floats
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    parallel: bool = False

    @property
    def origin(self) -> NDArray[np.float64]:
        """The affine map ``(3, 3)`` from ``(u, v, 1)`` to where a ray starts."""
        spread = self.axes[:, :2] if self.parallel else np.zeros((3, 2))
        return np.column_stack([spread, self.position])

    @property
    def direction(self) -> NDArray[np.float64]:
        """The affine map ``(3, 3)`` from ``(u, v, 1)`` to the direction of a ray."""
        return np.column_stack([np.zeros((3, 2)), self.axes[:, 2]]) if self.parallel else self.axes

    def project(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ``(u, v, t)`` for `points`, both of shape ``(3, N)``."""
        inverse = np.linalg.inv(self.axes).astype(points.dtype)
        away = points - self.position.astype(points.dtype)[:, None]
        seen = np.stack([dot(row, away) for row in inverse])
        if not self.parallel:
            seen[:2] /= np.where(np.abs(seen[2]) < NEAR, NEAR, seen[2])
        return seen

    def points(self, depth: Floats) -> Floats:
        """Return the world points ``(3, H * W)`` at the ray parameters `depth` of shape ``(H, W)``."""
        starts, ways = self.origin, self.direction
        lines = [_affine(starts[k], self.u, self.v) + depth * _affine(ways[k], self.u, self.v) for k in range(3)]
        return np.stack(lines).reshape(3, -1)


def dot(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the scalar products ``(N,)`` of vectors ``(3, N)`` or ``(3,)`` with vectors ``(3, N)``.

    Spelt out, because a matrix product is shared out between threads, whose number would show in the last bit.
    """
    total: NDArray[np.floating] = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return total


def camera(position: Vector, yaw: float, pitch: float, *, width: int, height: int, focal: float) -> RayGrid:
    """Return the rays of a pinhole camera with the principal point in the middle of the picture.

    Parameters
    ----------
    position : tuple of float
        Centre of projection in metres.
    yaw, pitch : float
        Heading in radians (0 looks along z, positive to the right) and elevation (positive looks up).
    width, height : int
        Size of the picture in pixels.
    focal : float
        Focal length in pixels.
    """
    u = (np.arange(width) + 0.5 - width / 2) / focal
    v = (np.arange(height) + 0.5 - height / 2) / focal
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    ahead = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    axes = np.column_stack([right, np.cross(right, ahead), ahead])
    return RayGrid(u.astype(np.float32), v.astype(np.float32), np.asarray(position, np.float64), axes)


class Solids:
    """The tables of a scene's solids: a picture projects all of them at once and gathers them by number.

    Attributes
    ----------
    inward : ndarray of float64, shape (M, 3, 3)
        Matrices from world axes to the frame of the unit shape.
    shift : ndarray of float64, shape (M, 3)
        Offsets after `inward`.
    half : ndarray of float32, shape (M, 3)
        Half extents in metres.
    shape : ndarray of int32, shape (M,)
        Unit shapes.
    """

    def __init__(self, solids: Sequence[Solid]) -> None:
        """Tabulate `solids`; the number of a solid is its place in them."""
        unit = [solid.to_unit() for solid in solids]
        self.inward = np.array([a for a, _ in unit])
        self.shift = np.array([b for _, b in unit])
        self.half = np.array([solid.half for solid in solids], np.float32)
        self.shape = np.array([solid.shape for solid in solids], np.int32)
        corners = np.linalg.inv(self.inward) @ (_CORNERS.T - self.shift[:, :, None])
        self.corners = corners.transpose(1, 0, 2).reshape(3, -1)


def trace(solids: Solids, grid: RayGrid) -> tuple[Floats, Ints]:
    """Find the nearest hit of every ray.

    Returns
    -------
    depth : ndarray of float32, shape (H, W)
        Ray parameter of the hit (z-depth in metres for a camera), ``inf`` where nothing is hit.
    index : ndarray of int32, shape (H, W)
        Number of the solid that was hit, -1 where nothing is hit.
    """
    depth = np.full((len(grid.v), len(grid.u)), np.inf, np.float32)
    index = np.full(depth.shape, -1, np.int32)
    starts, ways = solids.inward @ grid.origin, solids.inward @ grid.direction
    starts[:, :, 2] += solids.shift
    for number, nearest, window in _windows(solids, grid):
        # What comes first hides most of what stands behind it.
        if nearest > depth[window].max():
            continue
        u, v = grid.u[window[1]], grid.v[window[0]]
        near = _first_hit(Shape(int(solids.shape[number])), starts[number], ways[number], u, v)
        closer = near < depth[window]
        np.copyto(depth[window], near, where=closer)
        np.copyto(index[window], np.int32(number), where=closer)
    return depth, index


def _windows(solids: Solids, grid: RayGrid) -> Iterator[tuple[int, float, tuple[slice, slice]]]:
    """Yield (number, nearest depth, rows and columns that can meet it) of the solids in view, the nearest first."""
    u, v, t = grid.project(solids.corners).reshape(3, -1, 8)
    nearest, farthest = t.min(axis=1), t.max(axis=1)
    left, right = _covered(grid.u, u)
    top, bottom = _covered(grid.v, v)
    if not grid.parallel:
        # A solid that reaches behind the camera has no outline to project.
        around = nearest < NEAR
        left[around], right[around], top[around], bottom[around] = 0, len(grid.u), 0, len(grid.v)
    for number in np.argsort(nearest, kind="stable"):
        if farthest[number] > NEAR and left[number] < right[number] and top[number] < bottom[number]:
            window = slice(top[number], bottom[number]), slice(left[number], right[number])
            yield int(number), float(nearest[number]), window


def _covered(ticks: Floats, seen: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    low, high = np.searchsorted(ticks, seen.min(axis=1)), np.searchsorted(ticks, seen.max(axis=1), side="right")
    return low.astype(np.intp), high.astype(np.intp)


def _affine(row: NDArray[np.float64], u: Floats, v: Floats) -> Floats:
    if row[0] == 0 and row[1] == 0:
        return np.full((1, 1), row[2], np.float32)
    a, b, c = row.astype(np.float32)
    result: Floats = (a * u)[None, :] + (b * v + c)[:, None]
    return result


def _first_hit(shape: Shape, starts: NDArray[np.float64], ways: NDArray[np.float64], u: Floats, v: Floats) -> Floats:
    o = [_affine(row, u, v) for row in starts]
    d = [_affine(row, u, v) for row in ways]
    enter, leave = _SPANS[shape](o, d)
    hit = leave if shape is Shape.ROOM else enter
    return np.where((enter < leave) & (hit > NEAR), hit, np.float32(np.inf))


def _slab(o: Floats, d: Floats) -> tuple[Floats, Floats]:
    # A ray that runs along the slab would give 0 * inf.
    inverse = 1 / np.where(d == 0, np.float32(1e-9), d)
    middle, reach = -o * inverse, np.abs(inverse)
    return middle - reach, middle + reach


def _box(o: list[Floats], d: list[Floats]) -> tuple[Floats, Floats]:
    enter, leave = _slab(o[0], d[0])
    for k in (1, 2):
        into, out = _slab(o[k], d[k])
        enter, leave = np.maximum(enter, into), np.minimum(leave, out)
    return enter, leave


def _round(o: list[Floats], d: list[Floats]) -> tuple[Floats, Floats]:
    a = sum((y * y for y in d), start=np.zeros(1, np.float32))
    b = sum((x * y for x, y in zip(o, d, strict=True)), start=np.zeros(1, np.float32))
    c = sum((x * x for x in o), start=np.full(1, -1, np.float32))
    inside = b * b - a * c
    root = np.sqrt(np.maximum(inside, 0))
    miss = np.where(inside > 0, np.float32(0), np.float32(np.inf))
    return (-b - root) / a + miss, (-b + root) / a - miss


def _cylinder(o: list[Floats], d: list[Floats]) -> tuple[Floats, Floats]:
    enter, leave = _round([o[0], o[2]], [d[0], d[2]])
    into, out = _slab(o[1], d[1])
    return np.maximum(enter, into), np.minimum(leave, out)


_SPANS = {Shape.BOX: _box, Shape.ROOM: _box, Shape.CYLINDER: _cylinder, Shape.SPHERE: _round}
