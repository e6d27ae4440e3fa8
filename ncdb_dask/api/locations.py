"""What a caller may give as a place."""

import os
from typing import Any

Location = str | os.PathLike[str]


def several(value: Any) -> list[Any]:
    """Return one or many places as a list."""
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)
