"""The calibration feed: preprocessed frames for whatever quantizer asks, in the order of the split, never fewer.

Who maps is an argument: the feed says what becomes of a frame and how far ahead that may be, not where it is done.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.errors import CalibrationError, DataFault

Tensor = npt.NDArray[np.float32]
Outcome = TypeVar("Outcome")

# Tensors that the workers may hold for the consumer: 91 of 640 x 384, or 182 of 640 x 192. Six a thread keep a worker
# from waiting (`ncdb_dask.runtime.flight.WINDOW`), so it is enough for 15 to 30 threads and, spread over them, little:
# two workers with a consumer that stalled grew from 125 to 250 MB each. A larger budget gained nothing there.
BUDGET_BYTES = 2**28
# With one, no frame would be made while the consumer works on the one before.
SMALLEST_WINDOW = 2


class Stream(Protocol):
    """Whoever maps, such as `ncdb_dask.runtime.stream.ordered_stream` with its client filled in."""

    def __call__(
        self, task: Callable[[CalibrationFrame], Outcome], items: Iterable[CalibrationFrame], *, window: int | None
    ) -> Generator[Outcome, None, None]:
        """Yield ``task(item)`` in the order of the items, at most `window` ahead; closing it cancels the rest."""


class CalibrationFeed:
    """Preprocessed calibration frames: sized, in a fixed order, and iterated as often as a quantizer likes.

    Every iteration reads the frames anew, ahead of the one who takes them: as many as fit into the budget are under
    way or done and not yet taken, so a consumer that stalls holds memory flat. Iterations may overlap; each has a
    budget of its own.

    It has no ``feed[index]``: tools that find one pick single frames by it, and nothing could be read ahead.

    Parameters
    ----------
    frames : sequence of CalibrationFrame
        In the order in which they are fed.
    reader : FrameReader
        Turns a frame into a tensor, wherever that is.
    stream : Stream
        Maps, in order.
    skip_bad : bool
        Leave out frames that cannot be read, and report them in `skipped`. For `len` to be true from the start, all
        frames are read once more, when the feed is first asked for anything.
    budget_bytes : int
        Of tensors that an iteration may hold ahead; but never fewer than two frames.

    Raises
    ------
    CalibrationError
        For a budget of less than one byte.

    Examples
    --------
    >>> with ncdb_dask.calibration_feed("set.json", root="data", model="net.onnx") as feed:  # doctest: +SKIP
    ...     for tensor in feed:
    ...         print(len(feed), tensor.shape)
    """

    def __init__(
        self,
        frames: Sequence[CalibrationFrame],
        reader: FrameReader,
        stream: Stream,
        *,
        skip_bad: bool = False,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        if budget_bytes < 1:
            raise CalibrationError(f"a budget of {budget_bytes} bytes; expected at least those of a tensor or two")
        self._frames = tuple(frames)
        self._reader = reader
        self._stream = stream
        self._skip_bad = skip_bad
        self._budget_bytes = budget_bytes
        self._skipped: tuple[CalibrationFrame, ...] = ()
        self._looked_for_bad = not skip_bad
        self._open: WeakSet[FeedIterator] = WeakSet()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a tensor, batch dimension first: (1, 3, height, width), or (1, height, width, 3) for nhwc."""
        return 1, *self._reader.spec.shape

    @property
    def input_name(self) -> str | None:
        """Name of the network's input; None where no network was given and the model file does not say."""
        return self._reader.spec.name

    @property
    def window(self) -> int:
        """How many frames are under way, or done and not yet taken, at most."""
        frame_bytes = int(np.prod(self.shape)) * np.dtype(np.float32).itemsize
        return max(SMALLEST_WINDOW, self._budget_bytes // frame_bytes)

    @property
    def frames(self) -> tuple[CalibrationFrame, ...]:
        """The frames that are fed, in order."""
        self._leave_out()
        return self._frames

    @property
    def skipped(self) -> tuple[CalibrationFrame, ...]:
        """The frames of the whole set that are left out, each with its status and a sentence."""
        self._leave_out()
        return self._skipped

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> "FeedIterator":
        frames = self.frames
        outcomes = self._stream(partial(_made, self._reader), frames, window=self.window)
        iterator = FeedIterator(len(frames), outcomes, checked=self._skip_bad)
        self._open.add(iterator)
        return iterator

    def part(self, start: int, stop: int) -> "CalibrationFeed":
        """Return a feed of the frames from `start` up to `stop`; those before are not read for it.

        Raises
        ------
        CalibrationError
            Where the feed has no such frames.
        """
        if not 0 <= start <= stop <= len(self):
            raise CalibrationError(f"frames {start} to {stop} of a feed; expected 0 to {len(self)}, in this order")
        part = copy(self)  # closes with the whole feed
        part._frames = self._frames[start:stop]
        return part

    def close(self) -> None:
        """Cancel all iterations that are under way, those of parts too; the feed may be iterated again."""
        for iterator in list(self._open):
            iterator.close()

    def __enter__(self) -> "CalibrationFeed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _leave_out(self) -> None:
        """Read all frames, the first time with `skip_bad`, and keep those that can be read."""
        if self._looked_for_bad:
            return
        # No window of tensors: what comes back is small.
        with closing(self._stream(partial(_checked, self._reader), self._frames, window=None)) as outcomes:
            looked_at = tuple(outcomes)
        kept = tuple(frame for frame in looked_at if frame.status is None)
        if not kept:
            raise CalibrationError(
                f"none of {len(self._frames)} calibration frames can be read ({looked_at[0].detail}, ...); check the "
                "root and the split"
            )
        self._frames, self._skipped = kept, tuple(frame for frame in looked_at if frame.status is not None)
        self._looked_for_bad = True


class FeedIterator(Iterator[Tensor]):
    """One pass over a feed: it gives every frame or ends with an error.

    Parameters
    ----------
    count : int
        How many frames there are.
    outcomes : generator
        Of tensors, and of frames with a status in place of those that could not be read.
    checked : bool
        Whether all frames could be read a while ago.
    """

    def __init__(
        self, count: int, outcomes: Generator[Tensor | CalibrationFrame, None, None], *, checked: bool
    ) -> None:
        self._count = count
        self._outcomes = outcomes
        self._checked = checked
        self._taken = 0

    def __next__(self) -> Tensor:
        outcome = next(self._outcomes, None)
        # A generator that was closed or has failed looks like one that is done.
        if outcome is None and self._taken < self._count:
            raise CalibrationError(
                f"the feed ended after {self._taken} of {self._count} frames, because it was closed or had failed; "
                "iterate over it anew"
            )
        if outcome is None:
            raise StopIteration
        if isinstance(outcome, CalibrationFrame):
            self.close()
            raise CalibrationError(self._unreadable(outcome))
        self._taken += 1
        return outcome

    def close(self) -> None:
        """Cancel what is under way; asking for more is an error then, unless all frames were taken."""
        self._outcomes.close()

    def _unreadable(self, frame: CalibrationFrame) -> str:
        named = "" if frame.stem is None else f", {frame},"
        found = f"calibration frame {self._taken + 1} of {self._count}{named} cannot be read: {frame.status}"
        if self._checked:
            return f"{found} ({frame.detail}); it could be when the feed began, so make the feed anew"
        return f"{found} ({frame.detail}); mend it and make the feed anew, or leave it out with skip_bad (--skip-bad)"


def _made(reader: FrameReader, frame: CalibrationFrame) -> Tensor | CalibrationFrame:
    """Make a frame's tensor; one that cannot be read comes back with what is wrong with it."""
    try:
        return reader.tensor(frame)
    except DataFault as fault:
        return replace(frame, status=fault.status, detail=fault.detail)


def _checked(reader: FrameReader, frame: CalibrationFrame) -> CalibrationFrame:
    """Read a frame to its end, for a picture that is cut off begins like any other."""
    made = _made(reader, frame)
    return made if isinstance(made, CalibrationFrame) else frame
