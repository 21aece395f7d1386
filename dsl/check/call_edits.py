"""One parameter of a call changed, the others as they are: by a path of a later layer, by `--set`, or by an axis."""

from __future__ import annotations

from collections.abc import Mapping

from isoloss.dsl.check.calls import default_text
from isoloss.dsl.check.defaults import parsed_default
from isoloss.dsl.check.scope import Scope
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, By, Slot, find_term


def with_argument(
    kind: str,
    settings: Mapping[str, ast.Setting],
    names: tuple[str | ast.Name, ...],
    path: ast.Path,
    given: ast.Setting,
    scope: Scope,
) -> ast.Setting | None:
    """The setting `names[0]` of a block of this kind with its call's parameter `names[1]` as `given` says. `path` is
    what the user wrote. None where it leads nowhere, which is reported (N108)."""
    key, *rest = (name if isinstance(name, str) else name.text for name in names)
    slot = BLOCKS[kind].slot(key)
    assert slot is not None
    if slot.type == "call" and key not in settings and isinstance(slot.default, By):
        scope.report.add(
            "N108", f"`{key}` is not given, and its default depends on the rest of the study", path.span,
            "a part of what?", f"give it whole: `{key} = {slot.example}`",
        )  # fmt: skip
        return None
    current = current_call(settings, slot, scope)
    if current is None or len(rest) > 1:
        nowhere(path, len(path.parts) - 1, f"`{key}` has no settings of its own here", (), scope)
        return None
    term = find_term(slot.family, current.name.text)
    allowed = [s.name for s in term.slots] if term else []
    if term is not None and rest[0] not in allowed:
        headline = f"{slot.family} `{term.name}` has no setting `{rest[0]}`"
        nowhere(path, len(path.parts) - 1, headline, allowed, scope)
        return None
    span = path.span
    # Names for what was given by position: dropping one would move the others.
    named = [
        argument
        if argument.name
        else ast.Argument(ast.Name(allowed[place], span), argument.value, argument.span)
        for place, argument in enumerate(current.arguments)
        if argument.name or place < len(allowed)
    ]
    others = [a for a in named if a.name is not None and a.name.text != rest[0]]
    edited = ast.Argument(ast.Name(rest[0], path.parts[-1].span), given.value, given.span)
    call = ast.CallExpression(current.name, (*others, edited), current.span)
    return ast.Setting((ast.Path((ast.Name(key, span),), span),), slot.form, call, given.span)


def current_call(settings: Mapping[str, ast.Setting], slot: Slot, scope: Scope) -> ast.CallExpression | None:
    """The call that a setting is, given or by default; None where it is none."""
    if slot.type != "call":
        return None
    if slot.name in settings:
        node: ast.Expression = settings[slot.name].value
    else:
        text = default_text(slot, Scope(scope.report))
        if text is None:
            return None
        node = parsed_default(text)
    unfolded = scope.unfold(node)
    if isinstance(unfolded, ast.Path) and len(unfolded.parts) == 1:
        return ast.CallExpression(unfolded.parts[0], (), unfolded.span)
    return unfolded if isinstance(unfolded, ast.CallExpression) else None


def nowhere(
    path: ast.Path, part: int, headline: str, allowed: tuple[str, ...] | list[str], scope: Scope
) -> None:
    name = path.parts[part]
    span: Span = name.span
    scope.report.add("N108", headline, span, "leads nowhere", did_you_mean(name.text, allowed))
