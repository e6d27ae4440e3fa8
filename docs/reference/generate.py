"""Writes cli.md and api.md beside this file from the program itself: ``make reference``."""

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import ncdb_dask
from ncdb_dask.cli.main import main

WIDTH = 100
HERE = Path(__file__).parent
NOTE = "<!-- made by `make reference` from the program; do not edit -->\n\n"


def cli_page() -> str:
    """Return the help of every command as Markdown."""
    page = NOTE + "# Command line\n\n"
    page += (
        "`dask ncdb ...` is the same as `ncdb-dask ...`. Exit codes: 0 done; 1 a run that failed, with one line that\n"
    )
    page += "says why; 2 wrong usage; 130 interrupted; 143 terminated.\n"
    root = click.Context(main, info_name="ncdb-dask", **{**main.context_settings, **_widths()})
    page += _help("ncdb-dask", main.get_help(root))
    for name in main.list_commands(root):
        command = main.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root, **_widths())
        page += _help(f"ncdb-dask {name}", command.get_help(context))
    return page


def api_page() -> str:
    """Return signature and docstring of every public name as Markdown."""
    page = NOTE + "# Python API\n\nEverything here is imported from `ncdb_dask`.\n"
    for name in ncdb_dask.__all__:
        thing = getattr(ncdb_dask, name)
        call = name if inspect.isclass(thing) else f"{name}({', '.join(_parameters(thing))})"
        page += f"\n## {name}\n\n```text\n{call}\n\n{inspect.getdoc(thing)}\n```\n"
    return page


def _parameters(function: Callable[..., object]) -> Iterator[str]:
    """Write parameters with their defaults; the types are told by the docstring."""
    keyword_only = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        default = getattr(parameter.default, "__name__", repr(parameter.default))
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        yield stars + parameter.name + ("" if parameter.default is parameter.empty else f"={default}")


def _widths() -> dict[str, int]:
    return {"terminal_width": WIDTH, "max_content_width": WIDTH}


def _help(title: str, text: str) -> str:
    return f"\n## {title}\n\n```text\n{text}\n```\n"


PAGES = {"cli.md": cli_page, "api.md": api_page}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (HERE / file).write_text(page())
        print(f"wrote {file}", file=sys.stderr)
