"""Which evaluation a fit's or a comparison's points come from, where it doesn't say: never by order of declaration.

Runs once a study's grids, recipes and evaluations are checked. In: a Study. Out: the same, each with its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.study.expression import evaluate
from isoloss.dsl.study.study import Compare, Fit, RunSet, Study, Variant

#: What is about the points of one evaluation.
Asked = TypeVar("Asked", Fit, Compare)


def settle_evaluations(study: Study, scope: Scope) -> Study | Bad:
    """The evaluation that the recipes of its runs repeat, else the only one, else the only one that attacks. Reports
    V115 where none of these is one, V110 for a loss that the evaluation doesn't measure, V119 for an evaluation that
    differs from run to run."""
    fits = _all_settled(study.fits, study, scope)
    comparisons = _all_settled(study.comparisons, study, scope)
    if isinstance(fits, Bad) or isinstance(comparisons, Bad):
        return BAD
    return replace(study, fits=fits, comparisons=comparisons)


def _all_settled(asked: Sequence[Asked], study: Study, scope: Scope) -> tuple[Asked, ...] | Bad:
    found = [_checked(each, study, scope) for each in asked]
    good = tuple(each for each in found if not isinstance(each, Bad))
    return good if len(good) == len(found) else BAD


def _checked(asked: Asked, study: Study, scope: Scope) -> Asked | Bad:
    settled = asked if asked.evaluate is not None else _settled(asked, study, scope)
    if isinstance(settled, Bad) or not _measurable(settled, study, scope):
        return BAD
    return settled if _of_one_attack(settled, study, scope) else BAD


def _kind(asked: Fit | Compare) -> str:
    return "fit" if isinstance(asked, Fit) else "compare"


def _run_sets(asked: Fit | Compare) -> list[RunSet]:
    sets = (asked.to, asked.base, asked.quality) if isinstance(asked, Fit) else (asked.over,)
    return [each for each in dict.fromkeys(sets) if each is not None]


def _report(code: str, asked: Fit | Compare, headline: str, label: str, help: str, scope: Scope) -> None:
    kind = _kind(asked)
    scope.report.add(code, f"{kind} `{asked.name}` {headline}", scope.declared[kind][asked.name], label, help)


def _settled(asked: Asked, study: Study, scope: Scope) -> Asked | Bad:
    repeated = _repeated(asked, study)
    declared = [e for e in study.evaluations if e.curve is None]
    attacking = [e.name for e in declared if e.attack.kind != "none"]
    for names in (repeated, [e.name for e in declared], attacking):
        if len(names) == 1:
            return replace(asked, evaluate=names[0])
        if names is repeated and len(repeated) > 1:
            break
    if not study.evaluations:
        return asked
    if not declared:
        headline = "has no evaluation of its own: its runs are tested at several settings each"
        help = "declare the one that is meant: `evaluate robust { attack = pgd(eps = 8/255) }`"
        _report("V115", asked, headline, "which of them?", help, scope)
        return BAD
    names = repeated if len(repeated) > 1 else [e.name for e in study.evaluations]
    listed = ", ".join(f"`{name}`" for name in names)
    whose = "its recipes repeat" if len(repeated) > 1 else "its runs are tested by"
    headline = f"doesn't say which evaluation it is about: {whose} {listed}"
    help = f"write `evaluate = {_suggested(asked, study, names)}` in the {_kind(asked)}"
    _report("V115", asked, headline, "several could be meant", help, scope)
    return BAD


def _suggested(asked: Fit | Compare, study: Study, names: list[str]) -> str:
    """The first of these that measures what is asked for."""
    kinds = {e.name: e.attack.kind for e in study.evaluations}
    measuring = (name for name in names if asked.metric != "loss" or kinds[name] != "autoattack")
    return next(measuring, names[0])


def _measurable(asked: Fit | Compare, study: Study, scope: Scope) -> bool:
    """AutoAttack leaves images that it can't break as they were: a loss on them would mix clean and attacked."""
    test = next((e for e in study.evaluations if e.name == asked.evaluate), None)
    if test is None or asked.metric != "loss" or test.attack.kind != "autoattack":
        return True
    headline = f"is of a loss, and `{test.name}` measures none: AutoAttack stops at success"
    help = "write `metric = accuracy`, or let it `evaluate` with another attack"
    _report("V110", asked, headline, "no loss is measured", help, scope)
    return False


def _of_one_attack(asked: Fit | Compare, study: Study, scope: Scope) -> bool:
    """A `let` that a grid sweeps may change the evaluation from run to run: points of several are no law's, and no
    comparison's."""
    grids = {grid.name: grid for grid in study.grids}
    tests = {
        evaluation
        for runs in _run_sets(asked)
        for variant in grids[runs.grid].variants
        if _may_hold(runs, variant)
        for evaluation in variant.evaluations
        if evaluation.name == asked.evaluate
    }
    if len(tests) < 2:
        return True
    swept = dict.fromkeys(n for runs in _run_sets(asked) for n in grids[runs.grid].swept if "." not in n)
    lets = ", ".join(f"`{name}`" for name in swept)
    headline = f"is about `{asked.evaluate}`, which is another attack from run to run: the grid sweeps {lets}"
    help = "let it `evaluate` by a block that doesn't use what is swept, or keep the runs of one value"
    _report("V119", asked, headline, "several evaluations", help, scope)
    return False


def _may_hold(runs: RunSet, variant: Variant) -> bool:
    """Whether some run of a variant may be in the set, by what is swept alone."""
    if runs.where is None:
        return True
    return evaluate(runs.where, {swept.path: swept.value for swept in variant.settings}) is not False


def _repeated(asked: Fit | Compare, study: Study) -> list[str]:
    """The evaluations that recipes of its grids repeat during training."""
    grids = {runs.grid for runs in _run_sets(asked)}
    recipes = {str(name) for grid in study.grids if grid.name in grids for name in grid.values("recipe")}
    repeated = (r.evaluate.evaluation for r in study.recipes if r.name in recipes and r.evaluate is not None)
    return list(dict.fromkeys(repeated))
