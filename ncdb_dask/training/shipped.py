"""The trained network that comes with this package, found without torch."""

from importlib.resources import files
from pathlib import Path

from ncdb_dask.errors import TrainingError

NAME = "resnet_unet"


def shipped_network() -> Path:
    """Return where the ONNX network lies that comes with this package; its model file lies beside it."""
    return shipped_file(".onnx")


def shipped_file(suffix: str) -> Path:
    """Return one of its files: ``.onnx``, ``.toml`` the model file, ``.pt`` the checkpoint.

    Raises
    ------
    TrainingError
        Where this installation lacks it.
    """
    found = Path(str(files("ncdb_dask.training") / "networks" / f"{NAME}{suffix}"))
    if not found.is_file():
        raise TrainingError(f"{found}: no such file; expected the network that comes with ncdb_dask, install it again")
    return found
