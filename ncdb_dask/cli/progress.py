"""Drawing a run's events: a bar on a terminal, plain lines elsewhere, both on standard error."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ncdb_dask.runtime.events import (
    Event,
    Observer,
    RunFinished,
    RunStarted,
    ShardDone,
    ShardSetAside,
    ShardSuspected,
    StepProgress,
)

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress() -> Iterator[Observer]:
    """Yield an observer that shows progress until the end of the block."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    with _bar() as observer:
        yield observer


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows ``(done, total)`` as a bar, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = None

        def show(done: int, total: int) -> None:
            nonlocal task
            task = progress.add_task(what, total=total) if task is None else task
            progress.update(task, completed=done, total=total)

        yield show


class Tally:
    """Adds up what the events tell.

    Attributes
    ----------
    what : str
        What is under way.
    rows, done : int
        Rows of the whole plan, and those committed; or of a step.
    counts : Counter of str
        Committed rows by status.
    """

    def __init__(self) -> None:
        self.what = ""
        self.rows = self.done = self._before = 0
        self.counts = Counter[str]()
        self._of_rows = True  # a step has no statuses
        self._started = time.monotonic()

    def add(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, RunStarted):
            self._begin(event.what)
            self._of_rows = True
            self.rows, self.done, self._before = event.rows, event.rows_done, event.rows_done
            self.counts.update(event.counts)
        elif isinstance(event, ShardDone):
            self.done += event.rows
            self.counts.update(event.counts)
        elif isinstance(event, StepProgress):
            if event.what != self.what or event.done < self.done:
                self._begin(event.what)
            self._of_rows = False
            self.rows, self.done = event.total, event.done

    def _begin(self, what: str) -> None:
        self.what = what
        self.rows = self.done = self._before = 0
        self.counts.clear()
        self._started = time.monotonic()

    @property
    def rate(self) -> float:
        """Rows a second in this run; what an earlier run did costs no time now."""
        return (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)

    def line(self) -> str:
        """Return progress as one line of text."""
        share = 100 * self.done / self.rows if self.rows else 100
        known = self.rate > 0 and self.done < self.rows
        left = f", {duration((self.rows - self.done) / self.rate)} left" if known else ""
        found = self.statuses()
        pace = f", {self.pace()}{left}" if self._of_rows or self.done else ""
        return f"{self.what}: {self.done}/{self.rows} ({share:.0f} %){pace}" + (f"; {found}" if found else "")

    def pace(self) -> str:
        """Return the rate for people."""
        return f"{self.rate:.0f}/s" if self.rate >= 10 or not self.rate else f"{self.rate:.1f}/s"

    def statuses(self) -> str:
        """Return the counts by status, the most frequent first."""
        none = "none yet" if self._of_rows and not self.done else ""
        return ", ".join(f"{count} {status}" for status, count in self.counts.most_common()) or none


def remark(event: Event) -> str | None:
    """Say in a sentence what a person should know now, or None."""
    if isinstance(event, ShardSuspected):
        return (
            f"shard {event.shard}: entries {event.start} to {event.stop - 1} killed their worker; searching for which"
        )
    if isinstance(event, ShardSetAside):
        return f"shard {event.shard} was set aside: {event.reason}"
    if isinstance(event, RunStarted) and event.rows_done:
        return f"continuing: {event.rows_done} of {event.rows} entries are done already"
    return None


class PlainLines:
    """Prints a line now and then, for logs."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._printed = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take an event, and print when it is time."""
        self._tally.add(event)
        text = remark(event)
        if text:
            self._print(text)
        finished = isinstance(event, RunFinished) or (isinstance(event, StepProgress) and event.done == event.total)
        if finished or time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self._print(self._tally.line())

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Observer]:
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    tally = Tally()

    class TwoLines(Progress):
        """The bar, and the counts by status below it, where they have room."""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            yield Text(f"  {tally.statuses()}")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with TwoLines(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=None, rate="")

        def observe(event: Event) -> None:
            tally.add(event)
            text = remark(event)
            if text:
                progress.console.print(text)
            progress.update(task, description=tally.what, total=tally.rows, completed=tally.done, rate=tally.pace())

        yield observe


def duration(seconds: float) -> str:
    """Write a duration for people: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
