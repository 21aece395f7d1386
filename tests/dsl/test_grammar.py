"""The grammar has no conflicts, its stored tables are its own, and its words are frozen."""

from __future__ import annotations

import json
from pathlib import Path

import lark
import pytest

from isoloss.dsl import parse, tables
from isoloss.dsl.parse import build_parser, grammar_text, parser
from tests.dsl.strategies import RESERVED

EXAMPLE = Path(__file__).parents[2] / "examples" / "robustness_limits.study"


def test_lalr_without_conflicts() -> None:
    pytest.importorskip("interegular")
    build_parser(strict=True)


def test_stored_tables_are_those_of_the_grammar() -> None:
    stored = json.loads(tables.FILE.read_bytes())
    if stored["lark"] != lark.__version__:
        pytest.skip(f"the tables were made by lark {stored['lark']}; this is {lark.__version__}")
    assert stored["key"] == tables.key(grammar_text()), "run `make docs`"
    text = EXAMPLE.read_text(encoding="utf-8")
    assert parser() is not None
    assert tables.load(grammar_text(), {"NAME": parse._as_unit}) is not None
    assert parser().parse(text, start="start") == build_parser().parse(text, start="start")


def test_tables_of_another_grammar_are_not_used() -> None:
    assert tables.load(grammar_text() + "// changed", {}) is None


def test_reserved_words_are_frozen() -> None:
    """Adding one breaks studies that use it as a name: do it on purpose, here too."""
    found = {
        t.pattern.value for t in parser().terminals if t.pattern.type == "str" and t.pattern.value.isalpha()
    }
    assert found == RESERVED
