"""Claim: evaluating costs little beyond what it must do: decode two pictures a frame and run the network.

Rendered pictures of 640 x 384 with dense depth, and a convolutional network of 640 x 192 whose cost follows from its
width (or one of your own: --model, --root, --split). "bare" runs the ONNX session on a tensor that is in memory;
"decode + bare" reads and decodes picture and depth, resizes and runs the session, one frame after another, and measures
nothing; in two processes at once, it shows what the machine allows. All contenders take turns, sessions have one
thread, and the files are in the page cache; opening the cluster is not counted.

    python benchmarks/evaluate.py
    python benchmarks/evaluate.py --width 16 --frames 60
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from common import markdown, seconds
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import ncdb_dask
from ncdb_dask.dataset.layout import DEFAULT_VARIANTS
from ncdb_dask.dataset.synthetic import write_tree
from ncdb_dask.model.spec import find_spec, read_spec

ROUNDS = 3
SPEC = (
    "[input]\nwidth = 640\nheight = 192\nname = 'image'\n\n[output]\ndecode = 'inverse-sigmoid'\nmin = 0.5\nmax = 60\n"
)
PROCESSES = 2


def write_network(path: Path, width: int) -> None:
    """Write four stages of three convolutions and a head of 1 x 12 x 40, enlarged to a quarter of the input."""
    channels = (3, width, 2 * width, 4 * width, 8 * width)
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "image"
    for number, (inputs, outputs) in enumerate(pairwise(channels)):
        for step, (before, stride) in enumerate(((inputs, 2), (outputs, 1), (outputs, 1))):
            name = f"conv{number}{step}"
            values = generator.normal(0, (2 / (9 * before)) ** 0.5, (outputs, before, 3, 3)).astype(np.float32)
            weights.append(numpy_helper.from_array(values, f"{name}.weight"))
            nodes.append(helper.make_node("Conv", [last, f"{name}.weight"], [name], strides=[stride] * 2, pads=[1] * 4))
            nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
            last = f"{name}.relu"
    head = generator.normal(0, 0.1, (1, channels[-1], 1, 1)).astype(np.float32)
    weights += [
        numpy_helper.from_array(head, "head.weight"),
        numpy_helper.from_array(np.float32([1, 1, 4, 4]), "scales"),
    ]
    nodes += [
        helper.make_node("Conv", [last, "head.weight"], ["head"]),
        helper.make_node("Sigmoid", ["head"], ["small"]),
        helper.make_node("Resize", ["small", "", "scales"], ["depth"], mode="linear"),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 3, 192, 640]), ("depth", [1, 1, 48, 160]))
    ]
    graph = helper.make_graph(nodes, "network", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def session(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class Loops:
    """The two loops that an evaluation is compared with."""

    def __init__(self, model: Path, frames: list[tuple[Path, Path]]) -> None:
        spec = read_spec(find_spec(model)).input
        self._session, self._frames, self._size = session(model), frames, (spec.width, spec.height)
        self._input = self._session.get_inputs()[0].name
        self._tensor = self._decoded(frames[0])

    def bare(self) -> None:
        for _ in self._frames:
            self._session.run(None, {self._input: self._tensor})

    def decode_and_bare(self) -> None:
        for frame in self._frames:
            self._session.run(None, {self._input: self._decoded(frame)})

    def _decoded(self, frame: tuple[Path, Path]) -> np.ndarray:
        with Image.open(frame[0]) as picture:
            small = picture.convert("RGB").resize(self._size, Image.Resampling.LANCZOS)
        with Image.open(frame[1]) as depth:
            np.asarray(depth)
        return np.asarray(small, dtype=np.float32).transpose(2, 0, 1)[None] / np.float32(255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20, help="of each of six rendered scenes")
    parser.add_argument("--width", type=int, default=72, help="channels of the network's first stage")
    parser.add_argument("--model", type=Path, help="a network with its model file beside it, instead of the random one")
    parser.add_argument("--root", type=Path, help="a data set, instead of the rendered one")
    parser.add_argument("--split", default="train_split.json")
    parser.add_argument("--work", type=Path, help="where to put what is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work, ExitStack() as open_clusters:
        root, model, out = (
            arguments.root or Path(work, "tree"),
            arguments.model or Path(work, "net.onnx"),
            Path(work, "out"),
        )
        if arguments.root is None:
            write_tree(root, frames=arguments.frames, width=640, height=384)
        if arguments.model is None:
            write_network(model, arguments.width)
            model.with_suffix(".toml").write_text(SPEC)
        frames = _frames(root, arguments.split)
        loops = Loops(model, frames)

        def evaluate(client: object) -> None:
            ncdb_dask.evaluate(model, out, root=root, split=arguments.split, client=client)

        contenders: dict[str, Callable[[], None]] = {"bare": loops.bare, "decode + bare": loops.decode_and_bare}
        pool = open_clusters.enter_context(ProcessPoolExecutor(PROCESSES, get_context("spawn")))
        parts = [(model, tuple(frames[number::PROCESSES])) for number in range(PROCESSES)]
        contenders[f"decode + bare, {PROCESSES} at once"] = lambda: list(pool.map(_loop, parts))
        for _ in range(PROCESSES):  # the processes are there, and have opened their sessions
            list(pool.map(_loop, parts))
        contenders["evaluate, this process"] = lambda: evaluate(None)
        for workers in (1, 2):
            client = open_clusters.enter_context(ncdb_dask.open_client(workers=workers))
            contenders[f"evaluate, {workers} worker{'s' * (workers > 1)}"] = lambda client=client: evaluate(client)
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, run in contenders.items():
                shutil.rmtree(out, ignore_errors=True)
                spent[name].append(seconds(run))
        _print(len(frames), {name: statistics.median(times) for name, times in spent.items()})


@lru_cache(maxsize=2)
def _loops(model: Path, frames: tuple[tuple[Path, Path], ...]) -> "Loops":
    """One session a process, opened before the clock runs."""
    return Loops(model, list(frames))


def _loop(part: tuple[Path, tuple[tuple[Path, Path], ...]]) -> None:
    _loops(*part).decode_and_bare()


def _frames(root: Path, split: str) -> list[tuple[Path, Path]]:
    found = []
    for item in json.loads((root / split).read_text()):
        scene, stem = root / item["dataset_root"], item["new_filename"]
        depths = (scene / variant / f"{stem}.png" for variant in DEFAULT_VARIANTS)
        found.append((scene / "image_a6" / f"{stem}.png", next(filter(Path.exists, depths))))
    return found


def _print(count: int, medians: dict[str, float]) -> None:
    loop = medians["decode + bare"]
    print(f"{count} frames\n")
    rows = []
    for name, time in medians.items():
        at_once = 2 if name.endswith(("2 workers", "2 at once")) else 1
        share = f"{loop / time / at_once:.2f}" if name != "bare" else ""
        rows.append([name, f"{time:.2f}", f"{count / time:.1f}", f"{loop / time:.2f}", share])
    print(markdown(["", "seconds (median)", "frames/s", "x decode + bare", "a worker"], rows))


if __name__ == "__main__":
    main()
