"""`choose = design`: buy, slice by slice, the runs that tell most about the questions.

Runs in every compile, from finished runs alone: what is finished stays bought and counts against the budget,
the rest of the budget is planned anew, and one slice of it is ready. A pilot of a tenth comes first, averaged
over a stated prior. The loop ends because every slice costs something. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.design.balance import buy_evenly
from isoloss.compiler.design.bound import COLUMNS, least_sd
from isoloss.compiler.design.candidates import Pool, Smooth, cost_rule, spread_out
from isoloss.compiler.design.choice import Candidate, Choice, ComputeBudget, everything, total_flops
from isoloss.compiler.design.greedy import POWERS, Belt, Bought, Purse
from isoloss.compiler.design.posterior import Belief, believe
from isoloss.compiler.design.questions import Asked, asked, seen
from isoloss.compiler.design.state import LARGE, State, state
from isoloss.compiler.laws.arrays import Bools, Floats, FlopsPerImage
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.dsl.study.study import Study

#: Shares of the budget at which what was learnt is looked at: a pilot, one more look, the rest (assumed). A share
#: counts as spent at four fifths of it: what is left buys no run that matters.
STAGES = (0.1, 0.4, 1.0)
SPENT = 0.8
#: The whole budget's plan is only predicted, not run: for large pools one power will do.
_FORESEEN = (0.5,)


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Everything a design is made from. `owned`: rows of candidates that are finished, begun or pinned; `begun`:
    those of them without a result yet."""

    cells: Sequence[Cell]
    pool: Pool
    smooth: Smooth
    laws: Sequence[Asked]
    beliefs: Sequence[Belief]
    rule: FlopsPerImage
    state: State
    owned: tuple[int, ...]
    begun: tuple[int, ...]
    available: float

    def open(self) -> Bools:
        """What may be bought [n]."""
        found = np.ones(len(self.pool), dtype=bool)
        found[list(self.owned)] = False
        return found

    def before(self) -> tuple[Belt, Purse]:
        """Knowledge and spending before anything more is bought."""
        belt, purse = Belt(self.state.modes), Purse(self.pool)
        for i in self.owned:
            purse.buy(i)
        for i in self.begun:
            belt.add(i)
        return belt, purse


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """`slice` is what is ready now, `foreseen` what the whole budget may buy as it looks now, the slice's runs
    among them or not. `stage`: pilot, slice, all (the budget holds every cell), or complete (nothing is left to
    run)."""

    situation: Situation
    stage: str
    slice: Bought
    foreseen: Bought


def design(
    study: Study,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    runs: Sequence[Run],
    knowledge: Knowledge,
    budget: ComputeBudget,
    test_images: int | None,
) -> Choice | None:
    """The choice. None where nothing is asked that a law could answer. Cost of what is chosen + reserve <=
    budget, unless more was spent already. One cell, candidate and run per row, in the same order."""
    if budget.compute_flops is None or not cells:
        return everything(candidates, "no compute budget: every cell runs")
    available = budget.compute_flops - budget.reserved_flops
    from isoloss.compiler.design.explain_choice import choice_of, told

    if total_flops(candidates) <= available:
        all_of_them = everything(candidates, "the budget holds every cell")
        if not any(f.within is not None or len(f.laws) > 1 for f in study.forecasts):
            return all_of_them
        made = situation(study, cells, candidates, runs, knowledge, available, test_images)
        return all_of_them if made is None else told(with_all(made), study, all_of_them)
    made = situation(study, cells, candidates, runs, knowledge, available, test_images)
    return None if made is None else choice_of(plan(made), study, candidates)


def situation(
    study: Study,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    runs: Sequence[Run],
    knowledge: Knowledge,
    available: float,
    test_images: int | None,
) -> Situation | None:
    """What is known and asked, as arrays. None where no law answers any question."""
    pool = Pool.of(cells, candidates, [g.name for g in study.generators])
    laws = asked(study, runs, pool)
    if not laws:
        return None
    smooth = Smooth.over(pool.coordinates)
    shared = 0.0 if test_images is None else 1.0 / float(np.sqrt(test_images))
    data = [seen(each, runs, knowledge, pool) for each in laws]
    beliefs = [
        believe(each.key, each.law, pool, each.member, known, smooth, shared, each.fractions)
        for each, known in zip(laws, data, strict=True)
    ]
    rule = cost_rule(cells)
    now = state(laws, beliefs, [known.runs for known in data], rule)
    if now is None:
        return None
    # Pinned runs are as good as begun.
    owned = tuple(i for i, run in enumerate(runs) if run.train in knowledge.finished or candidates[i].pinned)
    begun = tuple(i for i in owned if not knowledge.complete(runs[i]))
    return Situation(cells, pool, smooth, laws, beliefs, rule, now, owned, begun, available)


def plan(made: Situation) -> Design:
    """The next slice, and the whole budget as far as it can be foreseen."""
    stage, slice = next_slice(made)
    if slice.purse.spent > STAGES[-2] * made.available:
        # The last slice is the whole budget.
        return Design(made, stage, slice, slice)
    # What the budget could buy at once by what is known now: a slice is a look ahead, and what it shows changes
    # the rest.
    belt, purse = made.before()
    powers, swaps = (POWERS, True) if len(made.pool) <= LARGE else (_FORESEEN, False)
    foreseen = buy_evenly(belt, made.state.questions, purse, made.open(), made.available, powers, swaps=swaps)
    return Design(made, stage, slice, foreseen)


def with_all(made: Situation) -> Design:
    """Every candidate bought: nothing to choose, but it may still not answer."""
    belt, purse = made.before()
    open = made.open()
    belt.add_all(np.flatnonzero(open))
    for i in np.flatnonzero(open):
        purse.buy(int(i))
    bought = Bought((), belt, purse)
    return Design(made, "all" if open.any() or made.begun else "complete", bought, bought)


def next_slice(made: Situation) -> tuple[str, Bought]:
    """(stage, what is bought next): nothing, where nothing affordable tells more."""
    open = made.open()
    belt, purse = made.before()
    for number, share in enumerate(STAGES):
        limit = share * made.available
        if purse.spent >= limit * (SPENT if share < 1 else 1.0):
            continue
        bought = buy_evenly(belt, made.state.questions, purse, open, limit)
        if bought.order:
            return ("pilot" if number == 0 else "slice"), bought
    return "slice" if made.begun else "complete", Bought((), belt, purse)


def half_widths(made: Situation, V: Floats) -> dict[tuple[str, str, str], float]:
    """(question, what, law) -> 95 % half-width of log loss, ln N* or an exponent, mean over modes [K, t]:
    what the law's parameters leave open, and for a loss its misfit at the answer."""
    s = made.state
    found: dict[tuple[str, str, str], list[float]] = {}
    for k in range(len(s.law)):
        noise = made.beliefs[s.law[k]].noise
        for t, target in enumerate(s.targets):
            if s.modes.weight[k, t] > 0:
                extra = noise.misfit**2 if target.what == "loss" else 0.0
                key = (target.question, target.what, target.fit)
                found.setdefault(key, []).append(1.96 * float(np.sqrt(max(V[k, t], 0.0) + extra)))
    return {key: float(np.mean(values)) for key, values in found.items()}


def facts(made: Design) -> dict[str, Any]:
    """PLAN.json's `budget.design`. Half-widths are 95 %, of log loss, ln N* or an exponent; `below` as
    `least_half_width`."""
    s = made.situation
    belt, purse = s.before()
    now, after = half_widths(s, belt.V), half_widths(s, made.slice.belt.V)
    end = half_widths(s, made.foreseen.belt.V)
    return {
        "stage": made.stage,
        "slice_runs": len(made.slice.order),
        "slice_flops": made.slice.purse.spent - purse.spent,
        "foreseen_runs": len(set(made.foreseen.order) - set(made.slice.order)),
        "assumed_fids": {g: s.pool.fids[g] for g in s.pool.assumed},
        "laws": {b.name: _belief(b) for b in s.beliefs},
        "answers": [
            {
                "question": key[0],
                "what": key[1],
                "law": key[2],
                "now": three_digits(now[key]),
                "after_slice": three_digits(after[key]),
                "whole_budget": three_digits(end[key]),
                "no_plan_below": None if (least := least_half_width(s, key)) is None else three_digits(least),
            }
            for key in now
        ],
    }


def _belief(b: Belief) -> dict[str, Any]:
    return {
        "form": b.law.name,
        "runs": b.points,
        "from": "a prior, assumed" if b.points == 0 else "a prior, assumed, and finished runs",
        "noise": three_digits(b.noise.run),
        "misfit": three_digits(b.noise.misfit),
        "shared": three_digits(b.noise.shared),
    }


def three_digits(value: float) -> float:
    """What machines agree on: the last bits of their sums differ."""
    return float(f"{value:.3g}")


def least_half_width(made: Situation, key: tuple[str, str, str]) -> float | None:
    """The 95 % half-width below which no plan of this pool can bring an answer with the whole budget, by
    seed noise alone and without prior knowledge. None where it isn't one number, or no plan determines it."""
    s = made.state
    for k in range(len(s.law)):
        if not s.middle[k]:
            continue
        for t, target in enumerate(s.targets):
            if (target.question, target.what, target.fit) != key or s.modes.weight[k, t] == 0:
                continue
            belief = made.beliefs[s.law[k]]
            free = belief.sd > 0
            p = len(belief.sd)
            rows = spread_out(np.flatnonzero(belief.member), made.pool.coordinates, COLUMNS)
            views = len(belief.views)
            f = s.modes.H[k, rows, :views, :p].reshape(-1, p)[:, free]
            # A run's observations bought one by one, each at its share of the cost: no plan does better.
            cost = np.repeat(made.pool.own[rows] / views, views)
            sd = least_sd(f, cost, s.modes.G[k, t, :p][free], belief.noise.run, made.available)
            return None if sd is None else 1.96 * sd
    return None
