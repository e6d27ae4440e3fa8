"""From ranges to a quantized network: ONNX Runtime's own tool inserts QuantizeLinear and DequantizeLinear nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.calibration.cache import write_cache
from ncdb_dask.calibration.ranges import Range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.topology import ONNX_DOMAINS, Topology, attribute
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.constants import by_powers_of_two, in_one_scale, masked, unbounded
from ncdb_dask.quantization.prepare import load, quiet, save
from ncdb_dask.quantization.roundings import leave_out, roundings
from ncdb_dask.quantization.target import Target, fused, of_softmax, overruled, passed_on, softmaxes

if TYPE_CHECKING:
    from onnx import ModelProto

PER_CHANNEL_OPSET = 13  # the first in which DequantizeLinear has an axis


@dataclass(frozen=True)
class QdqNetwork:
    """A quantized network.

    Attributes
    ----------
    model : ModelProto
        With QuantizeLinear and DequantizeLinear nodes.
    ranges : mapping of str to Range
        Of every tensor that it rounds; scale and zero point are those in the network.
    owners : mapping of str to str
        Tensor -> the one whose statistics gave its range: mostly itself. What is only pooled, resized or cut out has
        that of the tensor before, and what enters a ReLU alone that of the ReLU's output.
    """

    model: "ModelProto"
    ranges: Mapping[str, Range]
    owners: Mapping[str, str]


def quantized(model: "ModelProto", ranges: Mapping[str, Range], target: Target, work: Path) -> QdqNetwork:
    """Quantize a network.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, as `prepared` returns it.
    ranges : mapping of str to Range
        Of every activation.
    target : Target
        What it is rounded to.
    work : Path
        For files on the way.

    Raises
    ------
    QuantizationError
        Where ONNX Runtime's tool fails, or the network does not allow what is asked for.
    OSError
        Where the storage fails.
    """
    topology = Topology.of(model)
    givers = passed_on(topology, target)
    given = {name: ranges[givers.get(name, name)] for name in ranges}
    if target.fixed_softmax:
        given |= {name: of_softmax(target.scheme_of(name)) for name in softmaxes(topology, target)}
    made = _by_tool(model, topology, given, target, work)
    leave_out(made, target.kept | fused(topology, target) | masked(topology))
    owners = {one.tensor: one.owner for one in roundings(made)}
    if not owners:
        raise QuantizationError(
            "nothing of the network can be quantized: ONNX Runtime's tool rounds no tensor of it, or all are kept"
        )
    _check_wide(made, owners, target)
    return QdqNetwork(
        made,
        {name: given[owner] for name, owner in owners.items()},
        {name: givers.get(owner, owner) for name, owner in owners.items()},
    )


def _by_tool(
    model: "ModelProto", topology: Topology, ranges: Mapping[str, Range], target: Target, work: Path
) -> "ModelProto":
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if target.per_channel:
        _require_axes(model)
    source, made, cache = save(model, work / "source.onnx"), work / "made.onnx", work / "ranges.json"
    write_cache(cache, ranges)
    with quiet():
        try:
            quantize_static(
                str(source),
                str(made),
                None,
                quant_format=QuantFormat.QDQ,
                activation_type=_kind(target.scheme, QuantType),
                weight_type=QuantType.QInt8,
                per_channel=target.per_channel,
                op_types_to_quantize=list(target.operators) or None,
                nodes_to_exclude=_mistaken(topology),
                calibration_cache_path=str(cache),
                extra_options={
                    "ActivationSymmetric": target.scheme.symmetric,
                    "WeightSymmetric": True,
                    # Else it takes a ReLU for done by its output's rounding, and nobody could leave that out.
                    "QDQKeepRemovableActivations": True,
                    "TensorQuantOverrides": _overrides(topology, ranges, target, QuantType),
                },
            )
        except OSError:
            raise
        except Exception as error:  # of ONNX Runtime, ONNX or protobuf
            reason = " ".join(str(error).split()) or type(error).__name__
            raise QuantizationError(f"ONNX Runtime's tool cannot quantize the network ({reason})") from error
    result = load(made)
    for path in (source, made, cache):
        path.unlink(missing_ok=True)
    return result


def _overrides(topology: Topology, ranges: Mapping[str, Range], target: Target, kinds: Any) -> dict[str, Any]:
    """Return what the tool must be told of single tensors."""
    # The wide ones first: it looks no further to find out whether the operators of 16 bits are needed.
    found: dict[str, Any] = {
        tensor: [{"quant_type": _kind(target.scheme_of(tensor), kinds)}] for tensor in sorted(target.wide)
    }
    # Else the tool takes 0 to 1 for a softmax, of which attention uses little, and the range of its ReLU for an output.
    for tensor in overruled(topology, target):
        edges = {"rmin": np.float32(ranges[tensor].low), "rmax": np.float32(ranges[tensor].high)}
        found.setdefault(tensor, [{}])[0].update(edges)
    if target.scheme.power_of_two:
        found.update(by_powers_of_two(topology, ranges, target.scheme, target.per_channel))
    elif target.per_channel:
        found.update(in_one_scale(topology))
    return found


def _mistaken(topology: Topology) -> list[str]:
    """Return the nodes that the tool gets wrong: it forgets a Gemm's factor, and rounds infinity in infinite steps."""
    factors = [node for node in topology.nodes if node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1]
    return [node.name for node in (*factors, *unbounded(topology))]


def _kind(scheme: Scheme, kinds: Any) -> Any:
    names = {(8, False): "QUInt8", (8, True): "QInt8", (16, False): "QUInt16", (16, True): "QInt16"}
    return kinds[names[scheme.bits, scheme.signed]]


def _require_axes(model: "ModelProto") -> None:
    version = max((one.version for one in model.opset_import if one.domain in ONNX_DOMAINS), default=0)
    if version < PER_CHANNEL_OPSET:
        raise QuantizationError(
            f"the network has opset {version}, and weights with a scale a channel need {PER_CHANNEL_OPSET}; export it "
            "with that, or leave out --per-channel"
        )


def _check_wide(made: "ModelProto", owners: Mapping[str, str], target: Target) -> None:
    """Refuse 16 bits for a tensor that is not rounded, or that cannot but be rounded as another is."""
    for name in sorted(target.wide):
        if name not in owners:
            raise QuantizationError(
                f"{quoted(name)} is not rounded, so that it cannot have 16 bits: it is computed with the next node, or "
                "belongs to operators that are not quantized"
            )
        if owners[name] not in target.wide:
            raise QuantizationError(
                f"{quoted(name)} is rounded as {quoted(owners[name])} is, which it is made of without computing; give "
                "that 16 bits"
            )
