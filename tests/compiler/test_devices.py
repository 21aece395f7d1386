"""Device profiles: labelled, ordered, and moved by what jobs took."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from studies import study

from isoloss.compiler.cost.device_table import DEVICES, device_of_card, wheels_advice
from isoloss.compiler.cost.devices import BUILT_IN, LACKING
from isoloss.compiler.cost.flops import INSIDE, parts
from isoloss.compiler.cost.learning import Timed, learn
from isoloss.compiler.cost.price import keys_of
from isoloss.compiler.cost.speed import Work, split, width_factor
from isoloss.compiler.plan import KINDS, DeviceProfile, Plan
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
    assert {key.partition("@")[0] for key in profile.speeds} == set(KINDS)
    for speed in profile.speeds.values():
        assert speed.provenance.startswith("assumed: ")
        for interval in (speed.flops_per_second, speed.values_per_second, speed.launch_seconds):
            assert 0 < interval.low < interval.mid < interval.high
    start = profile.startup_seconds
    assert 0 < start.low < start.mid < start.high


def test_cards_are_found_by_their_drivers_names() -> None:
    found = {
        "NVIDIA GeForce RTX 3080 Ti": "rtx3080ti",
        "NVIDIA A100-SXM4-80GB": "a100",
        "NVIDIA RTX A6000": "a6000",
        "Tesla P100-PCIE-16GB": "p100",
        "NVIDIA H200": "h200",
        "NVIDIA GeForce RTX 3080": None,
    }
    assert {name: device_of_card(name) for name in found} == found


def test_old_cards_are_told_which_torch_runs_on_them() -> None:
    """CUDA 13 has no kernels below 7.5 (pytorch/pytorch#172352)."""
    advised = {name for name, device in DEVICES.items() if wheels_advice(device.capability)}
    assert advised == {"p100", "gtx1080ti", "v100"}
    assert LACKING["v100"] == {"tf32", "bf16"}
    assert not LACKING["rtx3090"]


def timed(key: str, work: Work, factor: float, profile: DeviceProfile) -> Timed:
    """A job that took so many times what the profile says."""
    return Timed("a job", ((key, work),), factor * split(profile, [(key, work)]).total.mid)


#: Work of a wide and of a narrow network, far longer than a start-up: arithmetic, and memory.
WIDE, NARROW, TINY = Work(1e18, 1e14, 1e5), Work(1e17, 3e14, 1e5), Work(1e9, 1e6, 1e8)


def ends(profile: DeviceProfile, key: str, work: Work) -> tuple[float, float, float]:
    found = split(profile, [(key, work)]).total
    return found.low, found.mid, found.high


@pytest.mark.parametrize("name", ["cpu", "h100", "rtx3090"])
def test_a_run_on_one_width_teaches_the_others(name: str) -> None:
    """Twice as slow on the wide one: narrow ones and tests are thought slower too, each less than the one before, and
    the same again is told closely."""
    profile = BUILT_IN[name]
    moved = learn(profile, [timed("train", WIDE, 2.0, profile)] * 3, "3 jobs")

    def slower(key: str, work: Work) -> float:
        return ends(moved, key, work)[1] / ends(profile, key, work)[1]

    assert slower("train", WIDE) == pytest.approx(2.0, rel=0.1)
    assert 1.0 < slower("evaluate", WIDE) < slower("train", WIDE)
    assert 1.0 < slower("train", NARROW) <= slower("train", WIDE)
    low, _, high = ends(moved, "train", WIDE)
    before = ends(profile, "train", WIDE)
    assert high / low < before[2] / before[0]
    assert moved.speeds["train"].provenance == "measured: 3 jobs"
    assert moved.speeds["evaluate"].provenance == profile.speeds["evaluate"].provenance
    assert learn(profile, [], "nothing") is profile


def test_a_width_off_the_formula_keeps_its_own_factor() -> None:
    """Kernels go by blocks of channels: one width of four is twice as slow. It is told so, and the others nearly as if
    it weren't there; halfway to the next it counts half in the log; a second lesson adds to the first."""
    profile = BUILT_IN["cpu"]
    widths = {ratio: Work(1e14, 1e14 / ratio, 1e3) for ratio in (50.0, 100.0, 200.0, 400.0)}
    jobs = [timed("train", work, 2.0 if ratio == 100 else 1.0, profile) for ratio, work in widths.items()] * 3
    moved = learn(profile, jobs, "12 jobs")
    for ratio, work in widths.items():
        expected = (2.0 if ratio == 100 else 1.0) * ends(profile, "train", work)[1]
        assert ends(moved, "train", work)[1] == pytest.approx(expected, rel=0.1)
    between = Work(1e14, 1e14 / math.sqrt(100 * 200), 1e3)
    factors = [width_factor(moved.speeds["train"], work) for work in (widths[100], between, widths[200])]
    assert factors[1] == pytest.approx(math.sqrt(factors[0] * factors[2]), rel=0.02)
    again = learn(moved, [timed("train", work, 1.0, moved) for work in widths.values()], "4 jobs")
    assert ends(again, "train", widths[100])[1] == pytest.approx(
        ends(moved, "train", widths[100])[1], rel=0.05
    )
    assert not moved.speeds["evaluate"].widths


def test_waiting_for_launches_says_little_of_arithmetic() -> None:
    """On a device that queues, a tiny network's time is its launches'."""
    profile = BUILT_IN["a100"]
    moved = learn(profile, [timed("train", TINY, 2.0, profile)] * 5, "5 jobs")
    assert moved.speeds["train"].launch_seconds.mid > 1.5 * profile.speeds["train"].launch_seconds.mid
    before, after = (p.speeds["train"].flops_per_second for p in (profile, moved))
    assert after.high / after.low == pytest.approx(before.high / before.low, rel=0.2)


def test_no_start_up_is_much_longer_than_its_jobs() -> None:
    """Jobs of a third of a second say what a start-up is; what is told of their like is what they took."""
    profile, work = BUILT_IN["cpu"], Work(1e4, 1e3, 10)
    moved = learn(profile, [Timed(str(s), (("evaluate", work),), s) for s in (0.28, 0.3, 0.32)], "3 jobs")
    assert ends(moved, "evaluate", work)[1] == pytest.approx(0.3, rel=0.1)
    assert moved.startup_seconds.mid < 0.32


def test_a_number_format_is_moved_most_by_its_own_jobs() -> None:
    profile = BUILT_IN["h100"]
    moved = learn(profile, [timed("train@bf16", WIDE, 2.0, profile)] * 3, "3 jobs")
    slower = {key: ends(moved, key, WIDE)[1] / ends(profile, key, WIDE)[1] for key in profile.speeds}
    assert max(slower, key=lambda key: slower[key]) == "train@bf16"
    assert slower["train"] > slower["fid"] >= 1.0


def test_a_training_goes_by_the_closest_key_that_is_known() -> None:
    assert keys_of("train", "wrn", "bf16") == ("train/wrn@bf16", "train@bf16", "train/wrn", "train")
    assert keys_of("evaluate", "cnn") == ("evaluate/cnn", "evaluate")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_trainings_are_priced_in_their_number_format(kind: str, precision: str, tmp_path: Path) -> None:
    """A test goes by fp32 whatever the training's format is."""
    (job,) = (job for job in plan_in([precision], tmp_path).jobs if job.kind == kind)
    profile, seconds = BUILT_IN["h100"], job.cost.seconds
    own = kind if kind == "evaluate" or precision == "fp32" else f"train@{precision}"
    assert seconds == split(profile, [(own, sum((p.work for p in parts(job.spec)), Work()))]).total


def test_a_training_in_another_format_has_its_own_price_beside_its_like(tmp_path: Path) -> None:
    """One compile with both."""
    plan = plan_in(["fp32", "bf16"], tmp_path)
    first, second = (job.cost.seconds.mid for job in plan.jobs if job.kind == "train" and job.cost.seconds)
    assert max(first, second) > 5 * min(first, second)


def test_evaluations_during_a_bf16_training_are_priced_in_fp32(tmp_path: Path) -> None:
    """As they are computed: autocast is the step's alone. In tf32 they go by the training's rate."""
    profile = BUILT_IN["h100"]
    for precision, inside in (("bf16", "train"), ("tf32", "train@tf32"), ("fp32", "train")):
        plan = plan_in([precision], tmp_path, "evaluate = robust at every 50%")
        job = next(job for job in plan.jobs if job.kind == "train")
        own = "train" if precision == "fp32" else f"train@{precision}"
        step, tests = parts(job.spec)
        assert tests.name == INSIDE
        assert job.cost.seconds is not None
        seconds = split(profile, [(own, step.work), (inside, tests.work)]).total
        assert job.cost.seconds.mid == pytest.approx(seconds.mid, rel=1e-6), precision


def test_intervals_cover_the_next_job() -> None:
    """Of log-normal ratios, about 90 % of the next jobs lie inside: at least 160 of 200 here, and not all."""
    rng = random.Random(3)
    profile, work = BUILT_IN["a100"], Work(1e17, 2e13, 1e5)
    mid = split(profile, [("train", work)]).total.mid
    inside = 0
    for _ in range(200):
        ratios = [math.exp(rng.gauss(0.3, 0.12)) for _ in range(6)]
        jobs = [
            Timed(str(r), (("train", replace(work, launches=1e5 + n)),), mid * r)
            for n, r in enumerate(ratios[:5])
        ]
        low, _, high = ends(learn(profile, jobs, "5 jobs"), "train", work)
        inside += low <= mid * ratios[5] <= high
    assert 160 <= inside <= 199


def test_a_device_without_a_profile_is_said(tmp_path: Path) -> None:
    base = study(tmp_path)
    strange = replace(base, budget=replace(base.budget, devices=Devices(1, "abacus")))
    with pytest.raises(UserError) as caught:
        device_profile(strange)
    assert caught.value.diagnostics[0].code == "B109"
