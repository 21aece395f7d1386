"""Rules and conditions over a cell's quantities: AST -> typed Expr of the Study.

Dimensions are checked as for constants; `generator == edm5` compares names, `model == wrn(28, 4)` values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from isoloss.dsl.check.amounts import combine, describe, literal, report_mixed
from isoloss.dsl.check.calls import check_call
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.simple_values import fits, reference, wrong_type
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import Conditional, Const, Expr, Operation, Quantity
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import QUANTITIES, Slot, units
from isoloss.dsl.vocabulary.units import PHRASES, Amount

#: Types that are not numbers, with the words of messages.
ENTITIES = {"generator": "a generator", "model": "a network", "recipe": "a recipe", "word": "a word"}
BOOLEAN = "boolean"


@dataclass(frozen=True)
class Typed:
    """`type` is a dimension of units.py, `boolean`, or one of ENTITIES; `amount` where it is a constant."""

    expr: Expr
    type: str
    amount: Amount | None = None


def check_condition(node: ast.Expression, scope: Scope) -> Expr | Bad:
    """What a `where` keeps."""
    found = _convert(node, scope)
    if isinstance(found, Bad) or not _is_condition(found, node, scope):
        return BAD
    return found.expr


def check_rule(slot: Slot, node: ast.Expression, scope: Scope) -> Expr | Bad:
    """A number per cell, such as `batch` and `lr`; constants in it must be in the slot's range."""
    found = _convert(node, scope)
    if isinstance(found, Bad) or not _known_in_time(slot, node, scope):
        return BAD
    return found.expr if _fits(slot, node, found, scope) else BAD


def _known_in_time(slot: Slot, node: ast.Expression, scope: Scope) -> bool:
    """`flops` counts whole batches: it can't decide a batch, nor what goes with one."""
    unfolded = scope.unfold(node)
    if isinstance(unfolded, Bad):
        return False
    if isinstance(unfolded, ast.Path) and unfolded.text == "flops":
        scope.report.add(
            "U105",
            f"`{slot.name}` can't depend on `flops`, which depends on the batch",
            unfolded.span,
            "not known yet",
            "use `params` and `images`",
        )
        return False
    # Each side is looked at, so that each is reported.
    known = [_known_in_time(slot, child, scope) for child in ast.children(unfolded)]
    return all(known)


def _fits(slot: Slot, node: ast.Expression, found: Typed, scope: Scope) -> bool:
    unfolded = scope.unfold(node)
    assert not isinstance(unfolded, Bad), "a rule in a circle was reported when it was converted"
    if isinstance(unfolded, ast.IfElse):
        branches = [b for b in (unfolded.then, unfolded.otherwise) if b is not None]
        results = []
        for branch in branches:
            typed = _convert(branch, scope)
            results.append(not isinstance(typed, Bad) and _fits(slot, branch, typed, scope))
        return all(results)
    if found.type == BOOLEAN or found.type in ENTITIES:
        wrong_type(slot, unfolded, scope)
        return False
    if found.amount is not None:
        as_integer = slot.dimension == "images"
        exact = Slot(
            slot.name,
            "integer" if as_integer else "number",
            slot.doc,
            slot.example,
            dimension=slot.dimension,
            low=slot.low,
            high=slot.high,
            exclusive=slot.exclusive,
        )
        return fits(exact, found.amount, node, scope)
    if not units.accepts(slot.dimension, found.type):
        return fits(slot, Amount(Fraction(1), found.type), node, scope)
    return True


def _convert(node: ast.Expression, scope: Scope, hint: str = "") -> Typed | Bad:
    """`hint` is the type that the other side of a comparison has, for names of generators and recipes."""
    unfolded = scope.unfold(node)
    match unfolded:
        case Bad():
            return BAD
        case ast.Number():
            value = literal(unfolded, scope)
            return BAD if isinstance(value, Bad) else _constant(value)
        case ast.Unit(text=text):
            return _constant(units.amount(Fraction(1), text))
        case ast.Boolean(value=truth):
            return Typed(Const(truth), BOOLEAN)
        case ast.Path():
            return _name(unfolded, scope, hint)
        case ast.CallExpression() if hint == "model":
            slot = Slot("model", "call", "", "wrn(28, 10)", family="model")
            call = check_call(slot, unfolded, scope)
            return BAD if isinstance(call, Bad) else Typed(Const(call), "model")
        case ast.Unary():
            return _unary(unfolded, scope)
        case ast.Binary(operator="and" | "or"):
            return _junction(unfolded, scope)
        case ast.Binary(operator="in"):
            return _membership(unfolded, scope)
        case ast.Binary(operator="==" | "!=" | "<" | "<=" | ">" | ">="):
            return _comparison(unfolded, scope)
        case ast.Binary():
            return _arithmetic(unfolded, scope)
        case ast.IfElse():
            return _conditional(unfolded, scope)
        case _:
            found = describe(unfolded)
            scope.report.add("U101", f"a rule can't use {found}", unfolded.span, found)
            return BAD


def _constant(value: Amount) -> Typed:
    whole = value.value.denominator == 1
    return Typed(Const(int(value.value) if whole else value.value), value.dimension, value)


def _name(node: ast.Path, scope: Scope, hint: str) -> Typed | Bad:
    if node.text in QUANTITIES:
        row = QUANTITIES[node.text]
        return Typed(Quantity(row.name), row.type)
    if node.text in scope.quantities:
        return Typed(Quantity(node.text), _quantity_type(scope.quantities[node.text]))
    if hint == "word":
        return Typed(Const(node.text), hint)
    if hint in ("generator", "recipe"):
        if node.text in scope.names(hint):
            return Typed(Const(node.text), hint)
        reference(hint, node, scope)
        return BAD
    if hint == "model":
        slot = Slot("model", "call", "", "wrn(28, 10)", family="model")
        call = check_call(slot, node, scope)
        return BAD if isinstance(call, Bad) else Typed(Const(call), "model")
    for kind in ("generator", "recipe"):
        if node.text in scope.names(kind):
            return Typed(Const(node.text), kind)
    allowed = [*QUANTITIES, *scope.quantities, *scope.lets]
    scope.report.add(
        "N101", f"unknown name `{node.text}`", node.span, "not declared", did_you_mean(node.text, allowed)
    )
    return BAD


def _hint(node: ast.Expression, scope: Scope) -> str:
    """The entity type of a side that is a quantity."""
    kind = ""
    if isinstance(node, ast.Path) and node.text in QUANTITIES:
        kind = QUANTITIES[node.text].type
    elif isinstance(node, ast.Path) and node.text in scope.quantities:
        kind = _quantity_type(scope.quantities[node.text])
    return kind if kind in ENTITIES else ""


def _quantity_type(slot: Slot) -> str:
    """The type of a swept setting's values in expressions."""
    if slot.type == "boolean":
        return BOOLEAN
    if slot.type not in ("number", "integer"):
        return "word"
    return "plain" if units.accepts(slot.dimension, "plain") else slot.dimension


def _unary(node: ast.Unary, scope: Scope) -> Typed | Bad:
    inner = _convert(node.operand, scope)
    if isinstance(inner, Bad):
        return BAD
    if node.operator == "not":
        if not _is_condition(inner, node.operand, scope):
            return BAD
        return Typed(Operation("not", (inner.expr,)), BOOLEAN)
    if inner.type == BOOLEAN or inner.type in ENTITIES:
        report_mixed_unary(node, inner.type, scope)
        return BAD
    if inner.amount is not None:
        return _constant(Amount(-inner.amount.value, inner.amount.dimension, inner.amount.currency))
    return Typed(Operation("neg", (inner.expr,)), inner.type)


def report_mixed_unary(node: ast.Unary, type: str, scope: Scope) -> None:
    found = _phrase(type)
    scope.report.add("U103", f"`-` needs a number, found {found}", node.span, found)


def _junction(node: ast.Binary, scope: Scope) -> Typed | Bad:
    sides = [(_convert(n, scope), n) for n in (node.left, node.right)]
    exprs = []
    for found, side in sides:
        if not isinstance(found, Bad) and _is_condition(found, side, scope):
            exprs.append(found.expr)
    if len(exprs) < len(sides):
        return BAD
    return Typed(Operation(node.operator, tuple(exprs)), BOOLEAN)


def _comparison(node: ast.Binary, scope: Scope) -> Typed | Bad:
    left = _convert(node.left, scope, _hint(node.right, scope))
    right = _convert(node.right, scope, _hint(node.left, scope))
    if isinstance(left, Bad) or isinstance(right, Bad):
        return BAD
    equality = node.operator in ("==", "!=")
    numbers = _comparable(left.type, right.type)
    if not (numbers or (equality and left.type == right.type)):
        report_mixed(node, _phrase(left.type), _phrase(right.type), scope)
        return BAD
    return Typed(Operation(node.operator, (left.expr, right.expr)), BOOLEAN)


def _comparable(left: str, right: str) -> bool:
    if BOOLEAN in (left, right) or left in ENTITIES or right in ENTITIES:
        return False
    return units.combined("-", left, right) is not None


def _membership(node: ast.Binary, scope: Scope) -> Typed | Bad:
    left = _convert(node.left, scope)
    members = scope.unfold(node.right)
    if isinstance(left, Bad) or isinstance(members, Bad):
        return BAD
    if not isinstance(members, ast.Sequence):
        found = describe(members)
        scope.report.add(
            "U101",
            f"`in` needs a list, found {found}",
            members.span,
            found,
            "for example `fid in [1.65, 1.76]`",
        )
        return BAD
    hint = left.type if left.type in ENTITIES else ""
    exprs: list[Expr] = []
    for item in members.items:
        member = _convert(item, scope, hint)
        if isinstance(member, Bad):
            continue
        if member.type == left.type or _comparable(left.type, member.type):
            exprs.append(member.expr)
        else:
            scope.report.add(
                "U103",
                f"`in` does not compare {_phrase(left.type)} with {_phrase(member.type)}",
                item.span,
                _phrase(member.type),
            )
    if len(exprs) < len(members.items):
        return BAD
    return Typed(Operation("in", (left.expr, *exprs)), BOOLEAN)


def _arithmetic(node: ast.Binary, scope: Scope) -> Typed | Bad:
    left, right = _convert(node.left, scope), _convert(node.right, scope)
    if isinstance(left, Bad) or isinstance(right, Bad):
        return BAD
    if left.amount is not None and right.amount is not None:
        value = combine(node, left.amount, right.amount, scope)
        return BAD if isinstance(value, Bad) else _constant(value)
    entities = [t for t in (left.type, right.type) if t == BOOLEAN or t in ENTITIES]
    dimension = None if entities else units.combined(node.operator, left.type, right.type)
    if dimension is None:
        report_mixed(node, _phrase(left.type), _phrase(right.type), scope)
        return BAD
    return Typed(Operation(node.operator, (left.expr, right.expr)), dimension)


def _conditional(node: ast.IfElse, scope: Scope) -> Typed | Bad:
    test, then = check_condition(node.test, scope), _convert(node.then, scope)
    otherwise = None if node.otherwise is None else _convert(node.otherwise, scope)
    if isinstance(test, Bad) or isinstance(then, Bad) or isinstance(otherwise, Bad):
        return BAD
    if otherwise is None:
        return Typed(Conditional(test, then.expr, None), then.type)
    if then.type != otherwise.type and not _comparable(then.type, otherwise.type):
        scope.report.add(
            "U103",
            f"`if` gives {_phrase(then.type)}, its `else` {_phrase(otherwise.type)}",
            node.span,
            "two kinds of value",
        )
        return BAD
    return Typed(Conditional(test, then.expr, otherwise.expr), then.type)


def _is_condition(found: Typed, node: ast.Expression, scope: Scope) -> bool:
    if found.type == BOOLEAN:
        return True
    phrase = _phrase(found.type)
    scope.report.add(
        "U104",
        f"a condition is expected, found {phrase}",
        node.span,
        phrase,
        "compare it: `images <= 10M`, `generator in [edm5, edm20]`",
    )
    return False


def _phrase(type: str) -> str:
    if type == BOOLEAN:
        return "a condition"
    return ENTITIES[type] if type in ENTITIES else PHRASES[type][0]
