"""Tables on a command line: read, checked, filtered. Not a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from isoloss.errors import UserError

if TYPE_CHECKING:
    from isoloss.compiler.tables import RunTable
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """How a table is read, for every command that reads one."""
    parser.add_argument(
        "--columns",
        metavar="Q=COLUMN,…",
        help="which column is what: 'params=N*1e6,loss=L'; names with commas in quotes",
    )
    parser.add_argument(
        "--delimiter",
        metavar="CHAR",
        type=_delimiter,
        help="what stands between the cells of a CSV; default: found",
    )


def _delimiter(text: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(character) != 1 or character in '"\n\r':
        raise argparse.ArgumentTypeError("one character, or `tab`")
    return character


def load_table(
    path: str, columns: str | None, delimiter: str | None = None
) -> tuple[RunTable, list[Diagnostic]]:
    """The table and its warnings. Raises UserError with everything that is wrong with it."""
    from isoloss.compiler.tables import read_table

    table, diagnostics = read_table(path, columns, delimiter=delimiter)
    if table is None:
        raise UserError(diagnostics)
    return table, list(diagnostics)


def filter_table(table: RunTable, where: str, option: str = "--where") -> RunTable:
    """The rows of the runs for which `where` holds. `option` is how messages call it. Raises UserError for a
    bad or too strict filter."""
    from isoloss.compiler.tables.where import rows_where

    kept, diagnostics = rows_where(table, where, option)
    if kept is None:
        raise UserError(diagnostics)
    return kept
