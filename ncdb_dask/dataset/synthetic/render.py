"""One frame: the same rays give the colour and the z-depth."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncdb_dask.dataset.synthetic.geometry import Floats, Ints, RayGrid, Solids, Vector, camera, dot, trace
from ncdb_dask.dataset.synthetic.lighting import Lamp, ShadowMap, lamp_light
from ncdb_dask.dataset.synthetic.materials import MATERIALS
from ncdb_dask.dataset.synthetic.scene import Pose, Scene
from ncdb_dask.dataset.synthetic.surface import Surface, surface_at
from ncdb_dask.dataset.synthetic.texture import Atlas

FOCAL = 0.62  # of the picture's width: a field of view of 78 degrees
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Frame:
    """A picture and its depth.

    Attributes
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        The picture.
    depth : ndarray of float32, shape (H, W)
        z-depth in metres of the same rays, ``inf`` in the sky.
    """

    rgb: NDArray[np.uint8]
    depth: Floats


class Renderer:
    """Renders the frames of one scene; shadow map and textures are made once."""

    def __init__(self, scene: Scene, width: int, height: int, seed: tuple[int, ...]) -> None:
        """Prepare `scene` for pictures of `width` x `height` pixels; `seed` draws its textures and its noise."""
        self._scene, self._size, self._seed = scene, (width, height), seed
        self._solids = Solids(scene.solids)
        names = sorted({name for solid in scene.solids for name in solid.faces} | {"clouds"})
        rngs = [np.random.default_rng([*seed, sorted(MATERIALS).index(name)]) for name in names]
        self._atlas = Atlas([MATERIALS[name] for name in names], rngs)
        faces = [[names.index(name) for name in solid.faces] for solid in scene.solids]
        self._faces = np.array(faces, np.int32)
        self._tints = np.array([solid.tint for solid in scene.solids], np.float32).T.copy()
        self._clouds = names.index("clouds")
        dark = max(scene.lighting.key_colour) == 0
        self._shadows = None if dark else ShadowMap(self._solids, scene.lighting.key)

    def frame(self, number: int) -> Frame:
        """Return frame `number` of the scene's camera path."""
        pose, (width, height) = self._scene.path[number], self._size
        grid = camera(pose.position, pose.yaw, pose.pitch, width=width, height=height, focal=FOCAL * width)
        depth, index = trace(self._solids, grid)
        flat, number_of = depth.ravel(), index.ravel()
        hit = np.flatnonzero(number_of >= 0)
        points = grid.points(np.where(np.isfinite(depth), depth, np.float32(1)))
        light = np.empty((3, width * height), np.float32)
        light[:, hit] = self._shaded(points[:, hit], flat[hit], number_of[hit], pose)
        if len(hit) < len(flat):
            sky = np.flatnonzero(number_of < 0)
            light[:, sky] = self._sky(points[:, sky], grid)
        rng = np.random.default_rng([*self._seed, 1000, number])
        lighting = self._scene.lighting
        return Frame(_developed(light.reshape(3, height, width), lighting.luma, lighting.grain, rng), depth)

    def _shaded(self, points: Floats, depth: Floats, index: Ints, pose: Pose) -> Floats:
        lighting = self._scene.lighting
        surface = surface_at(self._solids, points, index)
        away = points - np.asarray(pose.position, np.float32)[:, None]
        distance = np.sqrt(dot(away, away))
        facing = np.maximum(np.abs(dot(away, surface.normal)) / distance, np.float32(0.04))
        footprint = depth / np.float32(FOCAL * self._size[0]) / np.sqrt(facing)
        texel = self._atlas.sample(self._faces[index, surface.face], surface.uv, surface.extent, footprint)
        albedo = texel[:3] * self._tints[:, index]
        glow = albedo * (texel[3] * np.float32(lighting.glow))
        seen = albedo * self._light(points, surface, pose) + glow
        clear = np.exp(distance * np.float32(-lighting.haze))
        hazy: Floats = seen * clear + _column(lighting.horizon) * (1 - clear)
        return hazy

    def _light(self, points: Floats, surface: Surface, pose: Pose) -> Floats:
        lighting, normal = self._scene.lighting, surface.normal
        up = (normal[1] + 1) / 2
        ambient = _column(lighting.above) * up + _column(lighting.below) * (1 - up)
        light: Floats = ambient * self._openness(points, normal)
        if self._shadows is not None:
            reached = self._shadows.lit(points, normal) * self._shadows.incidence(points, normal)
            light += _column(lighting.key_colour) * reached
        for lamp in (*lighting.lamps, *self._headlights(pose)):
            light += _column(lamp.colour) * lamp_light(lamp, points, normal)
        return light

    def _openness(self, points: Floats, normal: Floats) -> Floats:
        """Return how much of the ambient light a point sees: less where two walls meet."""
        x, y, z = self._scene.corner
        open_share = np.ones(points.shape[1], np.float32)
        gaps = (x - np.abs(points[0]), np.minimum(points[1], y - points[1]), z - np.abs(points[2]))
        for k, gap in enumerate(gaps):
            near = np.exp(-np.maximum(gap, 0) * np.float32(3.5))
            open_share *= 1 - np.float32(0.5) * near * (1 - np.abs(normal[k]))
        return open_share

    def _headlights(self, pose: Pose) -> tuple[Lamp, ...]:
        strength = self._scene.lighting.headlights
        if strength == 0:
            return ()
        x, _, z = pose.position
        aim = (0.995 * math.sin(pose.yaw), -0.1, 0.995 * math.cos(pose.yaw))
        return (Lamp((x, 0.7, z), (strength, 0.93 * strength, 0.8 * strength), aim, 14.0, 90.0),)

    def _sky(self, points: Floats, grid: RayGrid) -> Floats:
        lighting = self._scene.lighting
        way = points - grid.position.astype(np.float32)[:, None]
        way /= np.sqrt(dot(way, way))
        climb = np.clip(way[1], 0, 1)
        share = 1 - np.exp(climb * np.float32(-4))
        colour: Floats = _column(lighting.horizon) * (1 - share) + _column(lighting.zenith) * share
        plane = way[[0, 2]] / (climb + np.float32(0.12)) * np.float32(0.25)
        count = points.shape[1]
        index, ones = np.full(count, self._clouds, np.int32), np.ones((2, count), np.float32)
        cloud = self._atlas.sample(index, plane, ones, np.full(count, 0.004, np.float32))[0]
        cover = np.clip((cloud - np.float32(0.5)) * 2, 0, 1) * share
        colour = colour * (1 - cover) + _column(lighting.horizon) * cover
        return colour


def _column(vector: Vector) -> Floats:
    return np.asarray(vector, np.float32)[:, None]


def _developed(light: Floats, luma: float, grain: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the 8-bit picture: exposure to the mean `luma`, a film-like curve, display gamma, noise."""
    exposure = _exposure(light[:, ::4, ::4], luma)
    picture = _curve(light * exposure)
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(grain)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _exposure(light: Floats, luma: float) -> np.float32:
    low, high = -8.0, 8.0
    for _ in range(14):
        middle = (low + high) / 2
        mean = LUMA @ _curve(light * np.float32(2.0**middle)).mean(axis=(1, 2))
        low, high = (middle, high) if mean < luma else (low, middle)
    return np.float32(2.0 ** ((low + high) / 2))


def _curve(light: Floats) -> Floats:
    """Return 8-bit values in display gamma, highlights rolled off and contrast raised as a camera does."""
    display = (1 - np.exp(-light)) ** np.float32(1 / 2.2)
    steep = display * display * (3 - 2 * display)
    return np.float32(255 * 0.45) * display + np.float32(255 * 0.55) * steep
