"""Collects the mistakes of one load: every check writes here, nothing is raised.

Knows the text of each file, so that a diagnostic carries its source line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Severity, Span

_WORD = re.compile(r"\w+")


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


def with_source(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Diagnostics of later stages, which know an origin only: with their source lines, and with their place
    widened to the word that stands there. Files that can't be read any more change nothing."""
    lines: dict[str, list[str]] = {}
    return [_with_source(d, lines) for d in diagnostics]


def is_study_file(path: str) -> bool:
    """May lines of this file be shown? A plan names the file that it was made from, and a stranger's may name any."""
    return Path(path).resolve().suffix == ".study" and Path(path).is_file()


def _with_source(d: Diagnostic, known: dict[str, list[str]]) -> Diagnostic:
    span = d.span
    if span is None or d.source_line is not None:
        return d
    if span.file not in known:
        try:
            if not is_study_file(span.file):
                raise ValueError(span.file)
            known[span.file] = Path(span.file).read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError):
            known[span.file] = []
    lines = known[span.file]
    if not 0 < span.line <= len(lines):
        return d
    line = lines[span.line - 1].rstrip("\r").replace("\t", " ")
    if span.end_line == span.line and span.end_column <= span.column + 1:
        word = _WORD.match(line, span.column - 1)
        span = replace(span, end_column=span.column + len(word.group()) if word else span.end_column)
    return replace(d, span=span, source_line=line)
