"""Comments of a study text, handed out in order while format.py lays the statements out again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isoloss.dsl.diagnostics.diagnostic import Span

# Texts first: a `#` inside one begins no comment.
_TEXT_OR_COMMENT = re.compile(r'"[^"\n]*"|#[^\n]*')


@dataclass(frozen=True)
class Comment:
    text: str
    line: int
    column: int


class Comments:
    """Every comment of a text, each taken once."""

    def __init__(self, text: str) -> None:
        self._left: list[Comment] = []
        line, start = 1, 0
        for found in _TEXT_OR_COMMENT.finditer(text):
            line += text.count("\n", start, found.start())
            start = found.start()
            if found.group().startswith("#"):
                column = found.start() - text.rfind("\n", 0, found.start())
                self._left.append(Comment(found.group().rstrip(), line, column))

    def before(self, line: int, column: int) -> list[Comment]:
        """Comments not taken yet that begin before a place."""
        count = sum((c.line, c.column) < (line, column) for c in self._left)
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def within(self, span: Span) -> list[Comment]:
        return self.before(span.end_line, span.end_column)

    def on(self, line: int) -> Comment | None:
        """The next comment if it stands on this line."""
        if self._left and self._left[0].line == line:
            return self._left.pop(0)
        return None

    def rest(self) -> list[Comment]:
        taken, self._left = self._left, []
        return taken
