"""Expressions as canonical text: parentheses where precedence needs them, nowhere else."""

from __future__ import annotations

from isoloss.dsl.syntax import ast

#: Binding strength, weakest first, as the grammar nests them.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(10)

#: operator -> (its level, least level of the left side, of the right side).
_BINARY = {
    "or": (_OR, _OR, _AND),
    "and": (_AND, _AND, _NOT),
    **dict.fromkeys(["==", "!=", "<", "<=", ">", ">=", "in"], (_COMPARE, _SUM, _SUM)),
    "+": (_SUM, _SUM, _PRODUCT),
    "-": (_SUM, _SUM, _PRODUCT),
    "*": (_PRODUCT, _PRODUCT, _SIGNED),
    "/": (_PRODUCT, _PRODUCT, _SIGNED),
    "**": (_POWER, _ATOM, _SIGNED),
}


def text_of(node: ast.Expression, least: int = _CONDITIONAL) -> str:
    """`node` as text, in parentheses if it binds weaker than `least`."""
    level, text = _written(node)
    return f"({text})" if level < least else text


def _written(node: ast.Expression) -> tuple[int, str]:
    match node:
        case ast.IfElse(then=then, test=test, otherwise=otherwise):
            start = f"{text_of(then, _OR)} if {text_of(test, _OR)}"
            return _CONDITIONAL, start if otherwise is None else f"{start} else {text_of(otherwise)}"
        case ast.Binary():
            return _binary(node)
        case ast.Unary(operator="not", operand=operand):
            return _NOT, f"not {text_of(operand, _NOT)}"
        case ast.Unary(operand=operand):
            return _SIGNED, f"-{text_of(operand, _SIGNED)}"
        case ast.Interval(low=low, high=high):
            dots = ".." if _is_digits(low) and _is_digits(high) else " .. "
            return _COMPARE, f"{text_of(low, _SUM)}{dots}{text_of(high, _SUM)}"
        case ast.Every(evaluation=evaluation, period=period):
            return _CONDITIONAL, f"{text_of(evaluation)} at every {text_of(period)}"
        case _:
            return _ATOM, _atom(node)


def _binary(node: ast.Binary) -> tuple[int, str]:
    level, left, right = _BINARY[node.operator]
    sides = text_of(node.left, left), text_of(node.right, right)
    # `8/255` and `2.40 USD/h` are read as one thing.
    plain = all(isinstance(s, ast.Number) and not s.unit for s in (node.left, node.right))
    tight = node.operator == "/" and (plain or isinstance(node.right, ast.Unit))
    return level, (f"{sides[0]}/{sides[1]}" if tight else f"{sides[0]} {node.operator} {sides[1]}")


def _is_digits(node: ast.Expression) -> bool:
    return isinstance(node, ast.Number) and not node.unit and node.text.isdecimal()


def _atom(node: ast.Expression) -> str:
    match node:
        case ast.Number(text=text, unit=unit):
            return text + (unit if unit in ("", "%") else f" {unit}")
        case ast.Unit(text=text):
            return text
        case ast.Text(text=text):
            return f'"{text}"'
        case ast.Boolean(value=value):
            return "true" if value else "false"
        case ast.DeviceCount(count=count, device=device):
            return f"{count.text} of {device.text}"
        case ast.Path():
            return node.text
        case ast.CallExpression(name=name, arguments=arguments):
            return f"{name.text}({', '.join(argument_text(a) for a in arguments)})"
        case ast.Sequence(items=items, bracket=bracket):
            inner = ", ".join(text_of(item) for item in items)
            return f"[{inner}]" if bracket == "[" else f"({inner})"
        case ast.Filtered(grid=grid, test=test):
            return f"({grid.text} where {text_of(test)})"
        case _:
            raise AssertionError(f"no text for {type(node).__name__}")


def argument_text(argument: ast.Argument) -> str:
    value = text_of(argument.value)
    return value if argument.name is None else f"{argument.name.text} = {value}"
