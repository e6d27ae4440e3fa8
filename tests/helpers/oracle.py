"""Depth statistics in the plainest way there is: metres, sorted, in float64."""

import math

import numpy as np

QUANTILES = {"p05": 0.05, "p25": 0.25, "median_depth": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def depth_statistics(raw: np.ndarray, scale: float) -> dict[str, float]:
    """Return the statistics of a raw map by their column names."""
    metres = np.sort(raw[raw > 0].astype(np.float64) / scale)
    return {
        "mean_depth": math.fsum(metres) / len(metres),
        "std_depth": float(metres.std()),
        "min_depth": float(metres[0]),
        "max_depth": float(metres[-1]),
        **{name: float(np.quantile(metres, q)) for name, q in QUANTILES.items()},
    }


def bin_of(depth: float, edges: np.ndarray) -> int:
    """Return the one bin whose edges hold a depth; the outermost also hold what lies beyond them."""
    holding = [k for k in range(len(edges) - 1) if edges[k] <= depth < edges[k + 1]]
    if holding:
        (only,) = holding
        return only
    return 0 if depth < edges[0] else len(edges) - 2
