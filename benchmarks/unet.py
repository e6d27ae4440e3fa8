"""A depth network of the usual kind, with random weights: a ResNet-18, a U-Net decoder with Concat, a sigmoid."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

WIDTHS = (64, 64, 128, 256, 512)
DECODER = (256, 128, 64, 32, 16)
SPEC = """[input]
width = {width}
height = {height}

[output]
decode = "inverse-sigmoid"
min = 0.5
max = 80.0
"""


class Builder:
    """Adds nodes one after another; each method returns the name of what it makes."""

    def __init__(self, seed: int) -> None:
        self.nodes, self.weights = [], []
        self._rng = np.random.default_rng(seed)

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, source: str, into: int, out: int, size: int = 3, stride: int = 1, gain: float = 2.0) -> str:
        """Convolve with weights of a variance that keeps the power of what comes in (He et al., 2015)."""
        number = len(self.weights)
        spread = np.sqrt(gain / (into * size * size))
        weights = self._rng.normal(0, spread, (out, into, size, size)).astype(np.float32)
        bias = self._rng.normal(0, 0.1, out).astype(np.float32)
        inputs = [source, self.constant(f"w{number}", weights), self.constant(f"b{number}", bias)]
        return self.node("Conv", inputs, kernel_shape=[size, size], strides=[stride] * 2, pads=[size // 2] * 4)

    def relu(self, source: str) -> str:
        return self.node("Relu", [source])

    def block(self, source: str, into: int, out: int, stride: int) -> str:
        """Return a basic block of a ResNet."""
        inner = self.conv(self.relu(self.conv(source, into, out, stride=stride)), out, out, gain=0.5)
        same = source if into == out and stride == 1 else self.conv(source, into, out, size=1, stride=stride, gain=1.0)
        return self.relu(self.node("Add", [inner, same]))


def write_unet(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """Write the network and its model file beside it, and return the path of the network."""
    build = Builder(seed)
    scales = build.constant("double", np.array([1, 1, 2, 2], dtype=np.float32))
    at = build.relu(build.conv("image", 3, WIDTHS[0], size=7, stride=2))
    skips, into = [at], WIDTHS[0]
    at = build.node("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for number, out in enumerate(WIDTHS[1:]):
        at = build.block(build.block(at, into, out, stride=1 if number == 0 else 2), out, out, stride=1)
        skips.append(at)
        into = out
    widths = list(WIDTHS)
    at = skips.pop()
    widths.pop()
    for out in DECODER:
        at = build.relu(build.conv(at, into, out))
        at = build.node("Resize", [at, "", scales], mode="nearest")
        into = out
        if skips:
            at = build.node("Concat", [at, skips.pop()], axis=1)
            into += widths.pop()
        at = build.relu(build.conv(at, into, out))
        into = out
    build.nodes.append(helper.make_node("Sigmoid", [build.conv(at, into, 1, gain=1.0)], ["depth"], name="sigmoid"))
    ends = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width]),
        helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, height, width]),
    ]
    graph = helper.make_graph(build.nodes, "unet", ends[:1], ends[1:], build.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".toml").write_text(SPEC.format(width=width, height=height))
    return path
