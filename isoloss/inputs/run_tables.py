"""Tables on a command line: read, checked, filtered. Not a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoloss.errors import UserError

if TYPE_CHECKING:
    from isoloss.compiler.tables import RunTable
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic


def load_table(path: str, columns: str | None) -> tuple[RunTable, list[Diagnostic]]:
    """The table and its warnings. Raises UserError with everything that is wrong with it."""
    from isoloss.compiler.tables import read_table

    table, diagnostics = read_table(path, columns)
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
