"""The records of drivers in their folder: written, read, cleared away, and asked to stop."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

from ncdb_dask.store.driver import Driver
from ncdb_dask.store.folder import Folder, LocalFolder

DRIVER_FOLDER = "_driver"
LOG_FILE = "driver.log"


def record_file(driver_id: str) -> str:
    """Name the record of a driver."""
    return f"{driver_id}.json"


def _stop_file(driver_id: str) -> str:
    return f"{driver_id}.stop"


def write_driver(place: Folder, driver: Driver) -> None:
    """Write a record; ``OSError`` where the storage fails."""
    place.write(record_file(driver.id), json.dumps(asdict(driver), indent=1).encode())


def read_driver(place: Folder, driver_id: str) -> Driver | None:
    """Return a record, or None where there is none that can be read."""
    try:
        values = json.loads(place.read(record_file(driver_id)))
        driver = Driver(**{**values, "command": tuple(values["command"])})
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    fitting = all(type(getattr(driver, each.name)) is type(each.default) for each in fields(Driver)[3:])
    return driver if fitting and driver.id == driver_id and driver.command else None


def read_drivers(place: Folder) -> tuple[list[Driver], list[str]]:
    """Return the records of a folder, those that live and the latest first, and the names of damaged ones."""
    names = [name for name in place.list().sizes if name.endswith(".json")]
    found = {name: read_driver(place, name.removesuffix(".json")) for name in names}
    drivers = [driver for driver in found.values() if driver is not None]
    damaged = sorted(name for name, driver in found.items() if driver is None)
    return latest_first(drivers), damaged


def latest_first(drivers: Iterable[Driver]) -> list[Driver]:
    """Return drivers in order: those that live before others, and then the latest."""
    return sorted(drivers, key=lambda driver: (not driver.is_alive(), -driver.latest))


def ask_to_stop(place: Folder, driver: Driver, who: str) -> None:
    """Leave a request that the driver will find."""
    place.write(_stop_file(driver.id), who.encode())


def asked_to_stop(place: Folder, driver: Driver) -> str:
    """Return who asked the driver to end; empty where nobody did."""
    try:
        return place.read(_stop_file(driver.id)).decode(errors="replace") or "someone"
    except (FileNotFoundError, NotADirectoryError):
        return ""


def forget_ended(place: Folder, keep: str) -> None:
    """Remove what drivers have left that live no more, but for their log.

    Where one does live whose record is damaged, it writes another at its next beat.
    """
    alive = {driver.id for driver in read_drivers(place)[0] if driver.is_alive()} | {keep}
    for name in place.list().sizes:
        owner = name.lstrip(".").partition(".")[0]
        if owner not in alive and name.endswith((".json", ".stop", ".tmp")):
            place.remove(name)


def folders_to_make(place: Folder) -> list[str]:
    """Return the local folders that the first record will make, the innermost first."""
    if not isinstance(place, LocalFolder):
        return []
    path = Path(place.path)
    return [str(each) for each in (path, *path.parents) if not each.exists()]


def withdraw(place: Folder, driver: Driver, made: Iterable[str]) -> None:
    """Remove a record, and the folders that were made for it: a command that has written nothing leaves nothing."""
    place.remove(record_file(driver.id))
    place.remove(_stop_file(driver.id))
    with suppress(OSError):  # one that is not empty, and those around it, stay
        for folder in made:
            os.rmdir(folder)


def is_alone(place: Folder) -> bool:
    """Whether nothing of a run lies beside its records."""
    path = getattr(place, "path", "")
    if os.path.basename(path) != DRIVER_FOLDER:
        return bool(path)  # a quantization writes all its files at its end
    return set(os.listdir(os.path.dirname(path))) == {DRIVER_FOLDER}


def tail(path: str, lines: int) -> list[str]:
    """Return the last lines of a log, or none where it cannot be read here."""
    with suppress(OSError), Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - lines * 400))
        return file.read().decode(errors="replace").splitlines()[-lines:]
    return []
