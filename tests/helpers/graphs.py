"""Building ONNX graphs in a few lines, and running them tensor by tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from ncdb_dask.model.channel_rules import find_channels
from ncdb_dask.model.channels import HELD
from ncdb_dask.model.topology import Topology
from ncdb_dask.quantization.rescale import rescaled

Array = np.ndarray
FATAL = 4


class Graph:
    """A graph that grows node by node; every node's output gets a name that tells its kind.

    Attributes
    ----------
    shapes : dict
        Tensor -> its shape, for all tensors of known shape.
    """

    def __init__(self, opset: int = 17, seed: int = 0, ir_version: int = 8) -> None:
        self.opset, self.ir_version = opset, ir_version
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._made = 0

    def name(self, kind: str) -> str:
        self._made += 1
        return f"{kind.lower()}{self._made}"

    def input(self, *shape: int | str, name: str = "image") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.shapes[name] = tuple(size if isinstance(size, int) else 1 for size in shape)
        return name

    def constant(self, values: object, kind: Any = np.float32, node: bool = False) -> str:
        """Add an initializer, or a Constant node."""
        array, name = np.asarray(values, kind), self.name("constant")
        tensor = numpy_helper.from_array(array, name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        self.shapes[name] = array.shape
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def normal(self, *shape: int, scale: float = 1.0, node: bool = False) -> str:
        """Add a constant of random numbers."""
        return self.constant(self.random.normal(size=shape) * scale, node=node)

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or of all of them."""
        names = [self.name(kind) for _ in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, name=f"the_{names[0]}", **attributes)
        self.nodes.append(node)
        self._infer(node)
        return names[0] if outputs == 1 else names

    def output(self, *names: str) -> None:
        self.outputs.extend(names)

    # Layers

    def conv(self, source: str, out: int, kernel: int = 3, groups: int = 1, bias: bool = True, **options: Any) -> str:
        into = self.shapes[source][1]
        weights = self.normal(out, into // groups, kernel, kernel, scale=(into // groups * kernel**2) ** -0.5)
        given = [source, weights, *([self.normal(out)] if bias else [])]
        return self.add("Conv", *given, **{"pads": [kernel // 2] * 4, "group": groups, **options})

    def conv_transpose(self, source: str, out: int, groups: int = 1, stride: int = 2, **options: Any) -> str:
        into = self.shapes[source][1]
        weights = self.normal(into, out // groups, 2, 2, scale=(into // groups) ** -0.5)
        return self.add(
            "ConvTranspose", source, weights, self.normal(out), strides=[stride] * 2, group=groups, **options
        )

    def gemm(self, source: str, out: int, transposed: bool = True, **options: Any) -> str:
        into = self.shapes[source][1]
        shape = (out, into) if transposed else (into, out)
        weights = self.normal(*shape, scale=into**-0.5)
        return self.add("Gemm", source, weights, self.normal(out), transB=int(transposed), **options)

    # The whole

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            self.inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes.get(name)) for name in self.outputs],
            self.initializers,
        )
        strange = {node.domain for node in self.nodes if node.domain}
        opsets = [("", self.opset), *((domain, 1) for domain in sorted(strange))]
        imports = [helper.make_opsetid(*one) for one in opsets]
        return helper.make_model(graph, opset_imports=imports, ir_version=self.ir_version)

    def _infer(self, node: Any) -> None:
        """Infer the shapes of a node's outputs, from constants too."""
        wanted = set(node.input)
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name])
            for name in dict.fromkeys(node.input)
            if name in self.shapes and name not in {tensor.name for tensor in self.initializers}
        ]
        graph = helper.make_graph(
            [node], "one", values, [], [tensor for tensor in self.initializers if tensor.name in wanted]
        )
        graph.output.extend(helper.make_empty_tensor_value_info(name) for name in node.output)
        alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        for port in shape_inference.infer_shapes(alone, data_prop=True).graph.output:
            if port.type.tensor_type.HasField("shape"):
                self.shapes[port.name] = tuple(size.dim_value for size in port.type.tensor_type.shape.dim)


def computed(model: ModelProto, feed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
    """Run a network without any optimization, and return its outputs and the named tensors."""
    shown = ModelProto()
    shown.CopyFrom(model)
    there = {port.name for port in shown.graph.output}
    inside = [name for name in dict.fromkeys(tensors) if name not in there]
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inside)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def fed(model: ModelProto, seed: int = 0) -> dict[str, Array]:
    """Return random numbers for all inputs that are not weights."""
    random = np.random.default_rng(seed)
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        port.name: random.normal(size=[size.dim_value or 1 for size in port.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for port in model.graph.input
        if port.name not in weights
    }


def violation(model: ModelProto, seed: int = 0, largest: float = 30.0) -> str | None:
    """Scale all free channels at random; return which tensor is not what `Channels` claims it to be, None if all are.

    Every tensor of the changed network, divided by its scales, must be as it was; one without channels, as it is.
    """
    topology = Topology.of(model)
    channels = find_channels(topology)
    logs = np.random.default_rng(seed).uniform(-np.log(largest), np.log(largest), channels.count)
    scales = np.exp(logs)
    tensors = [name for node in topology.nodes for name in node.output if name]
    feed = fed(model, seed)
    old, new = computed(model, feed, tensors), computed(rescaled(model, channels, scales), feed, tensors)
    scales[HELD] = 1.0
    for name in [*tensors, *(set(old) - set(tensors))]:
        before, after = old[name].astype(np.float64), new[name].astype(np.float64)
        if name in channels.of:
            axis, numbers = channels.of[name]
            shape = [-1 if at == axis else 1 for at in range(before.ndim)]
            after = after / scales[channels.resolved(numbers)].reshape(shape)
        if not np.isfinite(before).all():
            return None  # nothing that comes after tells anything
        apart = np.abs(before - after).max(initial=0)
        if apart > 1e-4 * np.abs(before).max(initial=0) + 1e-6:
            return f"{name} is {apart:.3g} off, of {np.abs(before).max():.3g}"
    return None
