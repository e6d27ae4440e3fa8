"""One metric of two evaluations beside each other, without the rest of a comparison: for those who compare many."""

from dataclasses import dataclass

import numpy as np

from ncdb_dask.comparison.figures import Draw, Figure
from ncdb_dask.comparison.pairs import KEY, Evaluated, Pairs
from ncdb_dask.evaluation.blocks import Blocks
from ncdb_dask.evaluation.bootstrap import LEVEL

MAIN = "abs_rel"


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
