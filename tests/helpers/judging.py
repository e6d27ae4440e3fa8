"""What an evaluation must find, in the plainest way there is: pixel by pixel from the definitions, in float64."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

RANGES: Mapping[str, tuple[float, float]] = {
    "near": (0, 3),
    "mid": (3, 8),
    "far": (8, 15),
    "very_far": (15, np.inf),
}


def pixels_of(root: Path, key: tuple[str, str], folder: str = "image_a6") -> np.ndarray:
    """Read a frame's picture, or its raw depth."""
    with Image.open(root / key[0] / folder / f"{key[1]}.png") as image:
        return np.asarray(image)


def truth_of(root: Path, key: tuple[str, str]) -> np.ndarray:
    """Read a frame's true depth in metres."""
    return pixels_of(root, key, "newest_depth_maps") / 256


def enlarged(depth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bilinear, corner on corner of the pictures: first along rows, then along columns."""
    for axis, target in ((1, shape[1]), (0, shape[0])):
        have = depth.shape[axis]
        places = (np.arange(target) + 0.5) * have / target - 0.5
        depth = np.apply_along_axis(lambda line, at=places: np.interp(at, range(len(line)), line), axis, depth)
    return depth


def figures(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The metrics of paired pixels."""
    error, log = prediction - truth, np.log(prediction) - np.log(truth)
    inverse = 1 / prediction - 1 / truth
    ratio = np.maximum(prediction / truth, truth / prediction)
    return {
        "abs_rel": np.mean(np.abs(error) / truth),
        "sq_rel": np.mean(error**2 / truth),
        "kitti_sq_rel": np.mean((error / truth) ** 2),
        "rmse": np.sqrt(np.mean(error**2)),
        "rmse_log": np.sqrt(np.mean(log**2)),
        "mae": np.mean(np.abs(error)),
        "log10": np.mean(np.abs(np.log10(prediction) - np.log10(truth))),
        "silog": 100 * np.std(log),
        "silog_half": np.sqrt(np.mean(log**2) - np.mean(log) ** 2 / 2),
        "irmse": 1000 * np.sqrt(np.mean(inverse**2)),
        "imae": 1000 * np.mean(np.abs(inverse)),
        "a1": np.mean(ratio < 1.25),
        "a2": np.mean(ratio < 1.25**2),
        "a3": np.mean(ratio < 1.25**3),
        "bias": np.mean(error),
        "log_bias": np.mean(log),
    }


def paired(
    truth: np.ndarray, prediction: np.ndarray, low: float = 0.5, high: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that count, the prediction enlarged and limited."""
    whole = np.clip(enlarged(prediction, truth.shape), low, high)
    inside = (truth > low) & (truth < high)
    return truth[inside], whole[inside]


def judged(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The columns of a frame: all pixels, then each depth range that has any."""
    true, predicted = paired(truth, prediction)
    row = {"valid_pixels": len(true), **figures(true, predicted)}
    for name, (low, high) in RANGES.items():
        part = (true >= low) & (true < high)
        row[f"valid_pixels_{name}"] = int(part.sum())
        if part.any():
            row |= {f"{metric}_{name}": value for metric, value in figures(true[part], predicted[part]).items()}
    return row
