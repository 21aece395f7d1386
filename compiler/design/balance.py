"""Several questions, one budget: none is served much worse than the others.

A plan that makes the mean log variance small spends on what is cheap to learn and leaves the dear question far
from what the pool could say about it. Each question's shortfall is how much more of its log variance all the
candidates together would take; questions with a large one count more, and the plan whose worst shortfall is
least is bought. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from isoloss.compiler.design.greedy import POWERS, Bought, Covariance, Spending, buy
from isoloss.compiler.laws.arrays import Bools, Floats, Ints

#: Plans tried: questions equal, then twice leaning towards those with the larger shortfall.
TRIES = 3
#: Shortfalls below this are equal: of log variance.
_LEAST = 1e-3


def buy_evenly(
    covariance: Covariance,
    questions: Ints,
    spending: Spending,
    open: Bools,
    limit: float,
    powers: Sequence[float] = POWERS,
    *,
    swaps: bool = True,
) -> Bought:
    """As `buy`, whatever the answers [t] of each question (its number, in `questions` [t]) weigh."""
    count = int(questions.max()) + 1
    given = covariance.modes.weight
    best, least = None, float("inf")
    everything = covariance.copy()
    if count > 1:
        everything.add_all(np.flatnonzero(open))
    weight = given
    for _ in range(TRIES if count > 1 else 1):
        leant = covariance.weighing(weight)
        bought = buy(leant.modes, spending, open, limit, powers, leant, swaps=swaps)
        missing = shortfall(bought.covariance, everything, questions, given)
        if best is None or missing.max() < least - 1e-9:
            best, least = bought, float(missing.max())
        leaning = weight * np.maximum(missing, _LEAST)[questions]
        weight = leaning / leaning.sum()
    assert best is not None
    return replace(best, covariance=best.covariance.weighing(given))


def shortfall(covariance: Covariance, everything: Covariance, questions: Ints, weight: Floats) -> Floats:
    """Log variance that all candidates would take beyond what is bought, mean over each question's answers and
    modes [questions], at least 0."""
    gap = np.log(np.maximum(covariance.V, 1e-300) / np.maximum(everything.V, 1e-300))
    found = np.zeros(int(questions.max()) + 1)
    for q in range(len(found)):
        mine = questions == q
        found[q] = float(np.sum(gap[:, mine] * weight[:, mine]) / max(float(weight[:, mine].sum()), 1e-300))
    return np.asarray(np.maximum(found, 0.0))
