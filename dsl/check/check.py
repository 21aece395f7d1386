"""Merged declarations -> Study + diagnostics: names, units, types, values, defaults.

Runs after layers.py, once for the study as it stands and once for every profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from isoloss.dsl.check import declarations
from isoloss.dsl.check.evaluation_curves import points
from isoloss.dsl.check.layers import Merged, MergedBlock
from isoloss.dsl.check.lets import broken_lets
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.settings import origin_of
from isoloss.dsl.check.settled_evaluations import settle_evaluations
from isoloss.dsl.check.unlikely import report_unlikely
from isoloss.dsl.check.values import check_value
from isoloss.dsl.check.variants import Declaring, swept_slots
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.study.study import (
    Allocate,
    Budget,
    Call,
    Conditional,
    Const,
    DeclaredDevice,
    Evaluation,
    Expr,
    Generator,
    Grid,
    Operation,
    Recipe,
    Study,
)
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import ROWS, Slot

T = TypeVar("T")

DATASET = Slot("dataset", "call", "The data that the study is about.", "cifar10", family="dataset")


def check_study(merged: Merged, name: str, span: Span, profile: str | None, report: Report) -> Study | None:
    """Everything that can be said about the declarations together. None if anything is wrong."""
    _draw_own_images(merged, span)
    declared = {row.name: {b.name: b.span for b in merged.of(row.name)} for row in ROWS}
    _report_namesakes(declared, report)
    # A mix stands wherever a generator does.
    declared["generator"] = {**declared["mix"], **declared["generator"]}
    scope = Scope(report, merged.lets, broken_lets(merged.lets, report), declared)
    dataset = _dataset(merged, span, scope)
    scope = scope.within(dataset=dataset.kind if isinstance(dataset, Call) else "")
    evaluations = _evaluations(merged, scope)
    scope = replace(
        scope,
        evaluations={e.name: e for e in evaluations if not isinstance(e, Bad)},
        curves=_curves(evaluations),
        swept={grid.name: swept_slots(grid, merged, scope) for grid in merged.of("grid")},
    )
    declaring = Declaring(declarations.declare_recipe, partial(_evaluations, merged), merged)

    generators = _each(merged, "generator", declarations.declare_generator, scope)
    real = {g.name for g in generators if not isinstance(g, Bad) and g.source == Call("real")}
    generators += _each(merged, "mix", declarations.declare_mix, replace(scope, real=frozenset(real)))
    recipes = _each(merged, "recipe", declarations.declare_recipe, scope)
    grids = _each(merged, "grid", partial(declarations.declare_grid, declaring=declaring), scope)
    devices = _each(merged, "device", declarations.declare_device, scope)
    budget = declarations.declare_budget(_budget(merged, span), scope)
    fits = _each(merged, "fit", declarations.declare_fit, scope)
    forecasts = _each(merged, "forecast", declarations.declare_forecast, scope)
    allocations = _each(merged, "allocate", declarations.declare_allocation, scope)

    known_grids = {grid.name: grid for grid in grids if isinstance(grid, Grid)}
    comparisons = _each(merged, "compare", partial(declarations.declare_comparison, grids=known_grids), scope)

    chosen = _best_are_chosen(merged, scope, recipes, allocations)
    chosen &= _rules_are_there(merged, scope, recipes, grids, allocations)
    parts: list[list[Any]] = [
        evaluations,
        generators,
        recipes,
        grids,
        devices,
        fits,
        forecasts,
        allocations,
        comparisons,
    ]
    if (
        isinstance(dataset, Bad)
        or isinstance(budget, Bad)
        or not chosen
        or any(isinstance(x, Bad) for p in parts for x in p)
    ):
        return None
    study = Study(
        name=name,
        dataset=dataset,
        generators=_good(generators),
        recipes=_good(recipes),
        evaluations=_good(evaluations),
        grids=_good(grids),
        budget=_priced(budget, _good(devices)),
        fits=_good(fits),
        forecasts=_good(forecasts),
        allocations=_good(allocations),
        comparisons=_good(comparisons),
        devices=_good(devices),
        profile=profile,
        origin=origin_of(span),
    )
    settled = settle_evaluations(study, scope)
    if isinstance(settled, Bad):
        return None
    report_unlikely(settled, report)
    return settled if profile is None else _without_unused(settled, merged)


def _priced(budget: Budget, devices: Iterable[DeclaredDevice]) -> Budget:
    """The budget with its own device's price, where it states none."""
    own = next((d for d in devices if d.name == budget.devices.kind), None)
    if own is None or own.price_per_hour is None or budget.price_per_device_hour is not None:
        return budget
    return replace(budget, price_per_device_hour=own.price_per_hour, currency=own.currency)


def _draw_own_images(merged: Merged, span: Span) -> None:
    """A generator `real` for grids that name no source of images, where the study declares none of that name."""
    named = {key: {p.text for s in (*g.settings.values(), *g.zips) for p in s.paths}
             for key, g in merged.blocks.items() if g.kind == "grid"}  # fmt: skip
    taken = {("generator", "real"), ("mix", "real")} & merged.blocks.keys()
    if taken or all("generator" in names for names in named.values()):
        return
    real = ast.Path((ast.Name("real", span),), span)
    source = ast.Setting((ast.Path((ast.Name("from", span),), span),), "=", real, span)
    layer = max((b.layer for b in merged.of("grid")), default=0)
    merged.blocks["generator", "real"] = MergedBlock(
        "generator", "real", span, layer, settings={"from": source}
    )


def _rules_are_there(
    merged: Merged,
    scope: Scope,
    recipes: Iterable[Recipe | Bad],
    grids: Iterable[Grid | Bad],
    allocations: Iterable[Allocate | Bad],
) -> bool:
    """Whether every recipe has a rule for its batch and learning rate, or trains only in grids that have an axis of it;
    reported if not."""
    used: dict[str, list[Grid | None]] = {}
    for grid in grids:
        for name in () if isinstance(grid, Bad) else dict.fromkeys(map(str, grid.values("recipe"))):
            used.setdefault(name, []).append(None if isinstance(grid, Bad) else grid)
    for each in allocations:
        if isinstance(each, Allocate):
            used.setdefault(each.recipe, []).append(None)
    fine = True
    for recipe in recipes:
        if isinstance(recipe, Bad):
            continue
        places = used.get(recipe.name, [None])
        missing = [
            name
            for name in ("batch", "lr")
            if getattr(recipe, name) is None and any(g is None or not g.values(name) for g in places)
        ]
        if missing:
            declarations.report_missing(merged.blocks["recipe", recipe.name], missing, scope)
            fine = False
    return fine


def _best_are_chosen(
    merged: Merged, scope: Scope, recipes: Iterable[Recipe | Bad], allocations: Iterable[Allocate | Bad]
) -> bool:
    """Does every recipe whose runs are tested with `weights = best` choose them on the validation split? Runs of a
    grid have no other tests where their recipe schedules one on the test split; allocated runs name theirs."""
    asked = {
        (a.recipe, e.name) for a in allocations if not isinstance(a, Bad) for e in a.evaluate
    }  # fmt: skip
    known = {e.name: e for e in scope.evaluations.values() if not isinstance(e, Bad)}
    fine = True
    for block in merged.of("evaluate"):
        evaluation = known.get(block.name)
        if evaluation is None or evaluation.weights != "best":
            continue
        for recipe in recipes:
            if isinstance(recipe, Bad):
                continue
            watch = None if recipe.evaluate is None else known.get(recipe.evaluate.evaluation)
            if watch is not None and watch.split == "validation" and watch.weights != "best":
                continue
            elsewhere = watch is not None and watch is not evaluation and watch.split == "test"
            if elsewhere and (recipe.name, block.name) not in asked:
                continue
            scope.report.add(
                "V114", f"recipe `{recipe.name}` chooses no best weights for `{block.name}`",
                block.settings["weights"].value.span, "nothing says which are best",
                "write `evaluate = NAME at every 10%` in the recipe, of an evaluation with `split = validation` "
                "and average or live weights",
            )  # fmt: skip
            fine = False
    return fine


def _each(
    merged: Merged, kind: str, declare: Callable[[MergedBlock, Scope], T | Bad], scope: Scope
) -> list[T | Bad]:
    return [declare(block, scope) for block in merged.of(kind)]


def _evaluations(merged: Merged, scope: Scope) -> list[Evaluation | Bad]:
    """Every `evaluate` block, or the points of its curve."""
    found: list[Evaluation | Bad] = []
    for block in merged.of("evaluate"):
        curve = points(block, scope)
        if isinstance(curve, Bad):
            found.append(BAD)
            continue
        for point in curve:
            evaluation = declarations.declare_evaluation(point.block, scope)
            if point.settings and isinstance(evaluation, Evaluation):
                evaluation = replace(evaluation, curve=block.name, settings=point.settings)
            found.append(evaluation)
    return found


def _curves(evaluations: Iterable[Evaluation | Bad]) -> dict[str, tuple[str, ...]]:
    curves: dict[str, tuple[str, ...]] = {}
    for each in evaluations:
        if isinstance(each, Evaluation) and each.curve is not None:
            curves[each.curve] = (*curves.get(each.curve, ()), each.name)
    return curves


def _good(found: list[T | Bad]) -> tuple[T, ...]:
    return tuple(x for x in found if not isinstance(x, Bad))


def _dataset(merged: Merged, span: Span, scope: Scope) -> Call | Bad:
    if merged.dataset is None:
        scope.report.add(
            "V103", "the study has no `dataset`", span, "incomplete", "for example `dataset cifar10`"
        )
        return BAD
    found: Call | Bad = check_value(DATASET, merged.dataset.value, scope)
    if isinstance(found, Call) and found.kind == "squiggles" and found.get("variant") == "taylor":
        node = scope.unfold(merged.dataset.value)
        given = node.arguments if isinstance(node, ast.CallExpression) else ()
        named = (a for a in given if a.name is not None and a.name.text == "units")
        units = next(named, given[2] if len(given) > 2 else None)
        if units is not None:
            scope.report.add(
                "V112", "`units` has no meaning for `taylor` curves", units.span,
                "only sums of sines have units", "leave it out, or write `variant = sinenet`",
            )  # fmt: skip
            return BAD
    return found


def _report_namesakes(declared: dict[str, dict[str, Span]], report: Report) -> None:
    for name, span in declared["mix"].items():
        if name in declared["generator"]:
            first = declared["generator"][name]
            report.add(
                "N105", f"a mix and a generator are both called `{name}`", span, "again",
                f"first declared at {first.file}:{first.line}",
            )  # fmt: skip


def _budget(merged: Merged, span: Span) -> MergedBlock:
    """The declared budget, or an empty one that takes every default."""
    return next(iter(merged.of("budget")), MergedBlock("budget", "", span, 0))


def _without_unused(study: Study, merged: Merged) -> Study:
    """A profile's study without the generators that it has replaced: those of earlier layers that nothing
    names any more. Without a profile all stay: an unused one is then the author's wish."""
    used = set(_generators_named(study))
    newest = max((b.layer for b in merged.blocks.values()), default=0)

    def recent(generator: Generator) -> bool:
        kind = "mix" if generator.source is not None and generator.source.kind == "mix" else "generator"
        return merged.blocks[kind, generator.name].layer == newest

    for mix in study.generators:
        if mix.source is not None and mix.source.kind == "mix" and (mix.name in used or recent(mix)):
            used.add(str(mix.source.get("generator")))

    def stays(generator: Generator) -> bool:
        return generator.name in used or recent(generator)

    return replace(study, generators=tuple(g for g in study.generators if stays(g)))


def _generators_named(study: Study) -> Iterator[str]:
    for grid in study.grids:
        yield from map(str, grid.values("generator"))
        for condition in grid.where:
            yield from _texts(condition)
    for fit in study.fits:
        for runs in (fit.to, fit.base, fit.quality):
            if runs is not None and runs.where is not None:
                yield from _texts(runs.where)
    yield from (f.generator for f in study.forecasts if f.generator is not None)
    yield from (name for a in study.allocations for name in a.generators)


def _texts(expr: Expr) -> Iterator[str]:
    match expr:
        case Const(value=str(text)):
            yield text
        case Operation(operands=operands):
            for operand in operands:
                yield from _texts(operand)
        case Conditional(test=test, then=then, otherwise=otherwise):
            for part in (test, then, otherwise):
                if part is not None:
                    yield from _texts(part)
