"""The observed network: one whose activations are all among its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ncdb_dask.errors import CalibrationError
from ncdb_dask.model.channel_rules import channel_axes
from ncdb_dask.model.files import digest
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.model.topology import Topology

if TYPE_CHECKING:
    from onnx import ModelProto

Axes = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """A network that is run for its activations; made of values, so that it travels to any worker.

    Attributes
    ----------
    network : NetworkReference
        Its outputs are the tensors, in their order, but for the first one, the input.
    tensors : tuple of str
        Names: the network's input, then every float32 tensor that a node makes.
    axes : tuple of (int or None)
        Of the channels of each.
    """

    network: NetworkReference
    tensors: tuple[str, ...]
    axes: Axes


def tensors_of(model: "ModelProto") -> tuple[str, ...]:
    """Return the tensors of a network that have statistics: every float32 one that a node makes.

    Raises
    ------
    CalibrationError
        Where there is none.
    """
    topology = Topology.of(model)
    found = tuple(name for node in topology.nodes for name in node.output if name and topology.is_float(name))
    if not found:
        raise CalibrationError("the network has no float32 activations; expected an FP32 network")
    return found


def observed_by(model: "ModelProto", path: str, spec: ModelSpec, provider: str, threads: int) -> Observed:
    """Refer to an observed network that lies at `path`.

    Parameters
    ----------
    model : onnx.ModelProto
        The network that is observed, with a fixed input size.
    path : str
        Of what `with_outputs` has made of it, where every worker finds it.
    spec : ModelSpec
        Its model file, with the name of its input.
    provider, threads : str, int
        As in `NetworkReference`.
    """
    tensors, axes = named_axes(model, str(spec.input.name), spec.input.layout)
    seen = replace(spec, output=replace(spec.output, name=tensors[1:]))
    return Observed(NetworkReference(path, digest(path, ()), seen, provider, threads), tensors, axes)


def named_axes(model: "ModelProto", input_name: str, layout: str) -> tuple[tuple[str, ...], Axes]:
    """Return the tensors that are measured, the network's input first, and the axis of the channels of each."""
    tensors, axes = tensors_of(model), channel_axes(model)
    first = 1 if layout == "nchw" else 3
    return (input_name, *tensors), (first, *(axes.get(tensor) for tensor in tensors))


def with_outputs(model: "ModelProto", outputs: Sequence[str]) -> "ModelProto":
    """Return a network that has only these tensors as its outputs; what they do not need does not run."""
    from onnx import ValueInfoProto

    shown = type(model)()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(ValueInfoProto(name=name) for name in outputs)  # ONNX Runtime finds the types
    return shown
