"""Commands that a page tells its reader to paste."""

import shlex
from collections.abc import Mapping
from typing import Any

# Written both ways on the command line; of all others, what is off is left away.
SWITCHES = {
    "symmetric": ("--symmetric", "--asymmetric"),
    **{name: (f"--{name}", f"--no-{name}") for name in ("equalize", "bias-correction", "clamp", "align-corners")},
}


def command(*words: str) -> str:
    """Return a command, quoted for a shell.

    Examples
    --------
    >>> command("evaluate", "my net.onnx", *flags({"split": ["a.json", "b.json"], "stretch": True}))
    "ncdb-dask evaluate 'my net.onnx' --split a.json --split b.json --stretch"
    """
    return shlex.join(["ncdb-dask", *words])


def folded(command: str) -> str:
    """Return a command with a line for each option: it can be read, and still be pasted."""
    lines: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--") and word != "--":
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def flags(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Write options, named as in Python, as the command line has them; one of several values is repeated."""
    words = list[str]()
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words += _switch(flag, value)
        elif isinstance(value, list | tuple):
            words += [word for each in value for word in (f"--{flag}", str(each))]
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return tuple(words)


def _switch(flag: str, on: bool) -> list[str]:
    if flag in SWITCHES:
        return [SWITCHES[flag][not on]]
    return [f"--{flag}"] if on else []
