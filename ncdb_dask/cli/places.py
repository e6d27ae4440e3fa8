"""Where a run's own files lie, and the record of its driver, for each command that runs long."""

from dataclasses import dataclass

from ncdb_dask.errors import PlanError
from ncdb_dask.exporting.plan import RUN_FOLDER
from ncdb_dask.store.driver_records import DRIVER_FOLDER
from ncdb_dask.store.folder import Folder, file_at, open_folder, reported
from ncdb_dask.store.plan import PLAN_FOLDER


@dataclass(frozen=True, slots=True)
class Place:
    """Of one run.

    Attributes
    ----------
    run : Folder or None
        Plan and receipts; a quantization has none.
    driver : Folder
        Records of drivers.
    """

    run: Folder | None
    driver: Folder


def place_of(command: str, out: str) -> Place:
    """Return where a command leaves its own files; vendors' tools are pointed at an export, and find none there."""
    if command == "quantize":
        folder, name = file_at(out)
        return Place(None, open_folder(f"{folder.url}/.{name}.driver"))
    url = open_folder(out).url
    run = open_folder(f"{url}/{RUN_FOLDER}" if command == "export" else url)
    return Place(run, open_folder(f"{run.url}/{DRIVER_FOLDER}"))


def find_place(out: str) -> Place:
    """Return the place of whatever run there is.

    Raises
    ------
    PlanError
        Where there is none.
    """
    folder = open_folder(out)
    with reported(folder, "read"):
        for command in ("scan", "export", "quantize"):
            place = place_of(command, out)
            planned = place.run is not None and place.run.list(PLAN_FOLDER).sizes
            if planned or place.driver.list().sizes:
                return place
    raise PlanError(
        f"{folder.url}: nothing of ncdb-dask runs or ran there; expected the OUT of a command that runs long, such as "
        "scan, export, evaluate, quantize or explain"
    )
