"""Which folder of statistics is meant: quantizations keep those of several networks side by side."""

import os

from ncdb_dask.calibration.collection import STATISTICS, advising_removal
from ncdb_dask.errors import CalibrationError
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.plan import Plan, read_plan

SHOWN = 8


def find_statistics(place: LocalFolder) -> LocalFolder:
    """Find the statistics of one network: those of `place`, or of its only sub-folder that holds any.

    Raises
    ------
    CalibrationError
        Where there are none, or those of several networks.
    PlanError
        Where a plan is damaged.
    OSError
        Where the storage fails.
    """
    plan = _plan(place)
    if plan is not None and plan.kind != STATISTICS.name:
        raise CalibrationError(f"{place.url}: holds a {plan.kind}; expected a folder of activation statistics")
    if plan is not None:
        return place
    below = {name: _plan(_below(place, name)) for name in sorted(place.list().folders)}
    found = {name: plan for name, plan in below.items() if plan is not None and plan.kind == STATISTICS.name}
    if not found:
        raise CalibrationError(
            f"{place.url}: holds no activation statistics; make those of the frames that may be chosen with "
            "ncdb_dask.activation_statistics(MODEL, FOLDER, root=ROOT, split=SPLIT), or give the folder that "
            "ncdb-dask quantize --statistics has filled"
        )
    if len(found) > 1:
        listed = [f"{name} ({plan.entries} frames)" for name, plan in found.items()]
        shown = ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
        raise CalibrationError(
            f"{place.url}: holds statistics of {len(found)} networks: {shown}; give one of these folders "
            "(the report of a quantization names its own under 'statistics')"
        )
    (name,) = found
    return _below(place, name)


def _below(place: LocalFolder, name: str) -> LocalFolder:
    return LocalFolder(os.path.join(place.path, name))


def _plan(folder: LocalFolder) -> Plan | None:
    with advising_removal(folder):
        return read_plan(folder)
