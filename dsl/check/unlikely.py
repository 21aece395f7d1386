"""What a study says that can hardly be meant: warnings, each with the fix. In: a checked Study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.study.study import Call, Grid, Study, Value
from isoloss.dsl.study.value_text import value_text


def report_unlikely(study: Study, report: Report) -> None:
    """V118: steps that stay where they were while ε is swept."""
    for grid in study.grids:
        for headline in _fixed_steps(grid):
            report.add(
                "V118", headline, grid.origin.span, "one step for all of them",
                "leave `step` out (it is then eps / 4), or write it in terms of a `let`: `step = eps / 4`",
                severity="warning",
            )  # fmt: skip
    curves: dict[str, list[Call]] = {}
    for evaluation in study.evaluations:
        if evaluation.curve is not None:
            curves.setdefault(evaluation.curve, []).append(evaluation.attack)
    for name, attacks in curves.items():
        origin = next(e.origin for e in study.evaluations if e.curve == name)
        step = _fixed_step(attacks)
        if step is not None:
            report.add(
                "V118", f"`{name}` sweeps eps, and its attack's step stays {step}", origin.span,
                "one step for all of them", "leave `step` out (it is then eps / 4)", severity="warning",
            )  # fmt: skip


def _fixed_steps(grid: Grid) -> Iterator[str]:
    by_recipe: dict[str, list[Call]] = {}
    by_evaluation: dict[str, list[Call]] = {}
    for variant in grid.variants:
        by_recipe.setdefault(variant.recipe.name, []).append(variant.recipe.attack)
        for evaluation in variant.evaluations:
            if evaluation.curve is None:
                by_evaluation.setdefault(evaluation.name, []).append(evaluation.attack)
    for kind, groups in (("recipe", by_recipe), ("evaluation", by_evaluation)):
        for name, attacks in groups.items():
            step = _fixed_step(attacks)
            if step is not None:
                yield f"grid `{grid.name}` sweeps eps, and the step of {kind} `{name}` stays {step}"


def _fixed_step(attacks: Iterable[Call]) -> str | None:
    """The step that attacks of different radius share; None where they have one radius, or steps of their own."""
    pairs = {(_argument(a, "eps"), _argument(a, "step")) for a in attacks if _argument(a, "step") is not None}
    steps = {step for _, step in pairs}
    radii = {eps for eps, _ in pairs}
    return value_text(steps.pop()) if len(steps) == 1 and len(radii) > 1 else None


def _argument(call: Call, name: str) -> Value:
    return dict(call.arguments).get(name)
