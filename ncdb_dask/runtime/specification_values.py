"""The values of a cluster's specification: their names, their types, and what they have to mean."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_origin
from urllib.parse import urlsplit

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.slurm_tools import seconds_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PORTS = range(65536)
ADDRESS = "tls://host:8786, or tcp://127.0.0.1:8786 on this machine"


def fitting(made: "type[DataclassInstance]", values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check names and types, and return the values as the specification holds them: tuples for lists.

    Dask makes numbers of what looks like one, in its files and in environment variables; where a text is meant, it is
    made a text again.

    Raises
    ------
    RunError
        Says which one does not fit.
    """
    kinds = {each.name: _kind(each.type) for each in fields(made)}
    fit = {}
    for name, value in values.items():
        if name not in kinds:
            raise RunError(f"{where}: found {name} = {value!r}; expected one of {', '.join(kinds)}")
        if value is None:  # an empty line in YAML: left out
            continue
        fit[name] = _converted(kinds[name], name, value)
        if type(fit[name]) is not kinds[name] or (kinds[name] is tuple and {*map(type, value)} - {str}):
            raise RunError(f"{where}: found {name} = {value!r}; expected {_EXPECTED[kinds[name]]}")
    return fit


def _converted(kind: type, name: str, value: Any) -> Any:
    # Not a wall time: 12:00:00 without quotes is the number 43200 in YAML, and 43200 are minutes to SLURM.
    if kind is str and type(value) in (int, float) and not name.endswith("walltime"):
        return str(value)
    return tuple(value) if kind is tuple and type(value) is list else value


_EXPECTED: dict[type, str] = {
    int: "a whole number",
    bool: "true or false",
    str: "text, in quotes",
    tuple: "a list of texts",
}


def _kind(annotation: Any) -> type:
    """Return the type of ``int | None`` and its like."""
    origin = get_origin(annotation)
    if origin is tuple:
        return tuple
    kind: type = annotation if origin is None else get_args(annotation)[0]
    return kind


def check_meaning(values: Mapping[str, Any], where: str) -> None:
    """Check that counts, sizes and times are some, and an address is one.

    Raises
    ------
    RunError
        Says which one is not.
    """
    for name, value in values.items():
        usable, expected = _MEANINGS.get(name, (bool, ""))
        if expected and not _holds(usable, value):
            raise RunError(f"{where}: found {name} = {value!r}; expected {expected}")


def _holds(usable: Callable[[Any], bool], value: Any) -> bool:
    try:
        return usable(value)
    except (ValueError, KeyError, RunError):  # Dask looks units up
        return False


def _bytes(text: str) -> bool:
    from dask.utils import parse_bytes

    return int(parse_bytes(text)) >= LEAST_MEMORY


def _duration(text: str) -> bool:
    from dask.utils import parse_timedelta

    return float(parse_timedelta(text)) >= 0


def _walltime(text: str) -> bool:
    return seconds_of(text) > 0


def _address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("tcp", "tls") and bool(parts.hostname) and bool(parts.port) and not parts.path.strip("/")


# A worker holds 110 MB before its first frame, and is paused at 80 % of its limit.
LEAST_MEMORY = 200_000_000
_SIZE = "a size such as '2 GiB', and at least 200 MB"
_TIME = "a time such as '30 minutes'"
_WALLTIME = "HH:MM:SS or D-HH:MM:SS"
_MEANINGS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "workers": (lambda count: count >= 1, "at least 1"),
    "workers_per_job": (lambda count: count >= 1, "at least 1"),
    "dashboard_port": (lambda port: port in PORTS, "a port, 0 to 65535"),
    "memory": (_bytes, _SIZE),
    "driver_memory": (_bytes, _SIZE),
    "lifetime_margin": (_duration, _TIME),
    "no_workers_timeout": (_duration, _TIME),
    "walltime": (_walltime, _WALLTIME),
    "driver_walltime": (_walltime, _WALLTIME),
    "address": (_address, ADDRESS),
}
