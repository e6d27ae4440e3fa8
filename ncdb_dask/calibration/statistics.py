"""Activation statistics of a set of frames, and the ranges that follow from them."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ncdb_dask.calibration.activations import NotFinite, Row, StatisticsSum, TensorStatistics
from ncdb_dask.calibration.cache import write_cache
from ncdb_dask.calibration.collection import FP32_FILE, STATISTICS
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.observed import Axes, named_axes, tensors_of
from ncdb_dask.calibration.ranges import PERCENTILE, Range, find_range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.stored_rows import Key, chosen_places, places_of, rows_of_frames
from ncdb_dask.errors import CalibrationError, PlanError
from ncdb_dask.store.folder import LocalFolder, file_at, reported
from ncdb_dask.store.plan import Plan, read_plan
from ncdb_dask.store.shards import Receipt, read_receipts

if TYPE_CHECKING:
    from os import PathLike

    from onnx import ModelProto

SHOWN = 3
LEAVE_OUT = "mend them, or leave them out with skip_bad (--skip-bad)"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame that could not be used, or an entry that names none."""

    dataset_root: str | None
    stem: str | None
    status: str
    detail: str

    def __str__(self) -> str:
        named = "" if self.stem is None else f"{self.stem} of {self.dataset_root}: "
        return f"{named}{self.status} ({self.detail})"


@dataclass(frozen=True, eq=False)
class ActivationStatistics:
    """What is known of every activation of a network over a set of frames.

    Attributes
    ----------
    tensors : mapping of str to TensorStatistics
        The network's input, then its activations in topological order.
    frames : tuple of (str, str)
        Keys of the frames that were used.
    skipped : tuple of Skipped
        Frames that could not be.
    not_finite : tuple of NotFinite
        Tensors with NaN or infinite values, frame by frame; these values count in no range.
    folder : str
        Where the statistics are kept, and, as ``_fp32.onnx``, the network that they are of.
    """

    tensors: Mapping[str, TensorStatistics]
    frames: tuple[Key, ...]
    skipped: tuple[Skipped, ...]
    not_finite: tuple[NotFinite, ...]
    folder: str

    def __repr__(self) -> str:
        return f"<statistics of {len(self.tensors)} tensors on {len(self.frames)} frames in {self.folder}>"

    def ranges(
        self, method: str = "minmax", scheme: Scheme | None = None, percentile: float = PERCENTILE
    ) -> dict[str, Range]:
        """Return the range of every tensor; no inference is needed.

        Parameters
        ----------
        method : str
            ``minmax``, ``percentile``, ``entropy`` or ``mse``.
        scheme : Scheme, optional
            What the tensors are rounded to; uint8 if left out.
        percentile : float
            For ``percentile``: how much of the values a range holds, in percent.

        Raises
        ------
        CalibrationError
            For an unknown method or a percentile out of range.
        """
        chosen = Scheme() if scheme is None else scheme
        return {name: self.range_of(name, method, chosen, percentile) for name in self.tensors}

    def range_of(self, tensor: str, method: str, scheme: Scheme, percentile: float = PERCENTILE) -> Range:
        """Return the range of one tensor; see `ranges`."""
        return find_range(self.tensors[tensor].histogram, method, scheme, percentile)

    def write_cache(self, path: "str | PathLike[str]", ranges: Mapping[str, Range]) -> None:
        """Write ranges as ONNX Runtime's calibration cache.

        ``quantize_static(network, ..., calibration_data_reader=None, calibration_cache_path=path)`` builds the INT8
        network from it; the network is ``_fp32.onnx`` in `folder`. By its own rules it gives what enters a Relu or Clip
        the range of what leaves it, and what leaves a Softmax 0 to 1.

        Raises
        ------
        StorageError
            Where the storage fails.
        """
        place, _ = file_at(os.fspath(path))
        with reported(place, "write"):
            write_cache(path, ranges)


@dataclass(frozen=True)
class Measured:
    """Rows of frames that were run; made of values, so that it travels to any worker.

    Attributes
    ----------
    folder : LocalFolder
        Where they are kept.
    tensors, axes
        As of `ncdb_dask.calibration.observed.Observed`.
    receipts : tuple of Receipt
        Of all shards that are done.
    pictures : mapping of (str, str) to str
        As `CollectionPlan.pictures`.
    """

    folder: LocalFolder
    tensors: tuple[str, ...]
    axes: Axes
    receipts: tuple[Receipt, ...]
    pictures: Mapping[Key, str]

    def usable(self, frames: Sequence[CalibrationFrame]) -> tuple[CalibrationFrame, ...]:
        """Return those of some frames that could be run.

        Raises
        ------
        PlanError
            Where a shard is not what its receipt says.
        OSError
            Where the storage fails.
        """
        rows = chosen_places(places_of(self.folder, self.receipts), self.pictures)
        good = {key for key, place in rows.items() if place.status == "ok"}
        return tuple(frame for frame in frames if frame.status is None and frame.key in good)

    def statistics(
        self, frames: Sequence[CalibrationFrame], *, skip_bad: bool = False, advice: str = LEAVE_OUT
    ) -> ActivationStatistics:
        """Add up those of some of the frames; see `added_up`.

        Raises
        ------
        CalibrationError
            As `added_up`.
        PlanError
            Where a shard is not what its receipt says.
        OSError
            Where the storage fails.
        """
        wanted = [(str(frame.dataset_root), str(frame.stem)) for frame in frames if frame.status is None]
        rows = rows_of_frames(self.folder, self.receipts, wanted, self.pictures)
        return added_up(self.tensors, self.axes, frames, rows, self.folder.url, skip_bad=skip_bad, advice=advice)


def stored(folder: LocalFolder, keys: Sequence[Key], *, input_name: str, layout: str) -> ActivationStatistics:
    """Add up what a folder of statistics holds of some frames; nothing is run.

    Parameters
    ----------
    folder : LocalFolder
        As `ActivationStatistics.folder` names it.
    keys : sequence of (str, str)
        Of the frames.
    input_name, layout : str
        Of the network.

    Raises
    ------
    CalibrationError
        Where it holds no statistics, or not those of every frame.
    PlanError
        Where they are damaged.
    OSError
        Where the storage fails.
    """
    plan = stored_plan(folder)
    tensors, axes = named_axes(_network(folder, plan), input_name, layout)
    receipts = read_receipts(folder, plan).values()
    frames = [CalibrationFrame(*key) for key in keys]
    return added_up(tensors, axes, frames, rows_of_frames(folder, receipts, keys), folder.url, skip_bad=False)


def stored_plan(folder: LocalFolder) -> Plan:
    """Return the plan of a folder of statistics; errors are those of `stored`."""
    plan = read_plan(folder)
    if plan is None or plan.kind != STATISTICS.name:
        raise CalibrationError(f"{folder.url}: holds no activation statistics; quantize again to make them")
    return plan


def stored_tensors(folder: LocalFolder, plan: Plan) -> tuple[str, ...]:
    """Return the names of the tensors that the rows of a folder are of, in their order; errors are those of `stored`.

    The network lies in the folder, and its plan holds what the model file says of the input.
    """
    return (plan.settings["input"]["name"], *tensors_of(_network(folder, plan)))


def _network(folder: LocalFolder, plan: Plan) -> "ModelProto":
    """Read the network that statistics are of."""
    import onnx

    data = folder.read(FP32_FILE)
    if hashlib.sha256(data).hexdigest() != plan.settings["network"]:
        raise PlanError(f"{folder.url}/{FP32_FILE} is not the network of these statistics; quantize again")
    return onnx.load_model_from_string(data)


def added_up(
    tensors: tuple[str, ...],
    axes: Axes,
    frames: Sequence[CalibrationFrame],
    rows: Iterable[Row],
    folder: str,
    *,
    skip_bad: bool,
    advice: str = LEAVE_OUT,
) -> ActivationStatistics:
    """Add up the rows of a set of frames.

    Parameters
    ----------
    tensors, axes
        As of `ncdb_dask.calibration.observed.Observed`.
    frames : sequence of CalibrationFrame
        The set, at least one, each once.
    rows : iterable of dict
        Of every frame that is not faulty by itself, in any order.
    folder : str
        Where they are kept.
    skip_bad : bool
        Whether frames that could not be used are left out.
    advice : str
        What to do about them where they are not.

    Raises
    ------
    CalibrationError
        Where a frame could not be used and `skip_bad` does not leave it out, none is left, or a row is missing.
    """
    total, used = StatisticsSum(tensors, axes), set[Key]()
    skipped = dict(faulty(frames))
    places = {frame.key: number for number, frame in enumerate(frames) if frame.status is None}
    for row in rows:
        key = row["dataset_root"], row["filename"]
        if row["status"] == "ok":
            total.add(row)
            used.add(key)
        else:
            skipped[places[key]] = Skipped(*key, row["status"], str(row["detail"]))
    left_out = tuple(skipped[number] for number in sorted(skipped))
    require_usable(left_out, len(frames), skip_bad=skip_bad, advice=advice)
    lost = len(frames) - len(used) - len(left_out)
    if lost:
        raise CalibrationError(f"{folder}: holds no statistics of {lost} of {len(frames)} frames; quantize again")
    order = {name: number for number, name in enumerate(tensors)}
    not_finite = sorted(total.not_finite, key=lambda one: (places[one.dataset_root, one.stem], order[one.tensor]))
    return ActivationStatistics(
        total.statistics(), tuple(sorted(used, key=places.__getitem__)), left_out, tuple(not_finite), folder
    )


def faulty(frames: Sequence[CalibrationFrame]) -> Iterator[tuple[int, Skipped]]:
    """Yield place and fault of each frame that cannot be used whatever its files are."""
    for number, frame in enumerate(frames):
        if frame.status is not None:
            yield number, Skipped(frame.dataset_root, frame.stem, frame.status, str(frame.detail))


def require_usable(skipped: Sequence[Skipped], frames: int, *, skip_bad: bool, advice: str = LEAVE_OUT) -> None:
    """Refuse a set of `frames` frames of which some cannot be used, unless they may be left out and others remain.

    Raises
    ------
    CalibrationError
        Names the first ones.
    """
    if skipped and not skip_bad:
        shown = "; ".join(map(str, skipped[:SHOWN])) + ("; ..." if len(skipped) > SHOWN else "")
        raise CalibrationError(f"frames that cannot be used: {len(skipped)} of {frames} ({shown}); {advice}")
    if len(skipped) == frames:
        raise CalibrationError(f"none of the {frames} frames can be used ({skipped[0]}); mend them")
