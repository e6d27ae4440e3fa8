"""The template of a vendor's tool: the command that is run, with placeholders for what it works on.

A TOML file, checked as a whole before anything is exported or run; docs/how_to/quantize_with_a_tool.md explains it.
"""

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from ncdb_dask.errors import QuantizationError
from ncdb_dask.exporting.formats import FORMATS
from ncdb_dask.model.values import Reader, choice, number, quoted, shown

# A tool that is still at work after a day is taken for one that hangs, unless the template says more.
DEFAULT_TIMEOUT_S = 86_400.0
SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 0.1, 1e7
# What stands for a form of the export is the folder that `ncdb_dask.export` writes. The frames of these two have
# placeholders of their own.
EXPORTS = tuple(name for name in FORMATS if name not in ("images", "split"))
PLACEHOLDERS = ("model", "output", "split", "root", "images", "image_list", "spec", "work", "here", *EXPORTS)
# What only a shell understands, and what people write who expect one.
SHELL_WORDS = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"))
_SUFFIX = re.compile(r"(\.[A-Za-z0-9_-]+)+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CommandTemplate:
    """A template that was read and checked.

    Attributes
    ----------
    source : str
        The file, as errors name it.
    here : str
        Its folder, absolute.
    command : tuple of str
        Program and arguments, with placeholders; the program is an absolute path.
    version : tuple of str
        What tells the tool's version; empty if nothing does. It holds no placeholders but ``{here}``.
    environment : mapping of str to str
        Variables beside those of this process, with placeholders.
    timeout : float
        Seconds.
    output : str or None
        Suffix of the file that the tool writes; None stands for that of the file that is wanted.
    """

    source: str
    here: str
    command: tuple[str, ...]
    version: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT_S
    output: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, object], source: str) -> "CommandTemplate":
        """Check what a template holds, and find its programs.

        Raises
        ------
        QuantizationError
            For a key, a value or a placeholder that is unknown or missing, and for a program that is not there.
        """
        here = os.path.dirname(os.path.abspath(source))
        read: dict[str, Any] = {key: _value(source, key, value) for key, value in values.items()}
        if "command" not in read:
            raise QuantizationError(
                f'{source}: has no command; expected command = ["TOOL", "--model", "{{model}}", ...]'
            )
        template = cls(source, here, **read)
        if "output" not in template.placeholders:
            raise QuantizationError(
                f"{source}: no argument of command holds {{output}}; put it where the tool is told which file to write"
            )
        return cls(
            source, here, **read | {key: _found(source, here, key, read[key]) for key in _COMMANDS & read.keys()}
        )

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of the placeholders that are used."""
        texts = (*self.command, *self.environment.values())
        return frozenset(name for text in texts for name in placeholders(text))


def read_template(path: str | os.PathLike[str]) -> CommandTemplate:
    """Read a template.

    Raises
    ------
    QuantizationError
        Where it cannot be read, is no TOML, or cannot be used; see `CommandTemplate.from_dict`.
    """
    source = os.path.expanduser(os.fspath(path))
    expected = "expected a template in TOML (docs/how_to/quantize_with_a_tool.md)"
    try:
        # Editors of some systems begin a file with a byte-order mark, which TOML does not know.
        values = tomllib.loads(Path(source).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise QuantizationError(f"{source}: cannot be read ({error.strerror or error}); {expected}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise QuantizationError(f"{source}: is no TOML ({reason}); {expected}") from error
    return CommandTemplate.from_dict(values, source)


def placeholders(text: str) -> list[str]:
    """Return the names between braces.

    Raises
    ------
    ValueError
        Where the braces do not match, or hold more than a name.
    """
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for braces that are no placeholder") from error
    found = []
    for _, name, form, conversion in parsed:
        if name is None:
            continue
        if name not in PLACEHOLDERS or form or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"the placeholder {{{written}}} is unknown; known are {known}")
        found.append(name)
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of placeholders, and single braces in that of double ones."""
    return "".join(literal + (values[name] if name else "") for literal, name, *_ in Formatter().parse(text))


def _value(source: str, key: str, value: object) -> Any:
    if key not in _READERS:
        try:
            choice(*_READERS)(key)
        except ValueError as error:
            raise QuantizationError(
                f"{source}: has the key {quoted(key)}, which is unknown; expected {error}"
            ) from error
    try:
        return _READERS[key](value)
    except ValueError as error:
        raise QuantizationError(f"{source}: {key} = {shown(value)}: {error}") from error


def _arguments(value: object) -> tuple[str, ...]:
    """Read a list of arguments, or a string that is split as a shell would split it."""
    if isinstance(value, str):
        try:
            parts: list[object] = list(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"cannot be split into arguments ({error}); write it as a list") from error
        for word in SHELL_WORDS.intersection(str(part) for part in parts):
            raise ValueError(f"holds {word}, and no shell is there to understand it; put such a line into a script")
    elif isinstance(value, list):
        parts = value
    else:
        raise ValueError("expected a list of arguments")
    arguments = tuple(_text(part) for part in parts)
    if not arguments or not arguments[0]:
        raise ValueError("is empty; expected a program and its arguments")
    return arguments


def _version(value: object) -> tuple[str, ...]:
    arguments = _arguments(value)
    _only_here(arguments, "version is asked before anything is made, so it can hold no placeholder but {here}")
    return arguments


def _command(value: object) -> tuple[str, ...]:
    arguments = _arguments(value)
    _only_here(arguments[:1], "the program can hold no placeholder but {here}")
    return arguments


def _only_here(arguments: Iterable[str], expected: str) -> None:
    for name in (name for argument in arguments for name in placeholders(argument)):
        if name != "here":
            raise ValueError(f"holds {{{name}}}; {expected}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"holds {shown(value)}; expected strings only")
    if "\0" in value:
        raise ValueError("holds a zero character, which no argument can hold")
    placeholders(value)
    return value


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a section [environment] with a variable a line")
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no name of a variable; expected letters, digits and _")
    return {name: _text(each) for name, each in value.items()}


def _timeout(value: object) -> float:
    try:
        found: float = number(SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S)(value)
    except ValueError as error:
        raise ValueError(f"expected {error}, in seconds") from error
    return found


def _suffix(value: object) -> str:
    if not isinstance(value, str) or not _SUFFIX.fullmatch(value):
        raise ValueError('expected the suffix of the file that the tool writes, such as ".bin"')
    return value


def _found(source: str, here: str, key: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Put the path of the program in the place of its name."""
    program = filled(arguments[0], {"here": here})
    if os.path.dirname(program) and not os.path.isabs(program):
        raise QuantizationError(
            f"{source}: {key} names the program {quoted(program)} by a relative path, and the tool runs in a folder of "
            "its own; write the path from / on, or from the template's folder on as {here}/..."
        )
    path = shutil.which(program)
    if path is None:
        what = "no such file that can be executed" if os.path.isabs(program) else "not on the PATH"
        raise QuantizationError(
            f"{source}: {key} names the program {quoted(program)}: {what}; install the tool, or give its whole path"
        )
    # No brace of the path itself is a placeholder.
    return os.path.abspath(path).replace("{", "{{").replace("}", "}}"), *arguments[1:]


_COMMANDS = {"command", "version"}
_READERS: Mapping[str, Reader] = {
    "command": _command,
    "version": _version,
    "environment": _environment,
    "timeout": _timeout,
    "output": _suffix,
}
