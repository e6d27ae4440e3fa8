"""What a person should know of a network that is quantized: values that are no numbers, tensors that stay the same."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.model.topology import Topology, named
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.roundings import roundings

if TYPE_CHECKING:
    from onnx import ModelProto


def oddities(statistics: ActivationStatistics) -> dict[str, Any]:
    """Return what is odd in the activations, as JSON values.

    Returns
    -------
    dict
        ``not_finite``: tensors with NaN or infinite values, frame by frame. ``constant``: tensors with one value
        everywhere on all frames.
    """
    constant = [
        name
        for name, tensor in statistics.tensors.items()
        if tensor.histogram.total and tensor.histogram.low == tensor.histogram.high
    ]
    return {"not_finite": [asdict(one) for one in statistics.not_finite], "constant": constant}


def notes_on(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `oddities` has found as sentences."""
    if found["not_finite"]:
        first, tensors = found["not_finite"][0], {one["tensor"] for one in found["not_finite"]}
        yield (
            f"tensors with NaN or infinite values: {len(tensors)} (first {quoted(first['tensor'])} on {first['stem']} "
            f"of {first['dataset_root']}: {first['nan']} NaN, {first['infinite']} infinite); they count in no range, "
            "and the report names them all"
        )
    constant = found["constant"]
    if constant:
        yield (
            f"tensors with one value everywhere on all frames: {len(constant)} ({quoted(constant[0])}"
            f"{', ...' if len(constant) > 1 else ''}); is the preprocessing right?"
        )


def not_rounded(network: "ModelProto", made: "ModelProto") -> list[dict[str, str]]:
    """Name the tensors of a network that its quantized form does not round, and the node that makes each.

    They were kept so, are computed with the next node, or belong to operators that are not quantized.
    """
    topology, rounded = Topology.of(network), {one.tensor for one in roundings(made)}
    return [
        {"tensor": name, "made_by": named(node)}
        for node in topology.nodes
        for name in node.output
        if name not in rounded and topology.is_float(name)
    ]
