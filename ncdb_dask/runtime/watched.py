"""Telling a run to the page ``/ncdb`` of its scheduler, besides whoever else observes it."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ncdb_dask.errors import NcdbError, RunError
from ncdb_dask.runtime.dashboard.messages import RunStopped, message_of
from ncdb_dask.runtime.events import Event, Observer, RunFinished, RunStarted, StepProgress

if TYPE_CHECKING:
    from distributed import Client

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_STEPS = 1.0
# A scheduler answers within milliseconds. One that does not must not hold the run up for longer than a shard takes.
SECONDS_TO_TELL = 5.0
SECONDS_BETWEEN_TRIES = 30.0

# Clients whose scheduler cannot show the page; one remark is enough.
_unwatched: "WeakSet[Client]" = WeakSet()


@contextmanager
def watched(client: "Client | None", observer: Observer, what: str = "", out: str = "") -> Iterator[Observer]:
    """Yield an observer that also tells the scheduler's page, which is installed where it is missing.

    A scheduler that cannot show it costs a remark in the log, never the run.

    Parameters
    ----------
    client : distributed.Client, optional
        Where the run works; the observer alone is told if left out.
    observer : callable
        Gets every event.
    what, out : str
        Name and place of work that tells only steps, no `RunStarted`.
    """
    if client is None or not _installed(client):
        yield observer
        return
    page = _Page(client)
    if what:
        page(RunStarted(what, 0, 0, out=out))

    def both(event: Event) -> None:
        page(event)
        observer(event)

    try:
        yield both
    except BaseException as error:
        page.end(RunStopped(_reason(error)))
        raise
    page.end(RunFinished())


def dashboard_state(client: "Client") -> dict[str, Any]:
    """Return what ``/ncdb/status.json`` says.

    Raises
    ------
    RunError
        Where nothing of this package has run, or the scheduler does not have it.
    """
    from ncdb_dask.runtime.dashboard.plugin import state_of

    address = client.scheduler.address
    try:
        state: dict[str, Any] | None = client.run_on_scheduler(state_of)
    except Exception as error:
        raise RunError(f"scheduler {address}: expected one with ncdb_dask installed ({error})") from error
    if state is None:
        raise RunError(f"scheduler {address}: nothing of ncdb_dask has run there yet; start a run on it first")
    return state


def _installed(client: "Client") -> bool:
    if client in _unwatched:
        return False
    try:
        from ncdb_dask.runtime.dashboard.plugin import Dashboard

        client.register_plugin(Dashboard())
    except Exception as error:
        _unwatched.add(client)
        LOGGER.warning("the scheduler cannot show the page /ncdb (%s); the run goes on without it", error)
        return False
    return True


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, NcdbError) else f"{type(error).__name__}: {error}"


class _Page:
    """An observer that sends; what could not be sent is sent again later, and counts once there."""

    def __init__(self, client: "Client") -> None:
        self.client, self.run = client, ""
        self._step: StepProgress | None = None
        self._stepped = self._try_at = 0.0
        self._untold: deque[dict[str, Any]] = deque()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run or uuid.uuid4().hex
            self._tell(event)
        elif isinstance(event, StepProgress):
            self._take_step(event)
        elif isinstance(event, RunFinished):
            self.end(event)
        else:
            self._tell(event)

    def end(self, event: RunFinished | RunStopped) -> None:
        """Tell how the run ended, unless that was told."""
        if self.run:
            self._flush_step()
            self._tell(event, last=True)
            self.run = ""

    def _take_step(self, event: StepProgress) -> None:
        if self._step and self._step.what != event.what:
            self._flush_step()
        self._step = event
        if event.done >= event.total or time.monotonic() - self._stepped >= SECONDS_BETWEEN_STEPS:
            self._flush_step()

    def _flush_step(self) -> None:
        if self._step:
            step, self._step, self._stepped = self._step, None, time.monotonic()
            self._tell(step)

    def _tell(self, event: Event | RunStopped, last: bool = False) -> None:
        self._untold.append({**message_of(event), "run": self.run, "client": self.client.id})
        if self.client.status != "running" or (time.monotonic() < self._try_at and not last):
            return
        try:
            while self._untold:
                self._send(self._untold[0])
                self._untold.popleft()
        except Exception as error:
            if not self._try_at:
                LOGGER.warning("the page /ncdb is behind: the scheduler does not answer (%r)", error)
            self._try_at = time.monotonic() + SECONDS_BETWEEN_TRIES

    def _send(self, message: dict[str, Any]) -> None:
        from ncdb_dask.runtime.dashboard.plugin import NAME

        self.client.sync(self.client.scheduler.log_event, topic=NAME, msg=message, callback_timeout=SECONDS_TO_TELL)
