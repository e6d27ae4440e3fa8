"""Results in the order of their items, made a little ahead of the one who takes them.

At most a window of items is under way or done and not yet taken, so a consumer that stalls holds memory flat.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic

from ncdb_dask.errors import NcdbError, RunError
from ncdb_dask.runtime.flight import RETRY_DELAYS, Item, Result, attempt, full_window, reason_of

if TYPE_CHECKING:
    from distributed import Client, Future

AGAIN = "give the command again"


def ordered_stream(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    client: "Client | None" = None,
    window: int | None = None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Generator[Result, None, None]:
    """Yield ``task(item)`` for every item, in the order of the items.

    Nothing is read from `items` before the first result is asked for. Closing the generator cancels what is under
    way; a ``for`` loop that is left, by an exception too, closes one that has no other name.

    Parameters
    ----------
    task : callable
        Must give the same result each time: it is called again after an ``OSError``, which means a fault of the
        environment, and where a result was lost with its worker.
    items : iterable
        Values that travel to the workers; ``str(item)`` names one in messages.
    client : distributed.Client, optional
        Where to run; one after another in this process if left out.
    window : int, optional
        How many items are under way, or done and not yet taken, at most; a few a thread if left out.
    retry_delays : sequence of float
        Seconds to wait before each further try after an ``OSError``.

    Yields
    ------
    object
        The results; each is forgotten by the cluster once it is taken.

    Raises
    ------
    RunError
        An item that cannot be done for a fault of the environment or that kills its workers, or a cluster that is gone.
    NcdbError
        As the task raised it.
    """
    if window is not None and window < 1:
        raise RunError(f"a window of {window} items: expected at least 1")
    attempted = partial(attempt, task, tuple(retry_delays))
    return _here(attempted, items) if client is None else _on(_Flight(client, attempted, iter(items), window))


def _here(
    attempted: Callable[[Item], Result | OSError | NcdbError], items: Iterable[Item]
) -> Generator[Result, None, None]:
    for item in items:
        yield _value(item, attempted(item))


def _on(flight: "_Flight[Item, Result]") -> Generator[Result, None, None]:
    try:
        # No name for the result: a generator that waits would keep it.
        while flight.filled():
            yield flight.take()
    finally:
        flight.cancel()


def _value(item: Item, outcome: Result | OSError | NcdbError) -> Result:
    if isinstance(outcome, OSError):
        raise RunError(f"{item} could not be done ({reason_of(outcome)}); once that is mended, {AGAIN}") from outcome
    if isinstance(outcome, NcdbError):
        raise outcome
    return outcome


@dataclass
class _Flight(Generic[Item, Result]):
    """The items under way or done and not yet taken, in order."""

    client: "Client"
    attempted: Callable[[Item], Result | OSError | NcdbError]
    waiting: Iterator[Item]
    window: int | None
    size: int = 0
    flying: "deque[tuple[Item, Future]]" = field(default_factory=deque)

    def filled(self) -> bool:
        """Send the next wave once half of the last is taken, and say whether anything is left to take."""
        if self.client.status == "closed":
            raise RunError("the cluster was closed before all results were taken; take them before its block ends")
        if len(self.flying) <= self.size // 2:
            self.size = self.window or full_window(self.client)
            wave = list(islice(self.waiting, max(0, self.size - len(self.flying))))
            self.flying.extend(zip(wave, self._submit(wave), strict=True))
        return bool(self.flying)

    def take(self) -> Result:
        """Wait for the first result and let go of it; one that is lost with its worker is made again meanwhile."""
        from distributed.scheduler import KilledWorker

        item, future = self.flying[0]
        try:
            outcome = self._outcome(future)
        except KilledWorker:
            outcome = self._alone(item)
        self.flying.popleft()
        return _value(item, outcome)

    def _alone(self, item: Item) -> Result | OSError | NcdbError:
        """Try the first item with nothing else in flight: Dask blames every task that a dead worker had before it."""
        from distributed.scheduler import KilledWorker

        for _, other in list(self.flying)[1:]:
            other.exception()  # waits
        (future,) = self._submit([item])
        self.flying[0] = (item, future)
        try:
            return self._outcome(future)
        except KilledWorker as error:
            raise RunError(
                f"{item} kills its worker every time; leave it out or give the workers more memory"
            ) from error

    def _outcome(self, future: "Future") -> Result | OSError | NcdbError:
        from distributed.client import CancelledError
        from distributed.scheduler import NoWorkerError

        try:
            outcome: Result | OSError | NcdbError = future.result()
        except (CancelledError, NoWorkerError, OSError) as error:  # the task's own OSErrors are values
            raise RunError(f"the cluster went away ({error!r}); {AGAIN}") from error
        return outcome

    def _submit(self, wave: list[Item]) -> "list[Future]":
        # Not pure: an equal item, or one that is tried alone, must not get the result of the one before.
        return self.client.map(self.attempted, wave, pure=False) if wave else []

    def cancel(self) -> None:
        """Stop what is under way; a client that was closed has done so."""
        if self.flying and self.client.status == "running":
            self.client.cancel([future for _, future in self.flying], force=True)
