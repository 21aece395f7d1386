"""Standard output and error of a command: what a stranger wrote never acts on the terminal.

In: whatever a command prints, from studies, plans, stores and systems. Out: the same, cleaned in one place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from isoloss.dsl.diagnostics.plain_text import painted


class CleanStream:
    """A text stream that cleans what is written to it. `raw`: the stream below, for who moves the cursor."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        return self.raw.write(painted(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def clean_output(*, data: bool) -> Iterator[None]:
    """While a command runs. `data`: standard output is JSON for a program, which is passed on as it is."""
    kept = sys.stdout, sys.stderr
    sys.stdout = kept[0] if data else CleanStream(kept[0])
    sys.stderr = CleanStream(kept[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept
