"""Axes over what stands inside other blocks: settings of a recipe or an attack, and `let`s.

In: an axis as it was written, with the slots that its values go into. Out: its values, and the same values as
expressions, which take the place of the setting or the `let` in a variant of the block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from isoloss.dsl.check.amounts import describe, evaluate_amount
from isoloss.dsl.check.defaults import parsed_default
from isoloss.dsl.check.layers import MergedBlock
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.settings import axis_values, is_log, origin_of
from isoloss.dsl.check.values import check_value
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.study.study import Axis, Origin, Value
from isoloss.dsl.study.value_text import value_text
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.format_expression import text_of
from isoloss.dsl.vocabulary import Slot

#: Variants of one recipe or evaluation. Each is checked as if it were written out.
MAX_VARIANTS = 10_000


@dataclass(frozen=True)
class SweptAxis:
    """`rows` of values of `names`, and of the expressions that they were written as."""

    names: tuple[str, ...]
    paths: tuple[ast.Path, ...]
    rows: tuple[tuple[Value, ...], ...]
    nodes: tuple[tuple[ast.Expression, ...], ...]
    setting: ast.Setting

    @property
    def axis(self) -> Axis:
        return Axis(self.names, self.rows, self.origin)

    @property
    def origin(self) -> Origin:
        return origin_of(self.setting.span)

    def choices(self) -> list[dict[str, tuple[Value, ast.Expression]]]:
        """Of every row, each name's value and expression."""
        return [
            dict(zip(self.names, zip(values, nodes, strict=True), strict=True))
            for values, nodes in zip(self.rows, self.nodes, strict=True)
        ]


def let_slot(name: str, scope: Scope) -> Slot:
    """What the values of an axis over a `let` are: numbers of its dimension, or words as they are written."""
    node = scope.unfold(ast.Path((ast.Name(name),)))
    if isinstance(node, ast.Number | ast.Unary | ast.Binary):
        amount = evaluate_amount(node, Scope(Report(), scope.lets, scope.broken), name)
        if not isinstance(amount, Bad):
            dimension = "fraction" if amount.dimension in ("plain", "percent") else amount.dimension
            return Slot(name, "number", "", text_of(node), dimension=dimension, exact=True)
    return Slot(name, "written", "", "none" if isinstance(node, Bad) else text_of(node))


def read_axis(setting: ast.Setting, slots: list[Slot], scope: Scope) -> SweptAxis | Bad:
    """An axis over one path, or a zip over several; each mistake reported."""
    node = scope.unfold(setting.value)
    if isinstance(node, Bad):
        return BAD
    if len(slots) > 1:
        cells = _zipped(slots, node, scope)
    else:
        column = _column(slots[0], setting, node, scope)
        cells = BAD if isinstance(column, Bad) else [[cell] for cell in column]
    if isinstance(cells, Bad):
        return BAD
    rows = tuple(tuple(value for value, _ in row) for row in cells)
    nodes = tuple(tuple(node for _, node in row) for row in cells)
    return SweptAxis(tuple(p.text for p in setting.paths), setting.paths, rows, nodes, setting)


_Cell = tuple[Any, ast.Expression]


def _column(slot: Slot, setting: ast.Setting, node: ast.Expression, scope: Scope) -> list[_Cell] | Bad:
    if isinstance(node, ast.Sequence) and node.items:
        cells = [(_value(slot, item, scope), item) for item in node.items]
        return BAD if any(isinstance(value, Bad) for value, _ in cells) else cells
    if isinstance(node, ast.Sequence | ast.Interval) or is_log(node):
        values = axis_values(slot, node, scope)
        return (
            values if isinstance(values, Bad) else [(v, parsed_default(value_text(v, slot))) for v in values]
        )
    if setting.operator == "in":
        scope.report.add(
            "U101", f"an axis needs a list, found {describe(node)}", node.span, describe(node),
            f"for example `{setting.key} in [{slot.example}]`",
        )  # fmt: skip
        return BAD
    value = _value(slot, node, scope)
    return BAD if isinstance(value, Bad) else [(value, node)]


def _value(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return text_of(node) if slot.type == "written" else check_value(slot, node, scope)


def _zipped(slots: list[Slot], node: ast.Expression, scope: Scope) -> list[list[_Cell]] | Bad:
    if not isinstance(node, ast.Sequence) or not node.items:
        scope.report.add(
            "U101", "a zip needs a list of tuples", node.span, describe(node),
            "for example `zip (model, batch) in [(cnn(1), 64), (cnn(2), 128)]`",
        )  # fmt: skip
        return BAD
    rows: list[list[_Cell]] = []
    for item in node.items:
        if not isinstance(item, ast.Sequence) or len(item.items) != len(slots):
            words = ", ".join(s.name for s in slots)
            found = f"{len(item.items)} values" if isinstance(item, ast.Sequence) else describe(item)
            headline = f"a row of this zip has {len(slots)} values: ({words})"
            scope.report.add("U101", headline, item.span, found)
            return BAD
        rows.append([(_value(slot, n, scope), n) for slot, n in zip(slots, item.items, strict=True)])
    return BAD if any(isinstance(value, Bad) for row in rows for value, _ in row) else rows


def combinations(axes: list[SweptAxis]) -> list[dict[str, tuple[Value, ast.Expression]]]:
    """Every combination of the axes' rows, the last axis fastest."""
    merged: list[dict[str, tuple[Value, ast.Expression]]] = []
    for parts in product(*(axis.choices() for axis in axes)):
        merged.append({name: choice for part in parts for name, choice in part.items()})
    return merged


def too_many(axes: list[SweptAxis], block: MergedBlock, scope: Scope) -> bool:
    """Whether the axes have more combinations than one block may have variants; reported if so."""
    count = 1
    for axis in axes:
        count *= len(axis.rows)
    if count > MAX_VARIANTS:
        scope.report.add(
            "V101", f"`{block.kind} {block.name}` sweeps its settings in {count:,} ways", block.span,
            f"at most {MAX_VARIANTS:,}", "list fewer values, or write several blocks",
        )  # fmt: skip
    return count > MAX_VARIANTS
