"""What a study file says, before anything is looked up: expressions, statements, spans.

Made by parse.py (and by layers.py where a `--set` or a profile edits a copy), read by the checks and by
format.py. Two equal nodes are equal wherever they stand: spans and parentheses are not part of a node.

The language's dataclasses have no slots: each slotted class is made twice at every start of `isoloss`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from isoloss.dsl.diagnostics.diagnostic import Span

UNKNOWN_SPAN = Span("", 1, 1, 1, 1)


def _span() -> Span:
    return field(default=UNKNOWN_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Name:
    text: str
    span: Span = _span()


# Expressions.


@dataclass(frozen=True)
class Number:
    """`text` as written (`1e22`, `30M`), `unit` the unit word or `%`, "" for a plain number."""

    text: str
    unit: str = ""
    span: Span = _span()

    @property
    def value(self) -> Fraction:
        """The number without its unit, exact: `30M` is 30000000, `2.5` is 5/2."""
        text, factor = self.text.replace("_", ""), 1
        if text[-1] in MULTIPLIERS:
            text, factor = text[:-1], MULTIPLIERS[text[-1]]
        return Fraction(text) * factor


MULTIPLIERS = {"k": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class Unit:
    """A bare unit, as in the divisor of `2.40 USD/h`."""

    text: str
    span: Span = _span()


@dataclass(frozen=True)
class Text:
    text: str
    span: Span = _span()


@dataclass(frozen=True)
class Boolean:
    value: bool
    span: Span = _span()


@dataclass(frozen=True)
class DeviceCount:
    """`32 of h100`."""

    count: Number
    device: Name
    span: Span = _span()


@dataclass(frozen=True)
class Path:
    """A name, or a field of one: `generator.images`."""

    parts: tuple[Name, ...]
    span: Span = _span()

    @property
    def text(self) -> str:
        return ".".join(part.text for part in self.parts)


@dataclass(frozen=True)
class Argument:
    name: Name | None
    value: Expression
    span: Span = _span()


@dataclass(frozen=True)
class CallExpression:
    name: Name
    arguments: tuple[Argument, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Sequence:
    """`[a, b]`, or the tuple `(a, b)` of a zip axis when `bracket` is `(`."""

    items: tuple[Expression, ...]
    bracket: str = "["
    span: Span = _span()


@dataclass(frozen=True)
class Interval:
    """`low .. high`."""

    low: Expression
    high: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Unary:
    """`operator` is `-` or `not`."""

    operator: str
    operand: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Binary:
    """`operator` is one of + - * / ** == != < <= > >= in and or."""

    operator: str
    left: Expression
    right: Expression
    span: Span = _span()


@dataclass(frozen=True)
class IfElse:
    """`then if test else otherwise`; otherwise None leaves a gap."""

    then: Expression
    test: Expression
    otherwise: Expression | None
    span: Span = _span()


@dataclass(frozen=True)
class Filtered:
    """`(runs where …)`."""

    grid: Name
    test: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Every:
    """`robust at every 2.5%`."""

    evaluation: Expression
    period: Expression
    span: Span = _span()


Expression = (
    Number
    | Unit
    | Text
    | Boolean
    | DeviceCount
    | Path
    | CallExpression
    | Sequence
    | Interval
    | Unary
    | Binary
    | IfElse
    | Filtered
    | Every
)


def children(node: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside one."""
    match node:
        case CallExpression(arguments=arguments):
            return tuple(argument.value for argument in arguments)
        case Sequence(items=items):
            return items
        case Interval(low=low, high=high):
            return (low, high)
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case IfElse(then=then, test=test, otherwise=otherwise):
            return (then, test) if otherwise is None else (then, test, otherwise)
        case Filtered(test=test):
            return (test,)
        case Every(evaluation=evaluation, period=period):
            return (evaluation, period)
        case _:
            return ()


# Statements.


@dataclass(frozen=True)
class Let:
    name: Name
    value: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Dataset:
    value: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Setting:
    """`path = value`, `path in value` or `path <= value`; several paths for a zip axis."""

    paths: tuple[Path, ...]
    operator: str
    value: Expression
    span: Span = _span()

    @property
    def key(self) -> str:
        return self.paths[0].text


@dataclass(frozen=True)
class Where:
    test: Expression
    span: Span = _span()


@dataclass(frozen=True)
class Block:
    """`kind name { … }`, `kind name extends other { … }`; a `budget` has no name."""

    kind: Name
    name: Name | None
    extends: Name | None
    body: tuple[Statement, ...]
    span: Span = _span()


Statement = Let | Dataset | Setting | Where | Block


@dataclass(frozen=True)
class Import:
    path: Text
    span: Span = _span()


@dataclass(frozen=True)
class StudyBlock:
    name: Name
    extends: Name | None
    body: tuple[Statement, ...]
    span: Span = _span()


@dataclass(frozen=True)
class StudyAst:
    """One file."""

    imports: tuple[Import, ...]
    study: StudyBlock
