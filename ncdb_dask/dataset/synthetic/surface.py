"""What lies at a hit: normal, face and texture coordinates, for all pixels of a picture at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncdb_dask.dataset.synthetic.geometry import Floats, Ints, Shape, Solids, dot


@dataclass(frozen=True)
class Surface:
    """The hit surfaces of N rays.

    Attributes
    ----------
    normal : ndarray of float32, shape (3, N)
        Unit normal that faces the side the ray comes from.
    face : ndarray of int32, shape (N,)
        0 an x side, 1 a z side, 2 looks up, 3 looks down.
    uv : ndarray of float32, shape (2, N)
        Metres from the corner of the face.
    extent : ndarray of float32, shape (2, N)
        Size of the face in metres.
    """

    normal: Floats
    face: Ints
    uv: Floats
    extent: Floats


def surface_at(solids: Solids, points: Floats, index: Ints) -> Surface:
    """Return the surfaces at `points` ``(3, N)`` of the solids `index` ``(N,)``."""
    table = np.concatenate([solids.inward.reshape(-1, 9), solids.shift, solids.half], axis=1).astype(np.float32)
    row = np.ascontiguousarray(table.take(index, axis=0).T)
    inward, shift, half = row[:9].reshape(3, 3, -1), row[9:12], row[12:]
    local = np.stack([dot(axis_row, points) for axis_row in inward]) + shift
    shape = solids.shape[index]
    out, axis = _outward(local, shape)
    normal = np.stack([dot(column, out) for column in inward.transpose(1, 0, 2)])
    normal /= np.sqrt(dot(normal, normal)) + np.float32(1e-12)
    face = np.where(axis == 1, np.where(out[1] > 0, 2, 3), np.where(axis == 0, 0, 1)).astype(np.int32)
    uv, extent = _coordinates(local, half, axis, (shape >= Shape.CYLINDER) & (axis == 0))
    return Surface(normal, face, uv, extent)


def _outward(local: Floats, shape: Ints) -> tuple[Floats, Ints]:
    """Return the gradient of the shape's norm in its own frame, and the axis of the face."""
    x, y, z = np.abs(local)
    axis = np.where(y >= np.maximum(x, z), 1, np.where(x >= z, 0, 2)).astype(np.int32)
    out = np.sign(local) * (np.arange(3)[:, None] == axis)
    out[:, shape == Shape.ROOM] *= -1
    rod = np.flatnonzero(shape == Shape.CYLINDER)
    rod = rod[np.hypot(x[rod], z[rod]) >= y[rod]]
    out[0, rod], out[1, rod], out[2, rod] = local[0, rod], 0, local[2, rod]
    ball = np.flatnonzero(shape == Shape.SPHERE)
    out[:, ball] = local[:, ball]
    axis[rod], axis[ball] = 0, 0
    return out, axis


def _coordinates(local: Floats, half: Floats, axis: Ints, rolled: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return uv and extent in metres; round sides are unrolled, with the angle as the first coordinate."""
    aside, lying = axis == 0, axis == 1
    unit = np.stack([np.where(aside, local[2], local[0]), np.where(lying, local[2], local[1])])
    size = np.stack([np.where(aside, half[2], half[0]), np.where(lying, half[2], half[1])])
    turned = np.flatnonzero(rolled)
    unit[0, turned] = np.arctan2(local[0, turned], local[2, turned]) / np.float32(np.pi)
    size[0, turned] = np.float32(np.pi) * half[0, turned]
    return (unit + 1) * size, 2 * size
