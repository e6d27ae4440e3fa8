"""Checking the values of a model file or a recipe: a reader for each kind of value, and the sections that hold them.

A reader returns the value as the program keeps it, or raises ``ValueError`` with what was expected; `read_section`
adds the place and what was found.
"""

import difflib
import json
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ncdb_dask.errors import SpecError

SHOWN = 80  # characters of a user's own value that a message repeats
Reader = Callable[[object], Any]
Sections = Mapping[str, Mapping[str, Reader]]


def whole(low: int, high: int) -> Reader:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:  # a bool is an int to isinstance
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return read


def number(low: float = -math.inf, high: float = math.inf, *, nonzero: bool = False) -> Reader:
    """Return a reader of finite numbers from `low` to `high`."""
    bounded = math.isfinite(low) or math.isfinite(high)
    expected = f"a number from {low:g} to {high:g}" if bounded else "a finite number"

    def read(value: object) -> float:
        if type(value) not in (int, float):
            raise ValueError(expected)
        try:
            found = float(value)  # type: ignore[arg-type]
        except OverflowError:  # TOML's whole numbers have no end
            found = math.inf
        if not (math.isfinite(found) and low <= found <= high):
            raise ValueError(expected)
        if nonzero and not found:
            raise ValueError(f"{expected} other than 0")
        return found

    return read


def choice(*known: str) -> Reader:
    """Return a reader of one of some words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"one of {', '.join(map(quoted, known))}{_nearest(value, known)}")
        return value

    return read


def per_channel(low: float, high: float) -> Reader:
    """Return a reader of three numbers from `low` to `high`, or of one that counts for all three channels."""
    one = number(low, high)

    def read(value: object) -> tuple[float, float, float]:
        values = value if isinstance(value, list | tuple) else [value] * 3
        try:
            first, second, third = map(one, values)
        except ValueError as error:  # too few, too many, or one that is none
            raise ValueError(f"three numbers from {low:g} to {high:g}, or one for all channels") from error
        return first, second, third

    return read


def text(value: object) -> str:
    """Read a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("a string that is not empty")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Read a name, or a list of two different ones."""
    names = value if isinstance(value, list | tuple) else [value]
    if len(names) not in (1, 2) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("a name, or a list of two")
    if len(set(names)) < len(names):
        raise ValueError("two different names")
    return tuple(names)


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def many_texts(value: object) -> tuple[str, ...]:
    """Read a string, or a list of at least one."""
    names = list(value) if isinstance(value, list | tuple) else [value]
    found = tuple(name for name in names if isinstance(name, str) and name)
    if not found or len(found) < len(names):
        raise ValueError("a string, or a list of them")
    return found


def many_numbers(low: float, high: float) -> Reader:
    """Return a reader of a number that is not negative, or a list of different ones."""
    one = number(low, high)

    def read(value: object) -> tuple[float, ...]:
        values = list(value) if isinstance(value, list | tuple) else [value]
        try:
            found = tuple(map(one, values))
        except ValueError as error:
            raise ValueError(f"{error}, or a list of them") from error
        # Six digits, because folders are named by them.
        if not found or len({f"{abs(one):g}" for one in found}) < len(found):
            raise ValueError("at least one number, each once (to six digits)")
        return found

    return read


def many_wholes(low: int, high: int) -> Reader:
    """Return a reader of a whole number, or a list of different ones."""
    one = whole(low, high)

    def read(value: object) -> tuple[int, ...]:
        values = list(value) if isinstance(value, list | tuple) else [value]
        try:
            found = tuple(map(one, values))
        except ValueError as error:
            raise ValueError(f"{error}, or a list of them") from error
        if not found or len(set(found)) < len(found):
            raise ValueError("at least one number, each once")
        return found

    return read


def table(value: object) -> Mapping[str, object]:
    """Read a table, whatever it holds."""
    if not isinstance(value, Mapping):
        raise ValueError("a table such as { name = 1 }")
    return dict(value)


def read_toml(path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    """Read a file of sections.

    Parameters
    ----------
    path : path
        The file.
    expected : str
        What errors say that it should be, such as ``a recipe``.

    Raises
    ------
    SpecError
        Where it cannot be read, or is no TOML.
    """
    source = os.fspath(path)
    try:
        # Editors of some systems begin a file with a byte-order mark, which TOML does not know.
        return tomllib.loads(Path(path).expanduser().read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SpecError(f"{source}: cannot be read ({error.strerror or error}); expected {expected}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise SpecError(f"{source}: is no TOML ({reason}); expected {expected}") from error


def read_given(
    recipe: str | os.PathLike[str] | Mapping[str, object], expected: str
) -> tuple[Mapping[str, object], str, Path | None]:
    """Read a recipe from a file, or take one from Python.

    Parameters
    ----------
    recipe : path or mapping
        The file, or what one holds.
    expected : str
        As for `read_toml`, as are the errors.

    Returns
    -------
    mapping, str, Path or None
        What it holds, what errors call it, and the folder that its relative paths count from, if it is a file.
    """
    if isinstance(recipe, Mapping):
        return recipe, "recipe", None
    return read_toml(recipe, expected), os.fspath(recipe), Path(recipe).expanduser().absolute().parent


def read_sections(source: str, values: object, known: Sections) -> dict[str, dict[str, Any]]:
    """Check a whole model file.

    Parameters
    ----------
    source : str
        What errors name, usually the path.
    values : mapping
        Section -> key -> value, as TOML or JSON gives them.
    known : mapping
        Section -> key -> reader.

    Returns
    -------
    dict
        Every known section with the values that are given, read.

    Raises
    ------
    SpecError
        For an unknown section or key, and for a value that its reader refuses.
    """
    if not isinstance(values, Mapping):
        raise SpecError(f"{source}: holds {shown(values)}; expected the sections {_sections(known)}")
    for name in values:
        if name not in known:
            raise SpecError(f"{source}: {_unknown_section(str(name), values[name], known)}")
    return {name: read_section(source, name, values.get(name, {}), known) for name in known}


def read_section(source: str, section: str, values: object, known: Sections) -> dict[str, Any]:
    """Check one section; see `read_sections`."""
    if not isinstance(values, Mapping):
        raise SpecError(f"{source}: {section} = {shown(values)}; expected a section [{section}] with its keys below it")
    found = {}
    for key, value in values.items():
        if key not in known[section]:
            raise SpecError(f"{source}: [{section}] {_unknown_key(str(key), section, known)}")
        try:
            found[key] = known[section][key](value)
        except ValueError as error:
            raise SpecError(f"{source}: [{section}] {key} = {shown(value)}; expected {error}") from error
    return found


def _unknown_section(name: str, value: object, known: Sections) -> str:
    homes = _homes(name, known)
    if homes and not isinstance(value, Mapping):
        return f"{name} stands outside a section; put it under {homes}"
    what = f"the section [{name}]" if isinstance(value, Mapping) else f"the key {quoted(name)} outside a section"
    return f"has {what}, which is unknown{_nearest(name, known)}; known are {_sections(known)}"


def _unknown_key(key: str, section: str, known: Sections) -> str:
    homes = _homes(key, known)
    if homes:
        return f"has the key {key}, which belongs under {homes}"
    nearest = _nearest(key, known[section])
    return f"has the key {quoted(key)}, which is unknown{nearest}; known are {', '.join(known[section])}"


def _homes(key: str, known: Sections) -> str:
    return " or ".join(f"[{section}]" for section, keys in known.items() if key in keys)


def _sections(known: Sections) -> str:
    return ", ".join(f"[{section}]" for section in known)


def _nearest(value: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(value.lower(), known, 1) if isinstance(value, str) else []
    return f" (did you mean {quoted(close[0])}?)" if close else ""


def quoted(name: str) -> str:
    """Write a string as TOML does."""
    return json.dumps(name, ensure_ascii=False)


def shown(value: object) -> str:
    """Write a value much as the file has it, shortened."""
    try:
        written = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # a number beyond the interpreter's limit; lists nested too deeply
        written = f"a {type(value).__name__} too long to show"
    return written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
