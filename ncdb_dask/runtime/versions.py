"""Whether a cluster that was there before us has the same packages."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ncdb_dask.errors import RunError

if TYPE_CHECKING:
    from distributed import Client

# What travels between them as pickles or decides what a row holds must be the same.
SAME = ("ncdb-dask", "dask", "distributed")
ALIKE = ("numpy", "pandas", "pyarrow", "pillow", "onnx", "onnxruntime")
SHOWN = 3


def require_same(client: "Client", report: Callable[[str], None]) -> None:
    """Compare Python and packages of this process with those of scheduler and workers.

    Raises
    ------
    RunError
        Where ncdb_dask is missing there, or something differs that must not.
    """
    # Dask asks by itself, with nothing of ours: what ncdb_dask sends cannot be read where it is missing.
    found = client.get_versions(packages=[*SAME, *ALIKE])
    here = _packages(found["client"])
    sides = {"the scheduler": found["scheduler"]} | {f"worker {name}": side for name, side in found["workers"].items()}
    missing, differing, doubtful = list[str](), list[str](), set[str]()
    for side, about in sides.items():
        there = _packages(about)
        if there["ncdb-dask"] is None:
            missing.append(side)
            continue
        differing += [
            f"{name} {there[name]} on {side}, {here[name]} here"
            for name in ("python", *SAME)
            if there[name] != here[name]
        ]
        doubtful |= {f"{name} {there[name]} there, {here[name]} here" for name in ALIKE if there[name] != here[name]}
    if missing:
        raise RunError(
            f"ncdb-dask is not installed on {_some(missing)}; install version {here['ncdb-dask']} where they run "
            "(pip install ncdb-dask, as on this side) and start them again"
        )
    if differing:
        raise RunError(f"not the same on both sides: {_some(differing)}; expected equal versions, or rows would differ")
    if doubtful:
        report(f"other versions on the cluster, figures may differ in their last digits: {_some(sorted(doubtful))}")


def _packages(side: Mapping[str, Any]) -> dict[str, str | None]:
    found = dict(side["packages"])
    # Pickled code is of one minor version; "3.11.4.final.0".
    found["python"] = ".".join(str(found["python"]).split(".")[:2])
    return {name: found.get(name) for name in ("python", *SAME, *ALIKE)}


def _some(texts: list[str]) -> str:
    """Name the first few."""
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
