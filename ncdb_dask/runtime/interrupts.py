"""Holding Ctrl-C back while a cluster is opened or closed, so that nothing is left half open."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ASKED_TO_END = (KeyboardInterrupt, SystemExit)  # what SIGINT and, in our commands, the others raise


@contextmanager
def held_back(delivered: bool = True) -> Iterator[None]:
    """Deliver SIGINT, SIGTERM and SIGHUP that come during the block at its end, or never.

    Processes that are started in the block, and by threads that are, do not get SIGINT: a terminal sends it to every
    process of a command, and only the driver is to act on it. Elsewhere than in the main thread, which is the only one
    that Python tells of signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        came.append(signum)

    # What is ignored stays so, here and in what is started: nohup means the workers, too.
    held = [signum for signum in _HELD if signal.getsignal(signum) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, note) or signal.SIG_DFL for signum in held}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it is inherited, a handler is not
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for number in dict.fromkeys(came if delivered else ()):
            os.kill(os.getpid(), number)


@contextmanager
def whole_end() -> Iterator[ExitStack]:
    """Give a stack of what is to be closed, which no signal interrupts at the end.

    Where it was a signal that ended the block, those that come after it ask for what is under way, and are dropped.
    """
    stack = ExitStack()
    try:
        yield stack
    except BaseException as error:
        with held_back(delivered=not isinstance(error, _ASKED_TO_END)):
            stack.__exit__(type(error), error, error.__traceback__)
        raise
    else:
        with held_back():
            stack.close()
