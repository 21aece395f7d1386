"""One setting: its Slot in the vocabulary and what was written -> a value of the Study, or BAD.

Simple values are simple_values.py's, calls calls.py's, rules rules.py's; here is what only the settings of blocks have.
What several settings mean together is in declarations.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.dsl.check.calls import ARGUMENTS, check_call
from isoloss.dsl.check.rules import check_condition, check_rule
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.simple_values import Checker, check_number, check_with, reference, wrong_type
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import Devices, Evaluation, RunSet, Schedule
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import DEVICES, Slot, find_term


def check_value(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """The value of one setting of a block; None where it says that there is none."""
    return check_with(CHECKERS, slot, node, scope)


def _devices(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.DeviceCount):
        return wrong_type(slot, node, scope)
    count = check_number(
        Slot("devices", "integer", "", "32 of h100", low="1", high="1000000"), node.count, scope
    )
    known = (*scope.names("device"), *DEVICES)
    if node.device.text not in known:
        scope.report.add(
            "V102",
            f"unknown device `{node.device.text}`",
            node.device.span,
            "not a device that is known",
            did_you_mean(node.device.text, known),
        )
        return BAD
    return BAD if isinstance(count, Bad) else Devices(count, node.device.text)


def _runs(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if isinstance(node, ast.Filtered):
        grid = reference("grid", ast.Path((node.grid,), node.grid.span), scope)
        condition = check_condition(node.test, scope.of_grid(node.grid.text))
        if isinstance(grid, Bad) or isinstance(condition, Bad):
            return BAD
        return RunSet(grid, condition)
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    grid = reference("grid", node, scope)
    return BAD if isinstance(grid, Bad) else RunSet(grid)


def _axis(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """The name of an axis; whose, declarations.py sees."""
    return node.text if isinstance(node, ast.Path) else wrong_type(slot, node, scope)


def _laws(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if isinstance(node, ast.Path):
        name = reference("fit", node, scope)
        return BAD if isinstance(name, Bad) else (name,)
    if not isinstance(node, ast.CallExpression) or node.name.text != "any" or not node.arguments:
        return wrong_type(slot, node, scope)
    names: list[str | Bad] = []
    for argument in node.arguments:
        if argument.name is not None or not isinstance(argument.value, ast.Path):
            names.append(wrong_type(slot, argument.value, scope))
        elif argument.value.text in names:
            scope.report.add("N105", f"`{argument.value.text}` is in `any(…)` twice", argument.span, "again")
            names.append(BAD)
        else:
            names.append(reference("fit", argument.value, scope))
    return BAD if any(isinstance(n, Bad) for n in names) else tuple(names)


def _evaluations(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    items = node.items if isinstance(node, ast.Sequence) else (node,)
    found = [_evaluation(slot, item, scope) for item in items]
    if any(isinstance(e, Bad) for e in found):
        return BAD
    names = [e.name for e in found]
    for name, item in zip(names, items, strict=True):
        if names.count(name) > 1:
            scope.report.add(
                "N105",
                f"two evaluations are called `{name}`",
                item.span,
                "one of them",
                "declare an `evaluate` block for each, under names of their own",
            )
            return BAD
    return tuple(found)


def _evaluation(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    unfolded = scope.unfold(node)
    if isinstance(unfolded, Bad):
        return BAD
    name = unfolded.text if isinstance(unfolded, ast.Path) else None
    if isinstance(unfolded, ast.CallExpression) or (
        name is not None and name not in scope.names("evaluate") and find_term("attack", name)
    ):
        attack_slot = Slot("attack", "call", "", "pgd(eps = 8/255)", family="attack")
        attack = check_call(attack_slot, unfolded, scope.within(loss="evaluate"))
        if isinstance(attack, Bad):
            return BAD
        kind = "clean" if attack.kind == "none" else attack.kind
        return Evaluation(kind, attack, "average", "test", None)
    if not isinstance(unfolded, ast.Path):
        return wrong_type(slot, unfolded, scope)
    declared = reference("evaluate", unfolded, scope)
    # A block that is declared but wrong has been reported at its own place.
    return BAD if isinstance(declared, Bad) else scope.evaluations.get(declared, BAD)


def _periodic(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Every) or not isinstance(node.evaluation, ast.Path):
        return wrong_type(slot, node, scope)
    name = reference("evaluate", node.evaluation, scope)
    period_slot = Slot("every", "number", "", "2.5%", dimension="fraction", low="0.0001", high="1")
    period = check_value(period_slot, node.period, scope)
    if isinstance(name, Bad) or isinstance(period, Bad):
        return BAD
    return Schedule(name, period)


CHECKERS: Mapping[str, Checker] = {
    **ARGUMENTS,
    "rule": check_rule,
    "devices": _devices,
    "runs": _runs,
    "axis": _axis,
    "laws": _laws,
    "evaluations": _evaluations,
    "periodic": _periodic,
}
