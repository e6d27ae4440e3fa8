"""Intervals, beside a bootstrap written from its definition."""

from statistics import NormalDist

import numpy as np
import pytest

from ncdb_dask.evaluation import bootstrap
from ncdb_dask.evaluation.blocks import LEAST, Blocks
from ncdb_dask.evaluation.bootstrap import intervals, student, tail

# Student's 97.5 % quantiles, from the tables in every textbook.
STUDENT = {5: 2.5706, 8: 2.3060, 19: 2.0930, 30: 2.0423, 120: 1.9799}


def keys(recordings: int, frames: int) -> tuple[list[str], list[str]]:
    return (
        [f"r{k:03d}" for k in range(recordings) for _ in range(frames)],
        [f"{n:06d}" for _ in range(recordings) for n in range(frames)],
    )


def slow(differences, codes, resamples, seed) -> tuple[list[float], list[float]]:
    """Expanded percentile intervals, one resample and one frame at a time."""
    generator = np.random.default_rng(seed)
    blocks = [[row for row, code in zip(differences, codes, strict=True) if code == b] for b in np.unique(codes)]
    means = []
    for _ in range(resamples):
        drawn = [row for place in generator.integers(0, len(blocks), len(blocks)) for row in blocks[place]]
        columns = [[value for value in column if not np.isnan(value)] for column in zip(*drawn, strict=True)]
        means.append([sum(column) / len(column) if column else np.nan for column in columns])
    table = np.array(means)
    found = []
    for k in range(table.shape[1]):
        share = tail(sum(any(not np.isnan(row[k]) for row in block) for block in blocks))
        found.append(np.nanquantile(table[:, k], [share, 1 - share]).tolist())
    return tuple([list(side) for side in zip(*found, strict=True)])


@pytest.mark.parametrize("at_once", [1, 40, 2**21])
def test_intervals_are_those_of_the_definition(at_once, monkeypatch):
    monkeypatch.setattr(bootstrap, "_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(40, 3))
    differences[rng.random((40, 3)) < 0.2] = np.nan
    codes = rng.integers(0, 9, 40)
    found = intervals(differences, codes, 150, seed=5)
    low, high = slow(differences, codes, 150, seed=5)
    np.testing.assert_allclose(found.mean, np.nanmean(differences, axis=0))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)


def test_a_resample_without_any_figure_is_left_out():
    differences = np.full((12, 1), np.nan)
    differences[:LEAST, 0] = np.arange(LEAST)
    codes = np.r_[np.arange(LEAST), np.full(12 - LEAST, LEAST)]
    differences = np.vstack([differences, np.full((200, 1), np.nan)])
    codes = np.r_[codes, np.arange(200) + LEAST + 1]
    found = intervals(differences, codes, 500, seed=5)
    low, high = slow(differences, codes, 500, seed=5)
    assert (found.low[0], found.high[0]) == pytest.approx((low[0], high[0]))


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(2)
    recordings, stems = keys(4, 13)
    differences = rng.normal(size=(52, 2))
    order = rng.permutation(52)
    straight = Blocks.of(recordings, stems, differences[:, 0])
    mixed = Blocks.of([recordings[k] for k in order], [stems[k] for k in order], differences[order, 0])
    assert mixed.codes.tolist() == straight.codes[order].tolist()
    one, other = (
        intervals(rows, blocks.codes, 400, 42)
        for rows, blocks in ((differences, straight), (differences[order], mixed))
    )
    np.testing.assert_allclose(np.r_[one.low, one.high], np.r_[other.low, other.high], rtol=1e-12)


def test_seeds_and_levels():
    differences, codes = np.random.default_rng(3).normal(size=(60, 1)), np.arange(60) // 3
    first, again, other = (intervals(differences, codes, 500, seed) for seed in (1, 1, 2))
    assert first.low == again.low
    assert first.low != other.low
    wide, narrow = (intervals(differences, codes, 500, 1, level) for level in (0.99, 0.5))
    assert wide.low < first.low < narrow.low < narrow.high < first.high < wide.high


def test_a_constant_difference_is_certain():
    found = intervals(np.full((40, 1), 0.25), np.arange(40) // 4, 1000, 42)
    assert (found.low[0], found.mean[0], found.high[0]) == pytest.approx((0.25, 0.25, 0.25), abs=1e-15)
    none = intervals(np.zeros((40, 1)), np.arange(40) // 4, 1000, 42)
    assert (none.low[0], none.high[0]) == (0, 0)


@pytest.mark.parametrize("blocks", [1, LEAST - 1])
def test_too_few_blocks_give_no_interval(blocks):
    found = intervals(np.arange(30.0)[:, None], np.arange(30) % blocks, 200, 42)
    assert found.mean[0] == 14.5
    assert np.isnan([found.low[0], found.high[0]]).all()


def test_a_column_without_figures_has_no_mean():
    found = intervals(np.column_stack([np.full(30, np.nan), np.arange(30.0)]), np.arange(30), 200, 42)
    assert np.isnan([found.mean[0], found.low[0]]).all()
    assert found.low[1] < found.mean[1] < found.high[1]


def test_a_hundred_thousand_frames():
    rng = np.random.default_rng(4)
    differences, codes = rng.normal(size=(100_000, 8)), np.arange(100_000) // 10
    found = intervals(differences, codes, 10_000, 42)
    # The mean of so many has a known spread.
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 / 100_000**0.5, rtol=0.1)


@pytest.mark.parametrize("freedom", STUDENT)
def test_ranks_lie_as_far_out_as_students_distribution_asks(freedom):
    blocks = freedom + 1
    wide = STUDENT[freedom] * (blocks / freedom) ** 0.5
    assert tail(blocks) == pytest.approx(NormalDist().cdf(-wide), rel=0.01)


@pytest.mark.parametrize(
    ("freedom", "quantiles"),
    [
        (1, (6.3138, 12.7062, 31.8205, 636.6192)),
        (2, (2.9200, 4.3027, 6.9646, 31.5991)),
        (3, (2.3534, 3.1824, 4.5407, 12.9240)),
        (4, (2.1318, 2.7764, 3.7469, 8.6103)),
        (5, (2.0150, 2.5706, 3.3649, 6.8688)),
        (6, (1.9432, 2.4469, 3.1427, 5.9588)),
    ],
)
def test_students_quantiles_are_those_of_the_tables(freedom, quantiles):
    shares = (0.95, 0.975, 0.99, 0.9995)
    assert [student(share, freedom) for share in shares] == pytest.approx(quantiles, abs=6e-5)
    assert student(0.05, freedom) == -student(0.95, freedom)


def test_students_quantiles_of_one_and_two_degrees_have_closed_forms():
    for share in (0.95, 0.99, 0.9995):
        assert student(share, 1) == pytest.approx(np.tan(np.pi * (share - 0.5)), rel=1e-9)
        inside = 2 * share - 1
        assert student(share, 2) == pytest.approx(inside * (2 / (1 - inside**2)) ** 0.5, rel=1e-9)


def test_students_quantile_does_not_jump_where_the_expansion_begins():
    assert student(0.9995, 30) > student(0.9995, 31) == pytest.approx(3.6335, abs=1e-4)


def test_many_blocks_have_the_plain_percentiles():
    assert tail(100_000) == pytest.approx(0.025, rel=1e-3)
    assert tail(100_000, 0.8) == pytest.approx(0.1, rel=1e-3)
