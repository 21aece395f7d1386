"""A mistake as a value: code, place, message, help; rendered as text or as data.

In: what the checks of any room yield. Out: what the front door prints. Stable codes are rows of
`isoloss.dsl.diagnostics.codes`; a message never exists without its row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from isoloss.dsl.diagnostics.plain_text import plain

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Span:
    """1-based, end exclusive on its line. `file` is as the user wrote it."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Diagnostic:
    """One mistake. `headline` stands alone, lower case, names in backticks; `label` says what is wrong at
    `span`; `help` says what to write."""

    code: str
    headline: str
    span: Span | None = None
    label: str = ""
    help: tuple[str, ...] = ()
    severity: Severity = "error"
    source_line: str | None = field(default=None, repr=False)


#: Columns of a source line that are shown; of a longer one the part around the place.
_SHOWN_COLUMNS = 120
_CLIPPED = "…"


def render(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """The text form: one block per diagnostic, a blank line between."""
    return "\n\n".join(_render_one(d, colour) for d in diagnostics)


def _render_one(d: Diagnostic, colour: bool) -> str:
    tint = {"error": "31", "warning": "33", "note": "36"}[d.severity]

    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour else text

    lines = [paint(f"{d.severity}[{d.code}]", f"1;{tint}") + paint(f": {plain(d.headline)}", "1")]
    if d.span is not None:
        lines.append(f"  --> {plain(d.span.file)}:{d.span.line}:{d.span.column}")
        if d.source_line is not None:
            number = f"{d.span.line:>2}"
            same_line = d.span.end_line == d.span.line
            end = d.span.end_column if same_line else len(d.source_line) + 1
            shown, start, width = _window(plain(d.source_line), d.span.column - 1, end - d.span.column)
            lines.append(f"{number} | {shown}")
            carets = paint("^" * width, tint)
            lines.append(f"{' ' * len(number)} | {' ' * start}{carets} {plain(d.label)}".rstrip())
    lines += [f"   = help: {plain(text)}" for text in d.help]
    return "\n".join(lines)


def _window(line: str, start: int, width: int) -> tuple[str, int, int]:
    """What is shown of a line: the whole, or the part around its `width` characters from `start` on. Gives the
    text, and where the place is in it."""
    width = max(1, width)
    if len(line) <= _SHOWN_COLUMNS:
        return line, start, width
    first = max(0, min(start - _SHOWN_COLUMNS // 3, len(line) - _SHOWN_COLUMNS))
    last = min(len(line), first + _SHOWN_COLUMNS)
    before, after = _CLIPPED if first else "", _CLIPPED if last < len(line) else ""
    return (
        f"{before}{line[first:last]}{after}",
        start - first + len(before),
        max(1, min(width, last - start)),
    )


def as_data(d: Diagnostic) -> dict[str, object]:
    """The JSON form: the same facts, spans as five numbers and a file."""
    span = None
    if d.span is not None:
        span = {
            "file": d.span.file,
            "line": d.span.line,
            "column": d.span.column,
            "end_line": d.span.end_line,
            "end_column": d.span.end_column,
        }
    return {
        "code": d.code,
        "severity": d.severity,
        "message": d.headline,
        "label": d.label,
        "help": list(d.help),
        "span": span,
    }
