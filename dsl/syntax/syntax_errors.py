"""The parser's errors -> S diagnostics a person can act on."""

from __future__ import annotations

from lark import Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.syntax.grammar import tokens
from isoloss.dsl.syntax.mistyped import Mistyped, mistyped_at
from isoloss.dsl.vocabulary.units import UNITS

_UNIT_WORDS = tuple(unit for unit in UNITS if unit != "%")

_OPENING = {"LBRACE": "{", "LPAR": "(", "LSQB": "["}
_CLOSING = {"RBRACE": "{", "RPAR": "(", "RSQB": "["}
_PAIR = {"{": "}", "(": ")", "[": "]"}

#: character that is no part of the language -> what to write instead.
_INSTEAD = {
    ";": "nothing separates statements: leave it out",
    ":": "settings are written `name = value`",
    "'": 'texts stand in double quotes: `"base.study"`',
    "!": "write `not`, or `!=`",
    "&": "write `and`",
    "|": "write `or`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "×": "write `*`",
    "−": "write `-`",
    "–": "write `-`, or `..` for a range",
    "^": "write `**`",
    "ε": "write `eps`",
    "“": 'write `"`',
    "”": 'write `"`',
    "…": "write `..` for a range",
    "\u00a0": "write a blank (this one is a no-break space)",
    "\u202f": "write a blank (this one is a narrow no-break space)",
    "\u2009": "write a blank (this one is a thin space)",
    "\u200b": "write nothing (this is a zero-width space)",
    "’": 'write `"` around texts',
    "‘": 'write `"` around texts',
    "„": 'write `"`',
    "÷": "write `/`",
    "·": "write `*`",
    "⋅": "write `*`",
    "—": "write `-`",
    "²": "write `**2`",
    "$": "names have letters, digits and `_`",
    "\ufeff": "save the file without a byte order mark",
}

#: terminals that begin or join expressions are said in one word.
_WORDS = {
    "NAME": "a name",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "STRING": 'a text in `"`',
    "STUDY": "`study`",
    "IMPORT": "`import`",
    "IN": "`in`",
    "LE": "`<=`",
    "DOT": "`.`",
    "ELSE": "`else`",
    "EVERY": "`every`",
    "WHERE": "`where`",
    "EXTENDS": "`extends`",
    "__ANON_0": "`..`",
    "$END": "the end of the file",
}
_VALUE_STARTS = frozenset({"NUMBER", "STRING", "TRUE", "FALSE", "LSQB", "MINUS", "UNIT"})
_OPERATORS = frozenset(
    {"PLUS", "MINUS", "TIMES", "DIVIDE", "POWER", "EQ", "NE", "LT", "GE", "GT", "AND", "OR", "IF"}
)


def report_syntax_error(error: UnexpectedInput, text: str, file: str, report: Report) -> int:
    """One diagnostic for one error. Returns where in `text` the mistake is, which may be before the place where
    reading failed: `8K` and a block after it read as a number and a block."""
    habit = _habit(error, text)
    if habit is not None:
        report.add(
            habit.code, habit.headline, _place(habit, text, file), "not in this language", habit.advice
        )
        return habit.start
    if isinstance(error, UnexpectedCharacters):
        _character(error, text, file, report)
    elif isinstance(error, UnexpectedToken):
        _token(error, text, file, report)
    return len(text) if error.pos_in_stream is None else error.pos_in_stream


def _habit(error: UnexpectedInput, text: str) -> Mistyped | None:
    """What was typed from habit at the error or in the three tokens before it."""
    position = len(text) if error.pos_in_stream is None else error.pos_in_stream
    before: list[Token] = []
    open_ = 0
    for token in tokens(text):
        if token.start_pos >= position:
            break
        before = [*before[-2:], token]
        open_ += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
    since = before[0].start_pos if before else position
    return mistyped_at(text, since, position, open_ > 0)


def _place(habit: Mistyped, text: str, file: str) -> Span:
    """The typed text; of one that goes over several lines, its first line."""
    line, first = text.count("\n", 0, habit.start) + 1, text.rfind("\n", 0, habit.start) + 1
    last = text.find("\n", habit.start, habit.end)
    end = habit.end if last < 0 else last
    return Span(file, line, habit.start - first + 1, line, end - first + 1)


def _character(error: UnexpectedCharacters, text: str, file: str, report: Report) -> None:
    character = error.char
    span = Span(file, error.line, error.column, error.line, error.column + 1)
    if character == '"':
        report.add(
            "S104", "this text is not closed", span, "opened here", 'close it with `"` on the same line'
        )
        return
    shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
    help = _INSTEAD.get(character)
    report.add(
        "S101", f"unexpected character {shown}", span, "not part of the language", *([help] if help else [])
    )


def _token(error: UnexpectedToken, text: str, file: str, report: Report) -> None:
    token = error.token
    unclosed = _unclosed(text, file, None if token.type == "$END" else token)
    if token.type == "$END":
        if unclosed is not None:
            _report_unclosed(unclosed, report)
        elif not text.strip() or not _has_study(text):
            span = Span(file, 1, 1, 1, 2)
            report.add("S108", "this file holds no study", span, "expected `study NAME { … }`",
                       "begin with `study my_study {`")  # fmt: skip
        else:
            line, column = _end(text)
            span = Span(file, line, column, line, column + 1)
            report.add("S102", "the file ends too early", span, "end", _expected(error))
        return
    span = _span(token, file)
    if token.type in _CLOSING and unclosed is not None and unclosed[0] != _CLOSING[token.type]:
        _report_unclosed(unclosed, report)
        return
    word = _unit_like(text, token)
    if word is not None:
        report.add(
            "U106",
            f"unknown unit `{word}`",
            _span(word, file),
            "not a unit",
            did_you_mean(str(word), _UNIT_WORDS),
        )
        return
    expected = error.accepts
    if "NAME" in expected and token.type == "UNIT" and "NUMBER" not in expected:
        report.add(
            "S109", f"`{token}` is a unit and can't be a name", span, "reserved", "choose a longer name"
        )
        return
    if "NAME" in expected and "NUMBER" not in expected and token.isidentifier() and token.type != "NAME":
        report.add("S109", f"`{token}` is a word of the language and can't be a name", span, "reserved",
                   "choose another name")  # fmt: skip
        return
    help = [_expected(error)]
    if unclosed is not None and unclosed[0] != "{" and unclosed[1].line < span.line:
        help.append(f"the `{unclosed[0]}` of line {unclosed[1].line} is still open")
    place = token.start_pos
    if token.type == "DOT" and any(c.isdigit() for c in text[max(0, place - 1) : place + 2]):
        help.append("numbers begin and end with a digit: `0.5`, `5`")
    report.add("S102", f"unexpected `{_short(token)}`", span, "not expected here", *help)


def _unit_like(text: str, token: Token) -> Token | None:
    """The word before `token`, if it follows a number on its line: `12 hours` was meant to have a unit."""
    if token.type in ("EQUAL", "IN", "LE", "LBRACE", "DOT", "LPAR"):
        return None
    before: list[Token] = []
    for found in tokens(text):
        if found.start_pos >= token.start_pos:
            break
        before = [*before[-1:], found]
    if [t.type for t in before] == ["NUMBER", "NAME"] and before[0].line == before[1].line:
        return before[1]
    return None


def _short(token: Token) -> str:
    return str(token) if len(token) <= 40 else f"{token[:37]}…"


def _expected(error: UnexpectedToken) -> str:
    expected = set(error.accepts)
    words: list[str] = []
    if "NUMBER" in expected:
        words.append("a value")
        expected -= _VALUE_STARTS | {"NAME", "LPAR", "NUMBER", "NOT"}
    if len(expected & _OPERATORS) > 2:
        words.append("an operator")
        expected -= _OPERATORS | {
            "IN",
            "LE",
            "ELSE",
            "__ANON_0",
            "DOT",
            "LPAR",
            "OF",
            "AT",
            "PERCENT",
            "UNIT",
        }
    if {"LET", "DATASET"} <= expected:
        words.append("a statement (a setting, a block, `let`, `where`)")
        expected -= {"LET", "DATASET", "ZIP", "WHERE", "NAME"}
    words += [_WORDS.get(t, f"`{t.lower()}`") for t in sorted(expected)]
    if not words:
        # The value was whole: a setting of the command line holds one.
        return "expected nothing more"
    return "expected " + (
        " or ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + " or " + words[-1]
    )


def _span(token: Token, file: str) -> Span:
    return Span(file, token.line, token.column, token.end_line, token.end_column)


def _unclosed(text: str, file: str, until: Token | None) -> tuple[str, Span] | None:
    """The bracket that was probably meant to be closed before `until`, or before the end of the text.

    That is the innermost open one; but at the end of the text every later brace has closed one block too far
    in, so the first block whose braces don't stand in line is the better guess."""
    open_: list[tuple[str, Span]] = []
    crooked: tuple[str, Span] | None = None
    lines = text.split("\n")
    for token in tokens(text):
        if until is not None and token.start_pos >= until.start_pos:
            break
        if token.type in _OPENING:
            open_.append((_OPENING[token.type], _span(token, file)))
        elif token.type in _CLOSING and open_ and open_[-1][0] == _CLOSING[token.type]:
            bracket, span = open_.pop()
            if bracket == "{" and crooked is None and _crooked(lines, span, token):
                crooked = (bracket, span)
    if not open_:
        return None
    return crooked if until is None and crooked is not None else open_[-1]


def _crooked(lines: list[str], opened: Span, closed: Token) -> bool:
    """Whether a block's `}` begins its line at another indentation than the block does."""
    last = lines[closed.line - 1]
    if opened.line == closed.line or last[: closed.column - 1].strip():
        return False
    first = lines[opened.line - 1]
    return len(first) - len(first.lstrip()) != len(last) - len(last.lstrip())


def _report_unclosed(unclosed: tuple[str, Span], report: Report) -> None:
    bracket, span = unclosed
    report.add(
        "S103", f"this `{bracket}` is never closed", span, "opened here", f"close it with `{_PAIR[bracket]}`"
    )


def _has_study(text: str) -> bool:
    return any(token.type == "STUDY" for token in tokens(text))


def _end(text: str) -> tuple[int, int]:
    lines = text.rstrip().split("\n")
    return len(lines), len(lines[-1]) + 1
