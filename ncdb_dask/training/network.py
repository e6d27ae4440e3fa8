"""A small depth network of the ResNetSAN kind: a ResNet encoder with BatchNorm, a U-Net decoder, a sigmoid head.

It holds what makes such networks hard to quantize with one step a tensor: sums of residual blocks, and in the decoder
Concat of an up-sampled branch and a skip connection.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

# Of each colour, inside the network, as in monodepth2 and packnet-sfm.
MEAN, DEVIATION = 0.45, 0.225
ENCODER = (16, 16, 32, 64, 64)  # channels at 1/2, 1/4, ... 1/32 of the picture's size
DECODER = (32, 24, 16, 8, 8)  # at 1/16, ... 1/2, 1


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2016).

    Parameters
    ----------
    taken, made : int
        Channels.
    stride : int
        2 halves the size.
    """

    def __init__(self, taken: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = _normalised(taken, made, 3, stride)
        self.second = _normalised(made, made, 3, 1)
        self.shortcut = nn.Identity() if stride == 1 and taken == made else _normalised(taken, made, 1, stride)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum, after a ReLU."""
        return functional.relu(self.second(functional.relu(self.first(values))) + self.shortcut(values))


class UpSampling(nn.Module):
    """One step of the decoder: fewer channels, twice the size, joined with the encoder's values of that size.

    Parameters
    ----------
    taken, skip, made : int
        Channels; of the encoder's values 0 where there are none.
    """

    def __init__(self, taken: int, skip: int, made: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(taken, made, 3, padding=1)
        self.join = nn.Conv2d(made + skip, made, 3, padding=1)

    def forward(self, values: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """Return values of twice the size."""
        grown = functional.interpolate(functional.relu(self.reduce(values)), scale_factor=2.0, mode="nearest")
        return functional.relu(self.join(grown if skip is None else torch.cat([grown, skip], dim=1)))


class ResNetUNet(nn.Module):
    """From a picture to a sigmoid, which the decoding ``inverse-sigmoid`` turns into metres; 0 is the farthest."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalised(3, ENCODER[0], 5, 2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList(
            ResidualBlock(taken, made, 2 if number else 1) for number, (taken, made) in enumerate(pairwise(ENCODER))
        )
        skips = (*reversed(ENCODER[:-1]), 0)
        self.steps = nn.ModuleList(
            UpSampling(taken, skip, made)
            for (taken, made), skip in zip(pairwise((ENCODER[-1], *DECODER)), skips, strict=True)
        )
        self.head = nn.Conv2d(DECODER[-1], 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the sigmoid, shape (N, 1, H, W).

        Parameters
        ----------
        image : Tensor, shape (N, 3, H, W)
            Red, green and blue from 0 to 1; H and W are multiples of 32.
        """
        values = functional.relu(self.stem((image - MEAN) / DEVIATION))
        skips: list[torch.Tensor | None] = [None, values]
        values = self.pool(values)
        for stage in self.stages:
            values = stage(values)
            skips.append(values)
        skips.pop()  # the deepest is where the decoder begins
        for step in self.steps:
            values = step(values, skips.pop())
        return torch.sigmoid(self.head(values))


def resnet_unet() -> ResNetUNet:
    """Return the network of this package, with random weights; its trained ones are in ``shipped.py``."""
    return ResNetUNet()


def _normalised(taken: int, made: int, size: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(taken, made, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made))
