"""The table that an evaluation writes: one row for every frame, whatever became of it."""

import pyarrow as pa

from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.sampling.strata import DEFAULT_EDGES, DEFAULT_NAMES, DepthBins

SCHEMA_VERSION = 1

STATUSES = (
    "ok",
    "bad_entry",
    "unsafe_path",
    "missing_image",
    "missing_depth",
    "missing_prediction",
    "unreadable_image",
    "unreadable_depth",
    "unreadable_prediction",
    "unsupported_depth",
    "different_aspect",
    "no_valid_pixels",
    "crashed",
)
# Of the true depth of a pixel, in metres: the guide's ranges, as those of a frame's mean depth.
RANGES = DepthBins(DEFAULT_EDGES, DEFAULT_NAMES)
# What a scan knows of a frame, and results are grouped by.
SCAN_GROUPS = ("depth_range", "scene_type", "lighting")

_KEY = (
    ("dataset_root", pa.string()),
    ("filename", pa.string()),
    ("image_path", pa.string()),
    ("depth_path", pa.string()),
    ("depth_variant", pa.string()),
    ("prediction_path", pa.string()),
    *((name, pa.string()) for name in SCAN_GROUPS),
)
_PIXELS = (
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("valid_pixels", pa.int64()),
    ("nan_pixels", pa.int64()),
    ("infinite_pixels", pa.int64()),
    ("nonpositive_pixels", pa.int64()),
    ("scale_ratio", pa.float64()),
)


def of_range(figure: str, name: str) -> str:
    """Name the column of a figure over the pixels of one depth range, for instance ``abs_rel_far``."""
    return f"{figure}_{name}"


_RANGES = tuple(
    (of_range(figure, name), kind)
    for name in RANGES.names
    for figure, kind in (("valid_pixels", pa.int64()), *((metric, pa.float64()) for metric in METRICS))
)
_OUTCOME = (("status", pa.string()), ("detail", pa.string()), ("split", pa.string()), ("entry", pa.int64()))

SCHEMA = pa.schema(
    [
        pa.field(name, kind)
        for name, kind in (*_KEY, *_PIXELS, *((metric, pa.float64()) for metric in METRICS), *_RANGES, *_OUTCOME)
    ],
    metadata={"ncdb_dask.schema": f"evaluation/{SCHEMA_VERSION}"},
)
