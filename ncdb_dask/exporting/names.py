"""File names for frames: they carry the scene, hold no character that a tool stumbles over, and never collide."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

SEPARATOR = "__"
# What is left of the 255 bytes of a file name for a suffix and for the temporary name of an atomic write.
LONGEST = 180
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_HASHED = re.compile(r"-[0-9a-f]{12}$")


def file_names(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Name each frame ``scene__stem``, without a suffix.

    A name from which the key cannot be read back, or that another frame has too (on file systems that do not tell
    capitals apart, either), ends with a part of the key's SHA-256.

    Parameters
    ----------
    keys : sequence of (str, str)
        Different keys ``(dataset_root, stem)``.
    """
    plain = [_flat(key) for key in keys]
    taken = Counter(name.casefold() for name in plain)
    return [
        name if taken[name.casefold()] == 1 and _reads_back(name, key) else f"{name}-{_digest(key)}"
        for name, key in zip(plain, keys, strict=True)
    ]


def _flat(key: tuple[str, str]) -> str:
    path = "/".join(key).removeprefix("./").strip("/").replace("/", SEPARATOR)
    name = _UNSAFE.sub("_", path)[-LONGEST:]
    return name if name[:1] not in (".", "-") else f"_{name}"  # no hidden files, nothing that looks like an option


def _reads_back(name: str, key: tuple[str, str]) -> bool:
    """Whether a name tells its key; one that looks as if it ended with a hash could be another frame's."""
    return name.replace(SEPARATOR, "/") == "/".join(key) and not _HASHED.search(name)


def _digest(key: tuple[str, str]) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:12]
