"""Diagnostics of tables: a code, a place in the file, what to write instead.

In: facts found while reading. Out: `Diagnostic`s whose spans are lines of the file."""

from __future__ import annotations

from dataclasses import dataclass, field

from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Severity, Span


class TableError(Exception):
    """Reading can't go on; carries the diagnostics that say why. Never leaves `isoloss.compiler.tables`."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("; ".join(d.headline for d in diagnostics))


def problem(
    code: str, file: str, headline: str, *help: str, line: int = 0, severity: Severity = "error"
) -> Diagnostic:
    """A diagnostic about a file, or about one of its lines when `line` (from 1) is given."""
    span = Span(file, line, 1, line, 2) if line else Span(file, 1, 1, 1, 2)
    return Diagnostic(code, headline, span, help=help, severity=severity)


def stop(code: str, file: str, headline: str, *help: str, line: int = 0) -> TableError:
    """One fatal diagnostic, ready to raise."""
    return TableError(problem(code, file, headline, *help, line=line))


@dataclass(slots=True)
class Tally:
    """One kind of fault in one column: the first lines it was seen on, and how often. A thousand bad cells
    are one message."""

    lines: list[int] = field(default_factory=list)
    text: str = ""
    count: int = 0

    def add(self, line: int, text: str) -> None:
        if self.count == 0:
            self.text = text if len(text) <= 40 else text[:37] + "..."
        if self.count < 5:
            self.lines.append(line)
        self.count += 1

    def where(self, word: str) -> str:
        """ "line 3", "lines 3, 7" or "lines 3, 4, 5, 6, 7 and 120 more"."""
        more = self.count - len(self.lines)
        listed = ", ".join(map(str, self.lines))
        return f"{word}{'s' if self.count > 1 else ''} {listed}" + (f" and {more} more" if more else "")
