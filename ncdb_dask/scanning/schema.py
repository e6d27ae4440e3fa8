"""The table that a scan writes: one row for every entry of the split, whatever became of it."""

import pyarrow as pa

SCHEMA_VERSION = 1

STATUSES = (
    "ok",
    "bad_entry",
    "unsafe_path",
    "missing_image",
    "missing_depth",
    "unreadable_image",
    "unreadable_depth",
    "unsupported_depth",
    "no_valid_depth",
    "crashed",
)

# Upper bounds of the mean depth in metres, as the guide has them.
SCENE_TYPES = (("indoor", 5.0), ("outdoor_near", 15.0), ("outdoor_far", float("inf")))

_KEY = (
    ("dataset_root", pa.string()),
    ("filename", pa.string()),
    ("image_path", pa.string()),
    ("depth_path", pa.string()),
    ("depth_variant", pa.string()),
)
_DEPTH = (
    ("mean_depth", pa.float64()),
    ("median_depth", pa.float64()),
    ("min_depth", pa.float64()),
    ("max_depth", pa.float64()),
    ("std_depth", pa.float64()),
    ("p05", pa.float64()),
    ("p25", pa.float64()),
    ("p50", pa.float64()),
    ("p75", pa.float64()),
    ("p90", pa.float64()),
    ("p95", pa.float64()),
    ("p99", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("scene_type", pa.string()),
    ("valid_pixels", pa.int64()),
    ("total_pixels", pa.int64()),
    ("valid_fraction", pa.float64()),
    ("depth_scale", pa.float64()),
    ("scale_ambiguous", pa.bool_()),
    ("depth_hist", pa.list_(pa.int32())),
    ("depth_bytes", pa.int64()),
)
_IMAGE = (
    ("image_mode", pa.string()),
    ("image_width", pa.int32()),
    ("image_height", pa.int32()),
    ("image_bytes", pa.int64()),
    ("luma_mean", pa.float64()),
    ("luma_std", pa.float64()),
    ("dark_fraction", pa.float64()),
    ("bright_fraction", pa.float64()),
    ("lighting", pa.string()),
    # Text, because readers that turn a column with nulls into floats would lose the low bits of an integer.
    ("phash", pa.string()),
)
_OUTCOME = (("status", pa.string()), ("detail", pa.string()), ("split", pa.string()), ("entry", pa.int64()))

SCHEMA = pa.schema(
    [pa.field(name, kind) for name, kind in (*_KEY, *_DEPTH, *_IMAGE, *_OUTCOME)],
    metadata={"ncdb_dask.schema": f"scan/{SCHEMA_VERSION}"},
)


def scene_type(mean_depth: float) -> str:
    """Name the kind of scene by its mean depth in metres."""
    return next(name for name, bound in SCENE_TYPES if mean_depth < bound)
