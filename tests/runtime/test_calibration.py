"""Calibration: what the fit recovers, whose profile is used, and real jobs through the real executor."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from isoloss.calibrating import Calibration, studies_of, timed_job, with_unmeasured
from isoloss.compiler.cost.calibration import DRIFT, Timed, accuracy, measured_profile, predicted
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import DeviceProfile
from isoloss.errors import UserError
from isoloss.plans.stored_profile import stored_profile
from isoloss.runtime.executors.calibration import measure, this_machine

START, LAUNCH, RATE = 0.6, 2e-4, 5e9


def machine_like(noise: float, number: int = 10, seed: int = 1) -> list[Timed]:
    """Jobs of a machine that is exactly the model, with log-normal noise."""
    rng = random.Random(seed)
    timed = []
    for work, slower in (("train/cnn", 1.0), ("train/wrn", 0.5), ("evaluate/cnn", 1.5), ("generate", 1.0)):
        for index in range(number):
            launches, flops = rng.uniform(1e3, 3e4), 10 ** rng.uniform(8, 10.5)
            seconds = START + slower * (launches * LAUNCH + flops / RATE)
            timed.append(Timed(work, str(index), launches, flops, seconds * rng.lognormvariate(0, noise)))
    return timed


def test_the_fit_recovers_a_machine() -> None:
    profile = measured_profile(BUILT_IN["cpu"], machine_like(0.0), "measured by a test")
    assert profile.startup_seconds.mid == pytest.approx(START, rel=1e-6)
    assert profile.flops_per_second["train/wrn"].mid == pytest.approx(2 * RATE, rel=1e-6)
    assert profile.launch_seconds["evaluate/cnn"].mid == pytest.approx(1.5 * LAUNCH, rel=1e-6)
    assert profile.provenance == "measured by a test"
    # What was not timed stays as assumed.
    assert profile.flops_per_second["fid"] == BUILT_IN["cpu"].flops_per_second["fid"]


def test_held_out_intervals_hold_other_jobs() -> None:
    """Of 40 new jobs on a machine with 10 % noise 80 % or more lie inside; the median error is noise's own."""
    profile = measured_profile(BUILT_IN["cpu"], machine_like(0.1), "measured")
    told = accuracy(profile, machine_like(0.1, seed=2))
    assert told["jobs"] == 40
    assert told["inside"] >= 0.8
    assert told["median_error"] < 0.15
    for each in machine_like(0.1):
        said = predicted(profile, each)
        assert 0 < said.low < said.mid < said.high


def test_two_jobs_of_a_kind_are_arithmetic() -> None:
    timed = [*machine_like(0.0), Timed("fid", "a", 1, 1e8, 2.0), Timed("fid", "b", 1, 4e8, 6.2)]
    profile = measured_profile(BUILT_IN["cpu"], timed, "measured")
    assert profile.launch_seconds["fid"].mid == 0
    assert profile.flops_per_second["fid"].mid == pytest.approx(7.1e7, rel=0.1)


def test_jobs_of_one_kind_of_size_are_arithmetic() -> None:
    """With as many launches per FLOP in each, the two can't be told apart; other networks of that kind would be priced
    by launches alone."""
    sizes = [Timed("generate", str(n), 15.0 * n, 1e9 * n, START + 0.2 + 0.05 * n) for n in (3, 10, 26)]
    others = [each for each in machine_like(0.0) if each.work != "generate"]
    profile = measured_profile(BUILT_IN["cpu"], [*others, *sizes], "measured")
    assert profile.launch_seconds["generate"].mid == 0
    assert 1e10 < profile.flops_per_second["generate"].mid < 2e10


def test_no_interval_is_narrower_than_runs_drift() -> None:
    """A machine without noise: 1.96 standard deviations of a kind's drift from run to run either way."""
    rate = measured_profile(BUILT_IN["cpu"], machine_like(0.0), "measured").flops_per_second["train/wrn"]
    assert math.log(rate.high / rate.mid) == pytest.approx(1.96 * DRIFT, rel=1e-3)
    assert math.log(rate.mid / rate.low) == pytest.approx(1.96 * DRIFT, rel=1e-3)


def test_a_number_format_that_was_not_timed_goes_by_fp32() -> None:
    """Where its jobs were timed it goes by them."""
    assumed = BUILT_IN["h100"]
    measured = measured_profile(assumed, machine_like(0.1), "measured")
    profile = with_unmeasured(measured)
    for number, gain in (("tf32", 150 / 22), ("bf16", 330 / 22)):
        for key in ("train/cnn", "train/wrn"):
            own, theirs = (profile.flops_per_second[k] for k in (key, f"{key}@{number}"))
            assert theirs.mid == pytest.approx(own.mid * gain)
            assert theirs.low < theirs.mid < theirs.high
            assert profile.launch_seconds[f"{key}@{number}"] == profile.launch_seconds[key]
        assert profile.flops_per_second[f"train@{number}"] == profile.flops_per_second[f"train/wrn@{number}"]
    half = [replace(each, work="train/wrn@bf16") for each in machine_like(0.1) if each.work == "train/wrn"]
    timed = with_unmeasured(measured_profile(assumed, [*machine_like(0.1), *half], "measured"))
    assert timed.flops_per_second["train/wrn@bf16"].mid == pytest.approx(2 * RATE, rel=0.3)
    assert timed.flops_per_second["train@bf16"] == timed.flops_per_second["train/wrn@bf16"]


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
    profile = with_unmeasured(measured_profile(BUILT_IN["cpu"], machine_like(0.1), "measured here"))
    store = kept(profile, tmp_path / "here")
    assert stored_profile(store, "cpu") == profile
    assert stored_profile(store, "h100") is None
    assert stored_profile(tmp_path / "nothing", "cpu") is None
    for other in ({"host": "elsewhere"}, {"cpu": "abacus"}):
        with pytest.raises(UserError) as caught:
            stored_profile(kept(profile, tmp_path / "away", **other), "cpu")
        assert caught.value.diagnostics[0].code == "P107"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "isoloss.profile/0"}', '{"format": "isoloss.profile/1"}']
)
def test_a_damaged_profile_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(UserError) as caught:
        stored_profile(tmp_path, "cpu")
    assert caught.value.diagnostics[0].code == "P108"


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
    profile = with_unmeasured(measured_profile(BUILT_IN["cpu"], machine_like(0.1), "measured here"))
    kept(profile, tmp_path / "store")
    study, _ = load(str(path), None, ())
    plan, _ = compile_loaded(study, (), device_profile(study, tmp_path / "store"))
    assert plan.budget["profile"]["provenance"] == "measured here"
    train = next(job for job in plan.jobs if job.kind == "train")
    assert train.cost.seconds == predicted(profile, timed_job(train, 1.0))


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
    assert each.flops == train.cost.flops


def test_the_file_says_what_was_measured() -> None:
    found = Calibration(BUILT_IN["cpu"], this_machine(), 2, tuple(machine_like(0.0, 1)), {"jobs": 4})
    data = orjson.loads(found.to_json())
    assert data["format"] == "isoloss.profile/1"
    assert data["machine"]["host"] == this_machine().host
    assert [each["work"] for each in data["timed"]][:2] == ["train/cnn", "train/wrn"]
