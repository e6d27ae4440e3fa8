"""What a quantizer is tried on: a small real network, its model file, and a data set of a few real pictures."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.split import IMAGE_FOLDER
from ncdb_dask.dataset.synthetic.png import picture
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import ModelSpec, read_spec

HEIGHT, WIDTH = 24, 32
# Of pictures: larger than the network's input, so that they are resized on the way.
PICTURE_HEIGHT, PICTURE_WIDTH = 36, 48
SCENES = ("synced_data/a", "synced_data/b")
FRAMES = 6
MODEL_FILE = f"""[input]
width = {WIDTH}
height = {HEIGHT}
mean = [0.45, 0.45, 0.45]
std = [0.25, 0.25, 0.25]

[output]
factor = 5.0
"""


@dataclass(frozen=True)
class Inputs:
    """Network and frames, in a folder of their own.

    Attributes
    ----------
    folder : Path
        Nothing in it may change.
    spec : ModelSpec
        With the names of input and output.
    """

    folder: Path
    spec: ModelSpec

    @classmethod
    def write(cls, folder: Path, seed: int) -> "Inputs":
        """Write network, model file and data set, all drawn by `seed`."""
        rng = np.random.default_rng(seed)
        folder.mkdir()
        (folder / "net.onnx").write_bytes(_network(rng))
        (folder / "net.toml").write_text(MODEL_FILE)
        keys = [(SCENES[number % 2], f"{number // 2:010d}") for number in range(FRAMES)]
        for scene, stem in keys:
            path = folder / "data" / scene / IMAGE_FOLDER / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(_pixels(rng)))
        items = [{"dataset_root": scene, "new_filename": stem} for scene, stem in keys]
        (folder / "calibration.json").write_text(json.dumps(items))
        return cls(folder, check_graph(folder / "net.onnx", read_spec(folder / "net.toml")))

    @property
    def model(self) -> Path:
        """The FP32 network."""
        return self.folder / "net.onnx"

    @property
    def split(self) -> Path:
        """The split file."""
        return self.folder / "calibration.json"

    @property
    def root(self) -> Path:
        """The data set."""
        return self.folder / "data"

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file, by its path from the folder on."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def _pixels(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a picture of a few smooth patches, with some noise."""
    coarse = rng.integers(0, 256, (PICTURE_HEIGHT // 12, PICTURE_WIDTH // 12, 3))
    fine = np.kron(coarse, np.ones((12, 12, 1))) + rng.normal(0, 12, (PICTURE_HEIGHT, PICTURE_WIDTH, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def _network(rng: np.random.Generator) -> bytes:
    """Return a network with two branches that are joined again: image (1, 3, H, W) to depth (1, 1, H, W)."""
    from onnx import NodeProto, TensorProto, helper, numpy_helper

    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []

    def convolve(source: str, target: str, inputs: int, outputs: int, relu: bool = True) -> None:
        deviation = np.sqrt(2 / (9 * inputs))
        values = {"w": rng.normal(0, deviation, (outputs, inputs, 3, 3)), "b": rng.normal(0.1, 0.05, outputs)}
        names = {kind: f"{target}.{kind}" for kind in values}
        weights.extend(numpy_helper.from_array(value.astype(np.float32), names[kind]) for kind, value in values.items())
        made = f"{target}.conv" if relu else target
        nodes.append(
            helper.make_node("Conv", [source, *names.values()], [made], name=f"{target}/conv", pads=[1, 1, 1, 1])
        )
        if relu:
            nodes.append(helper.make_node("Relu", [made], [target], name=f"{target}/relu"))

    convolve("image", "first", 3, 8)
    convolve("first", "left", 8, 8)
    convolve("first", "right", 8, 8)
    nodes.append(helper.make_node("Concat", ["left", "right"], ["both"], name="both/concat", axis=1))
    convolve("both", "depth", 16, 1, relu=False)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, HEIGHT, WIDTH])
        for name, channels in (("image", 3), ("depth", 1))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
