"""What a comparison is asked for: the options, checked, and the verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.blocks import WHOLE

# The guide's thresholds of abs_rel, and what it says below, between and above them.
GOOD, POOR = 0.090, 0.100
VERDICTS = (
    "success",
    "enlarge the calibration set or use weight normalisation",
    "look at the NPU or change the strategy",
)
LEAST_RESAMPLES = 100  # 2.5 % of fewer are not even three


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What is asked of a comparison.

    Attributes
    ----------
    labels : tuple of str, or None
        What the evaluations are called; None for the names of their folders.
    resamples, seed : int
        Of the bootstrap.
    block : int, "recording" or None
        Frames a block; see `ncdb_dask.evaluation.blocks.Blocks.of`.
    good, poor : float
        Thresholds of abs_rel: below `good` is success, above `poor` is not good enough.
    """

    labels: tuple[str, ...] | None = None
    resamples: int = 10_000
    seed: int = 42
    block: int | str | None = None
    good: float = GOOD
    poor: float = POOR

    @classmethod
    def of(
        cls,
        labels: Sequence[str] | None = None,
        resamples: int = 10_000,
        seed: int = 42,
        block: int | str | None = None,
        good: float = GOOD,
        poor: float = POOR,
    ) -> "CompareRequest":
        """Check the options.

        Raises
        ------
        EvaluationError
            A value that an option cannot have.
        """
        if resamples < LEAST_RESAMPLES:
            raise EvaluationError(f"resamples {resamples}: expected at least {LEAST_RESAMPLES}, such as 10000")
        if seed < 0:
            raise EvaluationError(f"seed {seed}: expected a whole number from 0")
        if not 0 < good <= poor < math.inf:
            raise EvaluationError(f"good {good:g}, poor {poor:g}: expected two abs_rel above 0, good not above poor")
        names = None if labels is None or not len(labels) else tuple(labels)
        return cls(names, resamples, seed, _block(block), good, poor)

    def verdict(self, abs_rel: float) -> str:
        """Return what the guide says of an abs_rel."""
        return VERDICTS[0] if abs_rel < self.good else VERDICTS[1] if abs_rel <= self.poor else VERDICTS[2]

    def verdict_note(self, protocol: str) -> str:
        """Say where the thresholds come from and what they are for."""
        bounds = f"{self.good:.3f} and {self.poor:.3f}"
        if (self.good, self.poor) != (GOOD, POOR):
            return f"Verdicts are by abs_rel of {bounds}, as given; the guide has {GOOD:.3f} and {POOR:.3f}."
        return f"Verdicts are by the guide's abs_rel of {bounds}, for NCDB data under its protocol (here: {protocol})."


def _block(block: int | str | None) -> int | str | None:
    if block is None or block == WHOLE:
        return block
    try:
        frames = int(block)
    except ValueError:
        frames = 0
    if frames < 1:
        raise EvaluationError(f"block {block!r}: expected a number of frames, at least 1, or {WHOLE!r}")
    return frames
