"""`pgd(norm = linf, eps = 8/255)` -> Call with every parameter explicit, in the vocabulary's order."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from isoloss.dsl.check.defaults import parsed_default
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.simple_values import SIMPLE, Checker, check_with, unknown_term, wrong_type
from isoloss.dsl.names import did_you_mean, nearest
from isoloss.dsl.study.study import Call
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import Slot, Term, find_term
from isoloss.dsl.vocabulary.units import Amount


def check_call(slot: Slot, node: ast.Expression, scope: Scope) -> Call | Bad:
    """A registered thing of the slot's family; a bare name is a call with no arguments."""
    match node:
        case ast.CallExpression():
            name, arguments = node.name, node.arguments
        case ast.Path(parts=(name,)):
            arguments = ()
        case _:
            return wrong_type(slot, node, scope)
    term = find_term(slot.family, name.text)
    if term is None:
        return unknown_term(slot, name, scope)
    given = _given(term, arguments, scope)
    return _filled(term, given, name, scope)


def _given(term: Term, arguments: tuple[ast.Argument, ...], scope: Scope) -> dict[str, ast.Expression | Bad]:
    """Arguments by parameter, each mistake reported; BAD for a parameter that was given wrongly."""
    given: dict[str, ast.Expression | Bad] = {}
    named_before = False
    names = [s.name for s in term.slots]
    for position, argument in enumerate(arguments):
        if argument.name is None:
            if named_before or position >= len(names):
                _report_position(term, argument, named_before, scope)
                continue
            key = names[position]
        else:
            named_before, key = True, argument.name.text
            if key not in names:
                scope.report.add(
                    "N102",
                    f"unknown setting `{key}` for {term.family} `{term.name}`",
                    argument.name.span,
                    f"not a setting of `{term.name}`",
                    did_you_mean(key, names, f"`{term.name}` has no settings"),
                )
                # The setting that was probably meant is not also missing.
                given.setdefault(nearest(key, names) or key, BAD)
                continue
        if key in given and not isinstance(given[key], Bad):
            place = argument.name.span if argument.name else argument.span
            scope.report.add("V104", f"`{key}` is set twice", place, "again")
            continue
        given[key] = argument.value
    return given


def _report_position(term: Term, argument: ast.Argument, after_named: bool, scope: Scope) -> None:
    names = ", ".join(s.name for s in term.slots)
    if after_named:
        headline, label = "a setting without a name follows one with a name", "name this one too"
    else:
        headline, label = f"`{term.name}` has {len(term.slots)} settings, found more", "one too many"
    help = f"settings of `{term.name}`, in order: {names}" if names else f"`{term.name}` has no settings"
    scope.report.add("V106", headline, argument.span, label, help)


def _filled(term: Term, given: dict[str, ast.Expression | Bad], name: ast.Name, scope: Scope) -> Call | Bad:
    """Every parameter checked, defaults included; a default may name earlier parameters."""
    values: dict[str, Any] = {}
    missing: list[Slot] = []
    for slot in term.slots:
        if slot.name in given:
            node = given[slot.name]
            values[slot.name] = BAD if isinstance(node, Bad) else check_with(ARGUMENTS, slot, node, scope)
            if not isinstance(node, Bad) and slot.ceiling and not _below(slot, node, values, scope):
                values[slot.name] = BAD
        elif (text := default_text(slot, scope)) is None:
            missing.append(slot)
            values[slot.name] = BAD
        else:
            values[slot.name] = check_default(ARGUMENTS, slot, text, scope, values)
    if missing:
        words = " and ".join(f"`{s.name}`" for s in missing)
        scope.report.add(
            "V103",
            f"{term.family} `{term.name}` has no {words}",
            name.span,
            "incomplete",
            *(f"for example `{s.name} = {s.example}`: {s.doc}" for s in missing),
        )
    if any(isinstance(v, Bad) for v in values.values()):
        return BAD
    return Call(term.name, tuple(values.items()))


def _below(slot: Slot, node: ast.Expression, values: dict[str, Any], scope: Scope) -> bool:
    """Whether a number is at most the earlier one that bounds it; reported if not."""
    value, bound = values[slot.name], values[slot.ceiling]
    if isinstance(value, Bad) or isinstance(bound, Bad) or value <= bound:
        return True
    headline = f"`{slot.name}` must be at most `{slot.ceiling}`, found {value} above {bound}"
    scope.report.add(
        "V101", headline, node.span, "out of range", f"for example `{slot.name} = {slot.default}`"
    )
    return False


def default_text(slot: Slot, scope: Scope) -> str | None:
    """The default as study text, for where we are; None where the setting is required."""
    if slot.default is None or isinstance(slot.default, str):
        return slot.default
    return slot.default.text(scope.context)


def check_default(
    checkers: Mapping[str, Checker], slot: Slot, text: str, scope: Scope, before: dict[str, Any]
) -> Any:
    """A default goes through the same checks as what a user writes. BAD if it rests on a BAD setting."""
    node = parsed_default(text)
    used = {part.text for part in _paths(node)}
    if any(isinstance(before.get(name), Bad) for name in used):
        return BAD
    siblings = {
        name: Amount(Fraction(value))
        for name, value in before.items()
        if name in used and isinstance(value, int | float | Fraction)
    }
    return check_with(checkers, slot, node, scope.for_defaults(siblings))


def _paths(node: ast.Expression) -> list[ast.Path]:
    found = [node] if isinstance(node, ast.Path) else []
    for child in ast.children(node):
        found += _paths(child)
    return found


#: The types that an argument of a call may have.
ARGUMENTS: Mapping[str, Checker] = {**SIMPLE, "call": check_call}
