"""Default texts of the vocabulary, parsed once."""

from __future__ import annotations

import re
from functools import cache

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.parse import parse_value

_WORD = re.compile(r"(?!true|false)[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")


@cache
def parsed_default(text: str) -> ast.Expression:
    """Raises ValueError for a text that is none: a mistake of whoever wrote the row."""
    if _WORD.fullmatch(text):
        # Most defaults are one word or one number: no parser is needed for those.
        return ast.Path((ast.Name(text),))
    if _NUMBER.fullmatch(text):
        return ast.Number(text)
    report = Report()
    node = parse_value(text, "the vocabulary", report)
    if node is None:
        raise ValueError(f"the vocabulary's default {text!r} can't be read: {report.diagnostics()}")
    return node
