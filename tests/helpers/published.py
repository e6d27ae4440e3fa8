"""Evaluators of published tables, written anew from descriptions of what they do, in float64.

Each takes one true map and one predicted map as its network puts it out, and returns what that evaluator prints of
one picture, under our names. Their faults are kept: what they make of a missing or endless prediction, for instance.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

Map = np.ndarray
Figures = dict[str, float]
SEVEN = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")


# What several share


def weights(size: int, target: int, align_corners: bool) -> Map:
    """A matrix that resizes one side: every row holds the weights of one target pixel."""
    matrix = np.zeros((target, size))
    for row in range(target):
        if align_corners:
            place = row * (size - 1) / (target - 1)
        else:
            place = min(max((row + 0.5) * size / target - 0.5, 0), size - 1)
        nearest = int(place)
        matrix[row, nearest] += 1 - (place - nearest)
        matrix[row, min(nearest + 1, size - 1)] += place - nearest
    return matrix


def enlarged(values: Map, shape: tuple[int, ...], align_corners: bool) -> Map:
    """Bilinear; nothing is done where the sizes are equal."""
    if values.shape == shape:
        return values
    down, across = (weights(size, target, align_corners) for size, target in zip(values.shape, shape, strict=True))
    return down @ values @ across.T


def window(shape: tuple[int, ...], top: float, bottom: float, left: float, right: float) -> Map:
    """Ones where rows and columns lie in these parts of the picture, whose limits are cut to whole numbers."""
    height, width = shape
    inside = np.zeros(shape, dtype=bool)
    inside[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
    return inside


def garg(shape: tuple[int, ...]) -> Map:
    """Garg et al., 2016."""
    return window(shape, 0.40810811, 0.99189189, 0.03594771, 0.96405229)


def seven(g: Map, p: Map) -> Figures:
    """The figures that Eigen et al. (2014) began with."""
    worse = np.maximum(g / p, p / g)
    return {
        "abs_rel": np.mean(np.abs(g - p) / g),
        "sq_rel": np.mean((g - p) ** 2 / g),
        "rmse": np.sqrt(np.mean((g - p) ** 2)),
        "rmse_log": np.sqrt(np.mean((np.log(g) - np.log(p)) ** 2)),
        "a1": np.mean(worse < 1.25),
        "a2": np.mean(worse < 1.25**2),
        "a3": np.mean(worse < 1.25**3),
    }


# Monodepth2, evaluate_depth.py, split eigen, one camera


def monodepth2(truth: Map, prediction: Map, scaled: bool = True) -> Figures:
    """Disparity to the truth's size by OpenCV, then depth; medians of the masked pixels; clamp."""
    depth = 1 / enlarged(1 / prediction, truth.shape, align_corners=False)
    mask = (truth > 1e-3) & (truth < 80) & garg(truth.shape)
    g, p = truth[mask], depth[mask]
    if scaled:
        p = p * (np.median(g) / np.median(p))
    p[p < 1e-3] = 1e-3
    p[p > 80] = 80
    return seven(g, p)


# PackNet-SfM, compute_depth_metrics


def lower_median(values: Map) -> float:
    """What PyTorch calls the median: of an even number the lower of the middle two."""
    return float(sorted(values.tolist())[(len(values) - 1) // 2])


def packnet(
    truth: Map,
    prediction: Map,
    scaled: bool = False,
    low: float = 0.0,
    high: float = 80.0,
    crop: bool = True,
    clamp: bool = True,
) -> Figures:
    """Depth to the truth's size with corners aligned; a picture without valid pixels counts 0 in everything."""
    depth = enlarged(prediction, truth.shape, align_corners=True)
    mask = (truth > low) & (truth < high)
    if crop:
        mask &= garg(truth.shape)
    if not mask.any():
        return dict.fromkeys(SEVEN, 0.0)
    g, p = truth[mask], depth[mask]
    if scaled:
        p = p * lower_median(g) / lower_median(p)
    return seven(g, np.clip(p, low, high) if clamp else p)


def ncdb(truth: Map, prediction: Map, scaled: bool = False) -> Figures:
    """PackNet's with the fork's settings at commit 208e293: predictions of the truth's size, no crop, no clamp."""
    assert truth.shape == prediction.shape  # a smaller one is pasted into zeros there
    return packnet(truth, prediction, scaled, 0.5, 15.0, crop=False, clamp=False)


# BTS, AdaBins and ZoeDepth


def nine(g: Map, p: Map) -> Figures:
    """The seven, the scale-invariant error in percent and that of decimal logarithms."""
    error = np.log(p) - np.log(g)
    more = {
        "silog": 100 * np.sqrt(np.mean(error**2) - np.mean(error) ** 2),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(g))),
    }
    return {**seven(g, p), **more}


def zoedepth(truth: Map, prediction: Map, high: float, area: Callable[[tuple[int, ...]], Map]) -> Figures:
    """Resize depth with corners aligned, mend the whole map, then mask."""
    depth = np.array(enlarged(prediction, truth.shape, align_corners=True))
    depth[depth < 1e-3] = 1e-3
    depth[depth > high] = high
    depth[np.isinf(depth)] = high
    depth[np.isnan(depth)] = 1e-3
    mask = (truth > 1e-3) & (truth < high) & area(truth.shape)
    return nine(truth[mask], depth[mask])


def kitti_eigen(truth: Map, prediction: Map) -> Figures:
    """With Garg's crop of the full picture, as in the evaluator of BTS's table."""
    return zoedepth(truth, prediction, 80.0, garg)


def nyu(truth: Map, prediction: Map) -> Figures:
    """With the crop of Eigen et al. for 640 x 480, and 10 m."""

    def inner(shape: tuple[int, ...]) -> Map:
        inside = np.zeros(shape, dtype=bool)
        for row in range(45, 471):
            inside[row, 41:601] = True
        return inside

    return zoedepth(truth, prediction, 10.0, inner)


# Depth Anything V2, metric_depth


def depth_anything(truth: Map, prediction: Map, high: float = 80.0) -> Figures | None:
    """Limits belong to the range; no clamp; pictures with fewer than ten pixels are passed over."""
    depth = enlarged(prediction, truth.shape, align_corners=True)
    mask = (truth > 0) & (truth >= 0.001) & (truth <= high)
    if mask.sum() < 10:
        return None
    g, p = truth[mask], depth[mask]
    error = np.log(p) - np.log(g)
    more = {
        "silog_half": np.sqrt(np.mean(error**2) - 0.5 * np.mean(error) ** 2),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(g))),
    }
    return {**seven(g, p), **more}


# KITTI's development kit


def filled(stored: Map) -> Map:
    """Fill holes (below 0): gaps in rows with the nearer side, their ends and those of columns with what is next."""
    found = stored.copy()
    for row in found:
        valid = np.flatnonzero(row >= 0)
        if len(valid):
            for left, right in pairwise(valid.tolist()):
                row[left + 1 : right] = min(row[left], row[right])
            row[: valid[0]] = row[valid[0]]
            row[valid[-1] + 1 :] = row[valid[-1]]
    for column in found.T:
        valid = np.flatnonzero(column >= 0)
        if len(valid):
            column[: valid[0]] = column[valid[0]]
            column[valid[-1] + 1 :] = column[valid[-1]]
    return found


def kitti_devkit(truth: Map, prediction: Map) -> Figures:
    """Nine figures over all valid pixels, one after the other; its metres and natural logarithms in our units."""
    if truth.shape != prediction.shape:
        raise ValueError("the sizes differ")
    whole = filled(np.where(prediction > 0, prediction, -1.0))
    names = ("mae", "rmse", "imae", "irmse", "log_mae", "log_rmse", "abs_rel", "kitti_sq_rel", "log_sum")
    sums = dict.fromkeys(names, 0.0)
    count = 0
    for column in range(truth.shape[1]):
        for row in np.flatnonzero(truth[:, column] > 0):
            g, p = truth[row, column], whole[row, column]
            error, inverse, log = abs(g - p), abs(1 / g - 1 / p), np.log(g) - np.log(p)
            terms = (error, error**2, inverse, inverse**2, abs(log), log**2, error / g, error**2 / g**2, log)
            sums = {name: sums[name] + term for name, term in zip(names, terms, strict=True)}
            count += 1
    if not count:
        raise ValueError("no valid pixel")
    mean = {name: value / count for name, value in sums.items()}
    return {
        "mae": mean["mae"],
        "rmse": mean["rmse"] ** 0.5,
        "imae": 1000 * mean["imae"],
        "irmse": 1000 * mean["irmse"] ** 0.5,
        "log10": mean["log_mae"] / np.log(10),
        "rmse_log": mean["log_rmse"] ** 0.5,
        "silog": 100 * (mean["log_rmse"] - mean["log_sum"] ** 2) ** 0.5,
        "abs_rel": mean["abs_rel"],
        "kitti_sq_rel": mean["kitti_sq_rel"],
    }
