"""From torch to ONNX: written only if ONNX Runtime computes what torch does."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ncdb_dask.errors import TrainingError
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.training.recipe_sections import ExportRecipe
from ncdb_dask.training.source import Outputs

if TYPE_CHECKING:
    from onnx import ModelProto

# Largest difference of an output, relative to its largest value.
SAME = 1e-4
WRAPPER = "network."  # in front of the names of parameters, by the attribute of `Outputs`
NETWORK_FILE, SPEC_FILE = "network.onnx", "network.toml"


def export_onnx(
    network: Outputs,
    spec: ModelSpec,
    recipe: ExportRecipe,
    folder: LocalFolder,
    pictures: Sequence[npt.NDArray[np.float32]],
) -> float:
    """Write ``network.onnx`` and its model file, and return the largest difference from torch, relative.

    Parameters
    ----------
    network : Outputs
        On the CPU; it is put in eval mode.
    spec : ModelSpec
        Its model file. Names of input and outputs that it leaves out are given here.
    recipe : ExportRecipe
        Opset, and what is left open.
    folder : LocalFolder
        Where.
    pictures : sequence of ndarray of float32, shape (3, height, width) or (height, width, 3)
        At least one, on which both are run.

    Raises
    ------
    TrainingError
        Where torch cannot export the network, or ONNX Runtime computes something else.
    OSError
        Where the storage fails.
    """
    network.eval()
    named = _named(spec, len(network.where or ("",)))
    example = torch.from_numpy(pictures[0])[None]
    # Outputs that are not there are told of without the exporter's words around.
    _run(network, example, f"a picture of {spec.input.width} x {spec.input.height}")
    data = _exported(network, named, recipe, example)
    # Checked under a name of its own: what has another's name is checked.
    candidate = f"_unchecked-{NETWORK_FILE}"
    folder.write(candidate, data)
    try:
        checked = [*pictures, *([_doubled(pictures[0], named)] if recipe.dynamic else [])]
        difference = _difference(network, Path(folder.path, candidate), named, checked)
        if not difference < SAME:
            raise TrainingError(
                f"the exported network differs from torch by {difference:.2g} of its largest output (allowed: "
                f"{SAME:g}); try another opset in [export], or replace what torch and ONNX define differently"
            )
    finally:
        folder.remove(candidate)
    folder.write_all({SPEC_FILE: named.as_toml().encode(), NETWORK_FILE: data})
    return difference


def _named(spec: ModelSpec, outputs: int) -> ModelSpec:
    names = spec.output.name or ("depth",)
    if len(names) != outputs:
        raise TrainingError(
            f"the model file names {len(names)} outputs ({', '.join(names)}), the recipe's [network] output {outputs}"
        )
    return replace(
        spec, input=replace(spec.input, name=spec.input.name or "image"), output=replace(spec.output, name=names)
    )


def _exported(network: Outputs, spec: ModelSpec, recipe: ExportRecipe, example: torch.Tensor) -> bytes:
    open_axes = None
    if recipe.dynamic:
        height, width = (2, 3) if spec.input.layout == "nchw" else (1, 2)
        auto = torch.export.Dim.AUTO
        open_axes = ({0: auto, height: auto, width: auto},)
        example = example.repeat(2, 1, 1, 1)  # a size of 1 would be taken for a constant
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                opset_version=recipe.opset,
                input_names=[spec.input.name],
                output_names=list(spec.output.name),
                dynamic_shapes=open_axes,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # of torch.export, of the exporter, of onnxscript
        raise TrainingError(
            f"torch cannot export the network ({type(error).__name__}: {_first_line(error)}); its forward may branch "
            "on values, or hold what ONNX has no operator for"
        ) from error
    model = program.model_proto
    _plain(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _plain(model: "ModelProto") -> None:
    """Take out what the exporter tells of itself, paths of this machine among it, and the wrapper from the names."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    del graph.value_info[:]  # whoever needs shapes infers them
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(WRAPPER)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = name.removeprefix(WRAPPER)


def _difference(network: Outputs, path: Path, spec: ModelSpec, pictures: Sequence[npt.NDArray[np.float32]]) -> float:
    session = NetworkReference.of(path, spec).open()
    sizes, differences = [], []
    for picture in pictures:
        what = f"a picture of shape {picture.shape}, as dynamic = true in [export] has it"
        exact: Any = [one.numpy()[0] for one in _run(network, torch.from_numpy(picture)[None], what)]
        for made, wanted in zip(session.run(picture), exact, strict=True):
            sizes.append(np.abs(wanted).max())
            differences.append(np.abs(made[0] - wanted).max())
    # Of numpy: Python's `max` may pass over NaN.
    largest, worst = float(np.max(sizes)), float(np.max(differences))
    return worst / largest if largest else worst


def _run(network: Outputs, pictures: torch.Tensor, what: str) -> tuple[torch.Tensor, ...]:
    try:
        with torch.no_grad():
            outputs: tuple[torch.Tensor, ...] = network(pictures)
            return outputs
    except (RuntimeError, ValueError) as error:  # a stranger's code
        raise TrainingError(f"the network cannot take {what} ({_first_line(error)})") from error


def _doubled(picture: npt.NDArray[np.float32], spec: ModelSpec) -> npt.NDArray[np.float32]:
    """Return a picture of twice the size: axes that are said to be open must be."""
    height, width = (1, 2) if spec.input.layout == "nchw" else (0, 1)
    return np.ascontiguousarray(picture.repeat(2, height).repeat(2, width))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own insides to itself."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
