"""Which frame stretches a range: against leaving out each frame in turn."""

import numpy as np
import pytest

from ncdb_dask.calibration.frame_figures import FrameFigures
from ncdb_dask.explanation.stretch import Stretch, stretches


def figures(low: np.ndarray, high: np.ndarray) -> FrameFigures:
    keys = tuple((f"scene{number % 2}", f"{number:04d}") for number in range(len(low)))
    names = tuple(f"tensor{number}" for number in range(low.shape[1]))
    return FrameFigures(names, keys, low, high, low, high)


def width(low: np.ndarray, high: np.ndarray) -> float:
    """Of a range, which holds zero."""
    return float(max(high.max(), 0) - min(low.min(), 0))


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_frame_without_which_the_range_is_narrowest(seed):
    rng = np.random.default_rng(seed)
    low = np.round(rng.normal(-1 + seed % 3, 2, (7, 5)), 1)  # rounded: some frames reach equally far
    high = low + np.round(rng.exponential(2, (7, 5)), 1)
    found = stretches(figures(low, high), [f"tensor{number}" for number in range(5)])
    for place in range(5):
        without = [
            width(np.delete(low[:, place], frame), np.delete(high[:, place], frame)) for frame in range(len(low))
        ]
        one = found[f"tensor{place}"]
        assert one.width == pytest.approx(width(low[:, place], high[:, place]))
        assert one.without == pytest.approx(min(without))
        assert without[int(one.stem)] == pytest.approx(min(without))


def test_of_a_single_frame_nothing_is_said_and_what_has_no_figures_is_left_out():
    assert stretches(figures(np.zeros((1, 1)), np.ones((1, 1))), ["tensor0"]) == {}
    assert list(stretches(figures(np.zeros((2, 1)), np.ones((2, 1))), ["tensor0", "weights"])) == ["tensor0"]


def test_a_tensor_that_only_one_frame_moves_has_no_ratio():
    assert Stretch("scene", "0001", 3.0, 0.0).as_dict()["ratio"] is None
    assert Stretch("scene", "0001", 3.0, 2.0).as_dict()["ratio"] == 1.5
