"""Schedules: what every one must obey, how near its bounds, and the picture of one."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.compiler.cost.schedule import SCALING, Schedule, schedule, widest_job
from isoloss.compiler.plan import Cost, FidSpec, Job, Origin, Range, TrainSpec
from isoloss.compiler.plans.totals import energy_kwh
from isoloss.runtime.context import Placement as Laid
from isoloss.runtime.training.layout import lay_out

SPEC = FidSpec({"kind": "digits"}, {"kind": "pixels"}, (), 1, 0)
#: A batch that every number of devices up to twelve can share, and 32.
BATCH = 27_720 * 4


def training(batch: int = BATCH, group: int = 1) -> TrainSpec:
    return TrainSpec({}, {}, {}, {"batch": batch}, 1, 1, None, 0, {"batchnorm_group": group})


def job(name: str, seconds: float | None, needs: tuple[str, ...] = (), state: str = "ready") -> Job:
    cost = Cost(seconds=None if seconds is None else Range(seconds, seconds, seconds))
    return Job(name, "train", name, needs, training(), Origin(), cost, state, "")  # type: ignore[arg-type]


@st.composite
def graphs(draw: st.DrawFn) -> list[Job]:
    jobs: list[Job] = []
    for index in range(draw(st.integers(1, 25))):
        needs = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        seconds = draw(st.floats(1.0, 1e5))
        state = draw(st.sampled_from(["ready", "ready", "ready", "done"]))
        jobs.append(job(str(index), seconds, tuple(map(str, sorted(needs))), state))
    return jobs


def check(jobs: list[Job], devices: int, made: Schedule, widest: int) -> None:
    """Every job once, after its needs, on free devices, as long as its width says."""
    left = {each.id: each for each in jobs if each.state != "done"}
    placed = {each.job: each for each in made.placed}
    assert sorted(placed) == sorted(left)
    assert len(made.placed) == len(placed)
    for id, each in placed.items():
        assert 1 <= len(set(each.devices)) == len(each.devices) <= widest
        assert all(0 <= d < devices for d in each.devices)
        alone = left[id].cost.seconds
        assert alone is not None
        assert each.end - each.start == pytest.approx(alone.mid / len(each.devices) ** SCALING, rel=1e-9)
        assert all(placed[need].end <= each.start + 1e-6 for need in left[id].needs if need in placed)
    for device in range(devices):
        mine = sorted((e.start, e.end) for e in made.placed if device in e.devices)
        assert all(first[1] <= second[0] + 1e-6 for first, second in pairwise(mine))
    assert made.makespan == pytest.approx(max((e.end for e in made.placed), default=0.0))
    assert made.makespan >= made.bound * (1 - 1e-9)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(1, 12), st.integers(1, 12))
def test_schedules_are_possible(jobs: list[Job], devices: int, widest: int) -> None:
    made = schedule(jobs, devices, widest=widest)
    check(jobs, devices, made, min(devices, widest))
    # Graham's bound holds for one device each; the search never makes that worse.
    alone = schedule(jobs, devices, widest=1)
    assert made.makespan <= alone.makespan * (1 + 1e-12)
    assert alone.makespan <= (alone.work_bound + alone.path_bound) * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(1, 12), st.data())
def test_a_width_above_one_is_one_that_the_runtime_lays_out(
    jobs: list[Job], devices: int, data: st.DataObject
) -> None:
    specs = st.sampled_from([training(96, 32), training(64, 16), training(10, 5), training(7, 7), SPEC])
    mixed = {}
    for each in jobs:
        spec = data.draw(specs)
        kind = "train" if isinstance(spec, TrainSpec) else "fid"
        mixed[each.id] = replace(each, kind=kind, spec=spec)  # type: ignore[arg-type]
    made = schedule(list(mixed.values()), devices)
    check(list(mixed.values()), devices, made, devices)
    for each in made.placed:
        spec, width = mixed[each.job].spec, len(each.devices)
        if isinstance(spec, TrainSpec):
            lay_out(spec.recipe["batch"], spec.numerics["batchnorm_group"], 0, width, Laid())
        else:
            assert width == 1


def test_one_long_job_gets_all_devices() -> None:
    made = schedule([job("a", 1000.0)], 8)
    assert made.widest == 8
    assert made.makespan == pytest.approx(1000.0 / 8**SCALING)
    assert made.gap == pytest.approx(1.0)
    assert schedule([job("a", 1000.0)], 8, widest=1).makespan == 1000.0


def test_chains_pay_their_restarts() -> None:
    made = schedule([job("a", 1000.0)], 1, walltime_seconds=300.0, restart_seconds=10.0)
    assert made.makespan == pytest.approx(1000.0 + 3 * 10.0)


def test_equal_long_jobs_end_near_the_bound() -> None:
    """Forty jobs of ten sizes, the longest far above the mean load, as in the paper's grid."""
    jobs = [job(f"{size}/{copy}", 100.0 * 1.6**size) for size in range(10) for copy in range(4)]
    made = schedule(jobs, 32)
    check(jobs, 32, made, 32)
    assert made.gap <= 1.25
    assert made.makespan < 0.5 * schedule(jobs, 32, widest=1).makespan


def test_nothing_left_takes_no_time() -> None:
    made = schedule([job("a", 5.0, state="done"), job("b", None)], 2)
    assert made.makespan == 0
    assert made.gap == 1
    with pytest.raises(ValueError, match="at least 1"):
        schedule([], 0)


def test_a_cpu_s_cores_take_a_job_each() -> None:
    assert widest_job("cpu", 2) == 1
    assert widest_job("h100", 8) == 8


def test_energy_is_a_range_or_not_estimated() -> None:
    found = energy_kwh(Range(3600, 7200, 10800), Range(100, 200, 300))
    assert found == Range(0.1, 0.4, 0.9)
    assert energy_kwh(None, Range(1, 1, 1)) is None
    assert energy_kwh(Range(1, 1, 1), None) is None


STUDY = """study wide { dataset cifar10
  generator g { sampler = edm(steps = 5) fid = 2 images = 5M }
  recipe r { loss = trades(beta = 5) attack = pgd(norm = linf, eps = 8/255, step = 2/255, steps = 10)
    batch = 512 lr = 0.2 }
  evaluate robust { attack = pgd(norm = linf, eps = 8/255, steps = 40, loss = cw) }
  grid runs { model in [wrn(28, 4), wrn(28, 10)] generator = g images in [1M, 5M] recipe = r }
  budget { devices = 6 of h100 choose = all } }"""


def test_the_plan_the_screen_and_the_picture_agree(tmp_path: Path) -> None:
    from isoloss.compiler.plans.plan_json import plan_from_json, plan_to_json
    from isoloss.drawings.gantt import gantt
    from isoloss.plans.planning import plan_of
    from isoloss.screens.plan_screen import screen

    path = tmp_path / "s.study"
    path.write_text(STUDY)
    plan, _ = plan_of(str(path))
    told = plan.budget["schedule"]
    assert told["gap"] <= 1.15
    assert told["widest"] > 1
    again = plan_from_json(plan_to_json(plan))
    text = screen(plan)
    assert text == screen(again)
    assert "no schedule is shorter than" in text
    assert "kWh" in text
    picture = gantt(again)
    assert picture == gantt(plan)
    assert picture is not None
    bars = [e for e in ET.fromstring(picture).iter() if e.tag.endswith("title")]
    timed = [j for j in plan.jobs if j.cost.seconds is not None]
    assert len(bars) >= len(timed)


def test_nothing_to_draw_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isoloss.commands import graph
    from isoloss.drawings import gantt
    from isoloss.errors import UserError
    from isoloss.plans.planning import plan_of

    path = tmp_path / "s.study"
    path.write_text(STUDY)
    plan, _ = plan_of(str(path))
    monkeypatch.setattr(gantt, "plan_schedule", lambda *_: None)
    with pytest.raises(UserError) as caught:
        graph._gantt(plan, None)
    assert caught.value.diagnostics[0].code == "P109"
