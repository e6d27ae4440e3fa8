"""The files that make up a network, the ONNX file and those it keeps weights in, and their digest."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ncdb_dask.errors import SpecError
from ncdb_dask.model.values import quoted

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto


def weight_files(path: str, graph: "GraphProto") -> tuple[str, ...]:
    """Return which other files hold weights of a network ("external data"), relative to its folder, sorted.

    Parameters
    ----------
    path : str
        What errors name.
    graph : GraphProto
        As `ncdb_dask.model.graph.load_graph` returns it.

    Raises
    ------
    SpecError
        Where one is outside the folder, which ONNX forbids.
    """
    import onnx

    external = onnx.TensorProto.EXTERNAL
    tensors = [tensor for tensor in _tensors(graph) if tensor.data_location == external]
    names = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    for name in names:
        if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise SpecError(f"{path}: keeps weights in {quoted(name)}; expected a file in its own folder or below it")
    return tuple(sorted(names))


def digest(path: str, weights: Sequence[str]) -> str:
    """Return the SHA-256 of a network: of its file and then its `weights`, as ``cat`` would put them together.

    Without such files it is what ``sha256sum`` prints.

    Parameters
    ----------
    path : str
        The ONNX file.
    weights : sequence of str
        As `weight_files` returns them.

    Raises
    ------
    OSError
        Where one cannot be read.
    """
    sha = hashlib.sha256()
    for name in (path, *(os.path.join(os.path.dirname(path), name) for name in weights)):
        with open(name, "rb") as file:
            hashlib.file_digest(file, lambda: sha)
    return sha.hexdigest()


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    """Yield every tensor that a graph holds, those in its nodes and their subgraphs, too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
