"""A driver on a worker of the cluster that it uses: it needs neither this machine nor its client."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.invocation import invoked

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

# What the command's own environment says of the data, and a worker's does not.
_PASSED_ON = ("FSSPEC_", "NCDB_")
# Before the shards of other runs that wait for a worker.
PRIORITY = 100


def start_on_cluster(client: "Client", driver_id: str, record: str, command: Sequence[str], log: str) -> "Future":
    """Run a command on a worker and return what becomes of it; nobody needs to wait for it.

    Where its worker dies, Dask begins it again on another one, and the run goes on from what is complete.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler that the command is to use.
    driver_id, record : str
        The driver, and where its record is.
    command : sequence of str
        Its name and its arguments.
    log : str
        The file that what it says is appended to.
    """
    from distributed import fire_and_forget

    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    future = client.submit(
        drive,
        record,
        tuple(command),
        os.getcwd(),
        passed,
        log,
        key=f"ncdb-driver-{driver_id}",
        priority=PRIORITY,
        pure=False,
    )
    fire_and_forget(future)
    return future


def require_seen(client: "Client", paths: Sequence[str]) -> None:
    """Check that every worker sees these files and folders.

    Raises
    ------
    RunError
        Names the first that one does not see, or a worker that does not answer.
    """
    found: dict[str, str | BaseException] = client.run(unseen, tuple(paths), on_error="return")
    for worker, path in found.items():
        if isinstance(path, BaseException):
            raise RunError(
                f"worker {worker} could not be asked whether it sees {', '.join(paths)} ({path!r}); submit it again, "
                "or restart that worker"
            )
        if path:
            raise RunError(
                f"worker {worker} does not see {path}; a driver on the cluster needs this folder and OUT on a file "
                "system that all workers see, at the same path"
            )


def unseen(paths: Sequence[str]) -> str:
    """Return the first path that is not there, or nothing."""
    return next((path for path in paths if not Path(path).exists()), "")


def drive(record: str, command: Sequence[str], cwd: str, environment: Mapping[str, str], log: str) -> int:
    """Run the command as a process beside the worker until it ends; a task."""
    from distributed import get_worker, secede

    worker = get_worker()
    address = worker.scheduler.address
    # Where its worker's own connection is not encrypted, that of the driver need not be.
    where = ["--cluster", address, *([] if address.startswith("tls://") else ["--insecure"])]
    secede()  # it waits for nearly all of its time, and the worker has shards to do
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "ab") as said,
        subprocess.Popen(  # noqa: S603 - our own command
            [*invoked(), "--driver", record, "--until-eof", command[0], *where, *command[1:]],
            cwd=cwd,
            env={**os.environ, **environment, **_certificates(worker)},
            stdin=subprocess.PIPE,  # which ends with this worker, and the driver with it
            stdout=said,
            stderr=said,
        ) as process,
    ):
        return process.wait()


def _certificates(worker: "Worker") -> dict[str, str]:
    """Return the worker's own certificates, as the configuration of the driver."""
    security = worker.security
    files = {
        "CA_FILE": security.tls_ca_file,
        "CERT_FILE": security.tls_worker_cert,
        "KEY_FILE": security.tls_worker_key,
    }
    return {f"DASK_NCDB__ADDRESS__{name}": path for name, path in files.items() if path}
