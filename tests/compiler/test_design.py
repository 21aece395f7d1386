"""The design: within its budget, deterministic, its loop ends, and what it can't answer is said."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from simulated import observe, run_to_fixed_point
from studies import example, study

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.design.planner import situation
from isoloss.compiler.laws.fitting.neighbours import CURVE, together
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.plan import Observation, Plan
from isoloss.compiler.plans.plan_json import plan_to_json
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.study.study import Study

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
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


# What can't be answered.


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
    from isoloss.compiler.design import feasibility as doubt
    from isoloss.compiler.design.planner import plan

    some, cells, candidates = benchmark.paper()
    asked = replace(some.forecasts[0], within=0.005)
    some = replace(some, forecasts=(asked,))
    world = benchmark.draw(0, 0)
    rows = benchmark.prefix(benchmark.cheapest(benchmark.grid()), 0.02)
    runs = [benchmark.run_of(cell, i) for i, cell in enumerate(cells)]
    known = Knowledge([benchmark._observe(world, cells[i], i) for i in rows])
    available = 0.05 * sum(c.flops for c in candidates)
    made = situation(some, cells, candidates, runs, known, available, 10_000, Remembered())
    assert made is not None
    design = plan(made)
    one, _ = (t for t in made.state.targets if t.what == "loss" and t.question == asked.name)
    assert doubt._distance(made, one, one) == pytest.approx(0.0, abs=1e-6)
    monkeypatch.setattr(doubt, "APART", 1e-3)
    assert "B111" not in {d.code for d in doubt.infeasible_questions(design, some)}
    monkeypatch.setattr(doubt, "APART", 1e3)
    (said,) = (d for d in doubt.infeasible_questions(design, some) if d.code == "B111")
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
