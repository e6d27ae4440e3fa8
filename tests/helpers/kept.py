"""Activation statistics of a small network on a tree, kept in a folder as users keep theirs; without Dask."""

from collections.abc import Sequence
from pathlib import Path

from ncdb_dask.calibration.collection import Collection
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.job import StatisticsJob
from ncdb_dask.dataset.split import Roots
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import read_spec
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.store.folder import LocalFolder


def keep(place: Path, root: Path, network: Path, keys: Sequence[tuple[str, str]]) -> Collection:
    """Measure the frames that are missing, below `place`."""
    spec = check_graph(network, read_spec(network.with_suffix(".toml")))
    data = LocalFolder(str(root))
    reader = FrameReader(data, Roots.of(data), spec.input, run="now")
    model = prepared(load(network), spec.input, network.parent)
    collection = Collection.at(LocalFolder(str(place)), model, spec, reader, "CPUExecutionProvider", 1)
    plan = collection.plan([CalibrationFrame(*key) for key in keys])
    plan.write()
    job = StatisticsJob.of(collection, plan.run.plan.id)
    for assignment in plan.left():
        job(assignment)
    return collection
