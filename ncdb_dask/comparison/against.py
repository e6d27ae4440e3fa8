"""One evaluation against the baseline: what changed, by how much, in which frames, and at which depth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.comparison.figures import Draw, Figure, Figures
from ncdb_dask.comparison.pairs import FIGURES, GROUPS, KEY, RECORDING, Missing, Pairs
from ncdb_dask.evaluation.blocks import Blocks
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.schema import RANGES, of_range

if TYPE_CHECKING:
    import pandas as pd

Values = npt.NDArray[np.float64]

MAIN = "abs_rel"
# Recordings, and frames that lost most, that a comparison lists.
RECORDINGS, LOSERS = 30, 10


@dataclass(frozen=True)
class Against:
    """An evaluation beside the baseline.

    Attributes
    ----------
    baseline, other : str
        Their labels.
    metrics : mapping of str to Figure
        Over all frames that both have.
    ranges : mapping of str to mapping of str to Figure
        By depth range of the pixel; a frame counts where it has such pixels.
    contributions : mapping of str to float
        What each depth range adds to the difference of abs_rel; they sum to it.
    shares : mapping of str to float
        The part of the pixels that lies in each range, as a mean over frames.
    groups : mapping of str to mapping of str to mapping of str to Figure
        By `GROUPS`, where a scan was evaluated.
    recordings : mapping of str to mapping of str to Figure
        The recordings that lost most, at most `RECORDINGS`.
    all_recordings : int
        How many there are.
    losers : tuple of dict
        The frames that lost most: key, both figures and the difference.
    only_baseline, only_other : Missing
        Frames that one of them measured alone.
    blocks : Blocks
        What was drawn for the intervals.
    pairs : Pairs
        The frames.
    """

    baseline: str
    other: str
    metrics: Figures
    ranges: Mapping[str, Figures]
    contributions: Mapping[str, float]
    shares: Mapping[str, float]
    groups: Mapping[str, Mapping[str, Figures]]
    recordings: Mapping[str, Figures]
    all_recordings: int
    losers: tuple[Mapping[str, Any], ...]
    only_baseline: Missing
    only_other: Missing
    blocks: Blocks = field(repr=False)
    pairs: Pairs = field(repr=False)

    @property
    def main(self) -> Figure:
        """The figure of abs_rel, which sentences and verdicts are about."""
        return self.metrics[MAIN]

    @property
    def mostly(self) -> str | None:
        """The depth range that holds more than half of the difference of abs_rel."""
        total = self.main.difference
        if not total:
            return None
        part, name = max((added / total, name) for name, added in self.contributions.items())
        return name if part > 0.5 + 1e-9 else None  # half and half is not most, whatever rounding says

    def of_frames(self, metric: str = MAIN) -> tuple[Values, Values]:
        """Return the figures of each frame, baseline and other, shape (n,) each."""
        column = FIGURES.index(metric)
        return self.pairs.baseline[:, column], self.pairs.other[:, column]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; a figure that no frame has is left out."""
        return {
            "baseline": self.baseline,
            "other": self.other,
            "frames": self.main.frames,
            "blocks": self.blocks.text(),
            "metrics": _plain(self.metrics),
            "ranges": {name: _plain(figures) for name, figures in self.ranges.items()},
            "contributions": dict(self.contributions),
            "mostly": self.mostly,
            "groups": {
                group: {value: _plain(figures) for value, figures in values.items()}
                for group, values in self.groups.items()
            },
            "recordings": {name: _plain(figures) for name, figures in self.recordings.items()},
            "all_recordings": self.all_recordings,
            "losers": [dict(frame) for frame in self.losers],
            "only_baseline": _missing(self.only_baseline),
            "only_other": _missing(self.only_other),
        }


def _plain(figures: Figures) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}


def _missing(missing: Missing) -> dict[str, Any]:
    return {"frames": missing.frames, "examples": list(missing.examples), "reasons": dict(missing.reasons)}


def measured(baseline: str, other: str, pairs: Pairs, blocks: Blocks, resamples: int, seed: int) -> Against:
    """Compute everything that a comparison says of one evaluation.

    Parameters
    ----------
    baseline, other : str
        Labels.
    pairs : Pairs
        Their frames.
    blocks : Blocks
        Of the same frames.
    resamples, seed : int
        Of the bootstrap.
    """
    draw = Draw(pairs, blocks, resamples, seed)
    everywhere = np.arange(len(pairs.frames))
    whole = draw.figures(everywhere, FIGURES)
    ranges = {
        name: {metric: whole[of_range(metric, name)] for metric in METRICS if of_range(metric, name) in whole}
        for name in RANGES.names
    }
    contributions, shares = contributions_of(pairs)
    recordings = draw.by(RECORDING, _worst_recordings(pairs))
    return Against(
        baseline,
        other,
        {metric: whole[metric] for metric in METRICS},
        {name: figures for name, figures in ranges.items() if figures},
        contributions,
        shares,
        {group: values for group in GROUPS if (values := draw.by(group, _values(pairs.frames[group])))},
        recordings,
        int(pairs.frames[RECORDING].nunique()),
        _losers(pairs),
        pairs.only_baseline,
        pairs.only_other,
        blocks,
        pairs,
    )


def contributions_of(pairs: Pairs) -> tuple[dict[str, float], dict[str, float]]:
    """Split the mean difference of abs_rel by depth range, and say which part of the pixels each range has.

    A frame's abs_rel is the mean over its pixels: the sum over ranges r of (n_r / n) abs_rel_r. Both evaluations have
    the same n_r, so their difference is the sum of (n_r / n) (other_r - baseline_r), and nothing is left over.
    """
    part = pairs.pixels[:, 1:] / pairs.pixels[:, :1]
    columns = [FIGURES.index(of_range(MAIN, name)) for name in RANGES.names]
    differences = np.where(part > 0, pairs.other[:, columns] - pairs.baseline[:, columns], 0.0)
    added, shares = (part * differences).mean(axis=0).tolist(), part.mean(axis=0).tolist()
    return dict(zip(RANGES.names, added, strict=True)), dict(zip(RANGES.names, shares, strict=True))


def _values(column: "pd.Series[Any]") -> list[str]:
    found = {str(value) for value in column.dropna()}
    known = [name for name in RANGES.names if name in found]
    return known + sorted(found - set(known))


def _worst_recordings(pairs: Pairs) -> list[str]:
    column = FIGURES.index(MAIN)
    frames = pairs.frames.assign(lost=pairs.other[:, column] - pairs.baseline[:, column])
    lost = frames.groupby(RECORDING)["lost"].mean()
    names: list[str] = lost.sort_values(ascending=False, kind="stable").index[:RECORDINGS].tolist()
    return names


def _losers(pairs: Pairs) -> tuple[dict[str, Any], ...]:
    column = FIGURES.index(MAIN)
    first, second = pairs.baseline[:, column], pairs.other[:, column]
    order = np.argsort(first - second, kind="stable")[:LOSERS]
    return tuple(
        {
            **dict(zip(KEY, pairs.frames.loc[row, KEY], strict=True)),
            "baseline": float(first[row]),
            "other": float(second[row]),
            "difference": float(second[row] - first[row]),
        }
        for row in order.tolist()
        if second[row] > first[row]
    )
