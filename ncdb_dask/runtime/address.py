"""Connecting to a scheduler that runs already: encrypted beyond this machine, the same packages on all sides."""

import ipaddress
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.greeting import require_greeting
from ncdb_dask.runtime.interrupts import whole_end
from ncdb_dask.runtime.specification import AddressSpec
from ncdb_dask.runtime.tls import security_of
from ncdb_dask.runtime.versions import require_same

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 20
# Workers of a scheduler that has just been started, or that scales by itself, are there within a minute or two.
WORKER_SECONDS = 120
LOOK_SECONDS = 15.0  # between looks whether workers are left
FAULTS = (OSError, ValueError, RuntimeError)  # nobody there, or nobody any more


@contextmanager
def connected(spec: AddressSpec, report: Callable[[str], None], *, to_work: bool = True) -> "Iterator[Client]":
    """Connect until the end of the block; the cluster stays.

    Parameters
    ----------
    spec : AddressSpec
        Where.
    report : callable
        Gets sentences.
    to_work : bool
        Whether workers are needed.

    Raises
    ------
    RunError
        An address that is not encrypted, nobody who answers, other packages on the other side, or no worker.
    """
    require_safe(spec)
    with whole_end() as stack:
        client = _client(spec)
        stack.callback(client.close)
        require_same(client, report)
        if not to_work:
            yield client
            return
        if not client.nthreads():
            _wait_for_worker(client, report)
            require_same(client, report)
        stack.enter_context(_told_of_absence(client, report))
        yield client


def _client(spec: AddressSpec) -> "Client":
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    encrypted = spec.address.startswith("tls://")
    security = security_of(spec.ca_file, spec.cert_file, spec.key_file) if encrypted else None
    require_greeting(spec.address, security, CONNECT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # `require_same` tells of them
            return Client(spec.address, security=security, timeout=CONNECT_SECONDS)
    except FAULTS as error:
        raise RunError(
            f"{spec.address}: no Dask scheduler answers ({' '.join(str(error).split())}); does it run, and is the "
            "address right?"
        ) from error


def require_safe(spec: AddressSpec) -> None:
    """Refuse to send code and data unencrypted beyond this machine.

    Raises
    ------
    RunError
        Says what to do instead.
    """
    parts = urlsplit(spec.address)
    if parts.scheme == "tls" or spec.insecure or _is_this_machine(parts.hostname or ""):
        return
    raise RunError(
        f"{spec.address} is not encrypted: whoever can reach that port, or listen on the way, can run code as you. Use "
        f"tls://, or a tunnel (ssh -L {parts.port}:127.0.0.1:{parts.port} {parts.hostname}, then "
        f"tcp://127.0.0.1:{parts.port}), or say --insecure"
    )


def _is_this_machine(host: str) -> bool:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:  # a label that is too long
        raise RunError(f"{host!r} is no machine that is known here ({error})") from error
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def _wait_for_worker(client: "Client", report: Callable[[str], None]) -> None:
    address = client.scheduler.address
    report(f"{address} has no workers; waiting up to {WORKER_SECONDS} s for the first")
    # A task, because a cluster that scales by itself starts workers only for work.
    task = client.submit(int, pure=False)
    try:
        task.result(timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise RunError(f"{address} has no workers; start some (dask worker {address} ...)") from error
    finally:
        task.release()


@contextmanager
def _told_of_absence(client: "Client", report: Callable[[str], None]) -> Iterator[None]:
    """Tell when the last worker has left: by Dask's defaults, a run then waits without end and without a word."""
    ended = threading.Event()

    def look() -> None:
        gone = False
        while not ended.wait(LOOK_SECONDS):
            with suppress(*FAULTS):  # a scheduler that is gone is told by the run itself
                if bool(client.nthreads()) == gone:
                    gone = not gone
                    report("all workers have left; waiting for new ones" if gone else "workers are there again")

    thread = threading.Thread(target=look, name="ncdb-absence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1.0)  # or without end, where the scheduler does not answer
