"""Small torch networks, and their way to a quantization's report."""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import ncdb_dask
from helpers.networks import describe
from helpers.trees import write_tree
from ncdb_dask.quantization.result import Quantization

HEIGHT, WIDTH, FRAMES = 12, 16, 4
PLANTED = 30.0  # times the range of one channel
torch.set_num_threads(1)  # several tests share the cores, and the networks are small
Activation = Callable[[Tensor], Tensor]


def spread_out(layer: nn.Module, factor: float = PLANTED) -> None:
    """Give one channel of a layer so many times the range of the others, which are made equal."""
    with torch.no_grad():
        layer.weight /= layer.weight.abs().flatten(1).amax(dim=1).reshape(-1, *[1] * (layer.weight.dim() - 1))
        layer.weight[0] *= factor
        layer.bias.zero_()


class Joined(nn.Module):
    """A branch behind an activation function, joined with one behind BatchNorm and ReLU; 3 channels in, 1 out."""

    def __init__(self, activation: Activation, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.activation = activation
        self.branch = nn.Conv2d(3, 6, 3, padding=1)
        self.skip = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.join = nn.Conv2d(11, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 1, 3, padding=1)
        spread_out(self.branch)
        settle(self.norm)

    def forward(self, image: Tensor) -> Tensor:
        both = torch.cat([self.activation(self.branch(image)), torch.relu(self.norm(self.skip(image)))], dim=1)
        return self.head(torch.relu(self.join(both)))


class InARow(nn.Module):
    """A convolution, an activation function, a convolution; 3 channels in, 1 out."""

    def __init__(self, activation: Activation, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.activation = activation
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 1, 3, padding=1)
        spread_out(self.first)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.activation(self.first(image)))


def settle(norm: nn.Module) -> None:
    """Give a BatchNorm statistics and parameters as after a training."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 3.0)
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.normal_()


def pictures(number: int = FRAMES, seed: int = 0) -> Tensor:
    return torch.rand(number, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def export(model: nn.Module, path: Path) -> Path:
    """Write a network as ONNX with its model file, and return its path; training goes on as before."""
    training = model.training
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # torch's own use of what it deprecates.
        warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
        torch.onnx.export(
            model.eval(), (pictures(1),), path, dynamo=True, input_names=["image"], output_names=["depth"]
        )
    model.train(training)
    describe(path.with_suffix(".toml"))
    return path


def int8(model: nn.Module, folder: Path, **options: object) -> Quantization:
    """Quantize a network on frames of noise."""
    root = folder / "data"
    if not root.exists():
        root.mkdir(parents=True)
        write_tree(root, FRAMES)
    net = export(model, folder / "net.onnx")
    return ncdb_dask.quantize(net, folder / "out" / "int8.onnx", root=root, split="train_split.json", **options)
