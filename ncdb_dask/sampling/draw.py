"""The draw: every frame has a priority that depends on the seed and its key alone.

Frames are taken by rising priority. So the draw does not depend on the order of the rows, on shards or on the machine;
a larger set contains a smaller one; and frames that join the data set displace only as many as are chosen of them.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Priorities = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.intp]


def priorities(seed: int, keys: Iterable[tuple[str, str]]) -> Priorities:
    """Return 64 bits of BLAKE2b of seed and key for each frame, shape (n,).

    Two of a million frames share a priority in one of forty million data sets; these two alone would then be taken in
    the order of the rows.
    """
    base = blake2b(str(seed).encode(), digest_size=8)
    digests = bytearray()
    for dataset_root, stem in keys:
        mixed = base.copy()
        mixed.update(f"\0{dataset_root}\0{stem}".encode())
        digests += mixed.digest()
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def reseeded(priority: Priorities, number: int) -> Priorities:
    """Return other priorities for the same frames, as from another seed, without hashing the keys again.

    SplitMix64's finalizer (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014).
    """
    mixed = priority + np.uint64((number * 0x9E3779B97F4A7C15) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def first_by_priority(priority: Priorities, count: int) -> Positions:
    """Return the positions of the `count` lowest priorities, in their order."""
    return np.argsort(priority, kind="stable")[:count]
