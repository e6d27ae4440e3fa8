"""Tables of evaluations made by hand: every figure from the definitions, none from the code under test."""

from collections.abc import Iterable, Sequence

import pandas as pd

from helpers.depth_metrics import measured
from ncdb_dask.evaluation.schema import SCHEMA

Pairs = Sequence[tuple[float, float]]
RANGES = {"near": (0, 3), "mid": (3, 8), "far": (8, 15), "very_far": (15, float("inf"))}


def row(pairs: Pairs, **more: object) -> dict[str, object]:
    """The row of a frame with these pairs of true and predicted depth, status ``ok``."""
    found: dict[str, object] = dict.fromkeys(SCHEMA.names)
    found |= {"dataset_root": "a", "filename": "0001", "depth_variant": "maps", "status": "ok"}
    found |= {"nan_pixels": 0, "infinite_pixels": 0, "nonpositive_pixels": 0}
    found |= {"valid_pixels": len(pairs), **figures(pairs)}
    for name in RANGES:
        own = of_range(pairs, name)
        found[f"valid_pixels_{name}"] = len(own)
        found |= {f"{metric}_{name}": value for metric, value in figures(own).items()} if own else {}
    return found | more


def fault(status: str, detail: str | None = None, **more: object) -> dict[str, object]:
    """The row of a frame that was not judged."""
    found: dict[str, object] = dict.fromkeys(SCHEMA.names)
    return found | {"dataset_root": "a", "filename": "0002", "status": status, "detail": detail} | more


def figures(pairs: Pairs) -> dict[str, float]:
    """Every metric of some pairs."""
    return measured(*zip(*pairs, strict=True))


def of_range(pairs: Pairs, name: str) -> Pairs:
    """Those whose true depth lies in a range."""
    low, high = RANGES[name]
    return [pair for pair in pairs if low <= pair[0] < high]


def table(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """A table with the columns and kinds of one that was read."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=SCHEMA).to_pandas()
