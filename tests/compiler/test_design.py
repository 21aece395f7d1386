"""The design: within its budget, deterministic, better than the cheapest runs, and its loop ends."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from simulated import observe, run_to_fixed_point
from studies import example, study

from isoloss.compiler.compile import compile_study
from isoloss.compiler.design import bound
from isoloss.compiler.design.balance import buy_evenly, shortfall
from isoloss.compiler.design.belief import CURVE, together
from isoloss.compiler.design.choice import Candidate
from isoloss.compiler.design.greedy import Belt, Modes, Purse, buy
from isoloss.compiler.design.planner import Situation, next_slice, situation
from isoloss.compiler.design.pool import LENGTHS, Smooth
from isoloss.compiler.design.target import Target, gradients
from isoloss.compiler.design.target import optimum as best
from isoloss.compiler.devices import BUILT_IN
from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.published import published
from isoloss.compiler.laws.solve import constant_rule
from isoloss.compiler.plan import Observation, Plan
from isoloss.compiler.plan_json import plan_to_json
from isoloss.compiler.runs import Knowledge, Run
from isoloss.compiler.totals import bill_flops
from isoloss.dsl.codes import codes
from isoloss.dsl.study import Study

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import design_bound as oracle
import design_draws as answers
import paper_grid as benchmark

FITS = "fit joint { law = approach2 to = runs resamples = 60 }"
ASK = (
    "forecast larger { law = joint generator = fine compute = 100 GFLOP }\n"
    "  allocate check { law = joint compute = 60 GFLOP generator = fine evaluate = [robust] }"
)
BUDGET = "budget {{ compute = {} devices = 2 of cpu choose = {} }}"


def small(folder: Path, compute: str = "440 GFLOP", choose: str = "design", **parts: str) -> Study:
    return study(folder, **{"fits": FITS, "ask": ASK, "budget": BUDGET.format(compute, choose), **parts})


def planned(some: Study, observations: Sequence[Observation] = ()) -> Plan:
    plan, problems = compile_study(some, observations, BUILT_IN["cpu"])
    assert plan is not None, problems
    return plan


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Plan], list[Observation]]:
    some = small(tmp_path_factory.mktemp("design"))
    return some, *run_to_fixed_point(some)


def grid_runs(plan: Plan) -> set[str]:
    return {job.id for job in plan.jobs if job.kind == "train" and job.facts.grid is not None}


# The loop.


def test_the_loop_ends_within_the_budget(ended: tuple[Study, list[Plan], list[Observation]]) -> None:
    some, plans, _ = ended
    assert {job.state for job in plans[-1].jobs} == {"done"}
    assert plans[-1].dropped, "a budget that holds everything tests nothing"
    for plan in plans:
        spent = sum(bill_flops(job.cost) for job in plan.jobs)
        assert spent <= (some.budget.compute_flops or 0) * (1 + 1e-12)


def test_a_pilot_comes_first_and_what_was_bought_stays(
    ended: tuple[Study, list[Plan], list[Observation]],
) -> None:
    _, plans, _ = ended
    first = plans[0].budget["design"]
    assert first["stage"] == "pilot"
    assert all(law["runs"] == 0 for law in first["laws"].values())
    assert any("prior, assumed" in w.message for w in plans[0].warnings if w.code == "B105")
    assert plans[-1].budget["design"]["stage"] == "complete"
    assert len(plans) >= 4
    for before, after in pairwise(plans):
        assert grid_runs(before) <= grid_runs(after)
    # A tenth of what the follow-up leaves, as long as single runs allow.
    available = plans[0].budget["compute_flops"] - plans[0].budget["reserved_flops"]
    assert first["slice_flops"] <= 0.4 * available
    # The follow-up waits for the last slice.
    answers = [next(a for a in plan.answers if a.name == "check") for plan in plans]
    assert answers[0].status == "pending"
    assert answers[-1].status == "answered"
    assert answers[-1].measured["loss"] is not None


def test_plans_are_pure(ended: tuple[Study, list[Plan], list[Observation]]) -> None:
    some, plans, observations = ended
    assert plan_to_json(planned(some)) == plan_to_json(plans[0])
    assert plan_to_json(planned(some, observations[::-1])) == plan_to_json(plans[-1])


def test_an_interrupted_slice_keeps_what_it_had(
    ended: tuple[Study, list[Plan], list[Observation]],
) -> None:
    some, plans, _ = ended
    first = plans[0]
    trains = sorted(grid_runs(first))[:1]
    fids = [job.id for job in first.jobs if job.kind in ("generate", "fid")]
    plan = planned(some, observe(first, only=[*fids, *trains]))
    assert set(trains) <= grid_runs(plan)
    assert any(job.needs[:1] == tuple(trains) and job.state == "ready" for job in plan.jobs)
    spent = sum(bill_flops(job.cost) for job in plan.jobs)
    assert spent <= (some.budget.compute_flops or 0)


def test_every_choice_says_why(ended: tuple[Study, list[Plan], list[Observation]]) -> None:
    _, plans, _ = ended
    pilot = plans[0]
    for job in pilot.jobs:
        if job.kind == "train":
            assert re.search(
                r"in the pilot: (without it the interval of `(larger|check)` would be|hardly)", job.reason
            )
    for dropped in pilot.dropped:
        assert dropped.gain is not None
        assert 0.0 <= dropped.gain <= 1.0
        assert re.search(
            r"would (narrow the interval of `(larger|check)` by \d|tell next to nothing)", dropped.reason
        )
    notes = next(a for a in pilot.answers if a.name == "larger").notes
    assert any("no plan at this budget comes below" in note for note in notes)


def test_without_a_question_the_cheapest_come_first(tmp_path: Path) -> None:
    plan = planned(study(tmp_path, budget=BUDGET.format("100 GFLOP", "design")))
    assert any("no fit, forecast or allocate" in w.message for w in plan.warnings if w.code == "B105")
    cheapest = planned(study(tmp_path, budget=BUDGET.format("100 GFLOP", "cheapest")))
    assert grid_runs(plan) == grid_runs(cheapest)


# What it minimises.


@pytest.fixture(scope="module")
def paper() -> dict[float, Situation]:
    """The paper's candidates, nothing known, at three budgets."""
    some, cells, candidates = benchmark.paper()
    runs = [Run(cell, str(i), (), benchmark.METRIC) for i, cell in enumerate(cells)]
    everything = sum(c.flops for c in candidates)
    made = {}
    for share in (0.02, 0.04, 0.08):
        found = situation(some, cells, candidates, runs, Knowledge(()), share * everything, None)
        assert found is not None
        made[share] = found
    return made


def test_a_larger_budget_never_leaves_more_variance(paper: dict[float, Situation]) -> None:
    scores = []
    for share, made in paper.items():
        bought = buy(made.state.modes, made.before()[1], made.open(), made.available)
        assert bought.purse.spent <= made.available
        assert sum(made.pool.own[list(bought.order)]) == pytest.approx(bought.purse.spent), share
        scores.append(bought.score)
    assert scores == sorted(scores, reverse=True)


def test_it_leaves_less_variance_than_cheapest_and_random(paper: dict[float, Situation]) -> None:
    made = paper[0.04]
    bought = buy(made.state.modes, made.before()[1], made.open(), made.available)
    rng = np.random.default_rng(0)
    orders = [np.argsort(made.pool.own, kind="stable"), *(rng.permutation(len(made.pool)) for _ in range(5))]
    for order in orders:
        belt = Belt(made.state.modes)
        for i in benchmark.prefix(order.tolist(), 0.04):
            belt.add(i)
        assert bought.score < belt.score()


def test_no_question_is_served_much_worse_than_another(paper: dict[float, Situation]) -> None:
    """Questions that count the same by themselves leave the dear one behind: leaning costs mean variance only."""
    made = paper[0.08]
    belt, purse = made.before()
    weight, questions = belt.modes.weight, made.state.questions
    everything = belt.copy()
    everything.add_all(np.flatnonzero(made.open()))
    np.testing.assert_allclose(shortfall(everything, everything, questions, weight), 0.0)
    equal = buy(belt.modes, purse, made.open(), made.available)
    even = buy_evenly(belt, questions, purse, made.open(), made.available)
    assert even.purse.spent <= made.available
    worst = [shortfall(b.belt, everything, questions, weight).max() for b in (equal, even)]
    assert 0 < worst[1] < worst[0] - 0.02
    assert equal.score < even.score
    # One question has nothing to lean to.
    alone = buy_evenly(belt, np.zeros_like(questions), purse, made.open(), made.available)
    assert alone.order == equal.order


def test_adding_and_forgetting_agree_with_algebra() -> None:
    rng = np.random.default_rng(3)
    H, P = rng.standard_normal((1, 6, 2, 4)), np.diag([1.0, 2.0, 0.5, 0.0])[None]
    G = rng.standard_normal((1, 1, 4))
    modes = Modes(H, P, G, np.ones((1, 1)), np.array([0.3]))
    belt = Belt(modes)
    for i in (0, 2, 5):
        belt.add(i)
    h = H[0, [0, 2, 5]].reshape(6, 4)
    gained = P[0] @ h.T @ np.linalg.solve(h @ P[0] @ h.T + 0.3 * np.eye(6), h @ P[0])
    np.testing.assert_allclose(belt.P[0], P[0] - gained, atol=1e-12)
    # What one more run would take is what it takes.
    promised, before, more = belt.reduction()[0, 3, 0], belt.V[0, 0], belt.copy()
    more.add(3)
    assert more.V[0, 0] == pytest.approx(before * (1 - promised))
    at_once = Belt(modes)
    at_once.add_all(np.array([0, 2, 5]))
    np.testing.assert_allclose(at_once.P, belt.P, atol=1e-12)
    np.testing.assert_allclose(at_once.V, belt.V, atol=1e-12)
    belt.add(2, -1.0)
    again = Belt(modes)
    again.add_all(np.array([0, 5]))
    for name in ("P", "V", "var", "cross"):
        np.testing.assert_allclose(getattr(belt, name), getattr(again, name), atol=1e-10)


def test_replicates_average_noise_and_not_misfit(paper: dict[float, Situation]) -> None:
    made = paper[0.08]
    belief, H = made.beliefs[0], made.state.modes.H[:1]
    p, noise = len(belief.sd), belief.noise
    # What the law itself says at one cell: its misfit there is no part of the question.
    G = np.zeros((1, 1, H.shape[3]))
    G[0, 0, :p] = H[0, 0, 0, :p]
    modes = Modes(H, made.state.modes.P[:1], G, np.ones((1, 1)), np.array([noise.run**2]))
    left = []
    for replicates in (1, 1000):
        belt = Belt(modes)
        for _ in range(replicates):
            belt.add(0)
        left.append(belt.V[0, 0])
    assert left[0] == pytest.approx(noise.run**2 + noise.misfit**2, rel=0.1)
    assert left[1] == pytest.approx(noise.misfit**2, rel=0.1)


def test_evaluations_along_one_run_share_its_luck(tmp_path: Path) -> None:
    """Two evaluations of one run tell 2 / (1 + correlation) times as much of its level as one, not twice."""
    some = small(tmp_path, fits="fit joint { law = approach2 to = runs points = curve resamples = 60 }")
    whole = small(tmp_path)
    spans = {}
    for name, each in (("curve", some), ("best", whole)):
        [row] = [r for r in planned(each).budget["design"]["answers"] if r["what"] == "loss"]
        spans[name] = row["after_slice"]
    assert spans["curve"] < spans["best"]
    correlated = together(np.zeros(2, dtype=np.int64))
    told_together = np.ones(2) @ np.linalg.solve(correlated, np.ones(2))
    assert told_together == pytest.approx(2 / (1 + CURVE))


def test_shared_jobs_are_paid_once(paper: dict[float, Situation]) -> None:
    from isoloss.compiler.design.pool import Pool

    candidates = [Candidate(0, 1.0, (("a", 5.0),)), Candidate(1, 2.0, (("a", 5.0), ("b", 7.0)))]
    pool = Pool.of(benchmark.paper()[1][:2], candidates, ["edm5"])
    purse = Purse(pool)
    assert purse.price.tolist() == [6.0, 14.0]
    purse.buy(0)
    assert purse.price.tolist() == [1.0, 9.0]
    purse.buy(1)
    assert purse.spent == 15.0
    purse.sell(0)
    assert purse.spent == 14.0
    purse.sell(1)
    assert purse.price.tolist() == [6.0, 14.0]


# Closed forms.


@pytest.mark.parametrize("fid", [0.0, 1.65])
def test_gradients_have_law_2s_closed_form(fid: float) -> None:
    law, theta = published("bartoldson2024.approach2").law, published("bartoldson2024.approach2").theta
    a, alpha, b, beta, zeta, _, _ = theta
    s, q, lnM = alpha + beta, np.log1p(fid), np.log(1e21 / 7822)
    lnN = (np.log(alpha) + a - np.log(beta) - (b + zeta * q) + beta * lnM) / s
    expected = [
        1 / s, (1 / alpha - lnN) / s, -1 / s, (-1 / beta + lnM - lnN) / s, -q / s, 0.0, 0.0
    ]  # fmt: skip
    target = Target("x", "size", "f", 1e21, fid)
    found = gradients(law, theta, np.eye(7), target, best(law, theta, target, constant_rule))
    assert found is not None
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=3e-4)


@pytest.mark.parametrize("name", ["bartoldson2024.approach2", "bartoldson2024.approach3"])
def test_the_envelope_theorem_holds(name: str) -> None:
    from isoloss.compiler.laws.solve import optimum

    law, theta = published(name).law, published(name).theta
    target = Target("x", "loss", "f", 1e22, 1.65)
    found = gradients(law, theta, np.eye(len(theta)), target, best(law, theta, target, constant_rule))
    assert found is not None
    for j in range(len(theta)):
        step = 1e-5 * max(1.0, abs(theta[j])) * np.eye(len(theta))[j]
        up, down = (optimum(law, (theta + sign * step)[None], 1e22, 1.65, None)[2][0] for sign in (1, -1))
        assert found[0][j] == pytest.approx((up - down) / (2 * step[j]), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("fid", [0.0, 1.65])
def test_sizes_move_as_the_search_says(fid: float) -> None:
    """Law 3 has no closed form: the implicit derivative against differences of the search."""
    law, theta = published("bartoldson2024.approach3").law, published("bartoldson2024.approach3").theta
    target = Target("x", "size", "f", 1e21, fid)
    found = gradients(law, theta, np.eye(8), target, best(law, theta, target, constant_rule))
    assert found is not None
    for j, step in enumerate(1e-3 * np.eye(8)):
        up, down = (best(law, theta + sign * step, target, constant_rule)[0] for sign in (1, -1))
        assert found[0][j] == pytest.approx((up - down) / 2e-3, rel=2e-3, abs=2e-3)


def test_the_misfit_has_unit_variance_and_fades() -> None:
    points = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0), [0.0, 1.0]), axis=-1).reshape(-1, 3)

    def at(places: Floats) -> Inputs:
        lnN, lnD, lnQ = (places * LENGTHS).T
        return Inputs(lnN, lnD, np.expm1(lnQ), lnD)

    smooth = Smooth.over(points)
    K = smooth(at(points)) @ smooth(at(points)).T
    square = np.sum((points[:, None] - points[None]) ** 2, axis=2)
    np.testing.assert_allclose(K, np.exp(-0.5 * square), atol=0.05)
    assert np.abs(smooth(at(points + 50.0))).max() < 1e-12
    assert np.abs(smooth(at(points + np.array([0.0, np.inf, 0.0])))).max() < 1e-12


def test_the_bound_is_the_textbooks_for_a_line() -> None:
    """Intercept of a line from two ends x = 1, 2 at equal cost: g = 2 f(1) - f(2), so 3 sigma / sqrt(B)."""
    f = np.array([[1.0, 1.0], [1.0, 1.5], [1.0, 2.0]])
    sd = bound.least_sd(f, np.ones(3), np.array([1.0, 0.0]), 0.1, 16.0)
    assert sd == pytest.approx(0.1 * 3 / 4)
    assert bound.least_sd(f[:1], np.ones(1), np.array([1.0, 0.0]), 0.1, 16.0) is None
    # No plan beats it: nine runs spread any way.
    for counts in ([6, 0, 3], [3, 3, 3], [5, 2, 2]):
        M = (f * np.array(counts)[:, None]).T @ f
        assert 0.1 * np.sqrt(np.linalg.inv(M)[0, 0]) >= bound.least_sd(
            f, np.ones(3), np.array([1.0, 0.0]), 0.1, 9.0
        )  # type: ignore[operator]


# Against the others, on drawn results.


def test_it_answers_better_than_cheapest_first() -> None:
    """Law 2, fixed draws, 2 % of the grid: RMSE of each answer, designed against cheapest-first. 400 draws give
    about two thirds; these four less than half."""
    errors = []
    for seed in range(4):
        world = benchmark.draw(0, seed)
        mine = answers.answer(world, benchmark.designed(world, 0.02), seed, resamples=2)
        theirs = answers.answer(world, benchmark.prefix(benchmark.cheapest(), 0.02), seed, resamples=2)
        assert mine is not None
        assert theirs is not None
        errors.append([[mine[0], mine[3]], [theirs[0], theirs[3]]])
    designed, cheapest = np.sqrt(np.mean(np.square(errors), axis=0))
    assert (designed < 0.7 * cheapest).all()


def test_no_choice_comes_below_the_oracles_bound() -> None:
    """The benchmark's certificate on four cells of a line, against every choice that there is."""
    H = np.stack([np.ones(4), np.arange(4.0)], axis=1)
    cost = np.array([0.1, 0.2, 0.3, 0.4])
    limits = oracle.Oracle(H, np.full(2, 100.0), np.array([[1.0, 4.0], [0.0, 1.0]]), 0.1, cost)
    for share, weight in ((0.5, 0.0), (0.5, 0.6), (0.7, 1.0), (1.0, 0.5)):
        w = np.array([weight, 1.0 - weight])
        choices = [np.array(c, dtype=np.float64) for c in product((0, 1), repeat=4)]
        each = [float(w @ np.log(limits.variances(c)[0])) for c in choices if cost @ c <= share + 1e-12]
        least = limits.least(share, weight)
        assert least <= min(each)
        # Fractions of cells buy a little more, not much; with money for everything, nothing.
        assert least > min(each) - (1e-2 if share == 1.0 else 0.5)


# What can't be answered.


def test_the_pilots_design_of_the_paper_fits_its_slice(paper: dict[float, Situation]) -> None:
    made = paper[0.08]
    stage, slice = next_slice(made)
    assert stage == "pilot"
    assert 0 < slice.purse.spent <= 0.1 * made.available
    assert len({made.cells[i].generator for i in slice.order}) >= 3


def test_a_tolerance_out_of_reach_has_numbers_and_a_way_out(tmp_path: Path) -> None:
    ask = "forecast larger {{ law = joint generator = fine compute = 100 GFLOP within = {} }}"
    narrow = planned(small(tmp_path, ask=ask.format("0.01%")))
    said = next(w for w in narrow.warnings if w.code == "B110")
    assert "out of reach" in said.message
    assert "% by law `joint`" in said.message
    assert "not even one run" in said.help
    # Known within a little more than the whole budget is expected to leave: nothing to say.
    expected = narrow.budget["design"]["answers"][0]["whole_budget"]
    assert expected < 0.9
    wide = planned(small(tmp_path, ask=ask.format(f"{expected * 101:.3f}%")))
    assert "B110" not in {w.code for w in wide.warnings}


def test_the_cheapest_run_that_settles_a_question_is_named() -> None:
    """The paper's forecast within 5 %, for a tenth of its grid: out of reach, but not for every run."""
    some = example("robustness_limits")
    limit = replace(some.forecasts[0], within=0.05)
    some = replace(some, budget=replace(some.budget, compute_flops=2e21), forecasts=(limit,))
    plan, _ = compile_study(some, (), BUILT_IN["h100"])
    assert plan is not None
    said = next(w for w in plan.warnings if w.code == "B110")
    assert "the cheapest run that would settle it" in said.help
    amount, prefix = re.findall(r"([\d.]+) ([EZY])FLOP", said.help)[0]
    assert 1e20 < float(amount) * {"E": 1e18, "Z": 1e21, "Y": 1e24}[prefix] <= 1e25
    asked = {(row["question"], row["law"]) for row in plan.budget["design"]["answers"]}
    assert asked == {("limit", "quality"), ("limit", "bottleneck"), ("sota", "bottleneck")}


def test_everything_affordable_is_bought_and_still_doubted(tmp_path: Path) -> None:
    ask = "forecast larger { law = joint generator = fine compute = 100 GFLOP within = 0.01% }"
    plan = planned(small(tmp_path, compute="50 TFLOP", ask=ask))
    assert not plan.dropped
    assert {job.reason for job in plan.jobs if job.kind == "train"} == {"the budget holds every cell"}
    assert "B110" in {w.code for w in plan.warnings}


@pytest.mark.parametrize("code", ["B105", "B110", "B111", "B112"])
def test_examples_of_codes(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isoloss.cli import main

    monkeypatch.chdir(tmp_path)

    def printed(example: str) -> str:
        heredoc, _, command = example.partition("\n$ isoloss ")
        (tmp_path / "small.study").write_text(heredoc.partition("'")[2].rpartition("'")[0])
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            assert main(command.split()) == (1 if "error[" in out.getvalue() else 0)
        return out.getvalue()

    row = codes()[code]
    if row.wrong:
        assert code in printed(row.wrong)
    assert code not in printed(row.right)


def test_laws_that_cant_be_told_apart_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pilot the laws differ at 1e25 FLOP; only a pool that can't tell them apart makes it a doubt."""
    from isoloss.compiler.design import doubt
    from isoloss.compiler.design.planner import plan

    some, cells, candidates = benchmark.paper()
    asked = replace(some.forecasts[0], within=0.005)
    some = replace(some, forecasts=(asked,))
    world = benchmark.draw(0, 0)
    rows = benchmark.prefix(benchmark.cheapest(), 0.02)
    runs = [Run(cell, str(i), (), benchmark.METRIC) for i, cell in enumerate(cells)]
    known = Knowledge([benchmark._observe(world, cells[i], i) for i in rows])
    available = 0.05 * sum(c.flops for c in candidates)
    made = situation(some, cells, candidates, runs, known, available, 10_000)
    assert made is not None
    design = plan(made)
    one, _ = (t for t in made.state.targets if t.what == "loss" and t.question == asked.name)
    assert doubt._distance(made, one, one) == pytest.approx(0.0, abs=1e-6)
    monkeypatch.setattr(doubt, "APART", 1e-3)
    assert "B111" not in {d.code for d in doubt.doubts(design, some)}
    monkeypatch.setattr(doubt, "APART", 1e3)
    (said,) = (d for d in doubt.doubts(design, some) if d.code == "B111")
    assert "standard deviations" in said.headline
    assert "no run up to the question's compute" in said.help[0]


@pytest.mark.parametrize("choose", ["design", "cheapest"])
def test_pinned_runs_come_first(tmp_path: Path, choose: str) -> None:
    """The dearest network at its most images is nobody's first choice, unless pinned."""
    dearest = "(runs where params > 2k and images == 16k and generator == fine and seed == 0)"
    budget = BUDGET.format("450 GFLOP", choose).replace("choose", f"pin = {dearest} choose")
    plan = planned(small(tmp_path, budget=budget))
    pinned = [job for job in plan.jobs if job.kind == "train" and "pin" in job.reason]
    assert len(pinned) == 1
    assert all(job.spec.seed == 0 and job.facts.images >= 16_000 for job in pinned)
    free = planned(small(tmp_path, compute="450 GFLOP", choose=choose))
    assert not {job.id for job in pinned} <= grid_runs(free)
    assert sum(bill_flops(job.cost) for job in plan.jobs) <= 450e9


def test_pins_beyond_the_budget_are_refused(tmp_path: Path) -> None:
    for choose in ("design", "cheapest"):
        budget = BUDGET.format("400 GFLOP", choose).replace("choose", "pin = runs choose")
        plan, problems = compile_study(small(tmp_path, budget=budget), (), BUILT_IN["cpu"])
        assert plan is None
        assert "B112" in {d.code for d in problems}
