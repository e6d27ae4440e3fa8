"""Textures in linear RGB with an emission channel, and an atlas that reads them filtered.

A maker draws one tile of ``SIZE x SIZE`` texels. The atlas holds every tile at all sizes down to one texel (a mip map,
Williams 1983), so that a far wall keeps its mean colour instead of flickering.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Floats, Ints

SIZE = 256
Maker = Callable[[np.random.Generator], Floats]


@dataclass(frozen=True)
class Texture:
    """A maker and the metres that its tile covers (width, height); 0 fits the tile to the face."""

    make: Maker
    tile: tuple[float, float] = (1.0, 1.0)


def noise(rng: np.random.Generator, cells: int = 8, octaves: int = 4) -> Floats:
    """Return periodic fractal value noise ``(SIZE, SIZE)``, mean near 0, most of it within -1 and 1."""
    total: Floats = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(octaves):
        count = min(cells << octave, SIZE)
        coarse = rng.standard_normal((count, count), np.float32) * np.float32(0.5**octave)
        total += _stretched(_stretched(coarse).T).T
    return total / 2


def _stretched(rows: Floats) -> Floats:
    """Return `rows` grown to SIZE along the first axis, smooth and periodic."""
    place = np.arange(SIZE, dtype=np.float32) * (len(rows) / SIZE)
    low = place.astype(np.intp)
    weight = place - low
    weight = (weight * weight * (3 - 2 * weight))[:, None]
    grown: Floats = rows[low] * (1 - weight) + rows[(low + 1) % len(rows)] * weight
    return grown.astype(np.float32)


class Atlas:
    """The textures of one scene at every size, read at texture coordinates in metres."""

    def __init__(self, textures: Sequence[Texture], rngs: Sequence[np.random.Generator]) -> None:
        """Draw `textures`, each with its own generator."""
        levels = SIZE.bit_length()
        tiles: list[Floats] = [np.stack([texture.make(rng) for texture, rng in zip(textures, rngs, strict=True)])]
        for _ in range(levels - 1):
            last = tiles[-1]
            tiles.append((last[:, ::2, ::2] + last[:, 1::2, ::2] + last[:, ::2, 1::2] + last[:, 1::2, 1::2]) / 4)
        sizes = [tile.shape[0] * tile.shape[1] ** 2 for tile in tiles]
        self._texels = np.concatenate([tile.reshape(-1, 4) for tile in tiles])
        self._start = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
        self._tile = np.array([texture.tile for texture in textures], np.float32).T.copy()
        self._last = levels - 1

    def sample(self, texture: Ints, uv: Floats, extent: Floats, footprint: Floats) -> Floats:
        """Read RGB and emission bilinearly from the level that fits the pixel.

        Parameters
        ----------
        texture : ndarray of int32, shape (N,)
            Numbers of the textures.
        uv, extent : ndarray of float32, shape (2, N)
            Metres from the corner of the face, and the size of the face.
        footprint : ndarray of float32, shape (N,)
            Metres on the surface that the pixel covers.

        Returns
        -------
        ndarray of float32, shape (4, N)
            Linear RGB albedo in [0, 1] and emission.
        """
        tile = self._tile[:, texture]
        tile = np.where(tile == 0, extent, tile)
        texels = footprint * (SIZE / np.sqrt(tile[0] * tile[1]))
        level = np.clip(np.log2(np.maximum(texels, 1)) + np.float32(0.3), 0, self._last).astype(np.int32)
        size = np.int32(SIZE) >> level
        place = uv / tile * size - np.float32(0.5)
        low = np.floor(place)
        right, up = place - low
        corner = low.astype(np.int32)
        start = self._start[level] + texture * size * size
        total = np.zeros((len(texture), 4), np.float32)
        for dy, wy in ((0, 1 - up), (1, up)):
            row = start + ((corner[1] + dy) & (size - 1)) * size
            for dx, wx in ((0, 1 - right), (1, right)):
                texel = row + ((corner[0] + dx) & (size - 1))
                total += self._texels.take(texel, axis=0) * (wx * wy)[:, None]
        return np.ascontiguousarray(total.T)
