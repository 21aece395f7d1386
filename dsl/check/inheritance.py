"""`recipe b extends a { … }`: what b doesn't say is as a says it, once every layer is in place.

In: the merged blocks. Out: the same, each recipe whole. Reports N104, N108 and N114."""

from __future__ import annotations

from isoloss.dsl.check.call_edits import with_argument
from isoloss.dsl.check.layers import Merged, MergedBlock
from isoloss.dsl.check.scope import Scope
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.names import did_you_mean


def inherit(merged: Merged, report: Report) -> Merged:
    """Every recipe with the settings of those that it extends, setting by setting, its own first."""
    done: set[str] = set()
    for block in merged.of("recipe"):
        _settle(block, merged, done, (), report)
    return merged


def _settle(
    block: MergedBlock, merged: Merged, done: set[str], below: tuple[str, ...], report: Report
) -> None:
    if block.name in done:
        return
    done.add(block.name)
    if block.extends is None:
        return
    parent = merged.blocks.get(("recipe", block.extends.text))
    if parent is None:
        names = [b.name for b in merged.of("recipe") if b.name != block.name]
        headline = f"no `recipe` is called `{block.extends.text}`"
        report.add(
            "N104", headline, block.extends.span, "not declared", did_you_mean(block.extends.text, names)
        )
        return
    line = (*below, block.name)
    if parent.name in line:
        block.orphaned = True
        circle = " → ".join(f"`{name}`" for name in (*line[line.index(parent.name) :], parent.name))
        report.add("N114", f"recipes extend each other in a circle: {circle}", block.extends.span, "a circle")
        return
    _settle(parent, merged, done, line, report)
    block.orphaned = parent.orphaned
    block.settings = {**parent.settings, **block.settings}
    scope = Scope(report, lets=merged.lets)
    for edit in block.edits:
        path = edit.paths[0]
        key, *rest = path.parts[2:]
        edited = with_argument("recipe", block.settings, (key.text, *rest), path, edit, scope)
        if edited is not None:
            block.settings[key.text] = edited
