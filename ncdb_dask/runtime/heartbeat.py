"""The sign of life of this process, and its ear for a request to stop: a thread that keeps the driver's record."""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ncdb_dask.errors import NcdbError
from ncdb_dask.runtime.interrupts import held_back
from ncdb_dask.store.driver import ENDED, FAILED, FINISHED, STOPPED, Driver
from ncdb_dask.store.driver_records import (
    asked_to_stop,
    folders_to_make,
    forget_ended,
    is_alone,
    read_driver,
    withdraw,
    write_driver,
)
from ncdb_dask.store.folder import Folder

# Whoever asks to stop waits for this long: one look for a file, which costs nothing beside the run.
LOOK_SECONDS = 1.0
# So old is what `status` shows, at most; an object store counts every write.
BEAT_SECONDS = 5.0
# Whoever wants to write waits so long for a write that hangs, and leaves it to the next beat: the run must go on.
HANG_SECONDS = 10.0

SIGNALLED = 128  # and a signal's number is the exit code of who was ended by it


class Heartbeat:
    """Keeps the record of this process from the beginning of the block to its end.

    What cannot be written is tried again at the next beat: a full disk or a storage that is away must not end a run
    that could go on, and where it cannot, the run itself says so better.

    Parameters
    ----------
    place : Folder
        Where records lie.
    driver : Driver
        This process.
    """

    def __init__(self, place: Folder, driver: Driver) -> None:
        self.place, self.driver = place, driver
        self.reason = ""  # why this process is asked to end
        self._ended = threading.Event()
        self._lock = threading.Lock()  # of the fields; never held while the storage works, which may hang
        self._writing = threading.Lock()
        self._overtaken = False
        self._made: list[str] = []
        self._thread = threading.Thread(target=self._run, name="ncdb-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._made = folders_to_make(self.place)
        with suppress(OSError):
            forget_ended(self.place, keep=self.driver.id)
        self._write()
        with _without_signals():
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with held_back():
            self._ended.set()
            self._thread.join(timeout=HANG_SECONDS)
            state, why = self._end_of(error)
            now = time.time()
            with self._lock:
                self.driver = replace(self.driver, state=state, error=why, heartbeat=now, ended=now)
            if not self._write():
                return
            with suppress(OSError):
                # Its terminal has said why, unless someone else asks.
                seen = not (self.driver.log or self.driver.submitted or self.reason)
                if state != FINISHED and seen and is_alone(self.place):
                    withdraw(self.place, self.driver, self._made)

    def tell(self, **about: Any) -> None:
        """Say what is going on, in fields of the record: a line at the next beat, all else at once."""
        with self._lock:
            self.driver = replace(self.driver, **about)
        if about.keys() - {"said"}:
            self._write()

    def look(self) -> None:
        """End this process, as by SIGTERM, where that was asked for."""
        with suppress(OSError):
            who = asked_to_stop(self.place, self.driver)
            if who and not self.reason:
                self.end(f"stopped by `ncdb-dask stop` ({who})")

    def end_with(self, descriptor: int, reason: str) -> None:
        """End this process when a pipe does: the other end is held by whoever this process must not outlive."""

        def wait() -> None:
            while os.read(descriptor, 4096):
                pass
            self.end(reason)

        with _without_signals():
            threading.Thread(target=wait, name="ncdb-until-eof", daemon=True).start()

    def end(self, reason: str) -> None:
        """Signal the main thread, which alone acts on signals; one that is blocked is woken by no other thread's."""
        self.reason = reason
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)

    def _run(self) -> None:
        beaten = time.monotonic()
        while not self._ended.wait(LOOK_SECONDS):
            self.look()
            if time.monotonic() - beaten >= BEAT_SECONDS:
                beaten = time.monotonic()
                self._write()

    def _write(self) -> bool:
        """Write the record, and return False where another write hangs."""
        if not self._writing.acquire(timeout=HANG_SECONDS):
            return False
        try:
            self._replace_record()
        except OSError:
            pass
        finally:
            self._writing.release()
        return True

    def _replace_record(self) -> None:
        # Another process may go on as this driver, because this one was taken for dead.
        held = read_driver(self.place, self.driver.id)
        self._overtaken |= held is not None and held.attempt > self.driver.attempt
        if self._overtaken:
            return
        with self._lock:
            if self.driver.state not in ENDED:
                self.driver = replace(self.driver, heartbeat=time.time())
            driver = self.driver
        write_driver(self.place, driver)

    def _end_of(self, error: BaseException | None) -> tuple[str, str]:
        """Return the last state, and why."""
        if error is None:
            return FINISHED, ""
        if isinstance(error, KeyboardInterrupt):
            return STOPPED, "interrupted"
        hung_up = isinstance(error, SystemExit) and error.code == SIGNALLED + signal.SIGHUP
        # Or writing to it was first; a fault of a disk is no bare OSError.
        if hung_up or (isinstance(error, OSError) and error.errno == errno.EIO):
            return STOPPED, "the terminal was closed"
        if isinstance(error, SystemExit):
            if isinstance(error.code, int) and error.code > SIGNALLED:
                return STOPPED, self.reason or "terminated"
            return FAILED, f"exit code {error.code}"
        return FAILED, str(error) if isinstance(error, NcdbError) else f"{type(error).__name__}: {error}"


@contextmanager
def _without_signals() -> Iterator[None]:
    """Start threads that get no signal: a mask is inherited."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
