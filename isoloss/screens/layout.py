"""Text -> the lines of a screen: aligned columns, and paragraphs no wider than WIDTH. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

#: Columns of a screen.
WIDTH = 100


def columns(rows: Sequence[tuple[str, ...]], *, left: int = 1, indent: int = 2) -> list[str]:
    """Rows in aligned columns, the first `left` of them flush left, the others right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return lines


def wrapped(text: str, indent: int = 2, hanging: int | None = None) -> list[str]:
    """Lines of at most WIDTH columns; later ones stand a little further in."""
    if not text:
        return []
    later = " " * (indent + 2 if hanging is None else hanging)
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=later)
