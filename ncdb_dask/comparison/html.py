"""What pages share: one HTML file with all its pictures, which needs no network and no script."""

import base64
from collections.abc import Iterable
from html import escape

from ncdb_dask.comparison.style import STYLE


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; the title and the parts are HTML already."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a section; the title and the parts are HTML already."""
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def soft(text: str) -> str:
    """Return a remark."""
    return f'<p class="soft">{escape(text)}</p>'


def listed(lines: Iterable[str]) -> str:
    """Return sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def terms(items: Iterable[tuple[str, str]]) -> str:
    """Return a list of what is what; the texts are HTML already."""
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{text}</dd>' for term, text in items)}</dl>"


def picture(title: str, png: bytes, about: str) -> str:
    """Return a picture with its title; the title and what it is about are HTML already."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<figure><figcaption>{title}</figcaption><img src="{source}" alt="{title}: {about}"></figure>'
