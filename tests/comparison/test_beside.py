"""Means of several evaluations, frame by frame, set beside another one."""

from pathlib import Path

import numpy as np
import pytest
from helpers.evaluations import faulty, forge, row

from ncdb_dask.comparison.beside import Intervals, averaged
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import EvaluationError
from ncdb_dask.store.folder import LocalFolder

TRUTH = [2.0, 4.0, 10.0]  # metres: near, mid, far
FRAMES = 12


def evaluated(out: Path, factor: float, lost: int | None = None, **changes: object) -> Evaluated:
    """Frames whose predictions are all `factor` times, and ever more than, the truth."""
    rows = [
        row("scene", f"{number:03d}", TRUTH, [value * (factor + number / 100) for value in TRUTH])
        if number != lost
        else faulty("scene", f"{number:03d}")
        for number in range(FRAMES)
    ]
    return Evaluated.read(LocalFolder(str(forge(out, rows, **changes))), out.name)


def test_the_mean_of_each_frame_comes_first(tmp_path):
    fp32, one, two = (evaluated(tmp_path / name, factor) for name, factor in (("a", 1.1), ("b", 1.2), ("c", 1.4)))
    mean = averaged([one, two], "both")
    assert mean.label == "both"
    assert mean.abs_rel == pytest.approx((one.abs_rel + two.abs_rel) / 2)
    assert mean.measured["abs_rel"].tolist() == pytest.approx([0.3 + number / 100 for number in range(FRAMES)])
    # Of no frame has a pixel beyond 15 m.
    assert mean.measured["abs_rel_near"].notna().all()
    assert mean.measured["abs_rel_very_far"].isna().all()
    figure = Intervals(resamples=200, block=1).beside(fp32, mean)
    assert (figure.baseline, figure.other) == (pytest.approx(fp32.abs_rel), pytest.approx(mean.abs_rel))
    assert figure.difference == pytest.approx(0.2)
    assert figure.frames == figure.worse == FRAMES


def test_the_mean_of_one_is_itself(tmp_path):
    one = evaluated(tmp_path / "a", 1.1)
    alone = averaged([one], "alone")
    assert np.array_equal(alone.measured["rmse"], one.measured["rmse"])
    assert list(alone.rows.columns) == list(one.rows.columns)


def test_frames_that_one_could_not_judge_are_left_out(tmp_path):
    one, two = evaluated(tmp_path / "a", 1.1), evaluated(tmp_path / "b", 1.3, lost=5)
    mean = averaged([one, two], "both")
    assert "005" not in mean.measured["filename"].tolist()
    assert len(mean.measured) == FRAMES - 1


def test_a_mean_keeps_the_rules(tmp_path):
    one, two = evaluated(tmp_path / "a", 1.1), evaluated(tmp_path / "b", 1.3, depth_scale=1000.0)
    with pytest.raises(EvaluationError, match="different rules"):
        Intervals(resamples=200).beside(two, averaged([one], "mean"))
