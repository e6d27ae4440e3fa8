"""A calibration feed in the forms that quantizers take.

They keep what the feed promises: every frame in order or an error, again and again, a window ahead.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ncdb_dask.calibration.feed import CalibrationFeed, Tensor
from ncdb_dask.errors import CalibrationError

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

Sample = TypeVar("Sample")


class Adapted(Generic[Sample]):
    """A feed whose tensors become something else on the way: sized, and iterated as often as one likes.

    Parameters
    ----------
    feed : CalibrationFeed
        Whose frames.
    convert : callable
        From a tensor to what is wanted.
    """

    def __init__(self, feed: CalibrationFeed, convert: Callable[[Tensor], Sample]) -> None:
        self._feed = feed
        self._convert = convert

    def __len__(self) -> int:
        return len(self._feed)

    def __iter__(self) -> Iterator[Sample]:
        # Not a generator: one that failed would look like one that is done.
        return map(self._convert, iter(self._feed))


class FeedReader:
    """What quantizers of ONNX networks ask for one sample after another.

    Parameters
    ----------
    feed : CalibrationFeed
        Whose frames.
    name : str
        Of the network's input.
    """

    def __init__(self, feed: CalibrationFeed, name: str) -> None:
        self._feed = feed
        self._name = name
        self._tensors = iter(feed)

    def get_next(self) -> dict[str, Tensor] | None:
        """Return the next sample, input name to tensor; None after the last."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}

    def __len__(self) -> int:
        return len(self._feed)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with the frames from `start_index` up to `end_index`; those before are not read.

        Raises
        ------
        CalibrationError
            Where there are no such frames.
        """
        part = self._feed.part(start_index, end_index)
        self._tensors.close()
        self._tensors = iter(part)

    def rewind(self) -> None:
        """Go back to the first frame of all, whatever range was set."""
        self.set_range(0, len(self))

    def reset_iter(self) -> None:
        """Rewind; AMD's Quark calls it this."""
        self.rewind()


def onnxruntime_reader(feed: CalibrationFeed, name: str | None = None) -> "CalibrationDataReader":
    """Return a feed as ONNX Runtime's `quantize_static` takes it, and the tools that are built on that.

    Parameters
    ----------
    feed : CalibrationFeed
        Whose frames.
    name : str, optional
        Of the network's input, where the feed does not know it.

    Returns
    -------
    onnxruntime.quantization.CalibrationDataReader
        With ``get_next``, ``rewind``, ``len`` and ``set_range`` (which ``CalibStridedMinMax`` needs). Its ``len`` is
        that of the whole feed, whatever range is set.

    Raises
    ------
    CalibrationError
        Where nobody says the name of the input.
    """
    from onnxruntime.quantization import CalibrationDataReader

    class OnnxRuntimeReader(FeedReader, CalibrationDataReader):  # type: ignore[misc]  # of a package without types
        """The feed's own methods come first; those for iteration are the package's."""

    return OnnxRuntimeReader(feed, _name(feed, name))


def quark_reader(feed: CalibrationFeed, name: str | None = None) -> "CalibrationDataReader":
    """Return a feed as AMD's Quark takes it: ONNX Runtime's reader with ``reset_iter``; see `onnxruntime_reader`.

    Quark keeps the samples that it reads, all of them in memory.
    """
    return onnxruntime_reader(feed, name)


def named(feed: CalibrationFeed, name: str | None = None) -> Adapted[dict[str, Tensor]]:
    """Return a feed as a plain iterable of samples, input name to tensor, as ``nncf.Dataset`` takes it.

    Parameters
    ----------
    feed : CalibrationFeed
        Whose frames.
    name : str, optional
        Of the network's input, where the feed does not know it.

    Raises
    ------
    CalibrationError
        Where nobody says the name of the input.
    """
    known = _name(feed, name)
    return Adapted(feed, lambda tensor: {known: tensor})


def torch_tensors(feed: CalibrationFeed) -> Adapted[Any]:
    """Return a feed as an iterable of ``torch.Tensor`` on the CPU, which share the memory of the feed's tensors.

    Raises
    ------
    CalibrationError
        Where torch is not installed.
    """
    try:
        torch = import_module("torch")  # by name: no module outside of training depends on torch, this one neither
    except ModuleNotFoundError as error:
        raise CalibrationError(
            f"torch tensors need torch, which is not installed ({error}); pip install 'ncdb-dask[train]'"
        ) from error
    return Adapted(feed, torch.from_numpy)


def _name(feed: CalibrationFeed, given: str | None) -> str:
    name = feed.input_name if given is None else given
    if name is None:
        raise CalibrationError(
            "the network's input has no name here; give the feed the network (model=...), say [input] name in the "
            "model file, or name it in this call"
        )
    return name
