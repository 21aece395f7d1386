"""Which evaluation each fit's points come from, where the fit doesn't say: never by order of declaration.

Runs once a study's grids, recipes and evaluations are checked. In: a Study. Out: the same, each fit with its
evaluation."""

from __future__ import annotations

from dataclasses import replace

from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.study.expression import evaluate
from isoloss.dsl.study.study import Fit, RunSet, Study, Variant


def settle_evaluations(study: Study, scope: Scope) -> Study | Bad:
    """The evaluation that the fit's recipes repeat, else the only one, else the only one that attacks. Reports V115
    where none of these is one, and V110 for a loss that the evaluation doesn't measure."""
    fits = [fit if fit.evaluate is not None else _settled(study, fit, scope) for fit in study.fits]
    fits = [fit if isinstance(fit, Bad) else _measurable(study, fit, scope) for fit in fits]
    fits = [fit if isinstance(fit, Bad) else _of_one_attack(study, fit, scope) for fit in fits]
    good = [fit for fit in fits if not isinstance(fit, Bad)]
    return replace(study, fits=tuple(good)) if len(good) == len(fits) else BAD


def _settled(study: Study, fit: Fit, scope: Scope) -> Fit | Bad:
    repeated = _repeated(study, fit)
    declared = [e for e in study.evaluations if e.curve is None]
    attacking = [e.name for e in declared if e.attack.kind != "none"]
    for names in (repeated, [e.name for e in declared], attacking):
        if len(names) == 1:
            return replace(fit, evaluate=names[0])
        if names is repeated and len(repeated) > 1:
            break
    if not study.evaluations:
        return fit
    names = repeated if len(repeated) > 1 else [e.name for e in study.evaluations]
    if not declared:
        scope.report.add(
            "V115", f"fit `{fit.name}` has no evaluation of its own: its runs are tested at several settings each",
            scope.declared["fit"][fit.name], "which of them?",
            "declare the one that is fitted: `evaluate robust { attack = pgd(eps = 8/255) }`",
        )  # fmt: skip
        return BAD
    listed = ", ".join(f"`{name}`" for name in names)
    whose = "its recipes repeat" if len(repeated) > 1 else "its runs are tested by"
    scope.report.add(
        "V115", f"fit `{fit.name}` doesn't say which evaluation it is about: {whose} {listed}",
        scope.declared["fit"][fit.name], "several could be meant",
        f"write `evaluate = {_suggested(study, fit, names)}` in the fit",
    )  # fmt: skip
    return BAD


def _suggested(study: Study, fit: Fit, names: list[str]) -> str:
    """The first of these that measures what is fitted."""
    kinds = {e.name: e.attack.kind for e in study.evaluations}
    measuring = (name for name in names if fit.metric != "loss" or kinds[name] != "autoattack")
    return next(measuring, names[0])


def _measurable(study: Study, fit: Fit, scope: Scope) -> Fit | Bad:
    """AutoAttack leaves images that it can't break as they were: a loss on them would mix clean and attacked."""
    test = next((e for e in study.evaluations if e.name == fit.evaluate), None)
    if test is None or fit.metric != "loss" or test.attack.kind != "autoattack":
        return fit
    scope.report.add(
        "V110", f"fit `{fit.name}` is of a loss, and `{test.name}` measures none: AutoAttack stops at success",
        scope.declared["fit"][fit.name], "no loss to fit",
        "write `metric = accuracy`, or let it `evaluate` with another attack",
    )  # fmt: skip
    return BAD


def _of_one_attack(study: Study, fit: Fit, scope: Scope) -> Fit | Bad:
    """A `let` that a grid sweeps may change the fit's evaluation from run to run: points of several are no law's."""
    grids = {grid.name: grid for grid in study.grids}
    tests = [
        evaluation
        for runs in dict.fromkeys((fit.to, fit.base, fit.quality))
        if runs is not None
        for variant in grids[runs.grid].variants
        if _may_hold(runs, variant)
        for evaluation in variant.evaluations
        if evaluation.name == fit.evaluate
    ]
    if len(set(tests)) < 2:
        return fit
    swept = ", ".join(f"`{name}`" for grid in study.grids for name in grid.swept if "." not in name)
    scope.report.add(
        "V119", f"`{fit.evaluate}` is another attack from run to run of fit `{fit.name}`: the grid sweeps {swept}",
        scope.declared["fit"][fit.name], "several evaluations",
        "let it `evaluate` by a block that doesn't use what is swept, or keep the runs of one value",
    )  # fmt: skip
    return BAD


def _may_hold(runs: RunSet, variant: Variant) -> bool:
    """Whether some run of a variant may be in the set, by what is swept alone."""
    if runs.where is None:
        return True
    return evaluate(runs.where, {swept.path: swept.value for swept in variant.settings}) is not False


def _repeated(study: Study, fit: Fit) -> list[str]:
    """The evaluations that recipes of the fit's grids repeat during training."""
    grids = {runs.grid for runs in (fit.to, fit.base, fit.quality) if runs is not None}
    recipes = {str(name) for grid in study.grids if grid.name in grids for name in grid.values("recipe")}
    repeated = (r.evaluate.evaluation for r in study.recipes if r.name in recipes and r.evaluate is not None)
    return list(dict.fromkeys(repeated))
