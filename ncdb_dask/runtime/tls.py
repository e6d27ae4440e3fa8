"""Certificates: temporary ones for a cluster of our own, the user's for one that is there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError
from ncdb_dask.store.processes import begun_at, this_machine

if TYPE_CHECKING:
    from distributed import Security

_PREFIX = "tls-"
_OWNER = "driver"  # file that tells whose folder it is


@contextmanager
def temporary_security(shared: Path) -> "Iterator[Security]":
    """Make a key and a certificate that one cluster alone trusts, and remove them at the end.

    Parameters
    ----------
    shared : path
        Folder that all nodes see. The files are 0600 in a new folder of 0700.

    Raises
    ------
    RunError
        Where the folder cannot be written, or the package for certificates is missing.
    """
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError as error:
        raise RunError(
            "the package cryptography is missing, without which nothing is encrypted; pip install 'ncdb-dask[slurm]'"
        ) from error
    with ExitStack() as stack:
        try:
            folder = _own_folder(shared)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            _written(folder / _OWNER, f"{this_machine()}\n{os.getpid()}\n{begun_at(os.getpid())}\n")
            certificate = _written(folder / "certificate.pem", made.tls_ca_file)
            key = _written(folder / "key.pem", made.tls_client_key)
        except OSError as error:
            raise RunError(
                f"{shared}: cannot hold the cluster's certificates ({error.strerror}); name another folder that all "
                "nodes see: shared = ... in the TOML file, ncdb.slurm.shared in Dask's configuration"
            ) from error
        yield _security(certificate, certificate, key)


def security_of(ca_file: str | None, cert_file: str | None, key_file: str | None) -> "Security":
    """Return the user's certificates; what is left out is taken from Dask's configuration.

    Raises
    ------
    RunError
        Where one is neither given nor configured, or is no file that can be read.
    """
    import dask

    names = {"ca_file": "ca-file", "cert_file": "client.cert", "key_file": "client.key"}
    given = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
    paths = {name: given[name] or dask.config.get(f"distributed.comm.tls.{key}") for name, key in names.items()}
    for name, path in paths.items():
        if path is None:
            raise RunError(
                f"tls:// needs {name}: give it in a TOML file of kind address, as ncdb.address in Dask's "
                f"configuration, or there as distributed.comm.tls.{names[name]}"
            )
        paths[name] = os.path.expanduser(path)
        if not os.access(paths[name], os.R_OK):
            raise RunError(f"{path} cannot be read; expected the {name} for tls://")
    security = _security(*paths.values())
    try:
        security.get_connection_args("client")
    except OSError as error:  # of which ssl.SSLError is one
        raise RunError(
            f"{', '.join(paths.values())}: no certificates, or not the certificate's key ({error}); expected PEM files"
        ) from error
    return security


def _security(ca: str, certificate: str, key: str) -> "Security":
    from distributed import Security

    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")},
        **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
    )


def _written(path: Path, text: str) -> str:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)


def _own_folder(shared: Path) -> Path:
    """Make a folder for this process, and remove those of drivers of this machine that were killed."""
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in shared.glob(f"{_PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=shared))


def _is_left(folder: Path) -> bool:
    """Tell whether it is sure that the folder's process has ended."""
    with suppress(OSError, ValueError):
        machine, process, begun = (folder / _OWNER).read_text().splitlines()
        return machine == this_machine() != "" and begun_at(int(process)) != begun
    return False
