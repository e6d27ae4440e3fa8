"""Checkpoints: written whole or not at all, and continued only by the training that they are of."""

import io
from typing import Any

import torch

from ncdb_dask.errors import PlanError, TrainingError
from ncdb_dask.store.folder import LocalFolder

LAST, BEST = "last.pt", "best.pt"
FORMAT = 1


def save(folder: LocalFolder, name: str, held: dict[str, Any]) -> None:
    """Write a checkpoint; whoever reads sees the old one or the new one.

    Raises
    ------
    OSError
        Where the storage fails.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **held}, buffer)
    folder.write(name, buffer.getvalue())


def load(folder: LocalFolder, name: str, identity: str) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none.

    Parameters
    ----------
    folder : LocalFolder
        Where.
    name : str
        Of the file.
    identity : str
        Of the training, as `save` got it.

    Raises
    ------
    PlanError
        Where it is of another training.
    TrainingError
        Where it cannot be read.
    OSError
        Where the storage fails.
    """
    try:
        data = folder.read(name)
    except FileNotFoundError:
        return None
    try:
        held: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found = held["identity"], held["format"]
    except Exception as error:  # torch has many kinds
        raise TrainingError(
            f"{folder.url}/{name}: is no checkpoint ({type(error).__name__}); remove it, or start over with --fresh"
        ) from error
    if found != (identity, FORMAT):
        raise PlanError(
            f"{folder.url}: holds a training of another recipe, network or data; name another folder, or start over "
            "with --fresh"
        )
    return held
