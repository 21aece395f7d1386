"""`choose = design`: buy, slice by slice, the runs that tell most about the questions.

Runs in every compile, from finished runs alone: what is finished stays bought and counts against the budget,
the rest of the budget is planned anew, and one slice of it is ready. A pilot of a tenth comes first, averaged
over a stated prior. The loop ends because every slice costs something. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.design.balance import buy_evenly
from isoloss.compiler.design.candidates import Pool, Smooth, cost_rule
from isoloss.compiler.design.choice import Candidate, Choice, ComputeBudget, everything, total_flops
from isoloss.compiler.design.explain_choice import choice_of, with_notes
from isoloss.compiler.design.greedy import POWERS, Bought
from isoloss.compiler.design.posterior import posterior_of
from isoloss.compiler.design.questions import asked_laws, data_of
from isoloss.compiler.design.situation import Design, Situation
from isoloss.compiler.design.state import LARGE, state
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.dsl.study.study import Study

#: Shares of the budget at which what was learnt is looked at: a pilot, one more look, the rest (assumed). A share
#: counts as spent at four fifths of it: what is left buys no run that matters.
STAGES = (0.1, 0.4, 1.0)
SPENT = 0.8
#: The whole budget's plan is only predicted, not run: for large pools one power will do.
_FORESEEN = (0.5,)


def design(
    study: Study,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    runs: Sequence[Run],
    knowledge: Knowledge,
    budget: ComputeBudget,
    test_images: int | None,
    starts: Remembered[Floats],
) -> Choice | None:
    """The choice. None where nothing is asked that a law could answer. Cost of what is chosen + reserve <=
    budget, unless more was spent already. One cell, candidate and run per row, in the same order."""
    if budget.compute_flops is None or not cells:
        return everything(candidates, "no compute budget: every cell runs")
    available = budget.compute_flops - budget.reserved_flops
    if total_flops(candidates) <= available:
        all_of_them = everything(candidates, "the budget holds every cell")
        if not any(f.within is not None or len(f.laws) > 1 for f in study.forecasts):
            return all_of_them
        made = situation(study, cells, candidates, runs, knowledge, available, test_images, starts)
        return all_of_them if made is None else with_notes(with_all(made), study, all_of_them)
    made = situation(study, cells, candidates, runs, knowledge, available, test_images, starts)
    return None if made is None else choice_of(plan(made), study, candidates)


def situation(
    study: Study,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    runs: Sequence[Run],
    knowledge: Knowledge,
    available: float,
    test_images: int | None,
    starts: Remembered[Floats],
) -> Situation | None:
    """What is known and asked, as arrays. None where no law answers any question. `starts`: of the laws' priors, from
    earlier plans of the same pool."""
    pool = Pool.of(cells, candidates, [g.name for g in study.generators])
    laws = asked_laws(study, runs, pool)
    if not laws:
        return None
    smooth = Smooth.over(pool.coordinates)
    shared = 0.0 if test_images is None else 1.0 / float(np.sqrt(test_images))
    data = [data_of(each, runs, knowledge, pool) for each in laws]
    posteriors = [
        posterior_of(each.key, each.law, pool, each.member, known, smooth, shared, starts, each.fractions)
        for each, known in zip(laws, data, strict=True)
    ]
    rule = cost_rule(cells)
    now = state(laws, posteriors, [known.runs for known in data], rule)
    if now is None:
        return None
    # Pinned runs are as good as begun.
    owned = tuple(i for i, run in enumerate(runs) if run.train in knowledge.finished or candidates[i].pinned)
    begun = tuple(i for i in owned if not knowledge.complete(runs[i]))
    return Situation(cells, pool, smooth, laws, posteriors, rule, now, owned, begun, available)


def plan(made: Situation) -> Design:
    """The next slice, and the whole budget as far as it can be foreseen."""
    stage, slice = next_slice(made)
    if slice.spending.spent > STAGES[-2] * made.available:
        # The last slice is the whole budget.
        return Design(made, stage, slice, slice)
    # What the budget could buy at once by what is known now: a slice is a look ahead, and what it shows changes
    # the rest.
    covariance, spending = made.before()
    powers, swaps = (POWERS, True) if len(made.pool) <= LARGE else (_FORESEEN, False)
    foreseen = buy_evenly(
        covariance, made.state.questions, spending, made.open(), made.available, powers, swaps=swaps
    )
    return Design(made, stage, slice, foreseen)


def with_all(made: Situation) -> Design:
    """Every candidate bought: nothing to choose, but it may still not answer."""
    covariance, spending = made.before()
    open = made.open()
    covariance.add_all(np.flatnonzero(open))
    for i in np.flatnonzero(open):
        spending.buy(int(i))
    bought = Bought((), covariance, spending)
    return Design(made, "all" if open.any() or made.begun else "complete", bought, bought)


def next_slice(made: Situation) -> tuple[str, Bought]:
    """(stage, what is bought next): nothing, where nothing affordable tells more."""
    open = made.open()
    covariance, spending = made.before()
    for number, share in enumerate(STAGES):
        limit = share * made.available
        if spending.spent >= limit * (SPENT if share < 1 else 1.0):
            continue
        bought = buy_evenly(covariance, made.state.questions, spending, open, limit)
        if bought.order:
            return ("pilot" if number == 0 else "slice"), bought
    return "slice" if made.begun else "complete", Bought((), covariance, spending)
