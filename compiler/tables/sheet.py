"""The cells of a table: a header and a stream of (line, cells), whatever file they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Rows = Iterator[tuple[int, Sequence[object]]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """`rows` yields each row once with its line in the file, from 1 (the row number for Parquet); cells are
    text for CSV and numbers, text or None for Parquet. `word` is what a line is called in messages."""

    file: str
    header: tuple[str, ...]
    rows: Rows
    word: str
