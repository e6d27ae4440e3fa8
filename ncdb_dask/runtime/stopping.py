"""Ending a driver from any machine that sees its record."""

import getpass
import math
import shlex
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.slurm_tools import called, queued, require_slurm
from ncdb_dask.store.driver import DIED, ENDED, STOPPED, SUBMITTED, Driver
from ncdb_dask.store.driver_records import ask_to_stop, read_driver, read_drivers, write_driver
from ncdb_dask.store.folder import Folder, reported

LOOK_SECONDS = 0.5
# Between questions to SLURM, whose controller serves all users.
QUEUE_SECONDS = 5.0
# Between lines that say what is waited for.
TELL_SECONDS = 10.0


def is_there(driver: Driver) -> bool:
    """Whether a driver runs or waits; of a job, SLURM is asked where it can be.

    A job that was preempted, or whose node went down, waits again although its driver has ended.
    """
    alive = driver.is_alive()
    if not driver.job or (alive and driver.state != SUBMITTED):
        return alive
    with suppress(RunError):
        return any(alive or job.state == "PENDING" for job in queued(driver.job_name))
    return alive


def as_seen(place: Folder, driver: Driver) -> Driver:
    """Return a driver as SLURM tells of it, where that can be asked: a job that was cancelled writes no record."""
    if driver.state != SUBMITTED or not driver.job or is_there(driver):
        return driver
    driver = read_driver(place, driver.id) or driver  # it may have begun, and ended, meanwhile
    gone = "its job has left the queue and has not begun; submit it again"
    return replace(driver, state=STOPPED, error=gone) if driver.state == SUBMITTED else driver


def require_alone(place: Folder) -> None:
    """Refuse a second driver in a folder: it would do the same work again, or begin it anew under the first one.

    Raises
    ------
    RunError
        Names the one that is there.
    """
    with reported(place, "read"):
        drivers, _ = read_drivers(place)
        for driver in drivers:
            seen = as_seen(place, driver)
            if seen != driver:  # so that the next driver clears it away
                write_driver(place, seen)
    for driver in filter(is_there, drivers):
        raise RunError(
            f"{place.url}: another driver is at work ({driver.where()}, {driver.state}{_since(driver)}: "
            f"{shlex.join(driver.command)}); `ncdb-dask stop` ends it, or withdraws it where it has not begun"
        )


def cancel_left(drivers: Iterable[Driver], report: Callable[[str], None], again: str = "") -> None:
    """Cancel the jobs of workers that drivers have left in the queue, because they were killed.

    Parameters
    ----------
    drivers : iterable of Driver
        As they are in their folder.
    report : callable
        Gets sentences.
    again : str
        The driver that begins once more, so that its former process is dead, whatever its record says.
    """
    for driver in drivers:
        if not driver.jobs or (driver.condition() != DIED and (driver.id != again or driver.state in ENDED)):
            continue
        try:
            called("scancel", f"--name={driver.jobs}")
            report(f"cancelled what jobs {driver.where()} has left in the queue ({driver.jobs})")
        except RunError as error:
            report(f"{error}; look for jobs that {driver.where()} has left: scancel --name={driver.jobs}")


def stop_driver(place: Folder, driver: Driver, seconds: float, report: Callable[[str], None]) -> Driver:
    """Ask a driver to end and return its last record.

    Parameters
    ----------
    place : Folder
        Where its record is.
    driver : Driver
        As it was seen.
    seconds : float
        How long to wait.
    report : callable
        Gets sentences.

    Raises
    ------
    RunError
        Where it has not ended by then, or waits in a queue that cannot be reached from here.
    """
    ask_to_stop(place, driver, f"{getpass.getuser()} on {socket.gethostname()}")
    if driver.state == SUBMITTED or not driver.is_alive():
        _cancel(driver)
    until, told, asked = time.monotonic() + seconds, time.monotonic(), -math.inf
    report(f"asked {driver.where()} to end ({driver.state})")
    while True:
        driver = read_driver(place, driver.id) or driver
        if driver.state == SUBMITTED and time.monotonic() - asked > QUEUE_SECONDS:
            driver, asked = _withdrawn(place, driver), time.monotonic()
        if not driver.is_alive() and not driver.has_process():
            return driver
        if time.monotonic() > until:
            raise RunError(
                f"{driver.where()} has not ended within {seconds:.0f} s ({driver.state}; last sign of life "
                f"{max(0.0, time.time() - driver.heartbeat):.0f} s ago); it ends when it sees the request, "
                f"or by force: {_by_force(driver)}"
            )
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            report(f"waiting for {driver.where()}: {driver.state}; {driver.said or 'it says nothing'}")
        time.sleep(LOOK_SECONDS)


def _cancel(driver: Driver) -> None:
    """Take a job that has not begun out of the queue; where it begins just now, it ends by SLURM's signal."""
    if not driver.job:
        return
    try:
        require_slurm()
    except RunError as error:
        raise RunError(
            f"SLURM job {driver.job} has not begun, and cannot be cancelled from here: scancel {driver.job} where "
            "SLURM is; if it begins, it ends at once"
        ) from error
    called("scancel", f"--name={driver.job_name}")


def _withdrawn(place: Folder, driver: Driver) -> Driver:
    """Note the end of a driver that will not begin, or ends when it does."""
    try:
        if driver.job and queued(driver.job_name):
            return driver
    except RunError:  # a controller that is busy is asked again
        return driver
    ended = replace(driver, state=STOPPED, error="stopped before it began", ended=time.time())
    held = read_driver(place, driver.id)
    if held is not None and held.state != SUBMITTED:  # it did begin
        return held
    write_driver(place, ended)
    return ended


def _by_force(driver: Driver) -> str:
    if driver.job:
        return f"scancel {driver.job}"
    return f"kill {driver.pid} on {driver.host}"


def _since(driver: Driver) -> str:
    """Say since when a driver waits that has not begun: nobody speaks for it."""
    return f" {datetime.fromtimestamp(driver.submitted):%Y-%m-%d %H:%M}" if driver.state == SUBMITTED else ""
