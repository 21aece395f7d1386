"""Evaluate a rule or condition for one cell: Expr + what is known -> value, UNKNOWN or GAP.

Logic is three-valued: an unmeasured quantity is UNKNOWN, and `false and UNKNOWN` is false. Everything is
exact: a measured float counts as the decimal it prints as, so that `fid == 1.65` holds for a fid of 1.65."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from isoloss.dsl.study.study import Conditional, Const, Expr, Operation, Quantity, Value


class Unknown:
    """The value depends on something not measured yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"


class Gap:
    """The rule says nothing for this cell: an `if` without `else`, or a division by zero."""

    def __repr__(self) -> str:
        return "GAP"


UNKNOWN: Final = Unknown()
GAP: Final = Gap()

Result = Value | Unknown | Gap


def evaluate(expr: Expr, cell: Mapping[str, Value]) -> Result:
    """The value of `expr` for a cell.

    `cell` maps quantities (`params`, `images`, `fid`, `flops`, `epochs`, `seed`, `model`, `generator`,
    `recipe`, `generator.images`, `generator.fid`) to values. A missing one is UNKNOWN, and so is None, except
    that `generator.images` None means that there is no limit."""
    match expr:
        case Const(value=value):
            return value
        case Quantity(name=name):
            return _quantity(name, cell)
        case Conditional():
            return _conditional(expr, cell)
        case Operation(operator="and" | "or" as operator, operands=operands):
            return _junction(operator, [evaluate(o, cell) for o in operands])
        case Operation(operator=operator, operands=operands):
            return _operation(operator, [evaluate(o, cell) for o in operands])


def _quantity(name: str, cell: Mapping[str, Value]) -> Result:
    value = cell.get(name)
    if value is None:
        return math.inf if name == "generator.images" and name in cell else UNKNOWN
    return _exact(value) if isinstance(value, float) else value


def _exact(value: float) -> int | float | Fraction:
    """The shortest decimal that reads as `value`: what a literal of the language is. Infinities stay."""
    if not math.isfinite(value):
        return value
    exact = Fraction(repr(value))
    return exact.numerator if exact.denominator == 1 else exact


def _conditional(expr: Conditional, cell: Mapping[str, Value]) -> Result:
    test = evaluate(expr.test, cell)
    if isinstance(test, Gap):
        return GAP
    then = evaluate(expr.then, cell)
    otherwise: Result = GAP if expr.otherwise is None else evaluate(expr.otherwise, cell)
    if isinstance(test, Unknown):
        # Both ways give the same: the answer doesn't depend on what isn't known.
        same = not isinstance(then, Unknown | Gap) and then == otherwise
        return then if same else UNKNOWN
    return then if test else otherwise


def _junction(operator: str, values: list[Result]) -> Result:
    deciding = operator == "or"
    if any(v is deciding for v in values):
        return deciding
    if any(isinstance(v, Gap) for v in values):
        return GAP
    if any(isinstance(v, Unknown) for v in values):
        return UNKNOWN
    return not deciding


def _operation(operator: str, values: list[Result]) -> Result:
    if any(isinstance(v, Gap) for v in values):
        return GAP
    if operator == "in":
        return _member(values[0], values[1:])
    if any(isinstance(v, Unknown) for v in values):
        return UNKNOWN
    if operator == "not":
        return not values[0]
    if operator == "==":
        return values[0] == values[1]
    if operator == "!=":
        return values[0] != values[1]
    return _numeric(operator, [_number(v) for v in values])


def _member(value: Result, among: list[Result]) -> Result:
    """`in` has its members as further operands."""
    if isinstance(value, Unknown):
        return UNKNOWN if among else False
    if any(not isinstance(m, Unknown) and m == value for m in among):
        return True
    return UNKNOWN if any(isinstance(m, Unknown) for m in among) else False


def _number(value: Result) -> int | float | Fraction:
    assert isinstance(value, int | float | Fraction), f"checked rules compute with numbers, got {value!r}"
    return value


def _numeric(operator: str, values: list[int | float | Fraction]) -> Result:
    try:
        return _arithmetic(operator, values)
    except (ZeroDivisionError, OverflowError):
        return GAP


def _arithmetic(operator: str, values: list[int | float | Fraction]) -> Result:
    if operator == "neg":
        return -values[0]
    left, right = values
    comparisons = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    if operator in comparisons:
        return comparisons[operator]
    result: int | float | Fraction | complex
    match operator:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/":
            result = _divide(left, right)
        case "**":
            result = _power(left, right)
        case _:
            raise AssertionError(f"no such operator: {operator}")
    if isinstance(result, complex) or result != result:
        return GAP
    # A whole rational is an int: `1024 / 2` is a batch size.
    return int(result) if isinstance(result, Fraction) and result.denominator == 1 else result


def _divide(left: int | float | Fraction, right: int | float | Fraction) -> float | Fraction:
    if isinstance(left, float) or isinstance(right, float):
        return float(left) / float(right)
    return Fraction(left) / Fraction(right)


def _power(left: int | float | Fraction, right: int | float | Fraction) -> float | Fraction | complex:
    exact = not isinstance(left, float) and not isinstance(right, float)
    power = Fraction(right) if exact else Fraction(0)
    # Exact powers stay small enough to hold.
    if exact and power.denominator == 1 and abs(power) <= 64 and abs(float(left)) < 1e18:
        return Fraction(left) ** int(power)
    # A negative number to a fractional power is complex; the caller makes it a gap.
    result: float | complex = pow(float(left), float(right))
    return result
