"""What an evaluation found, in a few figures: over frames, over pixels, and by every group of frames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.blocks import LEAST, Blocks
from ncdb_dask.evaluation.bootstrap import intervals
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.schema import RANGES, SCAN_GROUPS, of_range

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("split", "dataset_root", "depth_variant", *SCAN_GROUPS)
INVALID = ("nan_pixels", "infinite_pixels", "nonpositive_pixels")
RESAMPLES, SEED = 10_000, 42
# Figures that a terminal shows of every group.
SHOWN = ("abs_rel", "rmse", "bias", "a1")
MOST_SHOWN = 12


@dataclass(frozen=True)
class Figures:
    """Metrics of a set of frames.

    Attributes
    ----------
    frames, pixels : int
        How many there are.
    mean : mapping of str to float
        Over frames, each counting once: what papers report.
    pooled : mapping of str to float
        Over all pixels, each counting once.
    """

    frames: int
    pixels: int
    mean: Mapping[str, float]
    pooled: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Figures over the rows of status ``ok``.

    Attributes
    ----------
    frames, skipped, duplicates : int
        Rows of status ``ok``, all others, and entries that repeated a frame and are no rows.
    status : mapping of str to int
        Rows by status.
    examples : mapping of str to str
        The first `detail` of every status that has one.
    figures : Figures
        Of all frames; see `ncdb_dask.evaluation.metrics.METRICS`.
    intervals : mapping of str to (float, float)
        Where the mean over frames lies with 95 % confidence; empty where the frames are too few.
    resampling : str
        What the intervals come from.
    ranges : mapping of str to Figures
        By true depth of the pixel.
    groups : mapping of str to mapping of str to Figures
        By ``split``, ``dataset_root`` (the recording), ``depth_variant`` and, for a scan, ``depth_range`` (of the
        frame's mean depth), ``scene_type`` and ``lighting``.
    invalid : mapping of str to int
        ``frames`` that have predictions which are no depth, and how many: ``nan_pixels``, ``infinite_pixels``,
        ``nonpositive_pixels``.
    scale_ratio : mapping of str to float, or None
        Median and standard deviation of the frames' scales, under median scaling.
    extra : list of str
        Prediction files that belong to no frame.
    settings : mapping
        What was evaluated and how.
    """

    frames: int
    skipped: int
    duplicates: int
    status: Mapping[str, int]
    examples: Mapping[str, str]
    figures: Figures
    intervals: Mapping[str, Sequence[float]]
    resampling: str
    ranges: Mapping[str, Figures]
    groups: Mapping[str, Mapping[str, Figures]]
    invalid: Mapping[str, int]
    scale_ratio: Mapping[str, float] | None
    extra: Sequence[str]
    settings: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "extra": list(self.extra)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Undo `as_dict`."""
        groups = {name: _figures(found) for name, found in values["groups"].items()}
        read = {"figures": Figures(**values["figures"]), "ranges": _figures(values["ranges"]), "groups": groups}
        return cls(**{**values, **read})

    def require_frames(self) -> None:
        """Refuse an evaluation without a single frame.

        Raises
        ------
        EvaluationError
            Says what became of the frames.
        """
        if self.frames:
            return
        status, count = next(iter(self.status.items()))
        lost = status in ("missing_image", "missing_depth")
        what = f"look whether {self.settings['root']} is the right --root, or mend them" if lost else "mend them"
        raise EvaluationError(
            f"none of {self.skipped} frames could be evaluated: {count} {status} ({self.examples.get(status, '')}); "
            f"{what}, and give the command again"
        )

    def text(self) -> str:
        """Return the figures as lines for people."""
        lines = [f"Frames        {self.frames} evaluated, {self.skipped} not"]
        for name, count in self.status.items():
            if name != "ok":
                example = f"  such as: {self.examples[name]}" if name in self.examples else ""
                lines.append(f"  {name:<21} {count:>5}{example}")
        if self.duplicates:
            lines.append(f"Duplicates    {self.duplicates}  (kept once)")
        if self.extra:
            lines.append(f"Extra         {len(self.extra)} predictions of no frame, such as {self.extra[0]}")
        lines.append(f"Protocol      {Protocol.from_dict(self.settings['protocol']).text()}")
        lines += self._remarks()
        if self.frames:
            lines += ["", *self._metric_lines(), f"intervals: {self.resampling}", "", *self._group_lines()]
        return "\n".join(lines)

    def _remarks(self) -> list[str]:
        lines = []
        if self.invalid["frames"]:
            counts = ", ".join(f"{self.invalid[name]} {name.removesuffix('_pixels')}" for name in INVALID)
            lines.append(
                f"No depth      in {self.invalid['frames']} frames: {counts}; counted as the least or greatest depth"
            )
        metres = self.settings["predictor"].get("raw") is False
        if metres and self.frames and self.figures.mean["abs_rel"] > 1:
            lines.append("Units?        errors exceed the depths; where the files hold raw output: --values output")
        if self.scale_ratio is not None:
            ratio = self.scale_ratio
            lines.append(f"Scale ratio   median {ratio['median']:.4f}, standard deviation {ratio['std']:.4f}")
        return lines

    def _metric_lines(self) -> list[str]:
        interval = "95 % interval" if self.intervals else ""
        lines = [f"{'':<14}{'mean over frames':>16}  {interval:^22}{'pooled over pixels':>20}"]
        for name, metric in METRICS.items():
            mean, pooled = self.figures.mean[name], self.figures.pooled[name]
            low_high = "[{:.4f}, {:.4f}]".format(*self.intervals[name]) if name in self.intervals else ""
            lines.append(f"{name:<14}{mean:>16.4f}  {low_high:^22}{pooled:>20.4f}  {metric.unit}".rstrip())
        return lines

    def _group_lines(self) -> list[str]:
        heads = "".join(f"{metric:>10}" for metric in SHOWN)
        lines = [f"{'mean over frames':<34}{'frames':>7}{heads}"]
        spans = zip(RANGES.names, RANGES.edges, RANGES.edges[1:], strict=False)
        for name, low, high in spans:
            span = f"{low:g}-{high:g} m" if math.isfinite(high) else f"{low:g} m and more"
            if self.ranges[name].frames:
                lines.append(_group_line(f"{name} pixels, {span}", self.ranges[name]))
        for column, found in self.groups.items():
            if len(found) > 1:
                lines += [f"by {column}", *(_group_line(f"  {name}", one) for name, one in _first(found))]
                if len(found) > MOST_SHOWN:
                    lines.append(f"  ... and {len(found) - MOST_SHOWN} more (--json has all)")
        return lines


def summarize(
    rows: "pd.DataFrame", settings: Mapping[str, Any], duplicates: int = 0, extra: Sequence[str] = ()
) -> Evaluation:
    """Compute the figures of an evaluation's rows.

    Parameters
    ----------
    rows : DataFrame
        The whole table.
    settings : mapping
        Of the run.
    duplicates : int
        Entries that the plan left out.
    extra : sequence of str
        Prediction files of no frame.
    """
    ok = rows[rows["status"] == "ok"]
    counts = rows["status"].value_counts()
    faulty = rows[rows["detail"].notna()].drop_duplicates("status")
    ratios = ok["scale_ratio"].dropna().to_numpy(dtype=float)
    sure, resampling = _intervals(ok)
    bad = ok[list(INVALID)].to_numpy(dtype=np.int64, na_value=0)
    return Evaluation(
        frames=len(ok),
        skipped=len(rows) - len(ok),
        duplicates=duplicates,
        status={str(name): int(count) for name, count in counts.items()},
        examples=dict(zip(faulty["status"], faulty["detail"], strict=True)),
        figures=figures_of(ok),
        intervals=sure,
        resampling=resampling,
        ranges={name: figures_of(ok, name) for name in RANGES.names},
        groups={column: _by(ok, column) for column in GROUPS if ok[column].notna().any()},
        invalid={
            "frames": int(bad.any(axis=1).sum()),
            **dict(zip(INVALID, bad.sum(axis=0).tolist(), strict=True)),
        },
        scale_ratio={"median": float(np.median(ratios)), "std": float(ratios.std())} if len(ratios) else None,
        extra=list(extra),
        settings=dict(settings),
    )


def figures_of(rows: "pd.DataFrame", depth_range: str | None = None) -> Figures:
    """Compute the figures of frames, over all their judged pixels or those of one depth range.

    Pooled figures follow from those of the frames exactly: means and mean squares weighted by pixels; variances from
    those within and between the frames (Chan et al., 1979).
    """
    column = (lambda figure: figure) if depth_range is None else (lambda figure: of_range(figure, depth_range))
    pixels = rows[column("valid_pixels")].to_numpy(dtype=np.int64, na_value=0)
    rows, pixels = rows[pixels > 0], pixels[pixels > 0]
    if not len(rows):
        return Figures(0, 0, {}, {})
    values = {name: rows[column(name)].to_numpy(dtype=float) for name in METRICS}
    weights = pixels / pixels.sum()
    pooled = {}
    for name, metric in METRICS.items():
        if metric.pooled == "mean":
            pooled[name] = float(values[name] @ weights)
        elif metric.pooled == "square":
            pooled[name] = math.sqrt(float(values[name] ** 2 @ weights))
    bias = pooled["log_bias"]
    variance = float(((values["silog"] / 100) ** 2 + (values["log_bias"] - bias) ** 2) @ weights)
    pooled |= {"silog": 100 * math.sqrt(variance), "silog_half": math.sqrt(variance + 0.5 * bias**2)}
    mean = {name: float(found.mean()) for name, found in values.items()}
    return Figures(len(rows), int(pixels.sum()), mean, {name: pooled[name] for name in METRICS})


def _intervals(rows: "pd.DataFrame") -> tuple[dict[str, list[float]], str]:
    """Return the interval of every mean over frames, and what it comes from."""
    if rows.empty:
        return {}, "none"
    recordings, stems = (rows[name].tolist() for name in ("dataset_root", "filename"))
    blocks = Blocks.of(recordings, stems, rows["abs_rel"].to_numpy(dtype=float))
    if blocks.count < LEAST:
        return {}, f"none, {blocks.text()} are too few (at least {LEAST})"
    found = intervals(rows[list(METRICS)].to_numpy(dtype=float), blocks.codes, RESAMPLES, SEED)
    pairs = zip(found.low.tolist(), found.high.tolist(), strict=True)
    caution = f"; {blocks.caution}" if blocks.caution else ""
    return dict(zip(METRICS, map(list, pairs), strict=True)), f"{RESAMPLES:,} resamples of {blocks.text()}{caution}"


def _by(rows: "pd.DataFrame", column: str) -> dict[str, Figures]:
    return {str(value): figures_of(part) for value, part in rows.groupby(column, sort=True)}


def _figures(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Figures]:
    return {name: Figures(**found) for name, found in values.items()}


def _first(found: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    """Return the groups that a terminal shows: the worst where there are many."""
    if len(found) <= MOST_SHOWN:
        return list(found.items())
    return sorted(found.items(), key=lambda item: -item[1].mean["abs_rel"])[:MOST_SHOWN]


def _group_line(name: str, figures: Figures) -> str:
    values = "".join(f"{figures.mean[metric]:>10.4f}" for metric in SHOWN)
    return f"{name if len(name) <= 33 else '...' + name[-30:]:<34}{figures.frames:>7}{values}"
