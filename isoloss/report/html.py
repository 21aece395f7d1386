"""Building blocks of the page: text -> escaped HTML. Everything a user or a file may have named goes through
`text`; nothing else in the report turns strings into markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def text(value: object) -> str:
    """Any value as HTML text, safe in content and in quoted attributes."""
    return escape(str(value), quote=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """A table that scrolls sideways on its own. `head` is plain text, cells are HTML; a row may begin with
    an anchor given as `#id`."""
    right = set(numeric)
    cells = "".join(f"<th{_side(i, right)}>{text(h)}</th>" for i, h in enumerate(head))
    body = []
    for row in rows:
        anchor = ""
        if row and row[0].startswith("#"):
            anchor, row = f' id="{text(row[0][1:])}"', row[1:]
        body.append(
            f"<tr{anchor}>" + "".join(f"<td{_side(i, right)}>{c}</td>" for i, c in enumerate(row)) + "</tr>"
        )
    inner = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="scroll"><table>{inner}</table></div>'


def _side(index: int, right: set[int]) -> str:
    return ' class="n"' if index in right else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Name and value pairs; values are HTML."""
    return '<dl class="facts">' + "".join(f"<dt>{text(k)}</dt><dd>{v}</dd>" for k, v in pairs) + "</dl>"


def figure(svg: str, caption: str) -> str:
    """One figure; `caption` is HTML."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def figures(items: Iterable[str]) -> str:
    """Figures side by side where there is room."""
    return f'<div class="figs">{"".join(items)}</div>'


def section(anchor: str, title: str, *body: str) -> str:
    return f'<section id="{text(anchor)}"><h2>{text(title)}</h2>{"".join(body)}</section>'


def details(summary: str, body: str) -> str:
    """Folded on the screen, open in print."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>"


def note(content: str) -> str:
    """A remark in small type; HTML."""
    return f'<p class="note">{content}</p>'


def state(word: str, tone: str) -> str:
    """A badge; tone is good, bad or wait."""
    return f'<span class="state {tone}">{text(word)}</span>'
