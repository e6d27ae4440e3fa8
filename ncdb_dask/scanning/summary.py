"""What a scan found, in a few figures."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from ncdb_dask.scanning.stats import HIST_BINS
from ncdb_dask.store.figures import label_counts

COLUMNS = (
    "status",
    "detail",
    "mean_depth",
    "min_depth",
    "max_depth",
    "scene_type",
    "depth_variant",
    "lighting",
    "scale_ambiguous",
    "depth_hist",
)


@dataclass(frozen=True)
class Summary:
    """Figures over the rows of status ``ok``; depths in metres.

    Attributes
    ----------
    samples, skipped : int
        Rows of status ``ok``, and all others.
    duplicates : int
        Entries that repeated an earlier key and are no rows.
    status : mapping
        Rows by status.
    examples : mapping
        The first `detail` of every status that has one.
    mean_of_means, std_of_means : float or None
        Over frames; the sample standard deviation (n - 1), as the guide prints it.
    min_depth, max_depth : float or None
        Nearest and farthest valid pixel of all frames.
    scene_types, variants, lighting : mapping
        Frames by kind.
    ambiguous : int
        Frames whose unit is in doubt.
    pixel_histogram : tuple of int
        Valid pixels of all frames by depth (`ncdb_dask.scanning.stats.histogram_edges`).
    """

    samples: int
    skipped: int
    duplicates: int
    status: Mapping[str, int]
    examples: Mapping[str, str]
    mean_of_means: float | None
    std_of_means: float | None
    min_depth: float | None
    max_depth: float | None
    scene_types: Mapping[str, int]
    variants: Mapping[str, int]
    lighting: Mapping[str, int]
    ambiguous: int
    pixel_histogram: tuple[int, ...] = field(repr=False)

    def text(self) -> str:
        """Return the summary as lines for people."""
        lines = [f"Samples       {self.samples}", f"Skipped       {self.skipped}"]
        for name, count in self.status.items():
            if name != "ok":
                example = f"  such as: {self.examples[name]}" if name in self.examples else ""
                lines.append(f"  {name:<17} {count:>5}{example}")
        if self.duplicates:
            lines.append(f"Duplicates    {self.duplicates}  (kept once)")
        if self.mean_of_means is not None:
            spread = "" if self.std_of_means is None else f" +- {self.std_of_means:.2f}"
            lines.append(f"Mean depth    {self.mean_of_means:.2f}{spread} m over frames")
            lines.append(f"Depth range   {self.min_depth:.3f} to {self.max_depth:.2f} m")
        for title, counts in (("Scene types", self.scene_types), ("Variants", self.variants)):
            lines.append(f"{title:<13} {_shares(counts)}")
        if self.lighting:
            lines.append(f"Lighting      {_shares(self.lighting)}")
        if self.ambiguous:
            lines.append(f"Unit in doubt {self.ambiguous} frames  (column scale_ambiguous; declare --depth-scale)")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "pixel_histogram": list(self.pixel_histogram)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Summary":
        """Undo `as_dict`."""
        return cls(**{**values, "pixel_histogram": tuple(values["pixel_histogram"])})


def summarize(tables: Iterable[pa.Table], duplicates: int) -> Summary:
    """Compute the summary of a scan's rows, a shard at a time, so that memory does not grow with the scan.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        At least the columns `COLUMNS`.
    duplicates : int
        Entries that the plan left out.
    """
    counters = {name: Counter[str]() for name in ("status", "scene_type", "depth_variant", "lighting")}
    examples: dict[str, str] = {}
    means: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    histogram = np.zeros(HIST_BINS, dtype=np.int64)
    lowest, highest, ambiguous = np.inf, -np.inf, 0
    for table in tables:
        ok = table.filter(compute.equal(table["status"], "ok"))
        for name, counter in counters.items():
            counter.update(label_counts((table if name == "status" else ok)[name]))
        for status, detail in zip(table["status"].to_pylist(), table["detail"].to_pylist(), strict=True):
            if detail is not None:
                examples.setdefault(status, detail)
        if ok.num_rows:
            means.append(ok["mean_depth"].to_numpy())
            lowest = min(lowest, compute.min(ok["min_depth"]).as_py())
            highest = max(highest, compute.max(ok["max_depth"]).as_py())
            ambiguous += compute.sum(ok["scale_ambiguous"]).as_py()
            histogram += pooled_histogram(ok["depth_hist"])
    mean = np.concatenate(means) if means else np.empty(0)
    total = sum(counters["status"].values())
    return Summary(
        samples=len(mean),
        skipped=total - len(mean),
        duplicates=duplicates,
        status=dict(counters["status"].most_common()),
        examples={status: examples[status] for status, _ in counters["status"].most_common() if status in examples},
        mean_of_means=float(mean.mean()) if len(mean) else None,
        std_of_means=float(mean.std(ddof=1)) if len(mean) > 1 else None,
        min_depth=lowest if len(mean) else None,
        max_depth=highest if len(mean) else None,
        scene_types=dict(counters["scene_type"].most_common()),
        variants=dict(counters["depth_variant"].most_common()),
        lighting=dict(counters["lighting"].most_common()),
        ambiguous=ambiguous,
        pixel_histogram=tuple(histogram.tolist()),
    )


def pooled_histogram(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Add up the depth histograms of all frames, shape (HIST_BINS,)."""
    flat: np.ndarray[Any, np.dtype[np.int32]] = column.drop_null().combine_chunks().flatten().to_numpy()
    return np.asarray(flat.reshape(-1, HIST_BINS).sum(axis=0, dtype=np.int64))


def _shares(counts: Mapping[str, int]) -> str:
    """Write counts with their share of all."""
    total = sum(counts.values())
    return ", ".join(f"{name} {count} ({100 * count / total:.1f} %)" for name, count in counts.items()) or "none"
