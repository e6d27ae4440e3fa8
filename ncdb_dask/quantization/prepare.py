"""Preparing an FP32 network: sizes that are open are fixed, batch norms folded, constants and names put in order."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.model.topology import attribute, captured
from ncdb_dask.quantization.opsets import (
    drop_domains,
    free_weights,
    lifted,
    needs_scales,
    one_line,
    require_unquantized,
)

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

FATAL = 4  # ONNX Runtime's severity
TOOLS = "onnxruntime"  # the folder of what they log from
# Layers that have a bias of their own once they are prepared.
BIASED = ("Conv", "ConvTranspose", "Gemm")


def load(path: Path) -> "ModelProto":
    """Read a network with its weights.

    Raises
    ------
    QuantizationError
        Where it is no ONNX, or its weights are missing.
    """
    import onnx

    try:
        model: ModelProto = onnx.load(path)
    except Exception as error:  # protobuf and ONNX have kinds of their own
        raise QuantizationError(
            f"{path}: cannot be read ({one_line(error)}); expected an ONNX network with its weights"
        ) from error
    if not model.graph.output:  # an empty file is a valid message without content
        raise QuantizationError(f"{path}: is no ONNX file of a network (its graph has no outputs)")
    return model


def save(model: "ModelProto", path: Path) -> Path:
    """Write a network as one file, and return its path.

    Raises
    ------
    QuantizationError
        Where it has more than the 2 GiB that one file can hold.
    OSError
        Where the storage fails.
    """
    try:
        data = model.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf's own kind, or ValueError, by its version
        raise QuantizationError(
            f"{path.name}: is too large for one ONNX file ({one_line(error)}); expected less than 2 GiB"
        ) from error
    path.write_bytes(data)
    return path


def prepared(model: "ModelProto", spec: InputSpec, work: Path) -> "ModelProto":
    """Return a network as quantization wants it; it computes the same.

    The input gets the model file's size, for one picture. ONNX Runtime folds batch norms and constants. Every node has
    a name of its own, and every layer of `BIASED` a bias of its own, which may be corrected later.

    Parameters
    ----------
    model : onnx.ModelProto
        Unchanged.
    spec : InputSpec
        With the name of the input.
    work : Path
        For files on the way.

    Raises
    ------
    QuantizationError
        Where the network is quantized already, or ONNX Runtime cannot load it.
    """
    from onnx import shape_inference

    require_unquantized(model)
    fixed = type(model)()
    fixed.CopyFrom(model)
    _fix_size(fixed, spec)
    free_weights(fixed)
    _name_nodes(fixed)  # ONNX Runtime refuses a name that is there twice
    source, target = work / "fixed.onnx", work / "folded.onnx"
    try:
        if needs_scales(fixed):
            _fold(fixed, source, target)
            fixed = load(target)
            drop_domains(fixed)  # ONNX cannot lift all of them
        _fold(lifted(fixed), source, target)
        result = load(target)
    finally:
        for path in (source, target):
            path.unlink(missing_ok=True)
    drop_domains(result)
    _name_nodes(result)
    _add_biases(result)
    inferred: ModelProto = shape_inference.infer_shapes(result)
    return inferred


def _fix_size(model: "ModelProto", spec: InputSpec) -> None:
    """Give the input its size; what was inferred for an open one is forgotten."""
    del model.graph.value_info[:]
    for port in model.graph.input:
        if port.name == spec.name:
            shape = port.type.tensor_type.shape
            del shape.dim[:]
            for size in (1, *spec.shape):
                shape.dim.add().dim_value = size


def _fold(model: "ModelProto", source: Path, target: Path) -> None:
    """Let ONNX Runtime write what it makes of a network, in ONNX's own operators."""
    import onnxruntime
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # else the quantizer advises to do what is done here
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = FATAL
    try:
        onnxruntime.InferenceSession(str(save(model, source)), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's kinds have no common base
        if isinstance(error, (QuantizationError, OSError)):
            raise
        raise QuantizationError(
            f"ONNX Runtime cannot prepare the network ({one_line(error)}); check it with onnx.checker"
        ) from error


def _name_nodes(model: "ModelProto") -> None:
    """Give nodes names of their own: by them a node is left out of the quantization, and found again after it."""
    taken = {""}
    for node in model.graph.node:
        if node.name in taken:
            node.name = _unused(f"{node.op_type}:{next(filter(None, node.output), '')}", taken)
        taken.add(node.name)


def _add_biases(model: "ModelProto") -> None:
    """Give each layer a bias that no other node uses, so that correcting it changes nothing else."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in (*node.input, *captured(node)))
    uses.update(port.name for port in model.graph.output)
    for node in model.graph.node:
        size = _outputs(node, tensors)
        if size is None:
            continue
        given = node.input[2] if len(node.input) > 2 else ""
        if given and (given not in tensors or uses[given] == 1):
            continue
        kind = numpy_helper.to_array(tensors[node.input[1]]).dtype
        values = numpy_helper.to_array(tensors[given]) if given else np.zeros(size, kind)
        name = _unused(f"{node.output[0]}/bias", {*tensors, *uses})
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        uses.update({name: 1})
        uses[given] -= 1
        del node.input[2:]
        node.input.append(name)


def _outputs(node: "NodeProto", tensors: "Mapping[str, TensorProto]") -> int | None:
    """Return how many channels a layer makes; None for other nodes and where its weights are not constant."""
    if node.op_type not in BIASED or node.input[1] not in tensors:
        return None
    first, second, *_ = tensors[node.input[1]].dims
    if node.op_type == "ConvTranspose":
        return int(second * attribute(node, "group", 1))
    return int(second if node.op_type == "Gemm" and not attribute(node, "transB", 0) else first)


def _unused(name: str, taken: Collection[str]) -> str:
    """Return the name, or the first of its numbered ones that nothing has."""
    numbered = (f"{name}:{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ONNX Runtime's quantization tools from printing and logging what is none of the user's business.

    ONNX Runtime's own severity stays as it is: the tools run no network, and nobody could tell what it was before.
    """
    unheard = _FromTools()
    logging.root.addFilter(unheard)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.root.removeFilter(unheard)


class _FromTools(logging.Filter):
    """Drops what the tools log. They call `logging.warning`, so that only the file tells it from the user's own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return TOOLS not in Path(record.pathname).parts
