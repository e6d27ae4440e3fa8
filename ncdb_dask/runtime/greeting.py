"""Whether it is a Dask scheduler that listens at an address, and one that our certificates belong to."""

import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ncdb_dask.errors import RunError

if TYPE_CHECKING:
    from distributed import Security

# A server of Dask speaks first: the length of its greeting, a few hundred, in eight bytes of which the lowest is first.
PREFIX = 8


def require_greeting(address: str, security: "Security | None", seconds: float) -> None:
    """Wait for the first words of whoever listens there, as Dask does, but not without end.

    Where nobody listens yet, nothing is said: Dask tries again for a while.

    Raises
    ------
    RunError
        Somebody else listens, or the certificates are not accepted on one of the sides.
    """
    parts = urlsplit(address)
    wanted = f"expected a Dask scheduler at {address}"
    try:
        with ExitStack() as stack:
            talk = stack.enter_context(socket.create_connection((parts.hostname, parts.port), seconds))
            if security is not None:
                context: ssl.SSLContext = security.get_connection_args("client")["ssl_context"]
                talk = stack.enter_context(context.wrap_socket(talk))
            greeting = talk.recv(PREFIX)
    except ConnectionRefusedError:
        return
    except ssl.SSLError as error:
        raise RunError(
            f"{wanted}, and that both sides trust each other's certificates; found {error.reason or error} (is it "
            "tls://, and are ca_file, cert_file and key_file of the cluster's own?)"
        ) from error
    except TimeoutError as error:
        raise RunError(f"{wanted}; found nobody who speaks within {seconds:.0f} s ({_HINT[parts.scheme]})") from error
    except OSError as error:
        raise RunError(f"{wanted}; found {error.strerror or error} ({_HINT[parts.scheme]})") from error
    if len(greeting) < PREFIX or greeting[-1]:
        raise RunError(f"{wanted}; found something else that listens there ({_HINT[parts.scheme]})")


_HINT = {
    "tcp": "is it tls://, or the port of the dashboard?",
    "tls": "is it tcp://, or the port of the dashboard?",
}
