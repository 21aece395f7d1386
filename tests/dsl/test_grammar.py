"""The grammar has no conflicts, its stored tables are its own, and our driver parses them as lark does."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from isoloss.dsl.syntax import tables
from isoloss.dsl.syntax.format import format_study
from isoloss.dsl.syntax.lalr import Node, Token, UnexpectedCharacterError, UnexpectedTokenError
from isoloss.dsl.syntax.parse import parser
from isoloss.dsl.vocabulary.units import UNITS
from tests.dsl.strategies import RESERVED, studies

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("examples/*.study"), *ROOT.glob("tests/**/*.study")])


@cache
def reference() -> lark.Lark:
    """lark's own parser, with its own lexer."""
    return tables.build(lexer_callbacks={"NAME": _as_unit})


def _as_unit(token: lark.Token) -> lark.Token:
    return lark.Token.new_borrow_pos("UNIT", token.value, token) if token.value in UNITS else token


def test_lalr_without_conflicts() -> None:
    pytest.importorskip("interegular")
    tables.build(strict=True)


def test_stored_tables_are_those_of_the_grammar() -> None:
    assert tables.FILE.read_bytes() == tables.dump(tables.made(reference())), "run `make docs`"


def test_reserved_words_are_frozen() -> None:
    """Adding one breaks studies that use it as a name: do it on purpose, here too."""
    assert set(tables.load()["words"]) == RESERVED


# Our driver beside lark's.


def ours(text: str, start: str = "start") -> Any:
    """A parse as plain data, or what is wrong with the text."""
    try:
        root = parser().parse(text, start)
    except UnexpectedCharacterError as error:
        return "character", error.start_pos, error.line, error.column
    except UnexpectedTokenError as error:
        return "token", *_word(error.token), error.expected
    # A hidden rule at the top only passes on what it holds.
    return _plain(root.children[0] if root.rule[0] == "_" else root)


def larks(text: str, start: str = "start") -> Any:
    try:
        root = reference().parse(text, start=start)
    except UnexpectedCharacters as error:
        return "character", error.pos_in_stream, error.line, error.column
    except UnexpectedToken as error:
        return "token", *_word(error.token), frozenset(error.accepts or error.expected)
    return _plain(root.children[0] if root.data[0] == "_" else root)


def _plain(node: Any) -> Any:
    """(rule, place, children) of a node, (type, text, place) of a token."""
    if isinstance(node, Node):
        place = node.line, node.column, node.end_line, node.end_column
        return node.rule, place, [_plain(child) for child in node.children]
    if isinstance(node, lark.Tree):
        meta = node.meta
        place = meta.line, meta.column, meta.end_line, meta.end_column
        return str(node.data), place, [_plain(child) for child in node.children]
    return _word(node)


def _word(token: Token | lark.Token) -> tuple[Any, ...]:
    # lark gives the end of an empty text no end.
    line, column = token.end_line or token.line, token.end_column or token.column
    return token.type, str(token), token.start_pos, token.line, token.column, line, column


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_study_has_larks_tree(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ours(text) == larks(text)


@settings(max_examples=100, deadline=None)
@given(studies, st.randoms(use_true_random=False))
def test_studies_and_their_ruins_have_larks_trees_and_errors(study: Any, chance: random.Random) -> None:
    text = format_study(study)
    assert ours(text) == larks(text)
    for _ in range(5):
        ruined = _ruined(text, chance)
        assert ours(ruined) == larks(ruined)


def _ruined(text: str, chance: random.Random) -> str:
    """The text with one place cut out, doubled, or overwritten."""
    start = chance.randrange(len(text))
    stop = min(len(text), start + chance.choice([1, 1, 2, 5, 20]))
    piece = chance.choice(
        ["", text[start:stop] * 2, "{", "}", ")", "(", '"', "#", "$", "\n", " in ", " 8 h ", "="]
    )
    return text[:start] + piece + text[stop:]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["(", ")", "1", "k", "h", "8/255", "+", "if", "else", "x", ".", "[", ",", "in"]))
)
def test_values_have_larks_trees_and_errors(words: list[str]) -> None:
    text = " ".join(words)
    assert ours(text, "_value") == larks(text, "_value")
