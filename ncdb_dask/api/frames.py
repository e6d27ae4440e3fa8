"""The frames of calibration splits, as several verbs take them."""

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ncdb_dask.api.locations import Location, several
from ncdb_dask.calibration.frames import CalibrationFrames, FrameReader
from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.dataset.split import Roots
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.model.spec import InputSpec
from ncdb_dask.store.folder import open_folder


def calibration_frames(
    split: Location | Sequence[Location],
    root: Location,
    allow_root: Location | Sequence[Location],
    spec: InputSpec,
    storage_options: Mapping[str, Any] | None,
) -> tuple[CalibrationFrames, FrameReader]:
    """Return the frames of splits, and what reads them.

    Raises
    ------
    NcdbError
        A split or a folder that cannot be used.
    """
    data, allowed = open_folder(root, storage_options), [open_folder(at, storage_options) for at in several(allow_root)]
    for folder in (data, *allowed):
        require_data_root(folder)
    roots = Roots.of(data, allowed)
    splits = read_splits([os.fspath(name) for name in several(split)], data, storage_options)
    return CalibrationFrames.of(splits, roots), FrameReader(data, roots, spec, run=uuid.uuid4().hex)
