"""What a prediction costs in training: supervised losses over pixels of known depth, and smoothness."""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

FOCUS = 0.85  # of the variance in SILog, as in BTS and AdaBins
SHARE = 0.2  # of the largest error, where BerHu turns from linear to square
TINY = 1e-12  # keeps the slope of a root finite at 0


def silog(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Scale-invariant logarithmic loss, 10 sqrt(mean d^2 - 0.85 (mean d)^2) with d = ln p - ln g.

    Eigen et al., "Depth Map Prediction from a Single Image", 2014, with the focus and the factor of Lee et al., "From
    Big to Small", 2019.

    Parameters
    ----------
    prediction, truth : Tensor, shape (n,)
        Metres, above 0.
    """
    error = torch.log(prediction) - torch.log(truth)
    return 10 * torch.sqrt(error.var(unbiased=False) + (1 - FOCUS) * error.mean() ** 2 + TINY)


def l1(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean absolute error in metres; see `silog` for the parameters."""
    return (prediction - truth).abs().mean()


def berhu(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Reverse Huber loss in metres: linear up to c, then (e^2 + c^2) / 2c; c is a fifth of the largest error.

    Laina et al., "Deeper Depth Prediction with Fully Convolutional Residual Networks", 2016. See `silog` for the
    parameters.
    """
    error = (prediction - truth).abs()
    bend = (SHARE * error.detach().max()).clamp(min=TINY)
    return torch.where(error <= bend, error, (error**2 + bend**2) / (2 * bend)).mean()


def smoothness(depth: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """Edge-aware smoothness of inverse depth, over its mean in each picture.

    Godard et al., "Digging Into Self-Supervised Monocular Depth Estimation", 2019: |dx d*| exp(-|dx I|) + |dy d*|
    exp(-|dy I|), where the picture's gradients are means over its colours.

    Parameters
    ----------
    depth : Tensor, shape (N, 1, H, W)
        Metres, above 0.
    picture : Tensor, shape (N, 3, H, W)
        From 0 to 1.
    """
    inverse = 1 / depth
    inverse = inverse / inverse.mean(dim=(2, 3), keepdim=True)
    total = depth.new_zeros(())
    for axis in (2, 3):
        edge = picture.diff(dim=axis).abs().mean(dim=1, keepdim=True)
        total = total + (inverse.diff(dim=axis).abs() * torch.exp(-edge)).mean()
    return total


LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "silog": silog,
    "l1": l1,
    "berhu": berhu,
}


def supervised(kind: str, depth: torch.Tensor, truths: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of a batch over its pictures; pictures without a pixel of known depth do not count.

    As in evaluation, a prediction is brought to the size of the truth, bilinearly.

    Parameters
    ----------
    kind : str
        A name of `LOSSES`.
    depth : Tensor, shape (N, 1, h, w)
        Metres, above 0.
    truths : list of N Tensor, each of shape (H, W)
        Metres; what is not above 0 does not count. Sizes may differ.
    """
    losses = []
    for one, truth in zip(depth, truths, strict=True):
        known = truth > 0
        if known.any():
            grown = functional.interpolate(one[None], size=tuple(truth.shape), mode="bilinear", align_corners=False)
            losses.append(LOSSES[kind](grown[0, 0][known], truth[known]))
    # Of nothing at all, a zero that has a gradient.
    return torch.stack(losses).mean() if losses else 0 * depth.sum()
