"""Small ONNX networks whose depth is known in closed form, with their model files; and trees for them to judge.

Pictures have the size of the networks' input, so that nothing is resized on the way in, and a test can compute every
prediction from a picture's pixels.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 12, 16  # as `helpers.trees` writes pictures
FACTOR = 20.0
Pixels = np.ndarray  # of shape (HEIGHT, WIDTH, 3)
Part = Mapping[str, Any]


def constant(name: str, values: object, kind: type = np.float32) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, kind), name))


def mean_of_channels(target: str = "mean") -> NodeProto:
    return helper.make_node("ReduceMean", ["image"], [target], axes=[1])


def pooled(source: str, kernel: Sequence[int], target: str = "depth") -> NodeProto:
    """Average over blocks of pixels."""
    return helper.make_node("AveragePool", [source], [target], kernel_shape=[*kernel], strides=[*kernel])


def write_network(
    path: Path,
    nodes: Sequence[NodeProto],
    output: Part | None = None,
    evaluation: Part | None = None,
    shape: Sequence[int] | None = None,
    **changes: Any,
) -> Path:
    """Write a network and its model file beside it, and return the path of the network.

    Its input is ``image``, its output ``depth``, of a shape that the file does not tell if `shape` is None; `changes`
    are keys of [input].
    """
    ends = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH]),
        helper.make_tensor_value_info("depth", TensorProto.FLOAT, shape),
    ]
    graph = helper.make_graph([*nodes], "network", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    describe(path.with_suffix(".toml"), output, evaluation, **changes)
    return path


def describe(path: Path, output: Part | None = None, evaluation: Part | None = None, **changes: Any) -> Path:
    """Write a model file, and return its path."""
    sections = {
        "input": {"width": WIDTH, "height": HEIGHT, **changes},
        "output": {"factor": FACTOR} if output is None else output,
        "evaluation": {"min_depth": 0.5, "max_depth": 30.0} if evaluation is None else evaluation,
    }
    lines = (
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for name, keys in sections.items()
    )
    path.write_text("\n".join(lines))
    return path


@dataclass(frozen=True)
class Known:
    """A network, and what it predicts.

    Attributes
    ----------
    nodes : sequence of NodeProto
        From ``image`` to ``depth``.
    depth : callable
        Pixels of 0 to 255 -> metres in float64, under ``factor = FACTOR``.
    """

    nodes: Sequence[NodeProto]
    depth: Callable[[Pixels], np.ndarray]

    def write(self, path: Path, **options: Any) -> Path:
        """Write it as `write_network` does."""
        return write_network(path, self.nodes, **options)


def _grey(pixels: Pixels) -> np.ndarray:
    return pixels.astype(np.float64).mean(axis=2) / 255


def _quarter(pixels: Pixels) -> np.ndarray:
    return FACTOR * _grey(pixels).reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))


RAMP = 1 + np.arange(WIDTH) / 4  # sees the left and the right of a picture differently
KNOWN: Mapping[str, Known] = {
    # Mean of the channels, at a quarter of the size.
    "quarter": Known([mean_of_channels(), pooled("mean", (4, 4))], _quarter),
    # The red channel as it is.
    "red": Known(
        [constant("first", [0], np.int64), helper.make_node("Gather", ["image", "first"], ["depth"], axis=1)],
        lambda pixels: FACTOR * pixels[..., 0].astype(np.float64) / 255,
    ),
    # Not the same for a picture and its mirror image.
    "ramp": Known(
        [mean_of_channels(), constant("ramp", RAMP), helper.make_node("Mul", ["mean", "ramp"], ["depth"])],
        lambda pixels: FACTOR * _grey(pixels) * RAMP,
    ),
    # Depth that is none wherever the picture is darker than the middle.
    "root": Known(
        [
            mean_of_channels(),
            constant("half", 0.5),
            helper.make_node("Sub", ["mean", "half"], ["above"]),
            helper.make_node("Sqrt", ["above"], ["depth"]),
        ],
        lambda pixels: FACTOR * np.sqrt(np.maximum(_grey(pixels) - 0.5, 0)),
    ),
    # Squeezed to another aspect.
    "squeezed": Known(
        [mean_of_channels(), pooled("mean", (1, 4))],
        lambda pixels: FACTOR * _grey(pixels).reshape(HEIGHT, WIDTH // 4, 4).mean(axis=2),
    ),
}
NO_MAP = [helper.make_node("Identity", ["image"], ["depth"])]  # three channels
