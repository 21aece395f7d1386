"""Tables of runs: a CSV or Parquet file -> a checked `RunTable` -> the `Points` a law is fitted to.

Runs before fit.py, for `isoloss fit`, `plan --runs` and `import`. A bad table is never repaired in silence:
what is wrong becomes a diagnostic with its line and column, what was assumed becomes a note."""

from __future__ import annotations

from isoloss.compiler.tables.build import read_table
from isoloss.compiler.tables.table import RunTable

__all__ = ["RunTable", "read_table"]
