"""Text -> a tree, by the stored tables of the grammar: the LALR(1) driver that every start of `isoloss` loads.

In: tables.py's JSON, made of grammar.lark by lark, which takes longer to import than a study to check. Out: `Node`s
as lark would make them: rules that begin with `_` leave their children in their parent, words of the grammar that
have no name leave nothing, spans reach from a rule's first token to its last. Tests hold both parsers equal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class Token(str):
    """A word of the text. `type` is its terminal; places as in `Span`, `start_pos` in characters from 0."""

    __slots__ = ("column", "end_column", "end_line", "line", "start_pos", "type")

    type: str
    start_pos: int
    line: int
    column: int
    end_line: int
    end_column: int


class Node:
    """What a rule was found to be. Children that the grammar only needs to see are left out."""

    __slots__ = ("children", "column", "end_column", "end_line", "line", "rule")

    line: int
    column: int
    end_line: int
    end_column: int

    def __init__(self, rule: str, children: list[Any], first: Token | Node, last: Token | Node) -> None:
        self.rule, self.children = rule, children
        self.line, self.column = first.line, first.column
        self.end_line, self.end_column = last.end_line, last.end_column


class UnexpectedInputError(Exception):
    """The text is none of the language. `start_pos` is where it goes wrong."""

    start_pos: int


class UnexpectedCharacterError(UnexpectedInputError):
    """No token begins here."""

    def __init__(self, start_pos: int, line: int, column: int) -> None:
        self.start_pos, self.line, self.column = start_pos, line, column


class UnexpectedTokenError(UnexpectedInputError):
    """No sentence goes on with this token. `expected`: the terminals that one would go on with."""

    def __init__(self, token: Token, expected: frozenset[str]) -> None:
        self.token, self.expected, self.start_pos = token, expected, token.start_pos


END = "$END"


class Parser:
    """`units`: names that are units wherever they stand."""

    def __init__(self, tables: Mapping[str, Any], units: Iterable[str]) -> None:
        self._scan = re.compile(tables["scanner"]).finditer
        self._ignored = frozenset(tables["ignored"])
        self.words: dict[str, str] = {**dict.fromkeys(units, "UNIT"), **tables["words"]}
        self._rules = tables["rules"]
        self._rows: list[dict[str, int]] = tables["rows"]
        self._starts: Mapping[str, list[int]] = tables["starts"]

    def tokens(self, text: str) -> Iterator[Token]:
        """The tokens of a text, blanks and comments left out. Raises UnexpectedCharacterError on the way."""
        position, line, line_start = 0, 1, 0
        for found in self._scan(text):
            start, end = found.span()
            if start != position:
                break
            position, kind = end, found.lastgroup or ""
            if kind not in self._ignored:
                token = Token(found.group())
                token.type = self.words.get(token, kind) if kind == "NAME" else kind
                token.start_pos, token.line, token.column = start, line, start - line_start + 1
                token.end_line, token.end_column = line, end - line_start + 1
                yield token
            elif (newline := text.rfind("\n", start, end)) >= 0:
                line += text.count("\n", start, end)
                line_start = newline + 1
        if position < len(text):
            raise UnexpectedCharacterError(position, line, position - line_start + 1)

    def parse(self, text: str, start: str) -> Node:
        """The tree of a text, from one of the grammar's starts. Raises UnexpectedInputError."""
        begin, end = self._starts[start]
        states, values = [begin], list[Any]()
        rows, token = self._rows, None
        for token in self.tokens(text):
            while (action := rows[states[-1]].get(token.type)) is not None and action < 0:
                self._reduce(-1 - action, states, values)
            if action is None:
                raise UnexpectedTokenError(token, self._expected(states, end))
            states.append(action)
            values.append(token)
        last = _end(token)
        while (action := rows[states[-1]].get(END)) is not None:
            self._reduce(-1 - action, states, values)
            if states[-1] == end:
                found: Node = values[-1]
                return found
        raise UnexpectedTokenError(last, self._expected(states, end))

    def _reduce(self, number: int, states: list[int], values: list[Any]) -> None:
        """Take a rule's parts off the stacks and put the rule there."""
        name, size, kept, passed = self._rules[number]
        if passed:
            # A hidden rule around one other: whoever takes it in takes the other's place in it.
            del states[-1]
        else:
            parts = values[-size:]
            children = []
            for place in kept:
                part = parts[place]
                if type(part) is Node and part.rule[0] == "_":
                    children += part.children
                else:
                    children.append(part)
            del states[-size:], values[-size:]
            values.append(Node(name, children, parts[0], parts[-1]))
        states.append(self._rows[states[-1]][name])

    def _expected(self, states: list[int], end: int) -> frozenset[str]:
        """The terminals with which a text could go on from these states."""
        row = self._rows[states[-1]]
        terminals = [name for name in row if name.isupper()]
        going_on = frozenset(name for name in terminals if self._goes_on(name, states.copy(), end))
        return going_on or frozenset(terminals)

    def _goes_on(self, terminal: str, states: list[int], end: int) -> bool:
        while (action := self._rows[states[-1]].get(terminal)) is not None and action < 0:
            name, size, *_ = self._rules[-1 - action]
            del states[-size:]
            states.append(self._rows[states[-1]][name])
            if terminal == END and states[-1] == end:
                return True
        return action is not None


def _end(last: Token | None) -> Token:
    """The end of a text, at the place of its last token."""
    token = Token("")
    token.type = END
    if last is None:
        token.start_pos, token.line, token.column, token.end_line, token.end_column = 0, 1, 1, 1, 1
    else:
        token.start_pos, token.line, token.column = last.start_pos, last.line, last.column
        token.end_line, token.end_column = last.end_line, last.end_column
    return token
