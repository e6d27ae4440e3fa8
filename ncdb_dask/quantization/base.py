"""What a quantizer is: configured when it is made, given material when it is called, and how its answer travels.

A backend of somebody else's is a class that is registered under the entry point group ``ncdb_dask.quantizers``, with
its options as keyword parameters; `ncdb_dask.testing.check_quantizer` tells whether it keeps to what is said here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.model.spec import ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto

    from ncdb_dask.calibration.feed import CalibrationFeed

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stream(Protocol):
    """Applies a task to items, somewhere, and yields the results in the order of the items."""

    def __call__(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``task(item)`` for every item; both travel to workers."""
        ...


class Statistics(Protocol):
    """Measures activations."""

    def __call__(self, model: "ModelProto", frames: Sequence[CalibrationFrame] | None = None) -> ActivationStatistics:
        """Return those of an FP32 network of a fixed input size, on all frames or on some of them."""
        ...


@dataclass(frozen=True)
class Material:
    """What a quantizer works with.

    Attributes
    ----------
    model : Path
        The FP32 ONNX network.
    spec : ModelSpec
        Its model file, with the names of input and output.
    frames : tuple of CalibrationFrame
        The calibration frames, in the order of the split; all can be read.
    reader : FrameReader
        Turns a frame into the network's input, on any worker.
    split, root : str
        Path of a split file that holds exactly these frames, and the data set's path or URL.
    work : Path
        A folder for files on the way, which every worker sees; it is removed at the end.
    stream : Stream
        Runs tasks on the workers.
    feed : callable
        Returns the preprocessed tensors of the frames as a `CalibrationFeed`.
    statistics : Statistics
        Measures activations on the frames; what was measured once is kept.
    export : callable
        ``export(format, out)`` hands the frames over in the folder `out`, as `ncdb_dask.export` does.
    progress : callable
        ``progress(what, done, total)`` tells those who wait.
    log : Path, optional
        Where a tool's own messages go, beside the result.
    """

    model: Path
    spec: ModelSpec
    frames: tuple[CalibrationFrame, ...]
    reader: FrameReader
    split: str
    root: str
    work: Path
    stream: Stream
    feed: "Callable[[], CalibrationFeed]"
    statistics: Statistics
    export: Callable[[str, Path], object]
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    log: Path | None = None


@dataclass(frozen=True)
class Quantized:
    """What a quantizer has made.

    Attributes
    ----------
    report : mapping
        JSON values: what was done, and how.
    notes : tuple of str
        Sentences for the person who waits: what was refused, what looks wrong.
    summary : mapping of str to str
        Lines for the person who waits: what, in a word or two, and a sentence or figure.
    picture : bytes, optional
        A PNG for that person.
    onnx : bool
        Whether it is a network that ONNX Runtime runs; what a vendor's tool makes need not be.
    """

    report: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    picture: bytes | None = field(default=None, kw_only=True)
    onnx: bool = field(default=True, kw_only=True)


class Quantizer(Protocol):
    """Makes a quantized network."""

    name: str

    def quantize(self, material: Material, out: Path) -> Quantized:
        """Quantize a network.

        Parameters
        ----------
        material : Material
            Network and frames.
        out : Path
            The file to write; it does not exist yet, and nobody sees it before the quantizer has returned.

        Raises
        ------
        NcdbError
            Where it cannot be done; the message says why, and what to do.
        OSError
            Where the storage fails.
        """
        ...
