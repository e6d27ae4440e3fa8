"""Light: a sun or a ceiling lamp that casts shadows, lamps with fall-off, ambient light, sky and haze.

All light is linear RGB. Nothing here touches depth.
"""

from dataclasses import dataclass

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Floats, RayGrid, Solids, Vector, dot, trace


@dataclass(frozen=True)
class Lamp:
    """A point light: linear RGB strength in units of light at one metre, and how many metres it reaches.

    A lamp with `aim` (unit vector) and `tight` (exponent) shines in a cone, as a headlight does.
    """

    position: Vector
    colour: Vector
    aim: Vector | None = None
    tight: float = 8.0
    reach: float = 16.0


@dataclass(frozen=True)
class Lighting:
    """The light of one scene.

    Attributes
    ----------
    time : str
        ``day``, ``dusk`` or ``night``.
    luma : float
        Mean 8-bit luma that the camera's exposure aims at.
    grain : float
        Standard deviation of the sensor's noise in 8-bit steps.
    above, below : tuple of float
        Ambient light on surfaces that face up and down.
    key : RayGrid
        Rays of the light that casts shadows: parallel from the sun, or spread from a ceiling lamp.
    key_colour : tuple of float
        Its colour; (0, 0, 0) for none.
    lamps : tuple of Lamp
        Lights without shadows.
    headlights : float
        Strength of the lamps that travel with the camera.
    glow : float
        Factor on what emits light by itself: lit windows, screens, lamps.
    zenith, horizon : tuple of float
        Colours of the sky; `horizon` is also the colour of the haze.
    haze : float
        Extinction per metre.
    """

    time: str
    luma: float
    grain: float
    above: Vector
    below: Vector
    key: RayGrid
    key_colour: Vector
    lamps: tuple[Lamp, ...] = ()
    headlights: float = 0.0
    glow: float = 1.0
    zenith: Vector = (0.2, 0.4, 0.8)
    horizon: Vector = (0.7, 0.8, 0.9)
    haze: float = 0.0


def sun(direction: Vector, low: tuple[float, float], high: tuple[float, float], texels: int) -> RayGrid:
    """Return parallel rays from the sun over the ground rectangle `low` to `high` (x, z in metres).

    The grid's u and v are the ground coordinates of a ray, so the shadow map covers exactly that rectangle.
    """
    way = -np.asarray(direction, np.float64)
    axes = np.column_stack([[1.0, 0, 0], [0, 0, 1.0], way])
    step = max(high[0] - low[0], high[1] - low[1]) / texels
    u = np.arange(low[0], high[0], step, dtype=np.float32)
    v = np.arange(low[1], high[1], step, dtype=np.float32)
    return RayGrid(u, v, -200.0 * way, axes, parallel=True)


def ceiling_lamp(position: Vector, texels: int) -> RayGrid:
    """Return rays from `position` downwards, up to 76 degrees from the vertical."""
    ticks = np.linspace(-4, 4, texels, dtype=np.float32)
    axes = np.column_stack([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    return RayGrid(ticks, ticks, np.asarray(position, np.float64), axes)


class ShadowMap:
    """How far the key light reaches, rendered once for a scene (shadow mapping, Williams 1978)."""

    def __init__(self, solids: Solids, key: RayGrid) -> None:
        """Trace the rays of the light `key` through `solids`."""
        self._key = key
        self._reach, _ = trace(solids, key)

    def lit(self, points: Floats, normal: Floats) -> Floats:
        """Return the share of the key light, ``(N,)`` in [0, 1], that reaches `points` ``(3, N)``."""
        # Lifting the point off its surface keeps a surface from shading itself.
        u, v, far = self._key.project(points + normal * np.float32(0.08))
        rows, cols = self._reach.shape
        x = (u - self._key.u[0]) / (self._key.u[1] - self._key.u[0])
        y = (v - self._key.v[0]) / (self._key.v[1] - self._key.v[0])
        outside = (x < 0) | (x > cols - 1) | (y < 0) | (y > rows - 1) | (far < 0)
        x, y = np.clip(x, 0, cols - 1.001), np.clip(y, 0, rows - 1.001)
        left, top = x.astype(np.intp), y.astype(np.intp)
        right, down = x - left, y - top
        total: Floats = np.zeros_like(far)
        for dy, wy in ((0, 1 - down), (1, down)):
            for dx, wx in ((0, 1 - right), (1, right)):
                total += wx * wy * (far < self._reach[top + dy, left + dx] + np.float32(0.05))
        total[outside] = 1
        return total

    def incidence(self, points: Floats, normal: Floats) -> Floats:
        """Return the cosine between `normal` and the key light, with the lamp's fall-off if it is near."""
        if self._key.parallel:
            way = -self._key.axes[:, 2].astype(np.float32)
            cosine: Floats = np.maximum(dot(way, normal), 0)
            return cosine
        towards = self._key.position.astype(np.float32)[:, None] - points
        square = dot(towards, towards)
        light: Floats = np.maximum(dot(towards, normal), 0) / (np.sqrt(square) * (np.float32(0.6) + square))
        return light


def lamp_light(lamp: Lamp, points: Floats, normal: Floats) -> Floats:
    """Return the light ``(N,)`` of `lamp`, before its colour, on `points` and `normal` ``(3, N)``."""
    light = np.zeros(points.shape[1], np.float32)
    close = np.flatnonzero(np.abs(points[2] - np.float32(lamp.position[2])) < lamp.reach)
    towards = np.asarray(lamp.position, np.float32)[:, None] - points.take(close, axis=1)
    square = dot(towards, towards)
    # The light ends smoothly at its reach, so that no edge shows where it is left out.
    fade = np.maximum(1 - square / np.float32(lamp.reach**2), 0) ** 2 / (np.float32(0.4) + square)
    distance = np.sqrt(square) + np.float32(1e-6)
    cosine = np.maximum(dot(towards, normal.take(close, axis=1)), 0) / distance
    if lamp.aim is not None:
        cosine *= np.maximum(-dot(np.asarray(lamp.aim, np.float32), towards) / distance, 0) ** np.float32(lamp.tight)
    light[close] = cosine * fade
    return light
