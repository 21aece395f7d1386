"""The parser's tables, stored beside the grammar: reading them takes milliseconds, building half a second.

Plain JSON, made by `python -m isoloss.dsl.docs`; a test holds it equal to what the grammar gives. Tables of
another grammar or another lark are not used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lark
from lark import Lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

FILE = Path(__file__).parent / "grammar_tables.json"


def key(grammar: str) -> str:
    return hashlib.sha256(f"{lark.__version__}\n{grammar}".encode()).hexdigest()


def dump(parser: Lark, grammar: str) -> bytes:
    """The stored form of a parser that was built from `grammar`."""
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    # A function is no data; `load` is given it again.
    data["options"]["lexer_callbacks"] = {}
    stored = {"lark": lark.__version__, "key": key(grammar), "data": data, "memo": memo}
    return json.dumps(_texted(stored), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def load(grammar: str, callbacks: Mapping[str, Callable[[Any], Any]]) -> Lark | None:
    """The stored parser, or None where there is none for this grammar and lark."""
    try:
        stored = json.loads(FILE.read_bytes(), object_pairs_hook=_numbered)
    except (OSError, ValueError):
        return None
    if stored.get("key") != key(grammar):
        return None
    tables = {"data": stored["data"], "memo": stored["memo"]}
    fresh = Lark.__new__(Lark)
    # What lark's own `load` does with an unpickled file; a test parses with both.
    return fresh._load(tables, lexer_callbacks=dict(callbacks))


def _texted(data: Any) -> Any:
    """Keys as texts, so that they can be sorted: same grammar, same bytes."""
    if isinstance(data, dict):
        return {str(k): _texted(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_texted(item) for item in data]
    return sorted(data) if isinstance(data, set | frozenset) else data


def _numbered(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """JSON made texts of the tables' whole numbers. A table's keys are all numbers or all names."""
    if pairs and pairs[0][0].isdecimal():
        return {int(key): value for key, value in pairs}
    return dict(pairs)
