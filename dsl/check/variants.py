"""A grid's axes over settings of its recipes (`recipe.loss.beta`) and over `let`s: a variant of the recipe for every
combination of their values.

In: the grid's merged block, all merged blocks. Out: axes and variants, each checked as if it were written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from isoloss.dsl.check.call_edits import current_call, nowhere, with_argument
from isoloss.dsl.check.layers import Merged, MergedBlock
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.sweeps import SweptAxis, combinations, let_slot, read_axis, too_many
from isoloss.dsl.study.study import Evaluation, Recipe, Swept, Value, Variant
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, Slot, find_term

#: Types of a recipe's settings that an axis may give values: one value each, the same for every cell.
_SWEPT_TYPES = ("number", "integer", "boolean", "choice", "call")


@dataclass
class Declaring:
    """How variants become declarations; check.py knows."""

    recipe: Callable[[MergedBlock, Scope], Recipe | Bad]
    evaluations: Callable[[Scope], Iterable[Evaluation | Bad]]
    merged: Merged
    checked: dict[tuple[object, ...], Recipe | Bad] = field(default_factory=dict)


def swept_paths(block: MergedBlock, merged: Merged) -> list[ast.Path]:
    """What a grid's axes sweep beside its own settings."""
    paths = [path for setting in (*block.settings.values(), *block.zips) for path in setting.paths]
    return [path for path in paths if _is_swept(path, merged)]


def _is_swept(path: ast.Path, merged: Merged) -> bool:
    if len(path.parts) > 1:
        return path.parts[0].text == "recipe"
    return path.text in merged.lets and BLOCKS["grid"].slot(path.text) is None


def swept_slots(block: MergedBlock, merged: Merged, scope: Scope) -> dict[str, Slot]:
    """The slot of each swept path; what leads nowhere is reported and has none."""
    found: dict[str, Slot] = {}
    recipes = [merged.blocks["recipe", name] for name in _recipes_named(block, scope)]
    for path in swept_paths(block, merged):
        slot = let_slot(path.text, scope) if len(path.parts) == 1 else _recipe_slot(path, recipes, scope)
        if not isinstance(slot, Bad):
            found[path.text] = slot
    return found


def _recipes_named(block: MergedBlock, scope: Scope) -> list[str]:
    """The recipes that the grid may train by: those on its axis, else the only one."""
    declared = scope.names("recipe")
    setting = block.settings.get("recipe")
    nodes = [] if setting is None else [scope.unfold(setting.value)]
    for zipped in block.zips:
        if any(path.text == "recipe" for path in zipped.paths):
            nodes.append(scope.unfold(zipped.value))
    named = {text for node in nodes if not isinstance(node, Bad) for text in _words(node, scope)}
    chosen = [name for name in declared if name in named]
    return chosen or (list(declared) if len(declared) == 1 else [])


def _words(node: ast.Expression, scope: Scope) -> set[str]:
    unfolded = scope.unfold(node)
    if isinstance(unfolded, Bad):
        return set()
    if isinstance(unfolded, ast.Path):
        return {unfolded.text}
    return {word for child in ast.children(unfolded) for word in _words(child, scope)}


def _recipe_slot(path: ast.Path, recipes: list[MergedBlock], scope: Scope) -> Slot | Bad:
    """The slot of `recipe.PATH`, which every recipe of the grid must have."""
    key = path.parts[1].text
    slot = BLOCKS["recipe"].slot(key)
    if slot is None:
        nowhere(path, 1, f"a recipe has no setting `{key}`", [s.name for s in BLOCKS["recipe"].slots], scope)
        return BAD
    if slot.type == "rule":
        scope.report.add(
            "N102", f"`{path.text}` is an axis of the grid itself", path.span, "not a path",
            f"write `{key} in [{slot.example.partition(' if ')[0]}]`",
        )  # fmt: skip
        return BAD
    if len(path.parts) == 2 and slot.type in _SWEPT_TYPES:
        return slot
    if slot.type != "call" or len(path.parts) != 3:
        nowhere(path, len(path.parts) - 1, f"`{path.text}` can't be an axis", (), scope)
        return BAD
    return _argument_slot(path, slot, recipes, scope)


def _argument_slot(path: ast.Path, slot: Slot, recipes: list[MergedBlock], scope: Scope) -> Slot | Bad:
    found: list[Slot] = []
    lacking: list[str] = []
    for recipe in recipes:
        call = current_call(recipe.settings, slot, scope)
        term = find_term(slot.family, call.name.text) if call else None
        parameter = term.slot(path.parts[2].text) if term else None
        if parameter is None:
            lacking.append(f"`{recipe.name}`" + (f" ({slot.name} `{term.name}`)" if term else ""))
        else:
            found.append(parameter)
    if lacking:
        setting = ".".join(part.text for part in path.parts[1:])
        scope.report.add(
            "N108", f"no `{setting}` in recipe {', '.join(lacking)}", path.parts[2].span, "leads nowhere",
            "every recipe of the grid needs the setting: give each kind a grid of its own",
        )  # fmt: skip
    if lacking or not found:
        return BAD
    return found[0]


def without_sweeps(block: MergedBlock, merged: Merged) -> MergedBlock:
    """The block with its own settings alone; zips that move swept settings have gone too."""
    swept = {path.text for path in swept_paths(block, merged)}
    return replace(
        block,
        settings={key: setting for key, setting in block.settings.items() if key not in swept},
        zips=[z for z in block.zips if not any(path.text in swept for path in z.paths)],
    )


def swept_axes(
    block: MergedBlock, slots: Mapping[str, Slot], merged: Merged, scope: Scope
) -> list[SweptAxis] | Bad:
    """The axes that sweep; a zip of a swept path with settings of the grid is one of them."""
    row = BLOCKS["grid"]
    axes: list[SweptAxis | Bad] = []
    for setting in (*block.settings.values(), *block.zips):
        if not any(_is_swept(path, merged) for path in setting.paths):
            continue
        known: list[Slot] = []
        for path in setting.paths:
            slot = slots.get(path.text) or row.slot(path.text)
            if slot is not None:
                known.append(slot)
            elif not _is_swept(path, merged):
                scope.report.add("N102", f"`{path.text}` is not an axis", path.span, "can't move in a zip")
        axes.append(read_axis(setting, known, scope) if len(known) == len(setting.paths) else BAD)
    good = [axis for axis in axes if not isinstance(axis, Bad)]
    return BAD if len(good) < len(axes) else good


def declare_variants(
    block: MergedBlock,
    axes: list[SweptAxis],
    names: tuple[str, ...],
    recipes: Iterable[str],
    declaring: Declaring,
    scope: Scope,
) -> tuple[Variant, ...] | Bad:
    """A variant of each recipe for each combination of the swept settings `names`."""
    if too_many(axes, block, scope) or not _lets_are_free(block, names, declaring.merged, scope):
        return BAD
    found: dict[tuple[object, ...], Variant | Bad] = {}
    for choice in combinations(axes):
        swept = {name: choice[name] for name in names}
        within = _with_lets(swept, scope)
        evaluations: tuple[Evaluation, ...] | Bad | None = None
        for name in (str(choice["recipe"][0]),) if "recipe" in choice else recipes:
            settings = tuple(Swept(path, value) for path, (value, _) in swept.items())
            if (name, settings) in found:
                continue
            if evaluations is None:
                evaluations = _evaluations(swept, declaring, within)
            recipe = _recipe(declaring.merged.blocks["recipe", name], swept, axes, declaring, within)
            bad = isinstance(recipe, Bad) or isinstance(evaluations, Bad)
            found[name, settings] = BAD if bad else Variant(settings, recipe, evaluations)  # type: ignore[arg-type]
    good = tuple(v for v in found.values() if isinstance(v, Variant))
    return good if len(good) == len(found) else BAD


_Choice = Mapping[str, tuple[Value, ast.Expression]]


def _with_lets(swept: _Choice, scope: Scope) -> Scope:
    lets = {
        name: replace(scope.lets[name], value=node) for name, (_, node) in swept.items() if name in scope.lets
    }
    return replace(scope, lets={**scope.lets, **lets}) if lets else scope


def _evaluations(swept: _Choice, declaring: Declaring, scope: Scope) -> tuple[Evaluation, ...] | Bad:
    if not any("." not in name for name in swept):
        return tuple(scope.evaluations.values())
    found = list(declaring.evaluations(scope))
    good = tuple(e for e in found if not isinstance(e, Bad))
    return good if len(good) == len(found) else BAD


def _recipe(
    block: MergedBlock, swept: _Choice, axes: list[SweptAxis], declaring: Declaring, scope: Scope
) -> Recipe | Bad:
    settings = dict(block.settings)
    for axis in axes:
        for path in axis.paths:
            if path.text not in swept or len(path.parts) == 1:
                continue
            given = replace(axis.setting, value=swept[path.text][1])
            key = path.parts[1].text
            if len(path.parts) == 2:
                slot = BLOCKS["recipe"].slot(key)
                assert slot is not None
                settings[key] = replace(
                    given, paths=(ast.Path((path.parts[1],), path.span),), operator=slot.form
                )
                continue
            edited = with_argument("recipe", settings, (key, *path.parts[2:]), path, given, scope)
            if edited is None:
                return BAD
            settings[key] = edited
    return declaring.recipe(replace(block, settings=settings), scope)


#: Blocks that a swept `let` may change: of the others there is one for all cells. What is asked of laws (fits,
#: forecasts, allocations) keeps the value that the `let` has outside the grid.
_FOLLOW = ("recipe", "evaluate", "grid", "fit", "forecast", "allocate", "compare")


def _lets_are_free(block: MergedBlock, names: tuple[str, ...], merged: Merged, scope: Scope) -> bool:
    """Whether nothing that is one for all cells hangs on a swept `let`; reported if not."""
    free = True
    for name in (n for n in names if "." not in n):
        users = [b for b in merged.blocks.values() if b.kind not in _FOLLOW and _uses(b, name, scope)]
        own = [s for key, s in block.settings.items() if key != name and _mentions(s.value, name, scope)]
        for user in users:
            scope.report.add(
                "V116", f"grid `{block.name}` sweeps `{name}`, and `{user.kind} {user.name}` uses it", user.span,
                "one for all cells", "sweep a setting of the recipe, or write one block for each value",
            )  # fmt: skip
        for setting in own:
            scope.report.add(
                "V116", f"grid `{block.name}` sweeps `{name}`, and its own `{setting.key}` uses it", setting.span,
                "two axes in one", "move them together: `zip (…) in [(…), …]`",
            )  # fmt: skip
        free = free and not users and not own
    return free


def _uses(block: MergedBlock, name: str, scope: Scope) -> bool:
    return any(_mentions(s.value, name, scope) for s in (*block.settings.values(), *block.zips))


def _mentions(node: ast.Expression, name: str, scope: Scope) -> bool:
    """Whether an expression names a `let`, through any number of others."""
    if isinstance(node, ast.Path):
        if node.text == name:
            return True
        followed = node.text in scope.lets and node.text not in scope.broken
        return followed and _mentions(scope.lets[node.text].value, name, scope)
    return any(_mentions(child, name, scope) for child in ast.children(node))
