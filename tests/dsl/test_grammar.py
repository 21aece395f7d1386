"""The grammar has no conflicts, and the tables that the package ships are its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lark
import pytest

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax.grammar import TABLES, build, parser, save, tokens
from isoloss.dsl.syntax.parse import parse_study
from tests.dsl.strategies import RESERVED

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("examples/*.study"), *ROOT.glob("tests/**/*.study")])
RUINS = ["", "study", "study s {", "study s { a = (1, 2 }", 'study s { a = "x }', "study s { a = 8 hours }",
         "study s { h = 1 } $", "study s { a = 1 in b = 2 }"]  # fmt: skip


@cache
def built() -> lark.Lark:
    """A fresh build, which raises where the grammar has a conflict."""
    pytest.importorskip("interegular")
    return build(strict=True)


def test_shipped_tables_are_those_of_the_grammar() -> None:
    shipped, fresh = json.loads(TABLES.read_bytes()), json.loads(save(built()))
    assert shipped["lark"] == lark.__version__, "run `make docs`: the tables are of another lark"
    assert _without_widths(shipped) == _without_widths(fresh), "run `make docs`"


def _without_widths(value: Any) -> Any:
    """How long an unbounded match may be is a constant of the Python version."""
    if isinstance(value, dict):
        return {key: _without_widths(item) for key, item in value.items() if key != "_width"}
    return [_without_widths(item) for item in value] if isinstance(value, list) else value


def test_the_same_tables_have_the_same_bytes() -> None:
    """lark numbers its states anew in each build."""
    assert save(built()) == save(build(strict=True))


def test_reserved_words_are_frozen() -> None:
    """Adding one breaks studies that use it as a name: do it on purpose, here too."""
    words = {terminal.pattern.value for terminal in parser().terminals if terminal.pattern.type == "str"}
    assert {word for word in words if word.isalpha()} == RESERVED


@pytest.fixture
def other_lark(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the installed lark were not the one that wrote the tables."""
    monkeypatch.setattr(lark, "__version__", "1.99.0")
    parser.cache_clear()
    yield
    parser.cache_clear()


def _read() -> list[Any]:
    """What the parser makes of whole and of broken texts: nodes and tokens with their places, diagnostics."""
    whole = [path.read_text(encoding="utf-8") for path in FILES]
    report = Report()
    for text in whole + RUINS:
        parse_study(text, "a.study", report)
    nodes = [
        _places(parser().parse(text, start="start")) for text in whole if parse_study(text, "", Report())
    ]
    values = [
        _places(parser().parse(text, start="_value")) for text in ("8/255", "(1, 2 h)", "a if b else c")
    ]
    return [nodes, values, [list(map(_place, tokens(text))) for text in whole + RUINS], report.diagnostics()]


def _places(tree: lark.Tree[lark.Token]) -> list[Any]:
    children = [_places(child) if isinstance(child, lark.Tree) else _place(child) for child in tree.children]
    meta = tree.meta
    return [str(tree.data), meta.line, meta.column, meta.end_line, meta.end_column, children]


def _place(token: lark.Token) -> tuple[Any, ...]:
    return token.type, str(token), token.start_pos, token.line, token.column, token.end_line, token.end_column


@pytest.fixture
def from_tables() -> list[Any]:
    """Listed before `other_lark`, so that the shipped tables read."""
    assert parser().source_path == "<deserialized>"
    return _read()


def test_another_lark_builds_the_same_parser(from_tables: list[Any], other_lark: None) -> None:
    assert parser().source_path != "<deserialized>"
    assert _read() == from_tables
