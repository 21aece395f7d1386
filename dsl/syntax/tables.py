"""The parser's tables, stored beside the grammar: made of grammar.lark by lark, read by every start without lark.

Plain JSON, made by `python -m isoloss.dsl.editor.reference_pages`; a test holds it equal to what the grammar gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

FILE = Path(__file__).parent / "grammar_tables.json"


def load() -> dict[str, Any]:
    """The stored tables: see `made`."""
    found: dict[str, Any] = json.loads(FILE.read_bytes())
    return found


def dump(tables: dict[str, Any]) -> bytes:
    """Tables as they are stored: same grammar, same bytes."""
    return json.dumps(tables, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def build(**options: Any) -> Lark:
    """lark's own parser of the grammar, with more of its options: about half a second. `strict` also proves that there
    are no conflicts; it needs interegular and is slower still."""
    from lark import Lark

    return Lark(
        (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8"),
        parser="lalr",
        # The basic lexer knows nothing of the grammar's state: a reserved word is reserved everywhere.
        lexer="basic",
        # The whole of a study file, and the value of a `--set`.
        start=["start", "_value"],
        propagate_positions=True,
        maybe_placeholders=False,
        **options,
    )


def made(parser: Lark) -> dict[str, Any]:
    """The tables of a parser.

    `scanner`: one regular expression with a group per terminal. `words`: names that are terminals of their own.
    `ignored`: terminals. `rules`: [name, number of parts, places of the parts that stay, whether it only passes its
    one part on]. `rows`, one per state: the state that a terminal or rule leads to, or -1 - the rule to reduce by.
    `starts`: the first and the last state of each start."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = parser.memo_serialize([TerminalDef, Rule])
    lexer, table = data["parser"]["lexer_conf"], data["parser"]["parser"]
    rules = sorted((memo[entry["@"]] for entry in data["rules"]), key=_rule_order)
    numbers = {key: rules.index(entry) for key, entry in memo.items() if entry in rules}
    order = _states(table)
    rows = [_row(table, state, order, numbers) for state in order]
    starts = {
        name: [order[first], order[table["end_states"][name]]]
        for name, first in table["start_states"].items()
    }
    return {
        **_words(parser),
        "ignored": lexer["ignore"],
        "rules": [_rule(rule) for rule in rules],
        "rows": rows,
        "starts": starts,
    }


def _words(parser: Lark) -> dict[str, Any]:
    """`scanner` and `words`, in lark's order of terminals: the longer before those that they begin with."""
    from lark.lexer import PatternStr

    name = parser.get_terminal("NAME").pattern.to_regexp()
    words, scanned = {}, []
    lexer: Any = parser.parser.lexer
    for terminal in lexer.terminals:
        pattern = terminal.pattern
        if isinstance(pattern, PatternStr) and re.fullmatch(name, pattern.value):
            words[pattern.value] = terminal.name
        else:
            scanned.append(f"(?P<{terminal.name}>{pattern.to_regexp()})")
    return {"scanner": "|".join(scanned), "words": words}


def _rule_order(rule: dict[str, Any]) -> tuple[str, list[str]]:
    return rule["origin"]["name"], [symbol["name"] for symbol in rule["expansion"]]


def _rule(rule: dict[str, Any]) -> list[Any]:
    name, parts = rule["origin"]["name"], rule["expansion"]
    kept = [place for place, part in enumerate(parts) if not part.get("filter_out", False)]
    return [name, len(parts), kept, name[0] == "_" and len(parts) == len(kept) == 1]


def _states(table: dict[str, Any]) -> dict[int, int]:
    """The table's states in the order in which a walk from the starts meets them: lark's own numbers change from
    run to run."""
    found = {table["start_states"][name]: place for place, name in enumerate(sorted(table["start_states"]))}
    for state in (pending := list(found)):
        row = table["states"][state]
        for symbol in sorted(row, key=table["tokens"].__getitem__):
            shifts, target = row[symbol]
            if shifts == 0 and target not in found:
                found[target] = len(found)
                pending.append(target)
    return found


def _row(table: dict[str, Any], state: int, order: dict[int, int], rules: dict[int, int]) -> dict[str, int]:
    return {
        table["tokens"][symbol]: order[target] if action == 0 else -1 - rules[target["@"]]
        for symbol, (action, target) in table["states"][state].items()
    }
