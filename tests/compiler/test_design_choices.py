"""What a design minimises: the answers' variance, evenly over questions; better than the cheapest runs, never below
the bound."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from isoloss.compiler.design.balance import buy_evenly, shortfall
from isoloss.compiler.design.choice import Candidate
from isoloss.compiler.design.greedy import Covariance, Modes, Spending, buy
from isoloss.compiler.design.planner import STAGES, next_slice, situation
from isoloss.compiler.design.situation import Situation
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import design_bound as oracle
import design_draws as answers
import paper_grid as benchmark


def nothing_known(share: float, seeds: int = benchmark.REPLICATES) -> Situation:
    """The paper's cells, each with so many seeds, and a budget of this share of the whole grid's FLOPs."""
    some, cells, candidates = benchmark.with_seeds(benchmark.paper()[0], seeds)
    runs = [benchmark.run_of(cell, i) for i, cell in enumerate(cells)]
    found = situation(
        some, cells, candidates, runs, Knowledge(()), share * benchmark.whole(), None, Remembered()
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def paper() -> dict[float, Situation]:
    """The paper's candidates, nothing known, at three budgets."""
    return {share: nothing_known(share) for share in (0.02, 0.04, 0.08)}


def test_a_larger_budget_never_leaves_more_variance(paper: dict[float, Situation]) -> None:
    scores = []
    for share, made in paper.items():
        bought = buy(made.state.modes, made.before()[1], made.open(), made.available)
        assert bought.spending.spent <= made.available
        assert sum(made.pool.own[list(bought.order)]) == pytest.approx(bought.spending.spent), share
        scores.append(bought.score)
    assert scores == sorted(scores, reverse=True)


def test_it_leaves_less_variance_than_cheapest_and_random(paper: dict[float, Situation]) -> None:
    made = paper[0.04]
    bought = buy(made.state.modes, made.before()[1], made.open(), made.available)
    rng = np.random.default_rng(0)
    orders = [np.argsort(made.pool.own, kind="stable"), *(rng.permutation(len(made.pool)) for _ in range(5))]
    for order in orders:
        covariance = Covariance(made.state.modes)
        for i in benchmark.prefix(order.tolist(), 0.04):
            covariance.add(i)
        assert bought.score < covariance.score()


def test_no_question_is_served_much_worse_than_another() -> None:
    """Questions that count the same by themselves leave the dear one behind: leaning costs mean variance only."""
    made = nothing_known(0.08, seeds=1)
    covariance, spending = made.before()
    weight, questions = covariance.modes.weight, made.state.questions
    everything = covariance.copy()
    everything.add_all(np.flatnonzero(made.open()))
    np.testing.assert_allclose(shortfall(everything, everything, questions, weight), 0.0)
    equal = buy(covariance.modes, spending, made.open(), made.available)
    even = buy_evenly(covariance, questions, spending, made.open(), made.available)
    assert even.spending.spent <= made.available
    worst = [shortfall(b.covariance, everything, questions, weight).max() for b in (equal, even)]
    assert 0 < worst[1] < worst[0] - 0.02
    assert equal.score < even.score
    # One question has nothing to lean to.
    alone = buy_evenly(covariance, np.zeros_like(questions), spending, made.open(), made.available)
    assert alone.order == equal.order


def test_adding_and_forgetting_agree_with_algebra() -> None:
    rng = np.random.default_rng(3)
    H, P = rng.standard_normal((1, 6, 2, 4)), np.diag([1.0, 2.0, 0.5, 0.0])[None]
    G = rng.standard_normal((1, 1, 4))
    modes = Modes(H, P, G, np.ones((1, 1)), np.array([0.3]))
    covariance = Covariance(modes)
    for i in (0, 2, 5):
        covariance.add(i)
    h = H[0, [0, 2, 5]].reshape(6, 4)
    gained = P[0] @ h.T @ np.linalg.solve(h @ P[0] @ h.T + 0.3 * np.eye(6), h @ P[0])
    np.testing.assert_allclose(covariance.P[0], P[0] - gained, atol=1e-12)
    # What one more run would take is what it takes.
    promised, before, more = covariance.reduction()[0, 3, 0], covariance.V[0, 0], covariance.copy()
    more.add(3)
    assert more.V[0, 0] == pytest.approx(before * (1 - promised))
    at_once = Covariance(modes)
    at_once.add_all(np.array([0, 2, 5]))
    np.testing.assert_allclose(at_once.P, covariance.P, atol=1e-12)
    np.testing.assert_allclose(at_once.V, covariance.V, atol=1e-12)
    covariance.add(2, -1.0)
    again = Covariance(modes)
    again.add_all(np.array([0, 5]))
    for name in ("P", "V", "var", "cross"):
        np.testing.assert_allclose(getattr(covariance, name), getattr(again, name), atol=1e-10)


def test_replicates_average_noise_and_not_misfit(paper: dict[float, Situation]) -> None:
    made = paper[0.08]
    posterior, H = made.posteriors[0], made.state.modes.H[:1]
    p, noise = len(posterior.sd), posterior.noise
    # What the law itself says at one cell: its misfit there is no part of the question.
    G = np.zeros((1, 1, H.shape[3]))
    G[0, 0, :p] = H[0, 0, 0, :p]
    modes = Modes(H, made.state.modes.P[:1], G, np.ones((1, 1)), np.array([noise.run**2]))
    left = []
    for replicates in (1, 1000):
        covariance = Covariance(modes)
        for _ in range(replicates):
            covariance.add(0)
        left.append(covariance.V[0, 0])
    assert left[0] == pytest.approx(noise.run**2 + noise.misfit**2, rel=0.1)
    assert left[1] == pytest.approx(noise.misfit**2, rel=0.1)


def test_shared_jobs_are_paid_once(paper: dict[float, Situation]) -> None:
    from isoloss.compiler.design.candidates import Pool

    candidates = [Candidate(0, 1.0, (("a", 5.0),)), Candidate(1, 2.0, (("a", 5.0), ("b", 7.0)))]
    pool = Pool.of(benchmark.paper()[1][:2], candidates, ["edm5"])
    spending = Spending(pool)
    assert spending.price.tolist() == [6.0, 14.0]
    spending.buy(0)
    assert spending.price.tolist() == [1.0, 9.0]
    spending.buy(1)
    assert spending.spent == 15.0
    spending.sell(0)
    assert spending.spent == 14.0
    spending.sell(1)
    assert spending.price.tolist() == [6.0, 14.0]


@pytest.mark.timeout(20)
def test_what_tells_nothing_is_not_bought_however_cheap() -> None:
    """It would rank first by what it tells per FLOP, and choosing never ended."""
    from isoloss.compiler.design.candidates import Pool

    pool = Pool.of(benchmark.paper()[1][:2], [Candidate(0, 1.0), Candidate(1, 1e9)], ["edm5"])
    H = np.array([1e-4, 1.0]).reshape(1, 2, 1, 1)
    modes = Modes(H, np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1)), np.array([0.3]))
    bought = buy(modes, Spending(pool), np.ones(2, dtype=bool), 1e10)
    assert bought.order == (1,)


def test_the_pilots_design_of_the_paper_fits_its_slice(paper: dict[float, Situation]) -> None:
    made = paper[0.08]
    stage, slice = next_slice(made)
    assert stage == "pilot"
    assert 0 < slice.spending.spent <= 0.1 * made.available
    assert len({made.cells[i].generator for i in slice.order}) >= 3


# Against the others, on drawn results.


def test_it_answers_better_than_cheapest_first() -> None:
    """Law 2, fixed draws, 2 % of the grid: RMSE of the loss, designed against the grid's cheapest cells. 58 draws of
    `benchmarks/design.py`, which holds the figures, give 0.44 of it, and 0.56 of N*'s, which a few draws can't show."""
    errors = []
    for seed in range(8):
        world = benchmark.draw(0, seed)
        mine = answers.answer(world, benchmark.designed(world, 0.02), seed, resamples=2)
        cheap = benchmark.prefix(benchmark.cheapest(benchmark.grid()), 0.02)
        theirs = answers.answer(world, cheap, seed, resamples=2)
        assert mine is not None
        assert theirs is not None
        errors.append([mine[0], theirs[0]])
    designed, cheapest = np.sqrt(np.mean(np.square(errors), axis=0))
    assert designed < 0.7 * cheapest


def test_no_choice_comes_below_the_oracles_bound() -> None:
    """The benchmark's certificate on four cells of a line, each up to twice, against every choice."""
    H = np.stack([np.ones(4), np.arange(4.0)], axis=1)
    cost = np.array([0.1, 0.2, 0.3, 0.4])
    limits = oracle.Oracle(H, np.full(2, 100.0), np.array([[1.0, 4.0], [0.0, 1.0]]), 0.1, cost)
    for share, weight in ((0.5, 0.0), (0.5, 0.6), (0.7, 1.0), (2.0, 0.5)):
        w = np.array([weight, 1.0 - weight])
        choices = [np.array(c, dtype=np.float64) for c in product(range(benchmark.REPLICATES + 1), repeat=4)]
        each = [float(w @ np.log(limits.variances(c)[0])) for c in choices if cost @ c <= share + 1e-12]
        least = limits.least(share, weight, np.full(4, float(benchmark.REPLICATES)))
        assert least <= min(each)
        # Fractions of cells buy a little more, not much; with money for everything, nothing.
        assert least > min(each) - (1e-2 if share == 2.0 else 0.5)


@pytest.mark.parametrize(
    ("spent", "stage"), [(0.70, "pilot"), (0.78, "pilot"), (0.82, "slice"), (0.9, "slice")]
)
def test_a_stage_counts_as_spent_at_four_fifths(
    paper: dict[float, Situation], spent: float, stage: str
) -> None:
    """What is owned sets how far the pilot's tenth is spent: beyond four fifths the next stage's share is planned."""
    made = paper[0.08]
    limit = STAGES[0] * made.available
    order = np.argsort(made.pool.own, kind="stable")
    totals = np.cumsum(made.pool.own[order])
    count = int(np.searchsorted(totals, spent * limit))
    owned = tuple(int(i) for i in order[:count])
    now = replace(made, owned=owned)
    share = now.before()[1].spent / limit
    assert share == pytest.approx(spent, abs=0.02)
    assert next_slice(now)[0] == stage
