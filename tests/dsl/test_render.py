"""Diagnostics as text: long lines are cut around the place, and nothing acts on the terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span, render


def _at(line: str, column: int, end: int) -> str:
    return render([Diagnostic("S101", "x", Span("a.study", 1, column, 1, end), "here", (), "error", line)])


def test_a_short_line_is_shown_whole() -> None:
    assert _at("let eps = 8 h", 11, 14).splitlines()[2:] == [" 1 | let eps = 8 h", "   |           ^^^ here"]


@given(st.integers(0, 400), st.integers(1, 300), st.integers(0, 400))
def test_the_carets_stand_under_the_place_however_long_the_line(before: int, width: int, after: int) -> None:
    line = "a" * before + "X" * width + "b" * after
    _, _, shown, carets = _at(line, before + 1, before + width + 1).splitlines()
    assert len(shown) <= 5 + 120 + 2
    first, last = carets.index("^"), carets.rindex("^")
    # All that is marked is the place, from its beginning on.
    assert set(shown[first : last + 1]) == {"X"}
    assert shown[first - 1] != "X"


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_acts_on_the_terminal(line: str, headline: str) -> None:
    text = render(
        [Diagnostic("S101", headline, Span(line, 1, 1, 1, 2), headline, (headline,), "error", line)]
    )
    assert all(part.isprintable() for part in text.split("\n"))
    # Four lines and nothing more: a line feed in a name doesn't begin one of its own.
    assert len(text.split("\n")) == 5


def test_an_escape_sequence_is_shown_as_a_picture() -> None:
    assert " 1 | \u241b[31m red" in _at("\x1b[31m red", 1, 2)
