"""Every diagnostic code: what raises it, a wrong and a right example. `isoloss help CODE` and the docs
page read this table; tests run every example and require exactly its code.

One file per stage: syntax S, names N, units and types U, values V, grid G, budget B, law L, plan P, runtime R."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from isoloss.dsl.diagnostics.codes.row import Code

STAGES = ("syntax", "names", "units", "values", "grid", "budget", "law", "plan", "runtime")


@cache
def codes() -> dict[str, Code]:
    """All rows by code, in stage order."""
    rows = [row for stage in STAGES for row in import_module(f"isoloss.dsl.diagnostics.codes.{stage}").CODES]
    table = {row.code: row for row in rows}
    assert len(table) == len(rows), "a diagnostic code is defined twice"
    return table
