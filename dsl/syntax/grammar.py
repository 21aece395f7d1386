"""grammar.lark as lark's parser, loaded from the tables that lark made of it and the package ships."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark import Lark, Token, UnexpectedCharacters

from isoloss.dsl.vocabulary.units import UNITS

GRAMMAR = Path(__file__).parent / "grammar.lark"
#: What `save` gives: lark's own serialised form, as JSON.
TABLES = Path(__file__).parent / "grammar.json"


@cache
def parser() -> Lark:
    """The parser of the language, with the starts `start` (a file) and `_value` (the value of a `--set`).

    Loading takes a few milliseconds, a build hundreds. Only the lark that wrote the tables is known to read
    them as it meant them, so another version builds the same parser from the grammar."""
    saved = json.loads(TABLES.read_bytes())
    if saved["lark"] != lark.__version__:
        return build()
    data = saved["data"]
    # JSON has no numbers as keys.
    memo = {int(key): value for key, value in saved["memo"].items()}
    table = data["parser"]["parser"]
    table["states"] = {int(state): row for state, row in table["states"].items()}
    data["options"]["lexer_callbacks"] = _CALLBACKS
    return Lark.load({"data": data, "memo": memo})


def build(*, strict: bool = False) -> Lark:
    """The parser, built from the grammar. `strict` raises lark's GrammarError or LexError where the grammar has
    a conflict or two terminals match the same text, and needs interegular."""
    return Lark(
        GRAMMAR.read_text(encoding="utf-8"),
        parser="lalr",
        # The basic lexer knows nothing of the grammar's state: a reserved word is reserved everywhere.
        lexer="basic",
        start=["start", "_value"],
        propagate_positions=True,
        maybe_placeholders=False,
        lexer_callbacks=_CALLBACKS,
        strict=strict,
    )


def _mark_unit(token: Token) -> Token:
    if token in UNITS:
        token.type = "UNIT"
    return token


_CALLBACKS = {"NAME": _mark_unit}


def save(built: Lark) -> bytes:
    """The tables of a built parser: the same bytes for the same grammar, lark and Python."""
    data, memo = built.memo_serialize([lark.lexer.TerminalDef, lark.grammar.Rule])
    # Functions are no data.
    data["options"] = {**data["options"], "lexer_callbacks": {}}
    data["parser"]["parser"] = _renumbered(data["parser"]["parser"])
    saved = {"lark": lark.__version__, "data": data, "memo": memo}
    return json.dumps(saved, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _renumbered(table: dict[str, Any]) -> dict[str, Any]:
    """A parse table whose symbols are their names and whose states are numbered as a walk from the starts meets
    them: lark's own numbers of both change from run to run."""
    names = table["tokens"]
    rows = {
        state: {names[symbol]: action for symbol, action in row.items()}
        for state, row in table["states"].items()
    }
    numbers = {state: number for number, (_, state) in enumerate(sorted(table["start_states"].items()))}
    for state in (pending := list(numbers)):
        for _, (reduces, target) in sorted(rows[state].items()):
            if not reduces and target not in numbers:
                numbers[target] = len(numbers)
                pending.append(target)
    return {
        **table,
        "tokens": {name: name for name in names.values()},
        "states": {
            numbers[state]: {
                name: (reduces, target if reduces else numbers[target])
                for name, (reduces, target) in rows[state].items()
            }
            for state in numbers
        },
        "start_states": {name: numbers[state] for name, state in table["start_states"].items()},
        "end_states": {name: numbers[state] for name, state in table["end_states"].items()},
    }


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text, comments and blanks left out. Characters that begin none are skipped, the first
    hundred of them: an error further on must still be found."""
    start = 0
    for _ in range(100):
        try:
            for token in parser().lex(text):
                if token.start_pos >= start:
                    yield token
            return
        except UnexpectedCharacters as error:
            start = error.pos_in_stream + 1
            text = text[: start - 1] + " " + text[start:]
