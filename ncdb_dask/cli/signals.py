"""How SIGTERM, and a terminal that is gone, end a command."""

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import click

GOES_ON = "what is complete stays, the same command goes on from it"


def end_on_signal(reason: Callable[[], str]) -> None:
    """Say why and end by an exception, so that the cluster is closed and no worker or job outlives the command."""

    def end(signum: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # after SIGHUP there may be nobody to tell
            click.echo(f"{reason()}; {GOES_ON}", err=True)
        raise SystemExit(128 + signum)  # as shells report it

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, end)
