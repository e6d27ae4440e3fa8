"""What the shards of a scan tell while it runs: counts that add up to those of the finished table."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import compute

from ncdb_dask.scanning.schema import SCENE_TYPES
from ncdb_dask.scanning.stats import HIST_BINS, HIST_BINS_PER_OCTAVE, histogram_edges
from ncdb_dask.scanning.summary import pooled_histogram
from ncdb_dask.store.figures import Chart, Figure, label_counts

# Names of ranges of the mean depth, and their upper bounds in metres, rising.
DepthRanges = tuple[tuple[str, float], ...]

# A frame's mean is one number: a bin a quarter octave shows its distribution, a sixteenth only noise.
_STEP = HIST_BINS_PER_OCTAVE // 4
_MEAN_EDGES = histogram_edges()[::_STEP]
_LABELS = ("scene_type", "depth_variant", "lighting")


def figures_of(table: pa.Table, ranges: DepthRanges) -> dict[str, Figure]:
    """Return the figures of some rows of a scan's table; only rows of status ``ok`` count."""
    ok = table.filter(compute.equal(table["status"], "ok"))
    mean = ok["mean_depth"].to_numpy()
    # As in the histogram of pixels, what lies beyond the ends counts in the outermost bins.
    inside = np.clip(mean, _MEAN_EDGES[0], np.nextafter(_MEAN_EDGES[-1], 0))
    return {
        "mean_depth": np.histogram(inside, _MEAN_EDGES)[0].tolist(),
        "pixel_depth": pooled_histogram(ok["depth_hist"]).tolist() if ok.num_rows else [0] * HIST_BINS,
        "depth_range": _by_range(mean.tolist(), ranges),
        **{name: label_counts(ok[name]) for name in _LABELS},
    }


def charts(wanted: Mapping[str, int]) -> tuple[Chart, ...]:
    """Say how these figures are drawn; `wanted` is how many frames of each depth range a calibration set takes."""
    return (
        Chart("mean_depth", "Mean depth of a frame", "m", tuple(_MEAN_EDGES.tolist())),
        Chart("pixel_depth", "Depth of a pixel", "m", tuple(histogram_edges().tolist())),
        Chart("depth_range", "Depth ranges, and what a calibration set takes", wanted=wanted, labels=tuple(wanted)),
        Chart("scene_type", "Scene types", labels=tuple(name for name, _ in SCENE_TYPES)),
        Chart("depth_variant", "Variants"),
        Chart("lighting", "Lighting", labels=("day", "dusk", "night")),
    )


def _by_range(means: list[float], ranges: DepthRanges) -> dict[str, int]:
    return dict(Counter(next(name for name, bound in ranges if mean < bound) for mean in means))
