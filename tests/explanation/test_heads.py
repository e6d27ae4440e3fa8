"""The floors of the heads: against samples that are rounded one by one, and against figures known beforehand."""

import numpy as np
import pytest

from ncdb_dask.explanation.heads import HEADS, floors, span
from ncdb_dask.scanning.stats import HIST_BINS, histogram_edges

# Uniform depths from 0.5 to 15 m: abs_rel and RMSE of the grid, computed elsewhere by hand.
KNOWN = {
    "inverse": (0.0147, 0.224),
    "linear": (0.0033, 0.016),
    "log": (0.0033, 0.034),
    "integer, rounded in decoding, and fraction": (0.00023, 0.0011),
}


def of_uniform(low: float, high: float, number: int = 1_000_000) -> np.ndarray:
    edges = np.clip(histogram_edges(), low, high)
    return np.rint(np.diff(edges) / (high - low) * number).astype(np.int64)


def decoded(title: str, depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """As one writes it down: the output in 255 steps, and back."""
    if title == "linear":
        step = (high - low) / 255
        return low + np.rint((depth - low) / step) * step
    if title == "inverse":
        step = (1 / low - 1 / high) / 255
        return 1 / (1 / high + np.rint((1 / depth - 1 / high) / step) * step)
    if title == "log":
        step = np.log(high / low) / 255
        return low * np.exp(np.rint(np.log(depth / low) / step) * step)
    whole = np.rint(np.floor(depth) * 255 / high) * high / 255
    if "rounded" in title:
        whole = np.rint(whole)
    return whole + np.rint((depth - np.floor(depth)) * 255) / 255


@pytest.mark.parametrize("title", KNOWN)
def test_uniform_depths_give_the_figures_that_are_known(title):
    (found,) = [floor for floor in floors(of_uniform(0.5, 15)[None], 0.5, 15) if floor.title == title]
    abs_rel, rmse = KNOWN[title]
    assert found.abs_rel == pytest.approx(abs_rel, rel=0.04)
    assert found.rmse == pytest.approx(rmse, rel=0.04)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.title)
def test_floors_are_those_of_samples_that_are_rounded_one_by_one(head):
    low, high = 0.7, 80.0
    rng = np.random.default_rng(5)
    frames = [np.exp(rng.uniform(np.log(near), np.log(far), 400_000)) for near, far in ((0.8, 30), (5, 79))]
    histograms = np.stack([np.histogram(depth, histogram_edges())[0] for depth in frames])
    (found,) = [floor for floor in floors(histograms, low, high) if floor.title == head.title]
    errors = [decoded(head.title, depth, low, high) - depth for depth in frames]
    relative = [np.mean(np.abs(error) / depth) for error, depth in zip(errors, frames, strict=True)]
    assert found.abs_rel == pytest.approx(np.mean(relative), rel=0.02)
    assert found.rmse == pytest.approx(np.mean([np.sqrt(np.mean(error**2)) for error in errors]), rel=0.02)


def test_the_mean_is_over_frames_whatever_their_pixels():
    near, far = of_uniform(1, 2), of_uniform(20, 40)
    each = [floors(one[None], 1, 40)[0] for one in (near, far)]
    both = floors(np.stack([near, 10 * far]), 1, 40)[0]
    assert both.abs_rel == pytest.approx(np.mean([one.abs_rel for one in each]))
    assert both.rmse == pytest.approx(np.mean([one.rmse for one in each]))


def test_a_head_spans_what_occurs_but_no_more_than_is_judged():
    edges, counts = histogram_edges(), np.zeros((2, HIST_BINS), np.int64)
    counts[0, 100], counts[1, 160] = 3, 1
    assert span(counts, 0.0, np.inf) == (edges[100], edges[161])
    assert span(counts, edges[110], edges[150]) == (edges[110], edges[150])
