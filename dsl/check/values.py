"""One setting: its Slot in the vocabulary and what was written -> a value of the Study, or BAD.

Every check of a single value is here; what several settings mean together is in declarations.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from isoloss.dsl.check.amounts import describe, evaluate_amount, show
from isoloss.dsl.check.calls import check_call, unknown_term
from isoloss.dsl.check.rules import check_condition, check_rule
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.frozen import replace
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import Call, Devices, Evaluation, RunSet, Schedule
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import DEVICES, TYPES, Slot, find_term, law_names, units
from isoloss.dsl.vocabulary.units import PHRASES, Amount

#: name of a value's checker -> the checker: (slot, unfolded node, scope) -> value or BAD.
Checker = Callable[[Slot, ast.Expression, Scope], Any]
#: Characters in the name of a file: what every file system takes.
MAX_PATH = 255


def check_value(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """The value of one setting; None where it says that there is none."""
    if slot.absent and isinstance(node, ast.Path) and node.text == slot.absent:
        return None
    # `points = best` is the word, even where a `let best` gives a generator a name.
    word = slot.type == "choice" and isinstance(node, ast.Path) and node.text in slot.choices
    unfolded = node if word else scope.unfold(node)
    if isinstance(unfolded, Bad):
        return BAD
    return _CHECKERS[slot.type](slot, unfolded, scope)


def written(slot: Slot) -> str:
    """An example of the setting as it is written."""
    return f"`{slot.name} {slot.form} {slot.example}`"


def wrong_type(slot: Slot, node: ast.Expression, scope: Scope) -> Bad:
    found = describe(node)
    scope.report.add(
        "U101",
        f"`{slot.name}` is {TYPES[slot.type]}, found {found}",
        node.span,
        found,
        f"for example {written(slot)}",
    )
    return BAD


# Numbers.


def check_number(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Number | ast.Unit | ast.Path | ast.Unary | ast.Binary):
        return wrong_type(slot, node, scope)
    found = evaluate_amount(node, scope, slot.name)
    if isinstance(found, Bad) or not fits(slot, found, node, scope):
        return BAD
    return finished(slot, found)


def fits(slot: Slot, found: Amount, node: ast.Expression, scope: Scope) -> bool:
    """Dimension, range and wholeness of a number; reports the first that fails."""
    if not units.accepts(slot.dimension, found.dimension):
        phrase, label = PHRASES[found.dimension]
        scope.report.add(
            "U102",
            f"`{slot.name}` is {PHRASES[slot.dimension][0]}, found {phrase}",
            node.span,
            label,
            _unit_help(slot),
        )
        return False
    if not in_range(slot, found.value):
        scope.report.add(
            "V101",
            f"`{slot.name}` {range_text(slot)}, found {show(found.value)}",
            node.span,
            "out of range",
            f"for example {written(slot)}",
        )
        return False
    if slot.type == "integer" and found.value.denominator != 1:
        scope.report.add(
            "V107", f"`{slot.name}` is a whole number, found {show(found.value)}", node.span, "not whole"
        )
        return False
    if slot.residue and found.value % slot.residue[1] != slot.residue[0]:
        rest, modulus = slot.residue
        below = (int(found.value) - rest) // modulus * modulus + rest
        form = f"{modulus}n + {rest}" if rest else f"a multiple of {modulus}"
        scope.report.add(
            "V101",
            f"`{slot.name}` is {form}, found {show(found.value)}",
            node.span,
            "no such network",
            f"near: {max(below, rest + modulus)}, {below + modulus}",
        )
        return False
    return True


def finished(slot: Slot, found: Amount) -> Any:
    """The number as the Study holds it: exact for pixels and shares, int for counts, else float in canonical units."""
    if slot.dimension == "pixels" or slot.exact:
        return found.value
    if slot.type == "integer":
        return int(found.value)
    if slot.dimension == "price":
        return (float(found.value * 3600), found.currency)
    if slot.dimension == "tariff":
        return (float(found.value), found.currency)
    return float(found.value)


def in_range(slot: Slot, value: Fraction) -> bool:
    if slot.low is not None:
        low = Fraction(slot.low)
        if value < low or (slot.exclusive and value == low):
            return False
    return slot.high is None or value <= Fraction(slot.high)


def range_text(slot: Slot) -> str:
    parts = []
    if slot.low is not None:
        parts.append(f"{'above' if slot.exclusive else 'at least'} {show(Fraction(slot.low))}")
    if slot.high is not None:
        parts.append(f"at most {show(Fraction(slot.high))}")
    return "must be " + " and ".join(parts)


def _unit_help(slot: Slot) -> str:
    if slot.dimension in ("pixels", "fraction"):
        return f"write it as a fraction: {written(slot)}"
    if slot.dimension in ("plain", "images"):
        return f"write it without a unit: {written(slot)}"
    return f"write it with its unit: {written(slot)}"


def _numbers(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Sequence):
        return wrong_type(slot, node, scope)
    values = [check_number(slot, item, scope) for item in node.items]
    if not values:
        scope.report.add("V108", f"`{slot.name}` is empty", node.span, "no values")
        return BAD
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def _integers(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return _numbers(replace(slot, type="integer") if isinstance(node, ast.Sequence) else slot, node, scope)


# Words and names.


def _boolean(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return node.value if isinstance(node, ast.Boolean) else wrong_type(slot, node, scope)


def _choice(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    if node.text in slot.choices:
        return node.text
    # Installed packages are asked only about a name that we don't know.
    allowed = law_names() if slot.name == "law" else slot.choices
    if node.text in allowed:
        return node.text
    words = (*allowed, slot.absent) if slot.absent else allowed
    scope.report.add(
        "V102",
        f"`{slot.name}` can't be `{node.text}`",
        node.span,
        "not one of the allowed words",
        did_you_mean(node.text, words),
    )
    return BAD


def _reference(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    return reference(slot.family, node, scope)


def reference(kind: str, node: ast.Path, scope: Scope) -> str | Bad:
    """The name of a declared block of one kind."""
    if node.text in scope.names(kind):
        return node.text
    scope.report.add(
        "N104",
        f"no `{kind}` is called `{node.text}`",
        node.span,
        "not declared",
        did_you_mean(node.text, scope.names(kind), f"declare it: `{kind} {node.parts[0].text} {{ … }}`"),
    )
    return BAD


def _term(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    if find_term(slot.family, node.text) is not None:
        return node.text
    return unknown_term(slot, node, scope)


def _call(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return check_call(slot, node, scope)


def _rule(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return check_rule(slot, node, scope)


_DIGEST = re.compile(r"[0-9a-f]{64}")


def _file(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """A path below the data root: a study from a stranger must not reach other files of this machine."""
    if not isinstance(node, ast.Text):
        return wrong_type(slot, node, scope)
    parts = node.text.split("/")
    inside = all(part not in ("", ".", "..") for part in parts) and "~" not in parts[0]
    if not inside or len(node.text) > MAX_PATH or not node.text.isprintable() or set("\\:") & set(node.text):
        return _wrong_text(
            slot, node, "is a path below the data root, without `..`, `~`, `:` and backslashes", scope
        )
    return node.text


def _source(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """`"wang/*.npz"`, a pattern below the data root, or the word `real`."""
    if isinstance(node, ast.Path) and node.text == "real":
        return Call("real")
    if isinstance(node, ast.Path):
        scope.report.add(
            "V102", f"`{slot.name}` can't be `{node.text}`", node.span, "neither files nor `real`",
            did_you_mean(node.text, ["real"]), "files are written in quotes: `from = \"wang/*.npz\"`",
        )  # fmt: skip
        return BAD
    pattern = _file(slot, node, scope)
    return BAD if isinstance(pattern, Bad) else Call("files", (("pattern", pattern),))


def _digest(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Text):
        return wrong_type(slot, node, scope)
    if not _DIGEST.fullmatch(node.text):
        return _wrong_text(slot, node, "is 64 hex digits, as `sha256sum FILE` prints them", scope)
    return node.text


def _digests(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    items = node.items if isinstance(node, ast.Sequence) else (node,)
    values = [_digest(slot, item, scope) for item in items]
    if not values:
        scope.report.add("V108", f"`{slot.name}` is empty", node.span, "no values")
        return BAD
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def _wrong_text(slot: Slot, node: ast.Text, rule: str, scope: Scope) -> Bad:
    shown = node.text if len(node.text) <= 40 else node.text[:40] + "…"
    headline = f"`{slot.name}` {rule}, found `{shown}`"
    scope.report.add("V111", headline, node.span, "of another form", f"for example {written(slot)}")
    return BAD


def _text(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return node.text if isinstance(node, ast.Text) else wrong_type(slot, node, scope)


# What only studies have.


def _devices(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.DeviceCount):
        return wrong_type(slot, node, scope)
    count = check_number(
        Slot("devices", "integer", "", "32 of h100", low="1", high="1000000"), node.count, scope
    )
    if node.device.text not in DEVICES:
        scope.report.add(
            "V102",
            f"unknown device `{node.device.text}`",
            node.device.span,
            "not a device that is known",
            did_you_mean(node.device.text, DEVICES),
        )
        return BAD
    return BAD if isinstance(count, Bad) else Devices(count, node.device.text)


def _runs(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if isinstance(node, ast.Filtered):
        grid = reference("grid", ast.Path((node.grid,), node.grid.span), scope)
        condition = check_condition(node.test, scope)
        if isinstance(grid, Bad) or isinstance(condition, Bad):
            return BAD
        return RunSet(grid, condition)
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    grid = reference("grid", node, scope)
    return BAD if isinstance(grid, Bad) else RunSet(grid)


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


_CHECKERS: dict[str, Checker] = {
    "number": check_number,
    "integer": check_number,
    "numbers": _numbers,
    "integers": _integers,
    "text": _text,
    "digests": _digests,
    "source": _source,
    "boolean": _boolean,
    "choice": _choice,
    "file": _file,
    "digest": _digest,
    "reference": _reference,
    "term": _term,
    "call": _call,
    "rule": _rule,
    "devices": _devices,
    "runs": _runs,
    "laws": _laws,
    "evaluations": _evaluations,
    "periodic": _periodic,
}
