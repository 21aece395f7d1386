"""An `evaluate` block with axes over its attack's settings: one evaluation for each combination of their values.

In: a merged block. Out: blocks without axes, each with the settings that make it differ. Reports N102, N108, V101."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from isoloss.dsl.check.call_edits import current_call, nowhere, with_argument
from isoloss.dsl.check.layers import MergedBlock
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.sweeps import SweptAxis, combinations, read_axis, too_many
from isoloss.dsl.study.study import Swept, Value
from isoloss.dsl.study.value_text import value_text
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, Slot, find_term


class Point(NamedTuple):
    """One evaluation of a curve: its block, and the swept settings by path."""

    block: MergedBlock
    settings: tuple[Swept, ...]


def points(block: MergedBlock, scope: Scope) -> list[Point] | Bad:
    """The evaluations of a block; itself alone where it has no axes."""
    swept = [s for s in (*block.settings.values(), *block.zips) if any(len(p.parts) > 1 for p in s.paths)]
    if not swept and not block.zips:
        return [Point(block, ())]
    axes = [_axis(block, setting, scope) for setting in (*swept, *(z for z in block.zips if z not in swept))]
    good = [axis for axis in axes if not isinstance(axis, Bad)]
    if len(good) < len(axes) or too_many(good, block, scope):
        return BAD
    plain = {key: setting for key, setting in block.settings.items() if setting not in swept}
    found: dict[tuple[Swept, ...], Point | Bad] = {}
    for choice in combinations(good):
        settings = {name: value for name, (value, _) in choice.items()}
        if settings.get("attack.eps") == 0:
            # A ball of radius 0 holds the image alone, whatever the other settings are.
            settings = {"attack.eps": settings["attack.eps"]}
        key = tuple(Swept(path, value) for path, value in settings.items())
        if key not in found:
            found[key] = _point(replace(block, settings=plain, zips=[]), key, choice, good, scope)
    return (
        BAD
        if any(isinstance(p, Bad) for p in found.values())
        else [p for p in found.values() if isinstance(p, Point)]
    )


def _axis(block: MergedBlock, setting: ast.Setting, scope: Scope) -> SweptAxis | Bad:
    slots = [_slot(block, path, scope) for path in setting.paths]
    good = [slot for slot in slots if not isinstance(slot, Bad)]
    return BAD if len(good) < len(slots) else read_axis(setting, good, scope)


def _slot(block: MergedBlock, path: ast.Path, scope: Scope) -> Slot | Bad:
    """The parameter of the block's attack that a path names."""
    row = BLOCKS["evaluate"].slot("attack")
    assert row is not None
    call = current_call(block.settings, row, scope)
    if path.parts[0].text != "attack" or len(path.parts) != 2:
        scope.report.add(
            "N102", f"`{path.text}` can't be an axis of `evaluate`", path.span, "not a setting of its attack",
            "for example `attack.eps in [0, 4/255, 8/255]`",
        )  # fmt: skip
        return BAD
    term = find_term("attack", call.name.text) if call else None
    if term is None:
        return BAD  # its attack is reported where it stands
    slot = term.slot(path.parts[1].text)
    if slot is None:
        headline = f"attack `{term.name}` has no setting `{path.parts[1].text}`"
        nowhere(path, 1, headline, [s.name for s in term.slots], scope)
        return BAD
    return replace(slot, exclusive=False) if slot.name == "eps" else slot


def _point(
    block: MergedBlock,
    settings: tuple[Swept, ...],
    choice: dict[str, tuple[Value, ast.Expression]],
    axes: list[SweptAxis],
    scope: Scope,
) -> Point | Bad:
    if Swept("attack.eps", Fraction(0)) in settings:
        path = next(p for axis in axes for p in axis.paths if p.text == "attack.eps")
        none = ast.Path((ast.Name("none", path.span),), path.span)
        attack = ast.Path((ast.Name("attack", path.span),), path.span)
        changed = {**block.settings, "attack": ast.Setting((attack,), "=", none, path.span)}
        return Point(replace(block, name=_name(block, settings), settings=changed), settings)
    changed = dict(block.settings)
    for axis in axes:
        for path in axis.paths:
            given = replace(axis.setting, value=choice[path.text][1])
            edited = with_argument("evaluate", changed, tuple(path.parts), path, given, scope)
            if edited is None:
                return BAD
            changed["attack"] = edited
    return Point(replace(block, name=_name(block, settings), settings=changed), settings)


def _name(block: MergedBlock, settings: tuple[Swept, ...]) -> str:
    """`curve(eps = 4/255)`: a curve's evaluations are told apart by what differs."""
    words = (f"{each.path.rpartition('.')[2]} = {value_text(each.value)}" for each in settings)
    return f"{block.name}({', '.join(words)})"
