"""Blocks: what they hold, how long they are, and what that does to the intervals, beside the truth of a simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.evaluation.blocks import ENOUGH, KEPT, WHOLE, Blocks, lasting, resemblance
from ncdb_dask.evaluation.bootstrap import intervals


def keys(recordings: int, frames: int) -> tuple[list[str], list[str]]:
    return (
        [f"r{k:03d}" for k in range(recordings) for _ in range(frames)],
        [f"{n:06d}" for _ in range(recordings) for n in range(frames)],
    )


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=count)


def test_runs_stay_within_recordings_and_in_the_order_of_numbers():
    blocks = Blocks.of(
        ["b"] * 7 + ["a"] * 4, ["10", "9", "8", "1", "2", "3", "4", "1", "2", "3", "x4"], np.zeros(11), block=3
    )
    assert blocks.codes.tolist() == [4, 4, 3, 2, 2, 2, 3, 0, 0, 1, 1]
    assert (blocks.count, blocks.recordings, blocks.longest, blocks.whole) == (5, 2, 3, False)


@pytest.mark.parametrize(
    ("recordings", "frames", "block", "says"),
    [
        (1, 25, None, "9 blocks of up to 3 neighbouring frames from 1 recording"),
        (19, 50, None, "95 blocks of up to 10 neighbouring frames from 19 recordings"),
        (20, 50, None, "20 whole recordings"),
        (20, 50, 7, "160 blocks of up to 7 neighbouring frames from 20 recordings"),
        (3, 4, 1, "12 blocks of single frames from 3 recordings"),
        (3, 4, WHOLE, "3 whole recordings"),
        (1, 4, WHOLE, "1 whole recording"),
        (1, 4, 9, "1 block of up to 4 neighbouring frames from 1 recording"),
    ],
)
def test_what_becomes_a_block(recordings, frames, block, says):
    assert Blocks.of(*keys(recordings, frames), noise(recordings * frames), block).text() == says


def optimum(correlation: float, count: int) -> float:
    """The best length for a series whose neighbours correlate so, written from its spectrum (Politis and White)."""
    return (1.5 * (2 * correlation / (1 - correlation**2)) ** 2 * count) ** (1 / 3)


@pytest.mark.parametrize("correlation", [0.5, 0.8, 0.9])
def test_the_length_is_that_of_the_series(correlation):
    one = np.zeros(1000, dtype=np.int64)
    found = [lasting(series(1, 1000, correlation, seed)[0], one) for seed in range(60)]
    assert np.median(found) == pytest.approx(optimum(correlation, 1000), rel=0.25)


def test_white_noise_needs_no_blocks():
    one = np.zeros(1000, dtype=np.int64)
    assert np.median([lasting(series(1, 1000, 0, seed)[0], one) for seed in range(60)]) < 2.5


def test_pairs_of_two_recordings_tell_nothing():
    """Recordings of one frame each have no neighbours, however alike the frames are in the order of the table."""
    values = series(1, 200, 0.9, 1)[0]
    assert lasting(values, np.zeros(200, dtype=np.int64)) > 10
    assert lasting(values, np.arange(200)) < 1


@pytest.mark.parametrize(
    "values", [np.ones(50), np.zeros(3), np.array([1.0]), np.array([1.0, 2.0]), np.tile([1.0, -1], 30)]
)
def test_series_without_a_length(values):
    assert 0 <= lasting(values, np.zeros(len(values), dtype=np.int64)) <= len(values)


@given(st.integers(1, ENOUGH - 1), st.integers(1, 60), st.floats(0, 0.98))
def test_blocks_are_neither_too_short_nor_too_few(recordings, frames, correlation):
    count = recordings * frames
    blocks = Blocks.of(*keys(recordings, frames), series(recordings, frames, correlation, 3).ravel())
    least = max(1, round(count ** (1 / 3)))
    assert blocks.longest <= max(least, count // KEPT)
    assert sorted(set(blocks.codes.tolist())) == list(range(blocks.count))
    assert (np.diff(blocks.codes) >= 0).all()


def series(recordings: int, frames: int, correlation: float, seed: int) -> np.ndarray:
    """Each value correlates with the one before; the mean is 0, shape (recordings, frames)."""
    values = np.random.default_rng(seed).normal(size=(recordings, frames))
    values[:, 0] /= (1 - correlation**2) ** 0.5  # as spread as the rest
    for k in range(1, frames):
        values[:, k] += correlation * values[:, k - 1]
    return values


def replications(count: int, correlation: float) -> np.ndarray:
    """Series of 10 recordings of 100 frames, a column each."""
    return np.stack([series(10, 100, correlation, seed).ravel() for seed in range(count)], axis=1)


def test_blocks_cover_the_truth_more_often_than_single_frames():
    """Neighbours correlate by 0.8: of 300 intervals that promise 95 %, count those that hold the truth."""
    covered = {}
    for block in (1, 10, None):
        found = [
            intervals(column[:, None], Blocks.of(*keys(10, 100), column, block).codes, 400, 42)
            for column in replications(300, 0.8).T
        ]
        covered[block] = sum(each.low[0] <= 0 <= each.high[0] for each in found) / len(found)
    assert covered[1] < 0.60
    assert 0.80 < covered[10] < covered[None]  # n^(1/3) is too short
    assert covered[None] > 0.90


@pytest.mark.parametrize(
    ("correlation", "block", "least", "most"), [(0, 10, 0, 0.02), (0.8, 1, 1, 1), (0.8, 25, 0, 0.1)]
)
def test_blocks_that_are_too_short_resemble_each_other(correlation, block, least, most):
    recordings, stems = keys(10, 100)
    alike = [
        resemblance(column, Blocks.of(recordings, stems, column, block), recordings) > 0.25
        for column in replications(100, correlation).T
    ]
    assert least <= np.mean(alike) <= most


def test_nothing_resembles_the_other_where_there_is_no_other():
    recordings, stems = keys(10, 4)
    values = np.repeat(np.arange(10.0), 4)
    assert resemblance(values, Blocks.of(recordings, stems, values, WHOLE), recordings) == 0
    assert resemblance(np.ones(40), Blocks.of(recordings, stems, values, 1), recordings) == 0
