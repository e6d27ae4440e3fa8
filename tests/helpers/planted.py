"""Networks whose INT8 loses for one reason that is known, and frames whose pictures hold their depth.

A picture's red is the logarithm of the depth, so that a network of a few layers is right, but for the noise of the
truth. Each plant spoils one thing; in FP32 all compute the same. In fine pictures, red and green are the two bytes of
the depth itself.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import ModelProto
from PIL import Image

from helpers.graphs import Graph
from helpers.trees import write_split
from ncdb_dask.model.spec import InputSpec, ModelSpec, OutputSpec

HEIGHT, WIDTH = 24, 32
NEAR, FAR = 0.5, 80.0
SPAN = np.log(FAR / NEAR)
# Of the truth, relative: without it FP32 would be exact, and nothing could be compared with it.
NOISE = 0.05
RECORDINGS, FRAMES = 8, 2
# How far blue goes in calibration frames and in those that are judged; red and green go all the way in both.
CALM, WILD = 0.2, 1.0
CHANNELS = 32


def write_planted(root: Path, fine: bool = False) -> tuple[Path, Path]:
    """Write a tree; return the splits of calibration and of evaluation."""
    keys: dict[str, list[tuple[str, str]]] = {"calibration": [], "evaluation": []}
    random = np.random.default_rng(7)
    for name, blue in (("calibration", CALM), ("evaluation", WILD)):
        for recording in range(RECORDINGS):
            scene = f"synced_data/{name}_{recording}"
            for number in range(FRAMES):
                _write(root, scene, f"{number:06d}", blue, random, fine)
                keys[name].append((scene, f"{number:06d}"))
    return (
        write_split(root, keys["calibration"], "calibration.json"),
        write_split(root, keys["evaluation"], "evaluation.json"),
    )


def _write(root: Path, scene: str, stem: str, blue: float, random: np.random.Generator, fine: bool) -> None:
    picture = np.rint(255 * random.random((HEIGHT, WIDTH, 3)) * (1, 1, blue))
    depth = NEAR * np.exp(SPAN * picture[..., 0] / 255)
    if fine:
        code = np.rint(depth / FAR * 65535)
        picture[..., 0], picture[..., 1] = code // 256, code % 256
    truth = np.clip(depth * (1 + NOISE * random.normal(size=depth.shape)), NEAR, 0.99 * FAR)
    for folder, pixels, kind in (("image_a6", picture, np.uint8), ("newest_depth_maps", truth * 256, np.uint16)):
        path = root / scene / folder / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(kind)).save(path)


def _decoded(decode: str) -> ModelSpec:
    about = {
        "log": OutputSpec(decode="log-sigmoid", min=NEAR, max=FAR),
        "linear": OutputSpec(decode="linear"),
    }
    return ModelSpec(InputSpec(WIDTH, HEIGHT, resize="nearest"), about[decode])


def _mixed(graph: Graph, source: str, values: np.ndarray) -> str:
    """Add a convolution of 1 x 1, after which all values are above 0."""
    bias = graph.constant(np.ones(len(values)))
    return graph.add("Relu", graph.add("Conv", source, graph.constant(values[:, :, None, None]), bias))


def _red(graph: Graph, source: str, values: np.ndarray) -> str:
    """Add the convolution that finds the red in what `_mixed` has made by `values`; 1 is near."""
    inverse = -np.linalg.pinv(values)[:1]
    offset = 1 - inverse.sum()
    return graph.add("Conv", source, graph.constant(inverse[:, :, None, None]), graph.constant([offset]))


def _begun() -> Graph:
    graph = Graph(17, seed=5)
    graph.input(1, 3, HEIGHT, WIDTH)
    return graph


def _mixing(graph: Graph) -> np.ndarray:
    values: np.ndarray = graph.random.uniform(-1, 1, size=(CHANNELS, 3))
    return values / np.abs(values).sum(axis=1, keepdims=True)  # what it makes of a picture lies between -1 and 1


def sound() -> tuple[ModelProto, ModelSpec]:
    """A network that INT8 does not harm."""
    graph = _begun()
    values = _mixing(graph)
    graph.output(_red(graph, _mixed(graph, "image", values), values))
    return graph.model(), _decoded("log")


def coarse_output() -> tuple[ModelProto, ModelSpec]:
    """The output is metres on a linear scale, of fine pictures: near depths have a few steps of its grid."""
    graph = _begun()
    parts = [np.zeros((1, 3, 1, 1)) for _ in range(2)]
    parts[0][0, 0], parts[1][0, 1] = FAR * 255 * 256 / 65535, FAR * 255 / 65535
    # Neither of the two is rounded: each has the 256 values that 8 bits can hold.
    graph.output(graph.add("Add", *(graph.add("Conv", "image", graph.constant(part)) for part in parts)))
    return graph.model(), _decoded("linear")


def clipped() -> tuple[ModelProto, ModelSpec]:
    """One tensor holds blue, which the calibration frames hardly have; what comes after takes it out again."""
    graph = _begun()
    values = _mixing(graph)
    mixed = _mixed(graph, "image", values)
    red, blue = np.linalg.pinv(values)[[0, 2]]
    summed = 4 * blue - red
    one = graph.add("Conv", mixed, graph.constant(summed[None, :, None, None]), graph.constant([-summed.sum()]))
    # Beside it a constant that is larger than all, so that nothing is clipped where both are joined.
    rows = np.stack([blue, 0 * blue])[:, :, None, None]
    other = graph.add("Conv", mixed, graph.constant(rows), graph.constant([-blue.sum(), 6.0]))
    both = graph.add("Concat", one, other, axis=1)
    joined = np.array([1.0, -4.0, 0.0])[None, :, None, None]
    graph.output(graph.add("Conv", both, graph.constant(joined), graph.constant([1.0])))
    return graph.model(), _decoded("log")


def coarse_weights() -> tuple[ModelProto, ModelSpec]:
    """A layer has one large weight, for a channel that is always zero: all others have no steps left."""
    graph = _begun()
    values = _mixing(graph)
    mixed = _mixed(graph, "image", values)
    dead = graph.add("Relu", graph.add("Conv", "image", graph.constant(np.zeros((1, 3, 1, 1))), graph.constant([-1.0])))
    both = graph.add("Concat", mixed, dead, axis=1)
    inverse = -np.linalg.pinv(values)[0]
    weights = np.concatenate([inverse, [80 * np.abs(inverse).max()]])
    graph.output(
        graph.add("Conv", both, graph.constant(weights[None, :, None, None]), graph.constant([1 - inverse.sum()]))
    )
    return graph.model(), _decoded("log")


def unbalanced() -> tuple[ModelProto, ModelSpec]:
    """A Concat joins a branch whose values are a hundred times as large as what matters."""
    graph = _begun()
    values = _mixing(graph)
    mixed = _mixed(graph, "image", values)
    wide = graph.add(
        "Relu", graph.add("Conv", "image", graph.constant(150 * np.ones((4, 3, 1, 1))), graph.constant(np.zeros(4)))
    )
    both = graph.add("Concat", wide, mixed, axis=1)
    inverse = -np.linalg.pinv(values)[0]
    weights = np.concatenate([np.array([1, -1, 1, -1]) / 1000, inverse])
    graph.output(
        graph.add("Conv", both, graph.constant(weights[None, :, None, None]), graph.constant([1 - inverse.sum()]))
    )
    return graph.model(), _decoded("log")


PLANTS: dict[str, Callable[[], tuple[ModelProto, ModelSpec]]] = {
    "nothing": sound,
    "output grid": coarse_output,
    "calibration": clipped,
    "weights": coarse_weights,
    "tensors": unbalanced,
}
