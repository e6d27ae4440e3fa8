"""What equalization could not balance, read from a quantization's report, as layers of the torch network."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ncdb_dask.errors import TrainingError
from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.channels import Channels, Layer
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.model.topology import Topology, named
from ncdb_dask.quantization.constants import LINEAR, NORMS
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.quantization.rescale import by_groups
from ncdb_dask.quantization.result import read_quantization
from ncdb_dask.training.layers import WeightLayer, find_layers

if TYPE_CHECKING:
    from onnx import ModelProto

Values = npt.NDArray[np.float64]
LEAST_SPREAD = 2.0  # where the channel at the median loses a whole bit of the eight
SAME = 1e-4  # of a layer's largest weight: what folding a BatchNorm elsewhere may differ by
# Behind these nothing is left of the ranges of what they take.
ANEW = (*LINEAR, *NORMS, "GroupNormalization", "LpNormalization", "Softmax", "LogSoftmax")
REPORT = ".report.json"
FUSED = "Fusion_W_"  # ends what ONNX Runtime puts before the name of weights that it has folded a norm or a factor into


@dataclass(frozen=True)
class Unbalanced:
    """A tensor whose channels share one step, but not one range, and which equalization could not change.

    Attributes
    ----------
    tensor : str
        Its name in the ONNX network.
    spread_before, spread_after : float
        Largest range of a channel over the median one, of the network as given and of the balanced one.
    held_by : mapping of str to str
        Node that lets no scale through -> why, in words.
    layers : tuple of WeightLayer
        Whose output channels meet in the tensor; none where no weights make them, as behind a LayerNorm.
    """

    tensor: str
    spread_before: float
    spread_after: float
    held_by: Mapping[str, str]
    layers: tuple[WeightLayer, ...]


def read_unbalanced(report: str | os.PathLike[str], model: nn.Module, example: Tensor | None) -> list[Unbalanced]:
    """Return what a quantization could not balance, as layers that a training can.

    A tensor counts whose channels are held and whose spread is at least `LEAST_SPREAD` after equalization. Of tensors
    that the same layers make, such as what enters a pooling and what leaves it, the worst is there.

    Parameters
    ----------
    report : path
        The quantized network, or the report beside it.
    model : nn.Module
        The network that was exported and quantized.
    example : Tensor or None
        An input of it; see `ncdb_dask.training.layers.find_layers`.

    Returns
    -------
    list of Unbalanced
        In the order of the network; empty where everything was balanced.

    Raises
    ------
    TrainingError
        Where the report tells nothing of equalization, or is of another network.
    QuantizationError
        Where there is no report.
    """
    path = os.fspath(report)
    content = read_quantization(f"{path.removesuffix(REPORT)}.onnx" if path.endswith(REPORT) else path).report
    rows = _rows(content, path)
    if not rows:
        return []
    channels = find_channels(Topology.of(_network(content, path)))
    matching = _Matching(channels.topology, find_layers(model, example))
    why = content["quantizer"]["equalization"]["holders"]
    found = [
        Unbalanced(
            row["tensor"],
            row["spread_before"],
            row["spread_after"],
            {holder: why[holder] for holder in row["held_by"]},
            tuple(matching.layer_of(layer) for layer in _makers(channels, row["tensor"], path)),
        )
        for row in rows
    ]
    return _worst(found)


def _rows(content: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    equalization = content["quantizer"].get("equalization")
    if equalization is None:
        raise TrainingError(
            f"{path}: tells nothing of equalization (backend {content['backend']}); expected a report of the backend "
            "onnxruntime; quantize with it, and without --no-equalize"
        )
    return [row for row in equalization["tensors"] if row["held"] and row["spread_after"] >= LEAST_SPREAD]


def _network(content: Mapping[str, Any], path: str) -> "ModelProto":
    """Return the network as it was when its channels were numbered."""
    given, spec = content["model"], ModelSpec.from_dict(content["spec"], "report")
    reference = NetworkReference.of(given["path"], spec)
    if reference.sha256 != given["sha256"]:
        raise TrainingError(f"{given['path']}: is not the network that {path} tells of; quantize it again")
    with TemporaryDirectory() as work:
        return prepared(load(Path(given["path"])), reference.spec.input, Path(work))


def _makers(channels: Channels, tensor: str, path: str) -> list[Layer]:
    """Return the layers that make a tensor's channels, in order."""
    if tensor not in channels.of:
        raise TrainingError(
            f"{path}: tells of channels of {tensor}, which the network does not have; it is of other versions of "
            "ncdb_dask or onnxruntime: quantize again"
        )
    outputs = set(_origins(channels, tensor)) & _upstream(channels.topology, tensor)
    return [layer for layer in channels.layers if layer.node.output[0] in outputs]


def _origins(channels: Channels, tensor: str) -> Iterator[str]:
    """Yield the outputs of layers that a tensor's channels come from.

    Behind an operator that lets no scale through the channels have other numbers, or none: there the graph is followed
    upwards.
    """
    waiting, seen = [tensor], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found, node = _numbered(channels, name), channels.topology.maker(name)
        if found is not None:
            yield from found
        elif node is not None and node.op_type not in ANEW:
            waiting.extend(node.input)


def _upstream(topology: Topology, tensor: str) -> set[str]:
    """Return all that a tensor is computed from: in a chain of residual blocks, later ones have the same numbers."""
    waiting, seen = [tensor], set[str]()
    while waiting:
        name = waiting.pop()
        node = topology.maker(name)
        if name not in seen and node is not None:
            waiting.extend(node.input)
        seen.add(name)
    return seen


def _numbered(channels: Channels, tensor: str) -> list[str] | None:
    """Return the outputs of layers that make channels of these numbers; None where they do not make all of them."""
    if tensor not in channels.of:
        return None
    roots = set(channels.roots(channels.of[tensor][1]).tolist())
    made = {layer.node.output[0]: set(channels.roots(layer.made).tolist()) for layer in channels.layers}
    found = {output: numbers for output, numbers in made.items() if numbers & roots}
    return list(found) if roots <= set[int]().union(*found.values()) else None


def _worst(found: Sequence[Unbalanced]) -> list[Unbalanced]:
    worst = dict[frozenset[str], Unbalanced]()
    for one in sorted(found, key=lambda one: -one.spread_after):
        worst.setdefault(frozenset(layer.name for layer in one.layers) or frozenset([one.tensor]), one)
    return [one for one in found if one in worst.values()]


class _Matching:
    """Finds the torch layer that an ONNX layer was exported from."""

    def __init__(self, topology: Topology, layers: Sequence[WeightLayer]) -> None:
        self._topology = topology
        self._layers = {f"{layer.name}.weight": layer for layer in layers}
        self._rows = [(layer, rows) for layer in layers for rows in _both(layer)]

    def layer_of(self, layer: Layer) -> WeightLayer:
        """Return the torch layer whose weights have the same name, as exporters keep it, or the same values."""
        name = layer.node.input[1]
        constant = self._topology.constant(name)
        assert constant is not None  # layers have constant weights
        weights = by_groups(constant.astype(np.float64), layer)
        rows = weights.reshape(weights.shape[0] * weights.shape[1], -1)
        found = self._layers.get(name.rpartition(FUSED)[2])
        if found is not None and found.by_channel().shape == rows.shape:
            return found
        for other, values in self._rows:
            if values.shape == rows.shape and np.allclose(values, rows, rtol=0, atol=SAME * np.abs(rows).max()):
                return other
        raise TrainingError(
            f"{named(layer.node)}: no layer of the torch network has its weights, {name} of {rows.shape[0]} channels "
            f"by {rows.shape[1]} (its layers: {', '.join(self._layers) or 'none'}); expected the network that was "
            "exported, with the same weights"
        )


def _both(layer: WeightLayer) -> Iterator[Values]:
    """Yield the weights as they are folded, and as they are."""
    for one in dict.fromkeys((layer, WeightLayer(layer.name, layer.module))):
        yield one.by_channel().detach().cpu().double().numpy()
