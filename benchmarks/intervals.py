"""Claim: intervals over blocks of neighbouring frames hold the truth far more often than intervals over single frames.

Simulated differences, each correlated with that of the frame before, whose mean is 0. Counted is how many of the 95 %
intervals hold 0: from single frames, from blocks of n^(1/3) frames, and from blocks as `compare` cuts them. The last
rows show what no block within a recording can know: each recording has a level of its own there, as spread as its
frames.

    python benchmarks/intervals.py
"""

import argparse

import numpy as np
from common import markdown

from ncdb_dask.evaluation.blocks import Blocks
from ncdb_dask.evaluation.bootstrap import intervals

RECORDINGS = ((3, 9), (3, 70), (4, 250), (30, 30))
CORRELATIONS = (0.0, 0.5, 0.8, 0.9, 0.95)
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=400, help="simulated for each row")
    count = parser.parse_args().series
    rows = []
    for recordings, frames in RECORDINGS:
        for correlation in CORRELATIONS:
            held = held_truth(recordings, frames, correlation, count)
            rows.append([f"{recordings} x {frames}", f"{correlation:g}", *(f"{100 * share:.0f} %" for share in held)])
    for recordings in (3, 10, 30):
        held = held_truth(recordings, 100, 0.8, count, level=1 / (1 - 0.8**2) ** 0.5)
        rows.append([f"{recordings} x 100, own levels", "0.8", *(f"{100 * share:.0f} %" for share in held)])
    print(markdown(["recordings x frames", "correlation", "single frames", "n^(1/3)", "compare"], rows))


def held_truth(recordings: int, frames: int, correlation: float, count: int, level: float = 0) -> list[float]:
    """Return the share of intervals that hold 0, for each way to cut blocks."""
    names = [f"{recording:03d}" for recording in range(recordings) for _ in range(frames)]
    stems = [f"{frame:06d}" for _ in range(recordings) for frame in range(frames)]
    held = np.zeros(3)
    for seed in range(count):
        values = series(recordings, frames, correlation, seed, level)
        for way, block in enumerate((1, round(len(values) ** (1 / 3)), None)):
            blocks = Blocks.of(names, stems, values, block)
            found = intervals(values[:, None], blocks.codes, RESAMPLES, seed)
            held[way] += found.low[0] <= 0 <= found.high[0]
    return (held / count).tolist()


def series(recordings: int, frames: int, correlation: float, seed: int, level: float) -> np.ndarray:
    """Simulate differences, shape (recordings x frames,)."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(recordings, frames))
    values[:, 0] /= (1 - correlation**2) ** 0.5  # as spread as the rest
    for frame in range(1, frames):
        values[:, frame] += correlation * values[:, frame - 1]
    return (values + level * generator.normal(size=(recordings, 1))).ravel()


if __name__ == "__main__":
    main()
