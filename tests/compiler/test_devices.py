"""Device profiles: labelled, ordered, and moved by what jobs took."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from studies import study

from isoloss.compiler.devices import BUILT_IN, Timing, refine
from isoloss.compiler.plan import KINDS
from isoloss.dsl.study import Devices
from isoloss.errors import UserError
from isoloss.planning import device_profile


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_profiles_say_that_they_are_assumed(name: str) -> None:
    profile = BUILT_IN[name]
    assert profile.device == name
    assert profile.provenance.startswith("assumed: ")
    ranges = [profile.startup_seconds, *profile.flops_per_second.values(), *profile.launch_seconds.values()]
    assert set(profile.flops_per_second) == set(profile.launch_seconds) == set(KINDS)
    assert all(0 < r.low <= r.mid <= r.high for r in ranges)


def test_finished_jobs_move_their_kind_alone() -> None:
    profile = BUILT_IN["cpu"]
    start = profile.startup_seconds.low
    timings = [Timing("train", 10.0, start + 20.0 * factor) for factor in (0.9, 1.0, 1.1, 1.0)]
    moved = refine(profile, timings)
    before, after = profile.flops_per_second["train"], moved.flops_per_second["train"]
    assert after.mid == pytest.approx(before.mid / 2, rel=0.01)
    assert after.low < after.mid < after.high
    assert after.high / after.low < before.high / before.low
    assert moved.flops_per_second["evaluate"] == profile.flops_per_second["evaluate"]
    assert moved.provenance.startswith("measured: 4 finished jobs (train)")
    assert refine(profile, []) is profile


def test_intervals_cover_the_next_job() -> None:
    """Of log-normal ratios, about 95 % of the next jobs lie inside: at least 85 % of 200 here."""
    import random

    rng = random.Random(3)
    profile = BUILT_IN["a100"]
    inside = 0
    for _ in range(200):
        ratios = [math.exp(rng.gauss(0.3, 0.25)) for _ in range(6)]
        timings = [Timing("train", 100.0, profile.startup_seconds.low + 100.0 * r) for r in ratios[:5]]
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
