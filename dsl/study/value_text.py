"""Values and rules of a checked Study -> the text a study would say them with. Pure.

In: what study.py holds, with the slot it stands in, whose dimension gives the unit. Out: one line. Exact: two values
that differ have different texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from isoloss.dsl.study.study import (
    Call,
    Conditional,
    Const,
    Devices,
    Expr,
    Operation,
    Quantity,
    RunSet,
    Schedule,
)
from isoloss.dsl.vocabulary import Slot, find_term, units
from isoloss.dsl.vocabulary.units import show

_COUNTS = ((Fraction(10**9), "B"), (Fraction(10**6), "M"), (Fraction(10**3), "k"))
_PERCENT = ((Fraction(1, 100), "%"),)


def _scales(dimension: str) -> tuple[tuple[Fraction, str], ...]:
    """Units of a dimension with what they are worth, the largest first."""
    found = [(factor, f" {word}") for word, (kind, factor) in units.UNITS.items() if kind == dimension]
    return tuple(sorted(found, reverse=True))


_SCALES: Mapping[str, tuple[tuple[Fraction, str], ...]] = {
    "images": _COUNTS,
    "fraction": _PERCENT,
    **{dimension: _scales(dimension) for dimension in ("compute", "time", "storage")},
}
#: Significant digits of a number beside its unit; one that needs more is written in full. Of a count: 2048, not
#: 2.048k.
_DIGITS = 6
_COUNT_DIGITS = 3


def value_text(value: Any, slot: Slot | None = None) -> str:
    """A setting's value as a study writes it: `2 PFLOP`, `8/255`, `wrn(28, 4)`, `(runs where fid < 10)`."""
    match value:
        case None:
            return (slot.absent if slot else "") or "none"
        case bool():
            return "true" if value else "false"
        case int() | float() | Fraction():
            return number_text(value, slot.dimension if slot else "plain")
        case str():
            return value if value.isidentifier() else f'"{value}"'
        case Call():
            return _call(value, slot.family if slot else "model")
        case tuple():
            return listed(value_text(item, slot) for item in value)
        case Devices(count=count, kind=kind):
            return f"{count} of {kind}"
        case RunSet(grid=grid, where=where):
            return grid if where is None else f"({grid} where {rule_text(where)})"
        case Schedule(evaluation=evaluation, every=every):
            return f"{evaluation} at every {number_text(every, 'fraction')}"
    return rule_text(value)


def listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def number_text(value: int | float | Fraction, dimension: str = "plain") -> str:
    """`10M`, `2.5%`, `12 h`, `10 ZFLOP`: in the largest unit that says it exactly in a few digits."""
    scales = _SCALES.get(dimension, ())
    exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
    digits = _COUNT_DIGITS if dimension == "images" else _DIGITS
    for size, word in scales:
        shown = f"{float(exact / size):.{digits}g}"
        if (exact >= size or dimension == "fraction") and Fraction(shown) == exact / size:
            return shown + word
    base = next((word for size, word in scales if size == 1), "")
    if isinstance(value, float):
        return (f"{value:g}" if float(f"{value:g}") == value else repr(value)) + base
    return (show(value) if isinstance(value, Fraction) else str(value)) + base


def _call(call: Call, family: str) -> str:
    """Its settings by position, as far as one is given."""
    term = find_term(family, call.kind)
    texts = [value_text(value, term.slot(name) if term else None) for name, value in call.arguments]
    while texts and texts[-1] == "none":
        texts.pop()
    return f"{call.kind}({', '.join(texts)})" if texts else call.kind


# Rules over a cell's quantities.

#: operator -> how tightly it binds.
_BINDING = {
    "or": 1,
    "and": 2,
    "not": 3,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 4),
    **dict.fromkeys(("+", "-"), 5),
    **dict.fromkeys(("*", "/"), 6),
    "neg": 7,
    "**": 8,
}


def rule_text(rule: Expr, around: int = 0) -> str:
    """A rule or condition: `1024 if images <= 10M else 2048`. `around`: how tightly what it stands in binds."""
    match rule:
        case Const(value=value):
            return number_text(value, "images") if isinstance(value, int) else value_text(value)
        case Quantity(name=name):
            return name
        case Conditional(test=test, then=then, otherwise=otherwise):
            text = f"{rule_text(then, 1)} if {rule_text(test, 1)}"
            text += "" if otherwise is None else f" else {rule_text(otherwise)}"
            return f"({text})" if around else text
        case Operation(operator="in", operands=(first, *rest)):
            text = f"{rule_text(first, 5)} in {listed(map(rule_text, rest))}"
        case Operation(operator=operator, operands=(operand,)):
            word = "-" if operator == "neg" else "not "
            text = word + rule_text(operand, _BINDING[operator])
        case Operation(operator=operator, operands=(left, right)):
            mine = _BINDING[operator]
            text = f"{rule_text(left, mine)} {operator} {rule_text(right, mine + 1)}"
    return f"({text})" if _BINDING[rule.operator] < around else text
