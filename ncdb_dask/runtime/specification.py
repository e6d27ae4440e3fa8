"""What kind of cluster is meant, and how it is made up: from an option, a TOML file, or Dask's configuration."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.settings import DASHBOARD_PORT
from ncdb_dask.runtime.specification_values import check_meaning, fitting

EXPECTED = "expected local, slurm, an address such as tls://host:8786, or a TOML file such as cluster/slurm.toml"


@dataclass(frozen=True)
class LocalSpec:
    """Worker processes on this machine.

    Attributes
    ----------
    workers : int, optional
        How many processes of one thread; one a core that this process may use if left out.
    memory : str, optional
        Limit of each, such as ``2 GiB``; a core's share of the memory that this process may use if left out.
    dashboard_port : int
        Where Dask's dashboard listens on 127.0.0.1; another free port where this one is taken.
    """

    workers: int | None = None
    memory: str | None = None
    dashboard_port: int = DASHBOARD_PORT


@dataclass(frozen=True)
class SlurmSpec:
    """Worker processes in jobs of a SLURM cluster.

    Attributes
    ----------
    workers : int
        How many processes of one thread, each with a core of its own.
    workers_per_job : int
        How many of them share a job.
    memory : str
        Limit of each worker; the job asks for more, so that a worker is ended by Dask and not the job by SLURM.
    walltime : str
        Of a job, as SLURM writes it: ``HH:MM:SS`` or ``D-HH:MM:SS``.
    partition, account : str, optional
        Where the site wants them.
    interface : str, optional
        Network interface that nodes reach each other by, such as ``ib0``.
    shared : str
        Folder that all nodes see: certificates while a cluster is open, and the logs of jobs.
    directives : tuple of str
        Further ``#SBATCH`` options, such as ``--constraint=avx2``.
    skip : tuple of str
        Options that the site refuses, such as ``--mem``.
    prologue : tuple of str
        Shell lines of a job before its workers, such as ``module load python``.
    python : str, optional
        The interpreter of the workers; the driver's own if left out.
    lifetime_margin : str
        So long before the end of its wall time a worker ends by itself: its shards go to others at once, its process
        lives on for half a minute. ``0`` lets SLURM end it.
    no_workers_timeout : str
        A run that has been without any worker for so long gives up.
    dashboard_port : int
        As for `LocalSpec`.
    driver_walltime, driver_memory : str
        Of the job that runs the command itself, for ``submit`` and ``slurm-script``.
    driver_directives : tuple of str
        Further ``#SBATCH`` options of that job.
    """

    workers: int = 4
    workers_per_job: int = 1
    memory: str = "4 GiB"
    walltime: str = "01:00:00"
    partition: str | None = None
    account: str | None = None
    interface: str | None = None
    shared: str = "~/.ncdb_dask"
    directives: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    lifetime_margin: str = "1 minute"
    no_workers_timeout: str = "30 minutes"
    dashboard_port: int = DASHBOARD_PORT
    driver_walltime: str = "1-00:00:00"
    driver_memory: str = "4 GiB"
    driver_directives: tuple[str, ...] = ()


@dataclass(frozen=True)
class AddressSpec:
    """A scheduler that runs already.

    Attributes
    ----------
    address : str
        Such as ``tls://host:8786``.
    ca_file, cert_file, key_file : str, optional
        For ``tls://``; Dask's own configuration (``distributed.comm.tls``) where they are left out.
    insecure : bool
        Connect beyond this machine without encryption.
    """

    address: str
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False


Spec = LocalSpec | SlurmSpec | AddressSpec
KINDS: dict[str, type[Spec]] = {"local": LocalSpec, "slurm": SlurmSpec, "address": AddressSpec}


def read_spec(
    cluster: str | os.PathLike[str] | Spec | None = None,
    workers: int | None = None,
    scheduler_file: str | os.PathLike[str] | None = None,
    insecure: bool = False,
) -> Spec:
    """Return the cluster that a command's options name.

    What an option does not say is taken from the TOML file, then from ``ncdb.<kind>`` in Dask's configuration.

    Parameters
    ----------
    cluster : str or path or specification, optional
        ``local``, ``slurm``, an address, or a TOML file; ``ncdb.cluster`` of Dask's configuration if left out, else
        ``local``.
    workers : int, optional
        How many, instead of what file or configuration say.
    scheduler_file : str or path, optional
        What ``dask scheduler --scheduler-file`` has written.
    insecure : bool
        As in `AddressSpec`.

    Raises
    ------
    RunError
        Options, a file or a configuration that do not say what a cluster is.
    """
    if scheduler_file is not None:
        if cluster is not None:
            raise RunError(f"--cluster {cluster} and --scheduler-file {scheduler_file}: expected one of them")
        spec: Spec = _made("address", {"address": _address_in(scheduler_file)}, os.fspath(scheduler_file))
    elif isinstance(cluster, Spec):
        spec = _checked(type(cluster), vars(cluster), type(cluster).__name__)
    else:
        spec = _named(cluster)
    if insecure:
        if not isinstance(spec, AddressSpec):
            raise RunError("--insecure is for the address of a scheduler; a cluster of our own is always safe")
        spec = replace(spec, insecure=True)
    if workers is not None:
        if isinstance(spec, AddressSpec):
            raise RunError(f"{spec.address} has the workers that it has; leave --workers {workers} out")
        spec = _checked(type(spec), {**vars(spec), "workers": workers}, "--workers")
    return spec


def fitted(spec: Spec, tasks: int) -> Spec:
    """Ask for no more workers on this machine, or in jobs, than there are tasks."""
    if isinstance(spec, AddressSpec):
        return spec
    from ncdb_dask.runtime.local import cores

    return replace(spec, workers=max(1, min(spec.workers or cores(), tasks)))


def _named(cluster: str | os.PathLike[str] | None) -> Spec:
    import dask

    unknown = {str(key) for key in dask.config.get("ncdb", None) or {}} - {"cluster", *KINDS}
    if unknown:
        raise RunError(f"Dask's configuration: found ncdb.{min(unknown)}; expected cluster, {', '.join(KINDS)}")
    name: Any = dask.config.get("ncdb.cluster", None) or "local" if cluster is None else cluster
    if not isinstance(name, str | os.PathLike):
        raise RunError(f"found cluster {name!r}; {EXPECTED}")
    name = os.fspath(name)
    if "://" in name:
        return _made("address", {"address": name}, "cluster")
    if name in ("local", "slurm"):
        return _made(name, {}, name)
    if re.fullmatch(r"[\w.-]+:\d+", name):
        raise RunError(f"found cluster {name!r}; expected a protocol before it: tls://{name}, or tcp://{name}")
    return _in_file(name)


def _address_in(path: str | os.PathLike[str]) -> str:
    expected = "expected what `dask scheduler --scheduler-file` writes once it is up"
    try:
        values = json.loads(Path(path).expanduser().read_text())
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); {expected}") from error
    except ValueError as error:
        raise RunError(f"{path} is no complete JSON; {expected}") from error
    address = values.get("address") if isinstance(values, dict) else None
    if not isinstance(address, str):
        raise RunError(f"{path} holds no address; {expected}")
    return address


def _in_file(path: str) -> Spec:
    try:
        values = tomllib.loads(Path(path).expanduser().read_text())
    except FileNotFoundError as error:
        raise RunError(f"found cluster {path!r}, and no such file; {EXPECTED}") from error
    except OSError as error:
        raise RunError(f"cluster {path!r} cannot be read ({error.strerror}); {EXPECTED}") from error
    except ValueError as error:
        raise RunError(f"{path} is no TOML ({error}); expected a file such as cluster/slurm.toml") from error
    kind = values.pop("kind", None)
    if kind not in KINDS:
        found = f"found kind = {kind!r}" if kind else "found no kind"
        raise RunError(f'{path}: {found}; expected kind = "local", "slurm" or "address"')
    return _made(kind, values, path)


def _made(kind: str, values: Mapping[str, Any], where: str) -> Spec:
    """Make a specification of named values over those of Dask's configuration."""
    import dask

    made, section = KINDS[kind], f"ncdb.{kind} in Dask's configuration"
    configured = dask.config.get(f"ncdb.{kind}", None) or {}
    if not isinstance(configured, dict):
        raise RunError(f"{section}: found {configured!r}; expected names and values, such as workers: 4")
    usual = fitting(made, {str(name).replace("-", "_"): value for name, value in configured.items()}, section)
    check_meaning(usual, section)
    given = fitting(made, values, where)
    if made is AddressSpec and not {"address"} & (usual | given).keys():
        raise RunError(f"{where}: address is missing, such as tls://host:8786")
    return _checked(made, {**usual, **given}, where)


def _checked(made: type[Spec], values: Mapping[str, Any], where: str) -> Spec:
    fit = fitting(made, values, where)
    check_meaning(fit, where)
    return made(**fit)
