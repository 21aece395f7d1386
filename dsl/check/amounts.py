"""Constant arithmetic: AST -> exact Amount with its dimension; every number that isn't a cell's rule."""

from __future__ import annotations

from fractions import Fraction

from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import QUANTITIES, units
from isoloss.dsl.vocabulary.units import PHRASES, Amount

#: Magnitudes outside are refused: floats end soon after, and exact powers could fill the memory.
LARGEST = Fraction(10) ** 300
#: Digits of one number as written.
MAX_DIGITS = 60


def evaluate_amount(node: ast.Expression, scope: Scope, name: str) -> Amount | Bad:
    """The value of a constant expression; `name` is the setting it is for, to say so in messages."""
    unfolded = scope.unfold(node)
    match unfolded:
        case Bad():
            return BAD
        case ast.Number():
            return literal(unfolded, scope)
        case ast.Unit(text=text):
            return units.amount(Fraction(1), text)
        case ast.Path():
            return _named(unfolded, scope, name)
        case ast.Unary(operator="-", operand=operand):
            inner = evaluate_amount(operand, scope, name)
            return inner if isinstance(inner, Bad) else Amount(-inner.value, inner.dimension, inner.currency)
        case ast.Binary(operator="+" | "-" | "*" | "/" | "**"):
            return _binary(unfolded, scope, name)
        case _:
            scope.report.add(
                "U101",
                f"`{name}` is a number, found {describe(unfolded)}",
                unfolded.span,
                describe(unfolded),
            )
            return BAD


def literal(node: ast.Number, scope: Scope) -> Amount | Bad:
    """A number as written; refuses what no float holds."""
    mantissa, _, exponent = node.text.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent.lstrip("+-")) > 3:
        return _too_large(node, scope)
    return _checked(units.amount(node.value, node.unit), node, scope)


def _named(node: ast.Path, scope: Scope, name: str) -> Amount | Bad:
    if node.text in scope.siblings:
        return scope.siblings[node.text]
    if node.text in QUANTITIES:
        scope.report.add(
            "U105",
            f"`{node.text}` differs from cell to cell, but `{name}` is one value for all",
            node.span,
            "known per cell only",
            "rules over cells are allowed in `batch`, `lr` and `where`",
        )
        return BAD
    scope.report.add(
        "N101",
        f"unknown name `{node.text}`",
        node.span,
        "not declared",
        did_you_mean(node.text, scope.lets, f"give it a value: `let {node.parts[0].text} = …`"),
    )
    return BAD


def _binary(node: ast.Binary, scope: Scope, name: str) -> Amount | Bad:
    left = evaluate_amount(node.left, scope, name)
    right = evaluate_amount(node.right, scope, name)
    if isinstance(left, Bad) or isinstance(right, Bad):
        return BAD
    return combine(node, left, right, scope)


def combine(node: ast.Binary, left: Amount, right: Amount, scope: Scope) -> Amount | Bad:
    """One arithmetic operation, with its dimension checked."""
    dimension = units.combined(node.operator, left.dimension, right.dimension)
    currencies = {a.currency for a in (left, right) if a.currency}
    if dimension is None or len(currencies) > 1:
        first, second = (PHRASES[a.dimension][0] for a in (left, right))
        if len(currencies) > 1:
            first, second = left.currency, right.currency
        report_mixed(node, first, second, scope)
        return BAD
    if node.operator == "/" and right.value == 0:
        scope.report.add("V109", "division by zero", node.right.span, "zero")
        return BAD
    value = _operate(node.operator, left.value, right.value)
    if value is None:
        return _too_large(node, scope)
    return _checked(Amount(value, dimension, next(iter(currencies), "")), node, scope)


def report_mixed(node: ast.Binary, left: str, right: str, scope: Scope) -> None:
    scope.report.add(
        "U103",
        f"`{node.operator}` does not combine {left} with {right}",
        node.span,
        f"{left} {node.operator} {right}",
        "both sides of `+`, `-` and comparisons need the same unit; `*` and `/` need a plain number",
    )


def _operate(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
    """Exact; None where the result would be too large to hold. Never divides by zero."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "/":
        return left / right
    if right.denominator != 1 or abs(right) > 1000 or (left == 0 and right < 0):
        try:
            power = float(left) ** float(right)
        except (OverflowError, ZeroDivisionError):
            return None
        # A negative number to a fractional power is complex.
        return Fraction(power) if isinstance(power, float) else None
    if left != 0 and abs(right) * max(left.numerator.bit_length(), left.denominator.bit_length()) > 4000:
        return None
    return left ** int(right)


def _checked(found: Amount, node: ast.Expression, scope: Scope) -> Amount | Bad:
    size = abs(found.value)
    if size > LARGEST or (size != 0 and size < 1 / LARGEST):
        return _too_large(node, scope)
    return found


def _too_large(node: ast.Expression, scope: Scope) -> Bad:
    scope.report.add(
        "V101", "a number is too large, too small or too long to be held", node.span, "out of range"
    )
    return BAD


def describe(node: ast.Expression) -> str:
    """What an expression is, in the words of messages, with article."""
    match node:
        case ast.Number(unit=unit):
            return PHRASES[units.UNITS[unit][0] if unit else "plain"][0]
        case ast.Unit(text=text):
            return PHRASES[units.UNITS[text][0]][0]
        case ast.Text():
            return "a text"
        case ast.Boolean():
            return "true or false"
        case ast.DeviceCount():
            return "a number of devices"
        case ast.Path():
            return "a name"
        case ast.CallExpression(name=name):
            return f"`{name.text}(…)`"
        case ast.Sequence(bracket=bracket):
            return "a list" if bracket == "[" else "a tuple"
        case ast.Interval():
            return "a range"
        case ast.IfElse():
            return "a rule with `if`"
        case ast.Filtered():
            return "a set of runs"
        case ast.Every():
            return "a repeated evaluation"
        case ast.Binary(operator="+" | "-" | "*" | "/" | "**") | ast.Unary(operator="-"):
            return "a number"
        case _:
            return "a condition"
