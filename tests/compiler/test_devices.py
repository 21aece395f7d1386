"""Device profiles: labelled, ordered, and moved by what jobs took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from studies import study

from isoloss.compiler.cost.devices import BUILT_IN, Timing, refine
from isoloss.compiler.cost.price import keys_of, launches
from isoloss.compiler.plan import KINDS, Plan
from isoloss.dsl.study.study import Devices
from isoloss.errors import UserError
from isoloss.plans.planning import compile_loaded, device_profile, load

PRICED = """study a {{
  dataset cifar10
  generator made {{ sampler = edm(steps = 3)   fid = 2   images = 1M }}
  evaluate robust {{ attack = pgd(norm = linf, eps = 8/255, steps = 40) }}
{recipes}
  grid runs {{ model = wrn(28, 10)   generator = made   images = 1M   recipe in [{names}] }}
  budget {{ devices = 1 of h100 }}
}}
"""
_RECIPE = """
  recipe {0} {{
    loss = trades(beta = 5)   attack = pgd(norm = linf, eps = 8/255, step = 2/255, steps = 10)
    precision = {0}   batch = 256   lr = 0.1   {1}
  }}"""


def plan_in(precisions: Sequence[str], folder: Path, more: str = "") -> Plan:
    """Of the same training in each of these number formats."""
    path = folder / "a.study"
    recipes = "".join(_RECIPE.format(precision, more) for precision in precisions)
    path.write_text(PRICED.format(recipes=recipes, names=", ".join(precisions)))
    return compile_loaded(load(str(path), None, ())[0], ())[0]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_profiles_say_that_they_are_assumed(name: str) -> None:
    profile = BUILT_IN[name]
    assert profile.device == name
    assert profile.provenance.startswith("assumed: ")
    ranges = [profile.startup_seconds, *profile.flops_per_second.values(), *profile.launch_seconds.values()]
    assert set(profile.flops_per_second) == set(profile.launch_seconds)
    assert {key.partition("@")[0] for key in profile.flops_per_second} == set(KINDS)
    assert all(0 < r.low <= r.mid <= r.high for r in ranges)


def test_finished_jobs_move_their_kind_alone() -> None:
    profile = BUILT_IN["cpu"]
    start = profile.startup_seconds.mid
    timings = [Timing("train", 10.0, start + 20.0 * factor) for factor in (0.9, 1.0, 1.1, 1.0)]
    moved = refine(profile, timings)
    before, after = profile.flops_per_second["train"], moved.flops_per_second["train"]
    assert after.mid == pytest.approx(before.mid / 2, rel=0.01)
    assert after.low < after.mid < after.high
    assert after.high / after.low < before.high / before.low
    assert moved.flops_per_second["evaluate"] == profile.flops_per_second["evaluate"]
    assert moved.provenance.startswith("measured: 4 finished jobs (train)")
    assert refine(profile, []) is profile


def test_no_start_up_is_longer_than_its_jobs() -> None:
    """Jobs of a third of a second say what a start-up is; what is predicted for their like is what they took."""
    profile = BUILT_IN["cpu"]
    jobs = [Timing("evaluate", 1e-4, seconds) for seconds in (0.2, 0.3, 0.4)] + [Timing("train", 30.0, 15.0)]
    moved = refine(profile, jobs)
    start = moved.startup_seconds
    assert (start.low, start.mid, start.high) == (0.03, 0.15, 0.4)
    slower = profile.flops_per_second["evaluate"].mid / moved.flops_per_second["evaluate"].mid
    assert start.mid + 1e-4 * slower == pytest.approx(0.3)
    # An hour's jobs say nothing of it.
    assert refine(profile, [Timing("train", 30.0, 3600.0)]).startup_seconds == profile.startup_seconds


def test_a_number_format_is_moved_by_its_own_jobs() -> None:
    profile = BUILT_IN["h100"]
    moved = refine(profile, [Timing("train@bf16", 10.0, profile.startup_seconds.mid + 20.0)])
    changed = {key for key, rate in moved.flops_per_second.items() if rate != profile.flops_per_second[key]}
    assert changed == {"train@bf16"}
    assert moved.flops_per_second["train@bf16"].mid == pytest.approx(330e12 / 2)


def test_a_training_goes_by_the_closest_key_that_is_known() -> None:
    assert keys_of("train", "wrn", "bf16") == ("train/wrn@bf16", "train@bf16", "train/wrn", "train")
    assert keys_of("evaluate", "cnn") == ("evaluate/cnn", "evaluate")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize(("precision", "rate"), [("fp32", 22e12), ("tf32", 150e12), ("bf16", 330e12)])
def test_trainings_are_priced_in_their_number_format(
    kind: str, precision: str, rate: float, tmp_path: Path
) -> None:
    """The speed that a bill implies without start-up and launches; a test's is fp32's whatever the training's is."""
    (job,) = (job for job in plan_in([precision], tmp_path).jobs if job.kind == kind)
    profile, seconds = BUILT_IN["h100"], job.cost.seconds
    assert seconds is not None
    assert job.cost.flops is not None
    waiting = profile.startup_seconds.mid + launches(job.spec) * profile.launch_seconds[kind].mid
    expected = rate if kind == "train" else 22e12
    assert job.cost.flops / (seconds.mid - waiting) == pytest.approx(expected, rel=1e-6)


def test_a_training_in_another_format_has_its_own_price_beside_its_like(tmp_path: Path) -> None:
    """One compile with both."""
    plan = plan_in(["fp32", "bf16"], tmp_path)
    first, second = (job.cost.seconds.mid for job in plan.jobs if job.kind == "train" and job.cost.seconds)
    assert max(first, second) > 5 * min(first, second)


def test_evaluations_during_a_bf16_training_are_priced_in_fp32(tmp_path: Path) -> None:
    """As they are computed: autocast is the step's alone. In tf32 they go by the training's rate."""
    rates = BUILT_IN["h100"].flops_per_second
    for precision, inside in (("bf16", "train"), ("tf32", "train@tf32"), ("fp32", "train")):
        plan = plan_in([precision], tmp_path, "evaluate = robust at every 50%")
        job = next(job for job in plan.jobs if job.kind == "train")
        own = "train" if precision == "fp32" else f"train@{precision}"
        waiting = launches(job.spec) * BUILT_IN["h100"].launch_seconds[own].mid
        assert job.cost.seconds is not None
        assert job.cost.flops is not None
        assert job.cost.evaluation_flops > 0
        seconds = job.cost.flops / rates[own].mid + job.cost.evaluation_flops / rates[inside].mid
        started = BUILT_IN["h100"].startup_seconds.mid
        assert job.cost.seconds.mid == pytest.approx(started + waiting + seconds, rel=1e-9), precision


def test_intervals_cover_the_next_job() -> None:
    """Of log-normal ratios, about 95 % of the next jobs lie inside: at least 85 % of 200 here."""
    import random

    rng = random.Random(3)
    profile = BUILT_IN["a100"]
    inside = 0
    for _ in range(200):
        ratios = [math.exp(rng.gauss(0.3, 0.25)) for _ in range(6)]
        timings = [Timing("train", 100.0, profile.startup_seconds.mid + 100.0 * r) for r in ratios[:5]]
        moved, rate = refine(profile, timings), profile.flops_per_second["train"].mid
        band = moved.flops_per_second["train"]
        inside += rate / band.high <= ratios[5] <= rate / band.low
    assert 170 <= inside <= 200


def test_a_device_without_a_profile_is_said(tmp_path: Path) -> None:
    base = study(tmp_path)
    strange = replace(base, budget=replace(base.budget, devices=Devices(1, "abacus")))
    with pytest.raises(UserError) as caught:
        device_profile(strange)
    assert caught.value.diagnostics[0].code == "B109"
