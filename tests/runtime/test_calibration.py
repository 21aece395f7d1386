"""Calibration: what the fit recovers, whose profile is used, and real jobs through the real executor."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from isoloss.calibrating import Calibration, studies_of, timed_job
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.cost.learning import DRIFT, Timed, accuracy, learn
from isoloss.compiler.cost.speed import Z90, Work, split
from isoloss.compiler.plan import DeviceProfile
from isoloss.errors import UserError
from isoloss.plans.stored_profile import stored_profile
from isoloss.runtime.executors.calibration import measure, this_machine

START, LAUNCH, RATE, VALUES = 0.6, 2e-4, 5e9, 2e8


def machine_like(noise: float, number: int = 10, seed: int = 1) -> list[Timed]:
    """Jobs of a machine that is exactly the model, with log-normal noise."""
    rng = random.Random(seed)
    timed = []
    for key, slower in (("train/cnn", 1.0), ("train/wrn", 0.5), ("evaluate/cnn", 1.5), ("generate", 1.0)):
        for index in range(number):
            flops = 10 ** rng.uniform(8, 10.5)
            work = Work(flops, flops / rng.uniform(20, 400), rng.uniform(1e3, 3e4))
            spent = work.launches * LAUNCH + work.flops / RATE + work.values / VALUES
            timed.append(
                Timed(str(index), ((key, work),), (START + slower * spent) * rng.lognormvariate(0, noise))
            )
    return timed


def test_the_fit_recovers_a_machine() -> None:
    """Of jobs that differ enough, nearly: what is believed before pulls at the ends."""
    profile = learn(BUILT_IN["cpu"], machine_like(0.0, 40), "a test")
    assert profile.startup_seconds.mid == pytest.approx(START, rel=0.15)
    assert profile.speeds["train/wrn"].flops_per_second.mid == pytest.approx(2 * RATE, rel=0.25)
    assert profile.speeds["train/wrn"].values_per_second.mid == pytest.approx(2 * VALUES, rel=0.25)
    assert profile.speeds["evaluate/cnn"].launch_seconds.mid == pytest.approx(1.5 * LAUNCH, rel=0.15)
    assert profile.speeds["evaluate/cnn"].provenance == "measured: a test"


def test_what_was_not_timed_follows_its_like() -> None:
    """Another family's training goes by those that were timed, and is wider; so does another number format."""
    assumed = BUILT_IN["cpu"]
    profile = learn(assumed, machine_like(0.0), "a test")
    before, after = (p.speeds["train"].flops_per_second for p in (assumed, profile))
    measured = profile.speeds["train/cnn"].flops_per_second
    assert after.mid < 0.5 * before.mid
    assert after.high / after.low > measured.high / measured.low
    assert (
        profile.speeds["train@bf16"].flops_per_second.mid < assumed.speeds["train@bf16"].flops_per_second.mid
    )
    assert profile.speeds["train"].provenance == assumed.speeds["train"].provenance


@pytest.mark.parametrize("seed", [2, 3])
def test_intervals_hold_other_jobs(seed: int) -> None:
    """Of 40 new jobs on a machine with 10 % noise 80 % or more lie inside; the median error is noise's own."""
    profile = learn(BUILT_IN["cpu"], machine_like(0.1), "a test")
    told = accuracy(profile, machine_like(0.1, seed=seed))
    assert told["jobs"] == 40
    assert told["inside"] >= 0.8
    assert told["median_error"] < 0.15


def test_no_interval_is_narrower_than_runs_drift() -> None:
    """A machine without noise, hundreds of jobs: a kind's drift from run to run either way at least."""
    launch = learn(BUILT_IN["cpu"], machine_like(0.0, 60), "a test").speeds["train/cnn"].launch_seconds
    assert math.log(launch.high / launch.mid) >= Z90 * DRIFT


def test_one_job_that_was_held_up_moves_little() -> None:
    jobs = machine_like(0.05)
    late = [replace(jobs[0], seconds=20 * jobs[0].seconds), *jobs[1:]]
    with_, without = (learn(BUILT_IN["cpu"], each, "a test") for each in (late, jobs))
    told = [split(p, jobs[5].amounts).total.mid for p in (with_, without)]
    assert told[0] == pytest.approx(told[1], rel=0.15)


def test_a_gpu_is_timed_in_bf16_too() -> None:
    _, cifar = studies_of("h100", 1)
    works = {timed_job(job, 1.0).work for job in cifar if job.kind == "train"}
    assert works == {"train/wrn", "train/wrn@bf16"}


def kept(profile: DeviceProfile, folder: Path, **other: object) -> Path:
    machine = replace(this_machine(), **other)  # type: ignore[arg-type]
    folder.mkdir(exist_ok=True)
    found = Calibration(profile, machine, 2, tuple(machine_like(0.1)), {"jobs": 0})
    (folder / "profile.json").write_bytes(found.to_json())
    return folder


def test_a_store_s_profile_is_used_here_and_refused_elsewhere(tmp_path: Path) -> None:
    profile = replace(learn(BUILT_IN["cpu"], machine_like(0.1), "a test"), provenance="measured here")
    store = kept(profile, tmp_path / "here")
    assert stored_profile(store, "cpu") == profile
    assert stored_profile(store, "h100") is None
    assert stored_profile(tmp_path / "nothing", "cpu") is None
    for other in ({"host": "elsewhere"}, {"cpu": "abacus"}):
        with pytest.raises(UserError) as caught:
            stored_profile(kept(profile, tmp_path / "away", **other), "cpu")
        assert caught.value.diagnostics[0].code == "P107"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "isoloss.profile/1"}', '{"format": "isoloss.profile/2"}']
)
def test_a_damaged_profile_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(UserError) as caught:
        stored_profile(tmp_path, "cpu")
    assert caught.value.diagnostics[0].code == "P108"
    assert f"isoloss calibrate --store {tmp_path}" in caught.value.diagnostics[0].help[0]


def test_a_plan_uses_and_names_the_profile(tmp_path: Path) -> None:
    from isoloss.plans.planning import compile_loaded, load
    from isoloss.runtime.store.store import Store

    path = tmp_path / "a.study"
    path.write_text(
        "study a { dataset digits generator g { sampler = edm(steps = 3) fid = 2 images = 10k }\n"
        "recipe r { loss = trades(beta = 5) attack = pgd(norm = linf, eps = 0.1, step = 0.02, steps = 10)\n"
        "batch = 32 lr = 0.1 } grid runs { model in [cnn(2)] generator = g images in [1k] recipe = r }\n"
        "budget { devices = 2 of cpu } }"
    )
    from isoloss.plans.planning import device_profile

    Store(tmp_path / "store")
    profile = replace(learn(BUILT_IN["cpu"], machine_like(0.1), "a test"), provenance="measured here")
    kept(profile, tmp_path / "store")
    study, _ = load(str(path), None, ())
    plan, _ = compile_loaded(study, (), device_profile(study, tmp_path / "store"))
    assert plan.budget["profile"]["provenance"] == "measured here"
    train = next(job for job in plan.jobs if job.kind == "train")
    assert train.cost.seconds == split(profile, timed_job(train, 1.0).amounts).total


def test_real_jobs_are_timed(tmp_path: Path) -> None:
    """The smallest wide network of the calibration, on made-up images, through the executor."""
    _, cifar = studies_of("cpu", 1)
    train = next(job for job in cifar if job.kind == "train")
    made_up = [job for job in cifar if job.kind == "generate"]
    heard = []
    measured = measure([train], "cpu", heard.append, stand_ins=made_up, count=1)
    assert measured.slots == 1
    assert measured.accelerator == ""
    assert 0.01 < measured.seconds[train.id] < 60
    assert {event.what for event in heard} >= {"started", "finished"}
    each = timed_job(train, measured.seconds[train.id])
    assert each.work == "train/wrn"
    assert each.amounts[0][1].flops == train.cost.flops


def test_the_file_says_what_was_measured() -> None:
    found = Calibration(BUILT_IN["cpu"], this_machine(), 2, tuple(machine_like(0.0, 1)), {"jobs": 4})
    data = orjson.loads(found.to_json())
    assert data["format"] == "isoloss.profile/2"
    assert data["machine"]["host"] == this_machine().host
    assert [each["amounts"][0][0] for each in data["timed"]][:2] == ["train/cnn", "train/wrn"]
