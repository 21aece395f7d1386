"""All settings of one block -> values by name, defaults included: the generic half of the checks.

Runs over the rows of the vocabulary; declarations.py makes the Study's types from what comes out."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

from isoloss.dsl.check.amounts import describe, evaluate_amount
from isoloss.dsl.check.calls import check_default, default_text
from isoloss.dsl.check.layers import MergedBlock
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.simple_values import finished, fits, written, wrong_type
from isoloss.dsl.check.values import CHECKERS, check_value
from isoloss.dsl.names import did_you_mean, nearest
from isoloss.dsl.study.study import Axis, Call, Origin
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, Slot
from isoloss.dsl.vocabulary.units import Amount

#: The most values one axis may list by `..` or `log(…)`.
MAX_AXIS = 100_000


class Missing:
    """A setting that isn't there and has no default."""


MISSING: Final = Missing()


def check_settings(block: MergedBlock, scope: Scope) -> dict[str, Any]:
    """Values of all slots: a value, None, BAD (reported) or MISSING (not reported yet). Axis slots have an
    `Axis`; those moved by a zip are MISSING, see `check_zips`."""
    row = BLOCKS[block.kind]
    names = [slot.name for slot in row.slots]
    meant: set[str] = set()
    for key, setting in block.settings.items():
        if key not in names:
            span = setting.paths[0].span
            scope.report.add(
                "N102",
                f"unknown setting `{key}` for `{block.kind}`",
                span,
                f"not a setting of `{block.kind}`",
                did_you_mean(key, names),
            )
            meant.add(nearest(key, names) or "")
    values: dict[str, Any] = {}
    for slot in row.slots:
        found = _one(slot, block, scope, values)
        # The setting that a misspelt one was meant to be isn't also missing.
        values[slot.name] = BAD if isinstance(found, Missing) and slot.name in meant else found
        if slot.name in ("loss", "law", "from"):
            kind = found.kind if isinstance(found, Call) else found if isinstance(found, str) else ""
            scope = scope.within(**{slot.name: kind})
        if slot.name == "fid":
            scope = scope.within(measured=scope.context.get("dataset", "") if found is None else "")
    return values


def _one(slot: Slot, block: MergedBlock, scope: Scope, before: dict[str, Any]) -> Any:
    setting = block.settings.get(slot.name)
    if setting is not None:
        return _axis(slot, setting, scope) if slot.form == "in" else _single(slot, setting, scope)
    text = default_text(slot, scope)
    if text is None or any(slot.name == p.text for z in block.zips for p in z.paths):
        # A default that depends on a setting which is wrong isn't missing.
        depends = not isinstance(slot.default, str | None) and isinstance(before.get(slot.default.key), Bad)
        return BAD if depends else MISSING
    value = check_default(CHECKERS, slot, text, scope, before)
    if slot.form == "in" and not isinstance(value, Bad):
        return Axis((slot.name,), ((value,),))
    return value


def _single(slot: Slot, setting: ast.Setting, scope: Scope) -> Any:
    from_command_line = setting.span.file == "--set"
    if setting.operator != slot.form and not (from_command_line and setting.operator == "="):
        _report_form(slot, setting, scope)
        return BAD
    return check_value(slot, setting.value, scope)


def _report_form(slot: Slot, setting: ast.Setting, scope: Scope) -> None:
    kind = {"=": "a setting", "in": "an axis", "<=": "a bound"}[slot.form]
    scope.report.add(
        "S110",
        f"`{slot.name}` is {kind}, written with `{slot.form}`",
        setting.paths[0].span,
        f"written with `{setting.operator}`",
        f"for example {written(slot)}",
    )


# Axes.


def _axis(slot: Slot, setting: ast.Setting, scope: Scope) -> Any:
    """`name in [...]`, `name in low .. high`, `name in log(…)`, or `name = value` for one value."""
    node = scope.unfold(setting.value)
    if isinstance(node, Bad):
        return BAD
    several = isinstance(node, ast.Sequence | ast.Interval) or is_log(node)
    if setting.operator == "<=" or (setting.operator == "=" and several and setting.span.file != "--set"):
        _report_form(slot, setting, scope)
        return BAD
    if not several:
        if setting.operator == "in":
            found = describe(node)
            scope.report.add(
                "U101",
                f"an axis needs a list, found {found}",
                node.span,
                found,
                f"for example `{slot.name} in {_axis_example(slot)}`; one value is written `{slot.name} = …`",
            )
            return BAD
        value = check_value(slot, node, scope)
        values: Any = BAD if isinstance(value, Bad) else (value,)
    else:
        values = axis_values(slot, node, scope)
    if isinstance(values, Bad):
        return BAD
    return Axis((slot.name,), tuple((v,) for v in values), origin_of(setting.span))


def _axis_example(slot: Slot) -> str:
    return slot.example if slot.example[0] == "[" or ".." in slot.example else f"[{slot.example}]"


def is_log(node: ast.Expression) -> bool:
    return isinstance(node, ast.CallExpression) and node.name.text == "log"


def axis_values(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """The values of a list, a range or `log(…)`; BAD if any is wrong, all of them checked."""
    if isinstance(node, ast.Interval):
        return _range(slot, node, scope)
    if isinstance(node, ast.CallExpression):
        return _logarithmic(slot, node, scope)
    assert isinstance(node, ast.Sequence)
    if not node.items:
        scope.report.add("V108", f"axis `{slot.name}` is empty", node.span, "no values")
        return BAD
    values = [check_value(slot, item, scope) for item in node.items]
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def _numeric(slot: Slot, node: ast.Expression, scope: Scope) -> bool:
    if slot.type in ("integer", "number"):
        return True
    wrong_type(slot, node, scope)
    return False


def _range(slot: Slot, node: ast.Interval, scope: Scope) -> Any:
    if not _numeric(slot, node, scope):
        return BAD
    if slot.type != "integer":
        scope.report.add(
            "U101", f"`{slot.name}` has no next value: `..` counts whole numbers", node.span, "a range",
            f"list the values, or write `{slot.name} in log(0.1 .. 1, 5)`",
        )  # fmt: skip
        return BAD
    low, high = check_value(slot, node.low, scope), check_value(slot, node.high, scope)
    if isinstance(low, Bad) or isinstance(high, Bad):
        return BAD
    if not _ordered(low, high, node, scope):
        return BAD
    if high - low >= MAX_AXIS:
        scope.report.add("V101", f"a range of {high - low + 1} values is too long", node.span,
                         f"at most {MAX_AXIS}", "space them: `log(1M .. 100M, 5)`")  # fmt: skip
        return BAD
    return tuple(range(low, high + 1))


def _ordered(low: Any, high: Any, node: ast.Expression, scope: Scope) -> bool:
    if low <= high:
        return True
    scope.report.add("V108", "this range is empty: it ends before it begins", node.span, "no values")
    return False


def _logarithmic(slot: Slot, node: ast.CallExpression, scope: Scope) -> Any:
    """`log(low .. high, count)`: count values, ends included, evenly spaced in the logarithm."""
    arguments = [a.value for a in node.arguments if a.name is None]
    interval = arguments[0] if len(arguments) == len(node.arguments) == 2 else None
    if not isinstance(interval, ast.Interval):
        scope.report.add(
            "V106", "`log` needs a range and a count", node.span, "not a range and a count",
            "for example `log(1M .. 100M, 5)`",
        )  # fmt: skip
        return BAD
    if not _numeric(slot, node, scope):
        return BAD
    count_slot = Slot("count", "integer", "", "5", low="1", high=str(MAX_AXIS))
    low, high = check_value(slot, interval.low, scope), check_value(slot, interval.high, scope)
    count = check_value(count_slot, arguments[1], scope)
    if any(isinstance(v, Bad) for v in (low, high, count)):
        return BAD
    if low <= 0:
        scope.report.add("V101", "`log` needs numbers above 0", interval.low.span, "no logarithm")
        return BAD
    if not _ordered(low, high, interval, scope):
        return BAD
    return _spaced(slot, low, high, count)


def _spaced(slot: Slot, low: float, high: float, count: int) -> tuple[Any, ...]:
    if count == 1:
        return (low,)
    logs = [math.log(low) + i / (count - 1) * (math.log(high) - math.log(low)) for i in range(count)]
    inner = [math.exp(x) for x in logs[1:-1]]
    # The ends are exact, whatever exp(log(x)) rounds to.
    values = [low, *inner, high]
    if slot.type == "integer":
        values = [round(v) for v in values]
    return tuple(dict.fromkeys(values))


def check_zips(block: MergedBlock, scope: Scope) -> list[Axis | Bad]:
    """`zip (model, batch) in [(cnn(1), 64), …]`."""
    return [_zip(setting, block, scope) for setting in block.zips]


def _zip(setting: ast.Setting, block: MergedBlock, scope: Scope) -> Axis | Bad:
    row = BLOCKS[block.kind]
    axes = [slot.name for slot in row.slots if slot.form == "in"]
    slots: list[Slot] = []
    for path in setting.paths:
        slot = row.slot(path.text)
        if slot is None or slot.form != "in":
            scope.report.add(
                "N102", f"`{path.text}` is not an axis", path.span, "can't move in a zip",
                did_you_mean(path.text, axes, f"a `{block.kind}` has no axes"),
            )  # fmt: skip
        else:
            slots.append(slot)
    rows = scope.unfold(setting.value)
    if isinstance(rows, Bad) or len(slots) < len(setting.paths):
        return BAD
    if not isinstance(rows, ast.Sequence) or not rows.items:
        scope.report.add("U101", "a zip needs a list of tuples", rows.span, describe(rows),
                         "for example `zip (model, batch) in [(cnn(1), 64), (cnn(2), 128)]`")  # fmt: skip
        return BAD
    values = [_zip_row(slots, item, scope) for item in rows.items]
    good = [v for v in values if not isinstance(v, Bad)]
    if len(good) < len(values):
        return BAD
    # The vocabulary's order: two zips that say the same are equal.
    order = sorted(range(len(slots)), key=lambda i: axes.index(slots[i].name))
    names = tuple(slots[i].name for i in order)
    return Axis(names, tuple(tuple(v[i] for i in order) for v in good), origin_of(setting.span))


def _zip_row(slots: list[Slot], item: ast.Expression, scope: Scope) -> tuple[Any, ...] | Bad:
    if not isinstance(item, ast.Sequence) or len(item.items) != len(slots):
        words = ", ".join(s.name for s in slots)
        scope.report.add(
            "U101", f"a row of this zip has {len(slots)} values: ({words})", item.span,
            f"{len(item.items)} values" if isinstance(item, ast.Sequence) else describe(item),
        )  # fmt: skip
        return BAD
    values = [check_value(slot, node, scope) for slot, node in zip(slots, item.items, strict=True)]
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def origin_of(span: Any) -> Origin:
    return Origin(span.file, span.line, span.column)


__all__ = [
    "MISSING",
    "Amount",
    "Fraction",
    "Missing",
    "check_settings",
    "check_zips",
    "evaluate_amount",
    "finished",
    "fits",
    "origin_of",
]
