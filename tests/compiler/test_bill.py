"""The bill: memory and where a job lies, what AutoAttack costs once accuracies are known, transfer, money."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import observe
from studies import BASE, example, plan_of, study

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.device_table import GIB
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, AUTOATTACK_PASSES, SURVIVORS, parts
from isoloss.compiler.cost.job_memory import Need, need
from isoloss.compiler.cost.placement import USABLE, micro_batches, place, world_sizes
from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.cost.schedule import schedule
from isoloss.compiler.plan import Observation, Plan, TrainSpec
from isoloss.compiler.plans.explain_job import explain
from isoloss.compiler.plans.totals import bill_flops
from isoloss.runtime.context import Placement as Laid
from isoloss.runtime.training.layout import lay_out

CIFAR = {"kind": "cifar10"}
RECIPE = {
    "loss": {"kind": "trades", "beta": 5.0},
    "attack": {"kind": "pgd", "steps": 10, "restarts": 1},
    "optimizer": {"kind": "sgd"},
    "average": {"kind": "ema"},
    "perturb": {"kind": "none"},
    "batch": 2048,
}


def training(depth: int, width: int, *, group: int = 2048, dtype: str = "fp32") -> TrainSpec:
    return TrainSpec(
        dataset=CIFAR,
        model={"kind": "wrn", "depth": depth, "width": width},
        data={"kind": "generated", "shards": [], "images": 1},
        recipe=RECIPE,
        train_steps=1,
        steps_per_epoch=25,
        evaluation=None,
        seed=0,
        numerics={"dtype": dtype, "batchnorm_group": group},
    )


def needed(depth: int, width: int, **more: object) -> Need:
    found = need(training(depth, width, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


# Chains.


def test_a_chain_has_a_link_for_every_started_walltime(tmp_path: Path) -> None:
    """In the budget's facts and in the note: a fraction of a second too much is another link."""
    longest = max(job.cost.seconds.mid for job in plan_of(study(tmp_path)).jobs if job.cost.seconds)
    for links in (2, 3, 7):
        walltime = f"{longest / (links - 0.999):.6f} s"
        budget = f"budget {{ compute = 5 TFLOP devices = 2 of cpu choose = cheapest walltime = {walltime} }}"
        plan = plan_of(study(tmp_path, budget=budget))
        said = next(w.message for w in plan.warnings if w.code == "B107")
        assert plan.budget["chains"]["longest"] == links
        assert said.startswith(f"{plan.budget['chains']['jobs']} jobs ")
        assert said.endswith(f"up to {links} links")


# Memory: numbers of an analytic count apart from ours.


def test_memory_per_image_and_state_are_the_references() -> None:
    assert needed(82, 8).per_image == pytest.approx(144e6, rel=0.01)
    largest = needed(94, 16)
    assert largest.per_image == pytest.approx(331e6, rel=0.01)
    assert largest.state == pytest.approx(5.9e9, rel=0.01)
    # At batch 2048 on 8 devices: 85 GB on each, beside the state.
    assert largest.on(8, 256) - largest.state == pytest.approx(85e9, rel=0.01)


def test_zero_saves_little_of_it() -> None:
    """Partitioning all state, ZeRO-3, saves at most 6 %; optimizer and gradients, ZeRO-2, less."""
    largest = needed(94, 16)
    whole = largest.on(8, 256)
    assert largest.state * 7 / 8 / whole <= 0.06
    assert 0 < 1 - largest.on(8, 256, zero=True) / whole < 0.04


def test_bf16_halves_activations_and_one_sided_losses_too() -> None:
    assert needed(28, 4, dtype="bf16").per_image == needed(28, 4).per_image / 2
    plain = replace(training(28, 4), recipe={**RECIPE, "loss": {"kind": "pgd_at"}})
    found = need(plain)
    assert found is not None
    assert found.per_image == needed(28, 4).per_image / 2


# Where a job lies.


def test_the_fewest_devices_are_taken_and_advice_comes_in_order() -> None:
    room = 80 * GIB
    assert place(needed(28, 4), room, 32) is None
    found = place(needed(82, 16), room, 32)
    assert found is not None
    assert (found.devices, found.micro_batch, found.fits) == (16, 128, True)
    few = place(needed(82, 16), room, 4)
    assert few is not None
    assert not few.fits
    said = [
        ("devices hold" in a, "bf16" in a, "batchnorm" in a, "checkpoint" in a, "ZeRO" in a)
        for a in few.advice
    ]
    assert [row.index(True) for row in said] == [0, 1, 2, 3, 4]


def test_a_smaller_stated_group_lets_a_batch_pass_in_pieces() -> None:
    found = place(needed(82, 16, group=128), 80 * GIB, 1)
    assert found is not None
    assert found.fits
    assert found.devices == 1
    assert found.micro_batch == 128
    assert found.micro_batch % 128 == 0


needs = st.builds(
    lambda state, image, group, times: Need(
        state, image, group * times, group, zero_bytes=0.6 * state, shared=True
    ),
    st.floats(1e6, 1e11),
    st.floats(1e4, 1e9),
    st.integers(1, 64),
    st.integers(1, 64),
)


@settings(max_examples=200, deadline=None)
@given(needs, st.floats(1e9, 2e11), st.integers(1, 128))
def test_a_placement_never_changes_what_is_computed(some: Need, room: float, devices: int) -> None:
    found = place(some, room, devices)
    if found is None:
        assert some.whole <= USABLE * room
        return
    # The runtime, which refuses what would be another experiment, lays it out so.
    laid = lay_out(some.batch, some.group, 0, found.devices, Laid(found.micro_batch, found.zero_stage))
    assert laid.told() == {
        "processes": found.devices,
        "micro_batch": found.micro_batch,
        "zero_stage": found.zero_stage,
    }
    share = some.batch // found.devices
    assert some.batch % found.devices == 0
    assert found.devices <= devices
    assert share % found.micro_batch == 0
    # Whole groups pass at a time, or the devices' shares make whole groups.
    assert found.micro_batch % some.group == 0 or some.group % share == 0
    if found.fits:
        assert found.memory_bytes <= USABLE * room
        fewer = list(world_sizes(some.batch, some.group, found.devices - 1))
        if found.zero_stage == 0:
            smallest = [micro_batches(some.batch, some.group, n)[0] for n in fewer]
            assert all(some.on(n, m) > USABLE * room for n, m in zip(fewer, smallest, strict=True))
    else:
        assert found.advice


@settings(max_examples=50, deadline=None)
@given(needs, st.floats(1e6, 2e11), st.integers(1, 128))
def test_what_processes_cannot_share_is_placed_on_one_device(some: Need, room: float, devices: int) -> None:
    found = place(replace(some, shared=False), room, devices)
    assert found is None or found.devices == 1


def test_a_schedule_gives_every_job_the_devices_that_hold_it() -> None:
    plan = plan_of(example("robustness_limits"))
    least = {j.id: j.cost.placement.devices for j in plan.jobs if j.cost.placement is not None}
    assert len(least) > 100
    made = schedule(plan.jobs, 32, walltime_seconds=12 * 3600.0, restart_seconds=25.0)
    assert all(len(each.devices) >= least.get(each.job, 1) for each in made.placed)
    assert made.gap <= 1.15


# AutoAttack.

ASK = "allocate check { law = law compute = 50 GFLOP generator = fine evaluate = [robust, autoattack(eps = 0.15)] }"
FIT = "fit law { law = chinchilla resamples = 20 }"


def autoattack_of(plan: Plan) -> float | None:
    return next(j.cost.survivors for j in plan.jobs if j.name == "check/autoattack")


def test_survivors_are_assumed_then_observed(tmp_path: Path) -> None:
    some = study(tmp_path, fits=FIT, ask=ASK)
    first = plan_of(some)
    tests = first.budget["reserved_flops"]
    known = observe(first)
    second, _ = compile_study(some, known, BUILT_IN["cpu"])
    assert second is not None
    # Nothing of its own yet: the mean over finished runs, not the assumed share.
    runs = [o.value for o in known if o.kind == "evaluate" and o.metric.startswith("accuracy @ pgd")]
    assert autoattack_of(second) == pytest.approx(sum(runs) / len(runs), rel=1e-6)
    assert autoattack_of(second) != ASSUMED_SURVIVORS
    own = observe(second)
    third, _ = compile_study(
        some, [*known, *(o for o in own if "autoattack" not in o.metric)], BUILT_IN["cpu"]
    )
    assert third is not None
    robust = next(o.value for o in own if o.kind == "evaluate" and o.metric.startswith("accuracy @ pgd"))
    assert autoattack_of(third) == pytest.approx(robust)
    job = next(j for j in third.jobs if j.name == "check/autoattack")
    assert job.cost.flops == pytest.approx(900 * (1 + robust * AUTOATTACK_PASSES) * forward(job.spec))
    assert explain(third, job).bill[0].flops == job.cost.flops
    # What is kept for it is a bound: every image survives.
    assert third.budget["reserved_flops"] == tests
    assert bill_flops(job.cost) < tests


def forward(spec: object) -> float:
    return count(spec.model, spec.dataset).forward_flops  # type: ignore[attr-defined]


def test_survivors_of_another_threat_say_nothing(tmp_path: Path) -> None:
    some = study(tmp_path, fits=FIT, ask=ASK.replace("0.15", "0.1"))
    first = plan_of(some)
    plan, _ = compile_study(some, observe(first), BUILT_IN["cpu"])
    assert plan is not None
    assert autoattack_of(plan) == ASSUMED_SURVIVORS


# Transfer and money.


def test_transfer_is_what_jobs_read_and_write(tmp_path: Path) -> None:
    plan = plan_of(study(tmp_path))
    image = 8 * 8 + 8
    by_name = {job.name: job for job in plan.jobs}
    assert by_name["fine/0-10k"].cost.transfer_bytes == 10_000 * image
    assert by_name["fine/fid"].cost.transfer_bytes == 10_000 * image + 1024 + 4 * 26 * image
    train = by_name["runs/cnn(2)/fine/4k"]
    weights = 8 * 944
    assert train.cost.transfer_bytes == train.facts.images * image + weights
    tested = by_name["runs/cnn(2)/fine/4k/robust"]
    assert tested.cost.transfer_bytes == weights + tested.cost.storage_bytes
    total = sum(job.cost.transfer_bytes or 0.0 for job in plan.jobs)
    assert plan.totals["all"].transfer_bytes == pytest.approx(total)
    assert sum(t.transfer_bytes or 0.0 for kind, t in plan.totals.items() if kind != "all") == pytest.approx(
        total
    )


@pytest.mark.parametrize(
    ("prices", "hourly", "per_gigabyte"),
    [("", None, None), ("price = 2 USD/h", 2.0, None), ("transfer = 3 USD/GB", None, 3.0),
     ("price = 2 USD/h transfer = 3 USD/GB", 2.0, 3.0)],
)  # fmt: skip
def test_money_is_what_prices_are_stated_for(
    tmp_path: Path, prices: str, hourly: float | None, per_gigabyte: float | None
) -> None:
    plan = plan_of(study(tmp_path, budget=BASE["budget"].replace("devices", f"{prices} devices")))
    for job in plan.jobs:
        if hourly is None and per_gigabyte is None:
            assert job.cost.usd is None
            continue
        assert job.cost.usd is not None
        assert job.cost.seconds is not None
        moved = (per_gigabyte or 0.0) * (job.cost.transfer_bytes or 0.0) / 1e9
        assert job.cost.usd.mid == pytest.approx((hourly or 0.0) * job.cost.seconds.mid / 3600 + moved)
        assert job.cost.usd.low <= job.cost.usd.mid <= job.cost.usd.high


# What isn't estimated is said once.


def test_images_without_a_denoiser_are_not_estimated_and_still_moved() -> None:
    plan = plan_of(example("robustness_limits"))
    made = plan.totals["generate"]
    assert made.seconds is None
    assert made.unknown == ("sampling: no `denoiser` is stated: images come from published files",)
    assert (made.transfer_bytes or 0.0) > 1e12


def test_every_kind_of_job_is_on_the_bill(tmp_path: Path) -> None:
    """PGD-40 of 82 passes on the whole split; AutoAttack at the assumed share; evaluations on the way."""
    some = study(tmp_path, fits=FIT, ask=ASK)
    plan, _ = compile_study(some, observe(plan_of(some)), BUILT_IN["cpu"])
    assert plan is not None
    for job in plan.jobs:
        known = sum(part.flops or 0.0 for part in parts(job.spec, job.cost.survivors or ASSUMED_SURVIVORS))
        assert known == pytest.approx(bill_flops(job.cost), rel=1e-12)
        assert job.cost.seconds is not None
        assert job.cost.transfer_bytes is not None
    tested = next(j for j in plan.jobs if j.name == "runs/cnn(2)/fine/4k/robust")
    # 40 steps of 2, a clean and a final pass; and 41 passes of 128 images for the alarms.
    assert tested.cost.flops == pytest.approx((900 * 82 + 128 * 41) * forward(tested.spec))


def test_observations_of_other_measures_are_no_survivors() -> None:
    from isoloss.compiler.observed.autoattack_survivors import Survivors
    from isoloss.compiler.observed.runs import Knowledge

    seen = Observation("a", "evaluate", "accuracy @ clean", 0.99, run="r", fraction=1.0)
    loss = Observation(
        "b", "evaluate", "loss trades(5) @ pgd(40, cw, linf, 8/255)", 1.2, run="r", fraction=1.0
    )
    found = Survivors(Knowledge([seen, loss]))
    spec = next(j.spec for j in plan_of(example("quickstart")).jobs if j.kind == "evaluate")
    attack = {"kind": "autoattack", "norm": "linf", "eps": "8/255"}
    assert found(replace(spec, attack=attack, network="r")) == SURVIVORS  # type: ignore[arg-type, type-var]


def test_a_price_belongs_to_its_spec_though_the_spec_is_gone(tmp_path: Path) -> None:
    """Specs of many networks, each with components of its own that nobody else keeps: no price is another's."""
    plan = plan_of(study(tmp_path))
    first = next(job.spec for job in plan.jobs if isinstance(job.spec, TrainSpec))
    pricer, expected = Pricer(BUILT_IN["cpu"]), {}
    for width in range(1, 49):
        model = {"kind": "cnn", "width": width}
        expected[width] = Pricer(BUILT_IN["cpu"]).cost(replace(first, model=model)).flops
    for width in range(1, 49):
        spec = replace(first, model={"kind": "cnn", "width": width}, recipe=copy.deepcopy(dict(first.recipe)))
        assert pricer.cost(spec).flops == expected[width]
        del spec
