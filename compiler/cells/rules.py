"""An expression of the language as a remembered function of the quantities it mentions.

A grid of ten thousand cells has perhaps fifty (images, generator.images) pairs: a rule on them is evaluated
fifty times. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from isoloss.dsl.study.expression import Gap, Unknown, evaluate
from isoloss.dsl.study.study import Conditional, Const, Expr, Operation, Quantity, Value


class Known(NamedTuple):
    """What an expression gives: a value, or a gap (no branch covers the cell), or unknown (waits for a
    fid)."""

    value: Value = None
    gap: bool = False
    unknown: bool = False


def names_in(expression: Expr) -> tuple[str, ...]:
    """The quantities an expression mentions, sorted."""
    found: set[str] = set()
    stack: list[Expr] = [expression]
    while stack:
        match stack.pop():
            case Quantity(name):
                found.add(name)
            case Operation(_, operands):
                stack.extend(operands)
            case Conditional(test, then, otherwise):
                stack.extend((test, then) if otherwise is None else (test, then, otherwise))
            case Const():
                pass
    return tuple(sorted(found))


class Rule:
    """Callable on a cell's quantities; one evaluation per distinct combination of the mentioned ones."""

    __slots__ = ("_known", "expression", "names")

    def __init__(self, expression: Expr) -> None:
        self.expression = expression
        self.names = names_in(expression)
        self._known: dict[tuple[Value, ...], Known] = {}

    def __call__(self, quantities: Mapping[str, Value]) -> Known:
        key = tuple(map(quantities.get, self.names))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._evaluate(quantities)
        return known

    def _evaluate(self, quantities: Mapping[str, Value]) -> Known:
        result = evaluate(self.expression, quantities)
        if isinstance(result, Gap):
            return Known(gap=True)
        if isinstance(result, Unknown):
            return Known(unknown=True)
        return Known(result)
