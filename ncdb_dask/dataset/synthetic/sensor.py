"""Which pixels of a depth map a sensor fills: nearly all of them, or the rings of a spinning LiDAR."""

import numpy as np
from numpy.typing import NDArray

from ncdb_dask.dataset.synthetic.geometry import Floats

SCALE = 256.0
RING_STEP = 5.0  # pixels between two rings
RING_UP, RING_DOWN = 0.42, 0.48  # radians
_DROPOUT = 0.006
_MISSED = 0.12


def encoded(depth: Floats, keep: NDArray[np.bool_], reach: float) -> NDArray[np.uint16]:
    """Return the 16-bit map: metres x 256, rounded; 0 where there is no depth.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        z-depth in metres, ``inf`` in the sky.
    keep : ndarray of bool, shape (H, W)
        Pixels that the sensor measures.
    reach : float
        Depth in metres beyond which it measures nothing; at most 255.
    """
    valid = keep & (depth <= reach)
    return np.where(valid, np.rint(np.where(valid, depth, 0) * SCALE), 0).astype(np.uint16)


def dense(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the pixels of a dense sensor: all but a few."""
    return rng.random(shape, np.float32) >= _DROPOUT


def rings(depth: Floats, focal: float, reach: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the pixels that the rings of a LiDAR at the camera's place meet.

    A ring is a cone of constant elevation, which the picture shows as a hyperbola. Rings are `RING_STEP` pixels apart
    at the picture's middle, so that the share of valid pixels does not depend on the size of the picture. The far
    returns are lost more often than the near ones.
    """
    height, width = depth.shape
    u = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal
    v = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / focal
    elevation = -np.arctan(v[:, None] / np.sqrt(1 + u * u)[None, :])
    step = RING_STEP / focal
    # A pixel belongs to a ring when the ring's elevation lies between its own and that of the pixel below.
    ring = np.floor(elevation / step)
    below = np.floor(np.vstack([elevation[1:], elevation[-1:] - 1 / focal]) / step)
    hit = (ring != below) & (elevation < RING_UP) & (elevation > -RING_DOWN)
    lost = _MISSED + (1 - _MISSED) * np.minimum(depth / (1.2 * reach), 1) ** 2
    kept: NDArray[np.bool_] = hit & (rng.random(depth.shape, np.float32) > lost)
    return kept
