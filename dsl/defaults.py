"""Default texts of the vocabulary, parsed once."""

from __future__ import annotations

from functools import cache

from isoloss.dsl import ast
from isoloss.dsl.parse import parse_value
from isoloss.dsl.report import Report


@cache
def parsed_default(text: str) -> ast.Expression:
    """Raises ValueError for a text that is none: a mistake of whoever wrote the row."""
    report = Report()
    node = parse_value(text, "the vocabulary", report)
    if node is None:
        raise ValueError(f"the vocabulary's default {text!r} can't be read: {report.diagnostics()}")
    return node
