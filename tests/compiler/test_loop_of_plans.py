"""The compile-run loop on drawn results: it ends, it is pure, and what it trains never moves its laws."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from simulated import loss, observe, run_to_fixed_point
from studies import BASE, study

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import Observation, Plan
from isoloss.compiler.plans.plan_json import plan_to_json
from isoloss.dsl.study.study import Study

FITS = (
    "fit envelope { law = approach1 to = runs per = generator resamples = 40 }\n"
    "  fit joint { law = approach2 to = runs resamples = 60 }"
)
ASK = (
    "forecast larger { law = joint generator = fine compute = 100 GFLOP within = 1% }\n"
    "  allocate check { law = joint compute = 100 GFLOP generator = fine evaluate = [robust] }"
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(tmp_path_factory.mktemp("loop"), fits=FITS, ask=ASK)


@pytest.fixture(scope="module")
def ended(asked: Study) -> tuple[list[Plan], list[Observation]]:
    return run_to_fixed_point(asked)


def test_the_loop_ends_with_nothing_ready(ended: tuple[list[Plan], list[Observation]]) -> None:
    plans, _ = ended
    assert len(plans) == 3
    assert {job.state for job in plans[-1].jobs} == {"done"}
    assert [plan.revision for plan in plans] == sorted({plan.revision for plan in plans})


def test_the_follow_up_waits_then_runs_then_is_compared(
    ended: tuple[list[Plan], list[Observation]],
) -> None:
    first, second, last = (next(a for a in p.answers if a.name == "check") for p in ended[0])
    assert (first.status, first.job, first.measured) == ("pending", None, {})
    assert second.status == "answered"
    assert second.job is not None
    assert last.job == second.job
    assert last.values == second.values
    measured, expected = last.measured["loss"], last.values["loss"]
    assert measured is not None
    assert expected is not None
    inside = expected.low <= measured.mid <= expected.high
    assert any(("inside" if inside else "outside") in note for note in last.notes)
    assert last.measured["accuracy"] is not None


def test_the_follow_up_is_a_real_network_at_its_exact_cost(
    ended: tuple[list[Plan], list[Observation]],
) -> None:
    last = ended[0][-1]
    answer = next(a for a in last.answers if a.name == "check")
    job = last.job(answer.job or "")
    assert job.facts.allocation == "check"
    assert job.cost.flops == pytest.approx(100e9, rel=0.01)
    assert job.cost.flops <= 100e9
    # The drawn law's own optimum over the same networks, by exhaustive search.
    best = min((loss(63 * w * w + 341 * w + 10, 100e9 / (27 * 2 * macs(w)), 0.067), w) for w in range(1, 40))
    assert abs(job.spec.model["width"] - best[1]) <= 2


def macs(width: int) -> int:
    """Multiply-adds of the miniature network on 8x8x1, layer by layer."""
    w = width
    return 64 * 9 * w + 64 * 9 * w * w + 16 * 9 * w * 2 * w + 16 * 9 * 4 * w * w + 320 * w


def test_shuffled_observations_give_the_same_bytes(
    asked: Study, ended: tuple[list[Plan], list[Observation]]
) -> None:
    observations = list(ended[1])
    random.Random(7).shuffle(observations)
    again, _ = compile_study(asked, observations, BUILT_IN["cpu"])
    assert again is not None
    assert plan_to_json(again) == plan_to_json(ended[0][-1])


def test_what_the_follow_up_measured_moves_no_law(
    asked: Study, ended: tuple[list[Plan], list[Observation]]
) -> None:
    last = ended[0][-1]
    mine = {job.id for job in last.jobs if job.facts.allocation == "check"}
    wild = [replace(o, value=o.value * 3) if o.job in mine and "loss" in o.metric else o for o in ended[1]]
    assert wild != ended[1]
    again, _ = compile_study(asked, wild, BUILT_IN["cpu"])
    assert again is not None
    assert again.laws == last.laws
    assert {j.id for j in again.jobs} == {j.id for j in last.jobs}
    answer = next(a for a in again.answers if a.name == "check")
    assert any("outside" in note for note in answer.notes)


def test_a_partial_result_leaves_the_follow_up_provisional(
    asked: Study, ended: tuple[list[Plan], list[Observation]]
) -> None:
    first = ended[0][0]
    some = {job.id for job in first.jobs if job.facts.grid is None}
    runs = [job.id for job in first.jobs if job.kind in ("train", "evaluate")]
    evaluated = {job.needs[0] for job in first.jobs if job.kind == "evaluate"}
    left_out = next(id for id in runs if id in evaluated)
    some.update(id for id in runs if id != left_out and left_out not in first.job(id).needs)
    plan, _ = compile_study(asked, observe(first, only=sorted(some)), BUILT_IN["cpu"])
    assert plan is not None
    answer = next(a for a in plan.answers if a.name == "check")
    assert answer.status == "pending"
    states = Counter(job.state for job in plan.jobs if job.facts.allocation == "check")
    assert states == {"provisional": 2}
    assert {job.id for job in plan.jobs if job.state == "ready"} == {
        left_out,
        *(job.id for job in plan.jobs if left_out in job.needs),
    }


def test_an_answer_wider_than_wanted_is_said(ended: tuple[list[Plan], list[Observation]]) -> None:
    last = ended[0][-1]
    answer = next(a for a in last.answers if a.name == "larger")
    value = answer.values["loss"]
    assert value is not None
    wide = (value.high - value.low) / 2 / value.mid > 0.01
    assert wide
    assert "L504" in {w.code for w in last.warnings}


def test_measured_fids_decide_waiting_cells(tmp_path: Path) -> None:
    grid = BASE["grid"].replace("seed in [0, 1]", "where fid < 1")
    plans, _ = run_to_fixed_point(study(tmp_path, grid=grid))
    states = Counter((j.kind, j.state) for j in plans[0].jobs)
    assert states["train", "provisional"] == 18
    assert states["fid", "ready"] == 2
    # Images that only waiting cells need aren't made before they are wanted.
    assert states["generate", "ready"] == 2
    assert states["generate", "provisional"] == 2
    assert {j.facts.generator for j in plans[-1].jobs if j.kind == "train"} == {"fine"}


def test_finished_jobs_teach_the_clock(asked: Study, ended: tuple[list[Plan], list[Observation]]) -> None:
    last = ended[0][-1]
    profile = last.budget["profile"]
    assert profile["provenance"].startswith("measured")
    # Every drawn train job takes 2.25 s by its last curve point, however large: no machine of the formula, but near.
    times = [j.cost.seconds for j in last.jobs if j.kind == "train" and j.facts.grid]
    assert median(t.mid for t in times if t is not None) == pytest.approx(2.25, rel=0.1)


def test_a_staged_fit_takes_its_stages_from_the_study(
    tmp_path: Path, ended: tuple[list[Plan], list[Observation]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base is the set the study names, though its fid is not the lowest; the rest is the second stage."""
    from isoloss.compiler.observed import study_fits as fits

    made = []

    def spy(law: str, points: Points, options: FitOptions) -> LawFit:
        made.append((fit_law(law, points, options), points))
        return made[-1][0]

    monkeypatch.setattr(fits, "fit_law", spy)
    staged = (
        "fit quality { law = approach2 base = (runs where generator == coarse) "
        "quality = (runs where generator == fine) resamples = 20 }"
    )
    asked = study(tmp_path, fits=staged, ask="")
    plan, problems = compile_study(asked, ended[1], BUILT_IN["cpu"])
    assert plan is not None, problems
    [(fit, points)] = made
    assert fit.settings["base_fid"] == points.fid.max()
    first = points.select(points.fid == points.fid.max())
    options = FitOptions(resamples=0, rolling=False, points="best")
    alone = fit_law("chinchilla", first, options)
    assert fit.parameters["alpha"] == pytest.approx(alone.parameters["alpha"], rel=1e-6)
    told = next(answer for answer in plan.answers if answer.name == "quality")
    assert told.values["alpha"].mid == pytest.approx(fit.parameters["alpha"], rel=1e-6)
