"""The cells of a file: path -> header and a stream of (line, cells). One pass, constant memory.

CSV with comma, semicolon, tab or bar between its cells, as a first line `sep=;` says or as gives every row as many
cells; Parquet where pyarrow is installed (mlflow brings it)."""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, dropwhile, islice
from pathlib import Path

from isoloss.compiler.tables.parquet import parquet_sheet
from isoloss.compiler.tables.problems import stop
from isoloss.compiler.tables.sheet import Rows, Sheet

#: Larger files are refused before a byte is read. About 900,000 rows: the largest published table of runs
#: has 9,000, and a law is fitted to one point per run. Reading that much is measured in docs/laws.md.
LIMIT_BYTES = 64 * 2**20

#: A longer physical line is no table; stops a file without line breaks from being read whole.
LIMIT_LINE = 2**20


@contextmanager
def open_sheet(
    path: str | Path, limit_bytes: int = LIMIT_BYTES, delimiter: str | None = None
) -> Iterator[Sheet]:
    """Open a table; `delimiter` is what stands between its cells, None: found. Raises TableError for what can't be
    read: missing, too large, not text, no header."""
    name = str(path)
    _refuse_early(Path(path), name, limit_bytes)
    with open(path, "rb") as binary:
        if binary.peek(4)[:4] == b"PAR1":
            yield parquet_sheet(path, name)
        else:
            yield _csv_sheet(_lines(binary, name, limit_bytes), name, delimiter)


def _refuse_early(path: Path, name: str, limit_bytes: int) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise stop(
                "L101", name, f"`{name}` is a folder, not a table of runs", "name a CSV or Parquet file"
            )
        if not os.access(path, os.R_OK):
            raise stop("L101", name, f"`{name}` can't be read: permission denied")
    except FileNotFoundError:
        raise stop("L101", name, f"no such file: `{name}`", "name a CSV or Parquet file of runs") from None
    except (OSError, ValueError) as error:
        raise stop("L101", name, f"`{name}` can't be read: {error}") from None
    if status.st_size > limit_bytes:
        raise _too_large(name, f"{status.st_size / 2**20:,.0f} MiB", limit_bytes)


def _too_large(name: str, size: str, limit_bytes: int) -> Exception:
    return stop(
        "L103",
        name,
        f"`{name}` is {size}; tables up to {limit_bytes / 2**20:,.0f} MiB are read",
        "keep the rows that are fitted: one per run, or its evaluations, not every training step",
    )


def _lines(binary: object, name: str, limit_bytes: int) -> Iterator[str]:
    """Decoded lines. UTF-8 with or without a byte-order mark; bounded, since a pipe has no size to check."""
    seen, number = 0, 0
    readline = binary.readline  # type: ignore[attr-defined]
    while raw := readline(LIMIT_LINE):
        number += 1
        seen += len(raw)
        if seen > limit_bytes:
            raise _too_large(name, "longer", limit_bytes)
        if len(raw) == LIMIT_LINE and not raw.endswith(b"\n"):
            raise stop("L104", name, f"line {number} has over {LIMIT_LINE:,} bytes: not a table", line=number)
        if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise stop("L104", name, f"`{name}` is UTF-16 text", "save it as UTF-8 CSV", line=1)
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte 0x{raw[error.start]:02x} at position {error.start + 1}"
            raise stop(
                "L104",
                name,
                f"line {number} is not UTF-8 text: {byte}",
                "save the table as UTF-8 CSV, or as Parquet",
                line=number,
            ) from None


def _csv_sheet(lines: Iterator[str], name: str, delimiter: str | None) -> Sheet:
    lines = _told(lines)
    first = next(lines, None)
    if first is None:
        raise stop(
            "L102", name, f"`{name}` is empty", "a table has a header line and one row per observation"
        )
    stated = _SEP.fullmatch(first.strip("\r\n "))
    sample = list(islice(lines, _SAMPLE)) if stated else [first, *islice(lines, _SAMPLE)]
    if stated:
        delimiter = delimiter or stated[1].replace("\\t", "\t")
    reader = csv.reader(chain(sample, lines), delimiter=delimiter or _delimiter_of(sample), strict=True)
    rows = _numbered(reader, name, 1 if stated else 0)
    _, cells = next(rows, (0, ()))  # Nothing but separators: an empty header, which lacks every column.
    # A name over two lines of its cell is one name.
    header = tuple(" ".join(str(cell).split()) for cell in cells)
    _check_header(header, name)
    return Sheet(name, header, _same_width(rows, header, name), "line")


def _told(lines: Iterator[str]) -> Iterator[str]:
    """From the first line that isn't blank on."""
    return dropwhile(lambda line: not line.strip(), lines)


#: What spreadsheets write first to say what stands between cells.
_SEP = re.compile(r"sep=(\\t|.)", re.IGNORECASE)
#: What may stand between cells, the likeliest first, and the lines by which that is found.
DELIMITERS, _SAMPLE = ",;\t|", 50


def _delimiter_of(sample: list[str]) -> str:
    """What gives all of these lines as many cells as the header, and it the most; a comma where nothing does."""

    def cells(delimiter: str) -> int:
        try:
            rows = [
                row for row in csv.reader(sample, delimiter=delimiter) if any(cell.strip() for cell in row)
            ]
        except csv.Error:
            return 0
        # The sample may end inside a quoted cell.
        widths = {len(row) for row in rows[: max(1, len(rows) - 1)]}
        return len(rows[0]) if rows and len(widths) == 1 else 0

    found = max(DELIMITERS, key=cells)
    if cells(found) > 1:
        return found
    return next((d for d in DELIMITERS if d in sample[0]), ",")


def _numbered(reader: object, name: str, before: int) -> Rows:
    """(line, cells) of every row that isn't blank, after so many lines; csv's own complaints become diagnostics."""
    while True:
        try:
            cells = next(reader)  # type: ignore[call-overload]
        except StopIteration:
            return
        except csv.Error as error:
            line = reader.line_num + before  # type: ignore[attr-defined]
            help = "a quote inside a quoted cell is doubled; every opening quote needs its closing one"
            raise stop("L105", name, f"line {line} is not valid CSV: {error}", help, line=line) from None
        if any(cell.strip() for cell in cells):
            yield reader.line_num + before, cells  # type: ignore[attr-defined]


def _check_header(header: tuple[str, ...], name: str) -> None:
    twice = sorted({h for h in header if h and header.count(h) > 1})
    if twice:
        listed = ", ".join(f"`{h}`" for h in twice)
        raise stop("L106", name, f"the header names {listed} twice", "give every column its own name", line=1)
    if header and all(_is_number(h) for h in header):
        columns = "run,params,images,fid,flops,fraction,loss,accuracy"
        raise stop(
            "L107",
            name,
            f"`{name}` has no header: its first line is numbers",
            f"put the column names on the first line, of: {columns}",
            line=1,
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _same_width(rows: Rows, header: tuple[str, ...], name: str) -> Rows:
    for line, cells in rows:
        if len(cells) != len(header):
            raise stop(
                "L108",
                name,
                f"line {line} has {len(cells)} cells, the header has {len(header)}",
                "an empty cell still needs its comma; a comma inside a cell needs quotes around the cell",
                line=line,
            )
        yield line, cells
