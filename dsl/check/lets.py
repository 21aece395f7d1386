"""Which `let`s have no usable value: circles, and values too deep or too large once names are replaced.

Runs before anything unfolds a name, so that unfolding always ends, and soon."""

from __future__ import annotations

from collections.abc import Mapping

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.parse import MAX_DEPTH

#: Nodes of one value with all names replaced: `let b = a + a`, `let c = b + b`, … doubles at every step.
MAX_NODES = 10_000


def broken_lets(lets: Mapping[str, ast.Let], report: Report) -> frozenset[str]:
    """Names whose values can't be used; the first of each circle or excess is reported."""
    sizes: dict[str, tuple[int, int] | None] = {}  # name -> (depth, nodes), None for a broken one
    for first in lets:
        path: list[str] = [first]
        while path:
            name = path[-1]
            needs = _names(lets[name].value, lets) if name not in sizes else []
            circular = next((n for n in needs if n in path), None)
            waiting = next((n for n in needs if n not in sizes and n not in path), None)
            if waiting is not None and circular is None:
                path.append(waiting)
                continue
            if name not in sizes:
                sizes[name] = _size(name, needs, lets, sizes, None if circular is None else path, report)
            path.pop()
    return frozenset(name for name, size in sizes.items() if size is None)


def _size(
    name: str,
    needs: list[str],
    lets: Mapping[str, ast.Let],
    sizes: Mapping[str, tuple[int, int] | None],
    circle: list[str] | None,
    report: Report,
) -> tuple[int, int] | None:
    if circle is not None:
        start = next(i for i, n in enumerate(circle) if n in needs)
        shown = " → ".join(f"`{n}`" for n in [*circle[start:], circle[start]][:12])
        span = lets[name].name.span
        report.add("N107", f"`let {name}` is defined by itself: {shown}", span, "a circle")
        return None
    inner = [sizes[n] for n in needs]
    known = [size for size in inner if size is not None]
    if len(known) < len(inner):
        return None
    depth = 1 + max((d for d, _ in known), default=0)
    nodes = _count(lets[name].value) + sum(n for _, n in known)
    if depth > MAX_DEPTH or nodes > MAX_NODES:
        headline = f"`let {name}` is too deep or too large once its names are replaced"
        report.add("S105", headline, lets[name].name.span, "simplify it")
        return None
    return depth, nodes


def _names(root: ast.Expression, lets: Mapping[str, ast.Let]) -> list[str]:
    """Lets that a value names, as often as it does."""
    found, pending = [], [root]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Path) and node.text in lets:
            found.append(node.text)
        pending.extend(ast.children(node))
    return found


def _count(root: ast.Expression) -> int:
    total, pending = 0, [root]
    while pending:
        total += 1
        pending.extend(ast.children(pending.pop()))
    return total
