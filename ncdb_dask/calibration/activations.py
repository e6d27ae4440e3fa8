"""Activation statistics of one frame, as a row of plain arrays, and of many frames, added up exactly.

A network runs once a frame; each tensor is folded at once into a histogram whose bins are fixed for ever
(`ncdb_dask.calibration.histogram`) and into figures of its channels. Rows add up to the same bits in any order and on
any number of workers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ncdb_dask.calibration.channel_statistics import ChannelStatistics, ChannelSum
from ncdb_dask.calibration.histogram import BINS, NEGATIVE, NOT_FINITE, Histogram, count
from ncdb_dask.calibration.observed import Axes, Observed
from ncdb_dask.model.session import network

# A row a frame. Lists run over the tensors, or over their bins or channels one tensor after another.
SCHEMA = pa.schema(
    [
        ("dataset_root", pa.string()),
        ("filename", pa.string()),
        ("image", pa.string()),
        ("sha256", pa.string()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("filled", pa.list_(pa.uint32())),
        ("bins", pa.list_(pa.uint16())),
        ("counts", pa.list_(pa.uint32())),
        ("nan", pa.list_(pa.uint32())),
        ("infinite", pa.list_(pa.uint32())),
        ("channels", pa.list_(pa.uint32())),
        ("low", pa.list_(pa.float32())),
        ("high", pa.list_(pa.float32())),
        ("mean", pa.list_(pa.float64())),
        ("square", pa.list_(pa.float64())),
    ]
)
SCHEMA_VERSION = 1
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class TensorStatistics:
    """What is known of one tensor over some frames.

    Attributes
    ----------
    histogram : Histogram
        Of all its values.
    channels : ChannelStatistics
        Ranges, means and mean squares.
    """

    histogram: Histogram
    channels: ChannelStatistics


@dataclass(frozen=True, slots=True)
class NotFinite:
    """A tensor that holds NaN or infinite values on a frame."""

    tensor: str
    dataset_root: str
    stem: str
    nan: int
    infinite: int


def measure(observed: Observed, tensor: npt.NDArray[np.float32]) -> Row:
    """Run a network on one frame and fold its activations into the statistical columns of `SCHEMA`.

    Parameters
    ----------
    observed : Observed
        What is run.
    tensor : ndarray of float32, shape (1, 3, height, width) or (1, height, width, 3)
        The frame's.

    Raises
    ------
    SpecError
        Where the network fails.
    OSError
        Where memory runs out.
    """
    outputs = network(observed.network).run(tensor[0])
    outputs.insert(0, tensor)
    outputs.reverse()
    rows = [_folded(outputs.pop(), axis) for axis in observed.axes]  # each tensor is let go of at once
    return {name: np.concatenate([row[name] for row in rows]) for name in SCHEMA.names if name in rows[0]}


def _folded(values: npt.NDArray[Any], axis: int | None) -> Row:
    values = np.ascontiguousarray(values, dtype=np.float32)
    counts = count(values)
    nan = infinite = 0
    finite = not (counts[NOT_FINITE:NEGATIVE].any() or counts[NEGATIVE + NOT_FINITE :].any())
    if not finite:
        nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    channels = ChannelStatistics.of(values, axis, finite=finite)
    bins = np.flatnonzero(counts)
    return {
        "filled": np.array([len(bins)], dtype=np.uint32),
        "bins": bins.astype(np.uint16),
        "counts": counts[bins].astype(np.uint32),
        "nan": np.array([nan], dtype=np.uint32),
        "infinite": np.array([infinite], dtype=np.uint32),
        "channels": np.array([len(channels.low)], dtype=np.uint32),
        "low": channels.low,
        "high": channels.high,
        "mean": channels.mean,
        "square": channels.square,
    }


@dataclass
class StatisticsSum:
    """Rows of frames, added up; as large for a thousand frames as for one.

    Parameters
    ----------
    tensors : tuple of str
        Names, in the order of the rows.
    axes : tuple of (int or None)
        Of their channels.
    """

    tensors: tuple[str, ...]
    axes: Axes
    not_finite: list[NotFinite] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.tensors)
        self._counts = np.zeros((size, BINS), dtype=np.int64)
        self._bad = np.zeros((size, 2), dtype=np.int64)
        self._channels = [ChannelSum(axis) for axis in self.axes]

    def add(self, row: Row) -> None:
        """Add a frame: the columns of `SCHEMA`, lists as arrays."""
        parts = _cut(row, row["filled"], ("bins", "counts"))
        for counts, (bins, times) in zip(self._counts, parts, strict=True):
            counts[bins] += times
        parts = _cut(row, row["channels"], ("low", "high", "mean", "square"))
        for channels, figures in zip(self._channels, parts, strict=True):
            channels.add(*figures)
        bad = np.stack([row["nan"], row["infinite"]], axis=1).astype(np.int64)
        self._bad += bad
        for number in np.flatnonzero(bad.any(axis=1)):
            nan, infinite = map(int, bad[number])
            self.not_finite.append(NotFinite(self.tensors[number], row["dataset_root"], row["filename"], nan, infinite))

    def statistics(self) -> dict[str, TensorStatistics]:
        """Return the statistics of each tensor; at least one frame was added."""
        return dict(zip(self.tensors, map(self._tensor, range(len(self.tensors))), strict=True))

    def _tensor(self, number: int) -> TensorStatistics:
        channels = self._channels[number].statistics()
        low, high = float(channels.low.min()), float(channels.high.max())
        nan, infinite = map(int, self._bad[number])
        return TensorStatistics(Histogram(self._counts[number], low, high, nan, infinite), channels)


def rows_of(table: pa.Table) -> Iterator[Row]:
    """Yield the rows of a shard, lists as arrays."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    for number in range(table.num_rows):
        yield {name: _value(column[number]) for name, column in columns.items()}


def _value(scalar: Any) -> Any:
    if isinstance(scalar, pa.ListScalar):
        return None if scalar.values is None else scalar.values.to_numpy(zero_copy_only=False)
    return scalar.as_py()


def _cut(row: Mapping[str, Any], sizes: npt.NDArray[np.uint32], names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Cut columns that run over all tensors into the parts of each."""
    ends = np.cumsum(sizes.astype(np.int64))[:-1]
    return zip(*(np.split(row[name], ends) for name in names), strict=True)
