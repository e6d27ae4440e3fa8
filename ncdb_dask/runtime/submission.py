"""Handing a command to a driver that works unattended: in the background, as a SLURM job, or on a cluster."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.address import connected
from ncdb_dask.runtime.detached import has_ended, start_detached
from ncdb_dask.runtime.driver_script import driver_script, escaped
from ncdb_dask.runtime.on_cluster import require_seen, start_on_cluster
from ncdb_dask.runtime.slurm_tools import called, number_of, require_slurm
from ncdb_dask.runtime.specification import AddressSpec, SlurmSpec, Spec
from ncdb_dask.store.driver import FAILED, FINISHED, STARTING, STOPPED, SUBMITTED, Driver, new_driver
from ncdb_dask.store.driver_records import (
    LOG_FILE,
    folders_to_make,
    read_driver,
    record_file,
    tail,
    withdraw,
    write_driver,
)
from ncdb_dask.store.folder import Folder, LocalFolder, reported

if TYPE_CHECKING:
    from distributed import Future

# A process imports its packages and plans a small set within so long; of a longer one `status` tells.
SECONDS_TO_BEGIN = 20.0
LOG_LINES = 8


@dataclass(frozen=True)
class Submission:
    """A command that is to run unattended.

    Attributes
    ----------
    command : tuple of str
        Its name and its arguments.
    where : tuple of str
        The options that say where its workers run.
    place : Folder
        Where its driver's record goes.
    """

    command: tuple[str, ...]
    where: tuple[str, ...]
    place: Folder

    def placed(self) -> tuple[str, ...]:
        """Return the command with the options that say where."""
        name, *rest = self.command
        return (name, *self.where, *rest)

    def arguments(self, driver: Driver) -> list[str]:
        """Return those of the driver's process."""
        return ["--driver", self._record(driver), *self.placed()]

    def submit(self, spec: Spec, report: Callable[[str], None]) -> Driver:
        """Start the driver and return its record.

        Raises
        ------
        RunError
            Where it cannot begin.
        """
        if isinstance(spec, AddressSpec):
            return self._on_cluster(spec, report)
        return self._as_job(spec) if isinstance(spec, SlurmSpec) else self._here()

    def _here(self) -> Driver:
        with self._recorded("~/.ncdb_dask") as driver:
            pid = start_detached(self.arguments(driver), driver.log)
        return self._begun(driver, lambda: f"process {pid}" if has_ended(pid) else "")

    def _as_job(self, spec: SlurmSpec) -> Driver:
        require_slurm()
        with self._recorded(spec.shared) as driver:
            command, log = self.arguments(driver), escaped(driver.log)
            script = driver_script(spec, command, name=driver.job_name, log=log, cwd=driver.cwd)
            submitted = replace(driver, job=_submitted(script, driver.job_name))
        with reported(self.place, "write"):
            held = read_driver(self.place, driver.id)
            if held is None or held.state == SUBMITTED:  # where it has begun, it knows its number itself
                write_driver(self.place, submitted)
        return submitted

    def _on_cluster(self, spec: AddressSpec, report: Callable[[str], None]) -> Driver:
        with connected(spec, report, to_work=False) as client:
            with self._recorded("~/.ncdb_dask", client.scheduler.address) as driver:
                local = isinstance(self.place, LocalFolder)
                require_seen(client, [driver.cwd, *([self._record(driver)] if local else [])])
                future = start_on_cluster(client, driver.id, self._record(driver), self.command, driver.log)
            return self._begun(driver, lambda: _end_of(future))

    @contextmanager
    def _recorded(self, shared: str, cluster: str = "") -> Iterator[Driver]:
        """Write the record of a driver that has not begun; none is left of one that is not accepted."""
        driver = new_driver(self.placed(), state=SUBMITTED, cluster=cluster, submitted=time.time())
        made = folders_to_make(self.place)
        with reported(self.place, "write"):
            if isinstance(self.place, LocalFolder):
                log = Path(self.place.path, LOG_FILE)
            else:
                log = Path(shared).expanduser().absolute() / "logs" / f"{driver.id}.log"
                log.parent.mkdir(parents=True, exist_ok=True)
            driver = replace(driver, log=str(log))
            write_driver(self.place, driver)
        try:
            yield driver
        except BaseException:
            with suppress(OSError):
                withdraw(self.place, driver, made)
            raise

    def _record(self, driver: Driver) -> str:
        return f"{self.place.url}/{record_file(driver.id)}"

    def _begun(self, driver: Driver, ended: Callable[[], str]) -> Driver:
        """Wait until the driver has planned its work, as long as that is no matter of minutes."""
        until = time.monotonic() + SECONDS_TO_BEGIN
        while time.monotonic() < until:
            what = ended()
            with reported(self.place, "read"):
                driver = read_driver(self.place, driver.id) or driver
            if driver.state in (FAILED, STOPPED) or (what and driver.state != FINISHED):
                raise RunError(
                    "\n".join([f"{what or driver.where()} ended at once; its log ends with:", *_last(driver)])
                )
            if what or driver.state not in (SUBMITTED, STARTING):
                break
            time.sleep(0.1)
        return driver


def _end_of(future: "Future") -> str:
    """Name a task that has ended, and say why where its worker could not begin."""
    if not future.done():
        return ""
    error = future.exception()
    return f"task {future.key}" + (f" ({error})" if error else "")


def _submitted(script: str, name: str) -> str:
    """Submit a script and return the number of its job."""
    with tempfile.NamedTemporaryFile("w", prefix="ncdb-", suffix=".sbatch") as file:
        file.write(script)
        file.flush()
        try:
            return number_of(called("sbatch", file.name))
        except RunError:
            with suppress(RunError):
                called("scancel", f"--name={name}")  # sbatch may seem to fail, and the job be accepted
            raise


def _last(driver: Driver) -> list[str]:
    return [f"    {line}" for line in tail(driver.log, LOG_LINES)]
