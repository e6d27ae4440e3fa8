"""One metric of two evaluations beside each other, without the rest of a comparison: for those who compare many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from ncdb_dask.comparison.figures import Draw, Figure
from ncdb_dask.comparison.pairs import FIGURES, KEY, Evaluated, Pairs
from ncdb_dask.evaluation.blocks import LEAST, Blocks
from ncdb_dask.evaluation.bootstrap import LEVEL, tail

MAIN = "abs_rel"
FEWEST = 5  # resamples beyond an end of an interval: with fewer, where it lies is chance


@dataclass(frozen=True, slots=True)
class Intervals:
    """How intervals are drawn.

    Attributes
    ----------
    resamples, seed : int
        Of the bootstrap; see `ncdb_dask.comparison.request.CompareRequest`.
    block : int, "recording" or None
        Frames a block.
    """

    resamples: int = 10_000
    seed: int = 42
    block: int | str | None = None

    def beside(self, baseline: Evaluated, other: Evaluated, metric: str = MAIN, level: float = LEVEL) -> Figure:
        """Return a metric of two evaluations, over the frames that both measured.

        Parameters
        ----------
        baseline, other : Evaluated
            Of the same protocol.
        metric : str
            One of `ncdb_dask.comparison.pairs.FIGURES`.
        level : float
            Of the interval; where many are asked at once, nearer to 1.

        Raises
        ------
        EvaluationError
            Evaluations that cannot be compared.
        """
        pairs = Pairs.of(baseline, other)
        recordings, stems = (pairs.frames[name].tolist() for name in KEY)
        blocks = Blocks.of(recordings, stems, pairs.differences(), self.block)
        draw = Draw(pairs, blocks, self.resamples, self.seed, level)
        return draw.figures(np.arange(len(pairs.frames)), (metric,))[metric]

    def least_resamples(self, baseline: Evaluated, other: Evaluated, level: float) -> int:
        """Return how many resamples such an interval needs, for `FEWEST` of them to lie beyond each of its ends."""
        pairs = Pairs.of(baseline, other)
        recordings, stems = (pairs.frames[name].tolist() for name in KEY)
        blocks = Blocks.of(recordings, stems, pairs.differences(), self.block).count
        share = tail(blocks, level) if blocks >= LEAST else 1.0  # fewer blocks have no interval at all
        return ceil(min(FEWEST / max(share, 1e-12), 1e12))


def averaged(evaluations: Sequence[Evaluated], label: str) -> Evaluated:
    """Return the means of several evaluations of the same frames, frame by frame, as one more evaluation.

    Parameters
    ----------
    evaluations : sequence of Evaluated
        At least one, by the same rules. Frames that one of them could not judge are left out.
    label : str
        What the mean is called.
    """
    first, *others = (each.measured.set_index(KEY) for each in evaluations)
    common = first.index
    for rows in others:
        common = common[common.isin(rows.index)]
    names = list(FIGURES)
    total = first.loc[common, names].astype(float)
    for rows in others:
        total = total + rows.loc[common, names].astype(float)
    whole = first.loc[common].assign(**{name: total[name] / len(evaluations) for name in names})
    return replace(evaluations[0], label=label, rows=whole.reset_index()[list(evaluations[0].rows.columns)])
