"""Seconds: the formula, jobs unlike each other, what a job's time is spent on, energy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from studies import example, plan_of, study

from isoloss.compiler.cost import flops
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.cost.price import Pricer, amounts
from isoloss.compiler.cost.scaling import alone_seconds, fewest
from isoloss.compiler.cost.speed import Speed, Work, split
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.plan import DeviceProfile, EvaluateSpec, Observation, Plan, Range, TrainSpec
from isoloss.compiler.plans.explain_job import explain
from isoloss.compiler.plans.totals import wall_kwh


def exactly(value: float) -> Range:
    return Range(value, value, value)


def machine(queues: bool) -> DeviceProfile:
    speed = Speed(exactly(1e12), exactly(1e9), exactly(1e-4), "a test")
    return DeviceProfile("a test", {"train": speed}, exactly(2.0), None, None, "a test", queues)


@pytest.mark.parametrize(
    ("work", "queued", "in_turn"),
    [
        (Work(1e13, 5e9, 1e4), 2 + 15.0, 2 + 16.0),
        (Work(1e12, 1e9, 1e5), 2 + 10.0, 2 + 12.0),
    ],
)
def test_a_queue_hides_the_shorter_of_launches_and_work(work: Work, queued: float, in_turn: float) -> None:
    """10 s of arithmetic and 5 s of memory over 1 s of launches; 2 s over 10 s."""
    assert split(machine(True), [("train", work)]).total.mid == pytest.approx(queued)
    assert split(machine(False), [("train", work)]).total.mid == pytest.approx(in_turn)
    both = split(machine(True), [("train", work), ("train", work)]).total.mid
    assert both == pytest.approx(2 * queued - 2.0)


def test_narrow_networks_reach_a_smaller_share_of_the_peak() -> None:
    """1 / share = a + b / width: of a network twice as wide, b's part halves."""
    profile, steps = BUILT_IN["h200"], 1e12
    one_over: list[float] = []
    for width in (4, 8, 16):
        counted = flops.count({"kind": "wrn", "depth": 28, "width": width}, {"kind": "cifar10"})
        work = flops.network_work(counted, 27.0, steps, 1.0)
        seconds = split(profile, [("train@bf16", work)]).work.mid
        one_over.append(989e12 * seconds / work.flops)
    assert (one_over[0] - one_over[1]) / (one_over[1] - one_over[2]) == pytest.approx(2.0, rel=0.1)
    assert one_over[0] > 2 * one_over[2] - 1.0 > 1.0


def autoattack(plan: Plan) -> EvaluateSpec:
    test = next(job.spec for job in plan.jobs if isinstance(job.spec, EvaluateSpec))
    attack = {"kind": "autoattack", "norm": "linf", "eps": "8/255", "version": "standard"}
    return replace(test, attack=attack)


def test_autoattack_is_priced_by_the_time_of_its_passes() -> None:
    """FLOP by count; seconds by .91 of an APGD pass for FAB and .57 for Square: 7,307 of 9,700."""
    spec = autoattack(plan_of(example("quickstart")))
    (part,) = flops.parts(spec, 1.0)
    assert part.flops is not None
    assert flops.AUTOATTACK_PASSES == 9_700
    assert part.work.flops / part.flops == pytest.approx((0.57 + 7307) / 9701)


def test_unknown_survivors_are_an_interval() -> None:
    """From a quarter to three quarters of the images until their share is known, then narrower."""
    spec = autoattack(plan_of(example("quickstart")))
    profile = BUILT_IN["a100"]
    unknown = Pricer(profile).cost(spec)
    known = Pricer(profile, survivors=lambda spec: exactly(0.5)).cost(spec)
    assert unknown.seconds is not None
    assert known.seconds is not None
    assert unknown.seconds.mid == known.seconds.mid
    assert unknown.flops == known.flops
    assert unknown.seconds.low < known.seconds.low
    assert unknown.seconds.high > known.seconds.high
    for share in (0.25, 0.75):
        of_share = split(profile, amounts(spec, flops.parts(spec, share), profile)).total.mid
        assert unknown.seconds.low < of_share < unknown.seconds.high


def test_passes_without_a_gradient_cost_less_time() -> None:
    """Clean evaluation, by the same bill in FLOP."""
    spec = replace(autoattack(plan_of(example("quickstart"))), attack={"kind": "none"})
    (part,) = flops.parts(spec)
    assert part.work.flops == pytest.approx(0.57 * (part.flops or 0.0))


@pytest.mark.parametrize("device", ["2 of cpu", "8 of h100"])
def test_what_a_time_is_spent_on_adds_up_to_it(device: str, tmp_path: Path) -> None:
    plan = plan_of(study(tmp_path, budget=f"budget {{ devices = {device} choose = all }}"))
    for job in plan.jobs:
        told = explain(plan, job)
        if job.cost.seconds is None:
            continue
        alone = alone_seconds(job.cost.seconds.mid, fewest(job.cost))
        assert sum(seconds for _, seconds in told.waits) == pytest.approx(alone, rel=1e-6)
        names = [name for name, _ in told.waits]
        assert names[0] == "start-up"
        assert ("evaluation" in names) == (
            isinstance(job.spec, TrainSpec) and job.spec.evaluation is not None
        )
        assert device.partition(" of ")[2] in told.speed
        assert "assumed" in told.speed


def test_the_wall_s_energy_is_more_than_the_devices() -> None:
    """1.4 to 2 times."""
    assert wall_kwh(Range(1.0, 2.0, 3.0)) == Range(1.4, 3.4, 6.0)


def test_a_job_on_eight_devices_teaches_what_one_device_takes() -> None:
    """Device-seconds, less what the plan's law of scaling loses: not that a device is eight times as fast."""
    seen = Observation("a", "train", "loss", 1.0, seconds=100.0, devices=8)
    assert Knowledge([seen]).seconds("a") == pytest.approx(100.0 * 8**0.95)
    assert Knowledge([replace(seen, devices=1)]).seconds("a") == 100.0
