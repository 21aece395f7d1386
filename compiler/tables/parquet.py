"""Parquet -> Sheet, through pyarrow where it is installed. Batches are streamed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from isoloss.compiler.tables.problems import stop
from isoloss.compiler.tables.sheet import Rows, Sheet


def parquet_sheet(path: str | Path, name: str) -> Sheet:
    """The table's rows, numbered from 1. Raises TableError without pyarrow or for a damaged file."""
    try:
        parquet = import_module("pyarrow.parquet")
        arrow = import_module("pyarrow")
    except ImportError:
        help = "`pip install pyarrow`, or save the table as CSV"
        raise stop("L109", name, f"`{name}` is Parquet, which needs the package `pyarrow`", help) from None
    try:
        file = parquet.ParquetFile(str(path))
        header = tuple(str(column) for column in file.schema_arrow.names)
    except (arrow.ArrowException, OSError, ValueError) as error:
        # Names that are no UTF-8 fail in Python, not in arrow.
        raise stop("L104", name, f"`{name}` is not a readable Parquet file: {_short(error)}") from None
    if len(set(header)) < len(header):
        raise stop("L106", name, "the table names a column twice", "give every column its own name")

    def rows() -> Rows:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=65536):
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, cells
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise stop("L104", name, f"`{name}` is damaged after row {number}: {_short(error)}") from None

    return Sheet(name, header, rows(), "row")


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
