"""Collects the mistakes of one load: every check writes here, nothing is raised.

Knows the text of each file, so that a diagnostic carries its source line."""

from __future__ import annotations

from isoloss.dsl.diagnostics import Diagnostic, Severity, Span


class Report:
    """One mistake is one message: the same code at the same place is kept once."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._found: dict[tuple[str, Span | None, str], Diagnostic] = {}

    def add_source(self, file: str, text: str) -> None:
        # Only the newlines that the grammar counts: str.splitlines would split at U+2028 too.
        self._lines[file] = text.split("\n")

    def add(
        self,
        code: str,
        headline: str,
        span: Span | None = None,
        label: str = "",
        *help: str,
        severity: Severity = "error",
    ) -> None:
        """Record one mistake; see `Diagnostic` for the parts of a message."""
        line = None
        if span is not None and 0 < span.line <= len(self._lines.get(span.file, ())):
            line = self._lines[span.file][span.line - 1].rstrip("\r").replace("\t", " ")
        # Without a place, the headline tells two mistakes apart.
        key = (code, span, headline if span is None else "")
        self._found.setdefault(key, Diagnostic(code, headline, span, label, help, severity, line))

    @property
    def failed(self) -> bool:
        return any(d.severity == "error" for d in self._found.values())

    def diagnostics(self) -> list[Diagnostic]:
        """In the order of the text, file by file."""

        def place(d: Diagnostic) -> tuple[str, int, int]:
            return (d.span.file, d.span.line, d.span.column) if d.span else ("", 0, 0)

        return sorted(self._found.values(), key=place)
