"""Pieces of a study's or a spec's JSON as their author would write them: calls, rationals, rules.

In: data of dsl.study_json (`call`, `rational`, `operator`, …) or of a plan's specs (`kind`). Out: text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.dsl.vocabulary.quantity_text import share_text

_LOOSEST_FIRST = ("or", "and", "not", "in", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "neg", "**")


def plain(value: Any) -> str:
    """`pgd(norm = linf, eps = 8/255)`, `32 if images <= 8000 else 64`, `none`."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return "[" + ", ".join(plain(v) for v in value) + "]"
        case {"rational": text}:
            return _rational(str(text))
        case {"call": name, "arguments": arguments} if isinstance(arguments, Mapping):
            return _call(str(name), arguments)
        case {"const": inner}:
            return plain(inner)
        case {"quantity": name}:
            return str(name)
        case {"operator": operator, "operands": operands}:
            return _operation(str(operator), list(operands))
        case {"if": test, "then": then, "else": otherwise}:
            rest = "" if otherwise is None else f" else {plain(otherwise)}"
            return f"{plain(then)} if {plain(test)}{rest}"
        case {"evaluation": name, "every": every}:
            return f"{name} at every {share_text(float(every), 3)}"
        case {"grid": name, "where": where}:
            return f"({name} where {plain(where)})" if where is not None else str(name)
        case {"kind": str(kind)}:
            return _call(kind, {k: v for k, v in value.items() if k not in ("kind", "origin")})
        case Mapping():
            return ", ".join(f"{k} = {plain(v)}" for k, v in value.items() if k != "origin")
    return str(value)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    inner = ", ".join(f"{k} = {plain(v)}" for k, v in arguments.items())
    return f"{name}({inner})" if inner else name


def _rational(text: str) -> str:
    """Exact where people write fractions (8/255), decimal where they write decimals (1/10 is 0.1)."""
    numerator, _, denominator = text.partition("/")
    below = denominator or "1"
    for prime in ("2", "5"):
        while below.isdigit() and int(below) % int(prime) == 0 and int(below) > 1:
            below = str(int(below) // int(prime))
    return f"{int(numerator) / int(denominator or 1):g}" if below == "1" else text


def _operation(operator: str, operands: list[Any]) -> str:
    texts = [_operand(o, operator) for o in operands]
    if operator == "in":
        return f"{texts[0]} in [{', '.join(texts[1:])}]"
    if operator == "neg":
        return f"-{texts[0]}"
    if operator == "not":
        return f"not {texts[0]}"
    return f" {operator} ".join(texts)


def _operand(operand: Any, outer: str) -> str:
    text = plain(operand)
    if not isinstance(operand, Mapping):
        return text
    inner = operand.get("operator")
    known = inner in _LOOSEST_FIRST and outer in _LOOSEST_FIRST
    looser = known and _LOOSEST_FIRST.index(str(inner)) < _LOOSEST_FIRST.index(outer)
    return f"({text})" if looser or "if" in operand else text
