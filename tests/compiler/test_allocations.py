"""Allocations of every objective through the loop: they end, stay within what is kept, and say what they took."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from simulated import observe, run_to_fixed_point
from studies import BASE, plan_of, study

from isoloss.compiler.cells.expand import expand
from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.design.reservation import OPEN_SHARE, reservation
from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.shards import shards
from isoloss.compiler.jobs.factory import JobFactory
from isoloss.compiler.laws.published import published
from isoloss.compiler.plan import Answer, Job, Observation, Plan, TrainSpec
from isoloss.compiler.plans.totals import bill_flops
from isoloss.compiler.questions.buildable_networks import buildable
from isoloss.compiler.questions.objectives import Offer
from isoloss.compiler.questions.steps import Steps
from isoloss.compiler.questions.walltime import Clock
from isoloss.dsl.vocabulary.quantity_text import flop_text

FIT = "fit law { law = approach2 to = runs resamples = 40 }"
TERMS = "law = law evaluate = [robust]"
BUDGET = "budget { compute = 5 TFLOP devices = 2 of cpu choose = cheapest }"


def asked(folder: Path, *allocations: str, **parts: str) -> list[Plan]:
    """The plans of the loop over the small study with these allocations, on drawn results."""
    ask = "\n  ".join(allocations)
    return run_to_fixed_point(study(folder, fits=FIT, ask=ask, **{"budget": BUDGET, **parts}))[0]


def allocated(plan: Plan, name: str = "check") -> Answer:
    return next(a for a in plan.answers if a.name == name)


def bill_of(plan: Plan, name: str = "check") -> float:
    """What the run's own jobs cost, and the images and networks that nothing else in the plan needs."""
    return sum(bill_flops(job.cost) for job in alone_for(plan, name))


def alone_for(plan: Plan, name: str) -> list[Job]:
    """The run's own jobs, and those that nothing else in the plan needs."""
    mine = {job.id for job in plan.jobs if job.facts.allocation == name}
    rest = needed(plan, {job.id for job in plan.jobs if job.facts.grid is not None or job.kind == "fid"})
    return [job for job in plan.jobs if job.id in needed(plan, mine) - rest]


def needed(plan: Plan, ids: set[str]) -> set[str]:
    """These jobs and all that they need in turn."""
    more = {need for job in plan.jobs if job.id in ids for need in job.needs} - ids
    return needed(plan, ids | more) if more else ids


@pytest.fixture(scope="module")
def objectives(tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    """One study with an allocation of each objective."""
    return asked(
        tmp_path_factory.mktemp("objectives"),
        f"allocate compute {{ {TERMS} compute = 100 GFLOP generator = fine }}",
        f"allocate smaller {{ {TERMS} compute = 100 GFLOP generator = fine overhead <= 100% }}",
        f"allocate accuracy {{ {TERMS} accuracy = 45% generator in [coarse, fine] }}",
        f"allocate time {{ {TERMS} time = 20 s generator in [coarse, fine] }}",
        f"allocate joint {{ {TERMS} compute = 100 GFLOP generator in [coarse, fine] }}",
    )


def test_the_loop_ends_and_no_answer_moves_once_its_law_is_complete(objectives: list[Plan]) -> None:
    answered = [plan for plan in objectives if allocated(plan, "compute").status == "answered"]
    assert len(answered) >= 2
    for name in ("compute", "smaller", "accuracy", "time", "joint"):
        jobs = {allocated(plan, name).job for plan in answered}
        assert len(jobs) == 1, name
        assert None not in jobs, name
    assert {job.state for job in objectives[-1].jobs} == {"done"}
    assert not [w for w in objectives[-1].warnings if w.code in ("B108", "B113")]


def test_every_answer_has_its_interval_and_is_measured(objectives: list[Plan]) -> None:
    for name in ("compute", "smaller", "accuracy", "time", "joint"):
        answer = allocated(objectives[-1], name)
        for what in ("params", "images", "flops", "loss", "accuracy"):
            value = answer.values[what]
            assert value is not None, (name, what)
            assert value.low <= value.mid <= value.high
        assert answer.measured["loss"] is not None
        assert any("measured loss" in note for note in answer.notes)


def test_an_overhead_buys_a_smaller_network(objectives: list[Plan]) -> None:
    last = objectives[-1]
    plain, smaller = (last.job(allocated(last, name).job or "") for name in ("compute", "smaller"))
    assert smaller.facts.params < plain.facts.params
    assert plain.cost.flops <= 100e9
    assert smaller.cost.flops <= 200e9
    assert any("times smaller than the optimum" in note for note in allocated(last, "smaller").notes)


def test_an_accuracy_is_reached_at_the_least_cost(objectives: list[Plan]) -> None:
    answer = allocated(objectives[-1], "accuracy")
    accuracy, flops = answer.values["accuracy"], answer.values["flops"]
    assert accuracy is not None
    # The run is rounded up to whole steps: never below, and not far above.
    assert 0.45 - 1e-6 <= accuracy.mid <= 0.455
    assert flops is not None
    assert flops.low < flops.mid < flops.high
    assert any("in its place: `coarse`" in note or "in its place: `fine`" in note for note in answer.notes)


def test_a_time_holds_by_the_clock_of_its_own_jobs(tmp_path: Path) -> None:
    """The answer's own sentence, against the prices of its jobs in the plan where it was first answered."""
    plans = asked(tmp_path, f"allocate check {{ {TERMS} time = 20 s generator in [coarse, fine] }}")
    plan = next(p for p in plans if allocated(p).status == "answered")
    took = next(note for note in allocated(plan).notes if note.startswith("takes "))
    said = float(took.split()[1])
    assert took.split()[2] == "s"
    assert 19 < said <= 20
    mine = [job for job in plan.jobs if job.facts.allocation == "check"]
    own = [job for job in plan.jobs if job.kind == "generate" and job.state != "done"]
    # Training and test follow each other on one core each; images are made on both, the longest shard on one.
    alone = [[j.cost.seconds.mid for j in group if j.cost.seconds] for group in (mine, own)]
    assert said == pytest.approx(sum(alone[0]) + max(sum(alone[1]) / 2, *alone[1]), rel=0.01)


@pytest.mark.parametrize("made", ["denoiser = mixture(components = 4)", "denoiser = none fid = 0.07"])
def test_a_time_is_held_with_a_generator_that_never_runs_out(tmp_path: Path, made: str) -> None:
    ask = f"allocate check {{ {TERMS} time = 40 s generator = fine }}"
    fine = f"generator fine {{ sampler = edm(steps = 20) {made} features = pixels }}"
    plan = asked(tmp_path, ask, fine=fine)[-1]
    assert allocated(plan).status == "answered"
    # From its first image on: what its own jobs take, and what goes by while its images are made.
    (taken,) = re.findall(r"takes ([\d.]+) s on 2 of cpu", " ".join(allocated(plan).notes))
    assert 30 < float(taken) <= 40
    mine = [job.cost.seconds.mid for job in plan.jobs if job.facts.allocation and job.cost.seconds]
    assert sum(mine) <= float(taken)


@pytest.mark.parametrize("images", [9_000, 30_000, 1_280_001, 5_000_000, 100_000_000])
def test_the_clock_counts_the_shards_that_are_made(tmp_path: Path, images: int) -> None:
    """Of a long time and an unlimited generator: what making the images adds is what their jobs take."""
    ask = f"allocate check {{ {TERMS} time = 30 d generator = fine }}"
    fine = BASE["fine"].replace("images = 100k", "")
    small = study(tmp_path, fits=FIT, ask=ask, fine=fine, budget="budget { devices = 64 of cpu }")
    factory, pricer = JobFactory(small), Pricer(BUILT_IN["cpu"])
    recipe, question = small.recipes[0], small.allocations[0]
    made_of = [component(each) for each in (recipe.loss, recipe.attack, recipe.perturb)]
    networks = buildable([{"kind": "cnn", "width": 1}], factory.dataset, *made_of, ())[:1]
    clock = Clock(question, factory, BUILT_IN["cpu"], networks, Steps(question, factory).batches(networks))
    drawn = np.array([float(images)])
    law = published("bartoldson2024.approach2")
    offers = Offer("fine", law, 1.0, math.inf, 0.0, 0.0), Offer("coarse", law, 1.0, 1e5, 1e5, 0.0)
    took, free = (clock.seconds(offer, drawn)[0] for offer in offers)
    jobs = [factory.shard("fine", *bounds) for bounds in shards(images, None)]
    each = [cost.seconds.mid for job in jobs if (cost := pricer.cost(job.spec)).seconds is not None]
    # Images are made on all cores, the longest shard on one; those of `coarse` are all made anyway.
    assert took - free == pytest.approx(max(sum(each) / 64, *each), rel=1e-9)


@pytest.mark.parametrize("limit", [100_000, 5_500_000, None])
def test_images_are_kept_as_their_shards_cost_and_once(tmp_path: Path, limit: int | None) -> None:
    """Of two allocations of one generator, one of them through a mix that draws half as many of it."""
    fine = BASE["fine"].replace("images = 100k", "" if limit is None else f"images = {limit}")
    asks = [f"allocate {n} {{ {TERMS} compute = 100 TFLOP generator = {n} }}" for n in ("half", "fine")]
    parts = {
        "fits": FIT,
        "ask": "\n".join(asks),
        "fine": fine,
        "mix": "mix half { generator = fine real = 1/2 }",
    }
    small = study(tmp_path, **parts, budget="budget { devices = 2 of cpu }")
    factory, pricer, (cells, _) = JobFactory(small), Pricer(BUILT_IN["cpu"]), expand(small)
    found = reservation(small, factory, pricer, cells, BUILT_IN["cpu"])
    most = int(100e12 / min(cell.flops_per_image for cell in cells))
    jobs = [factory.shard("fine", *bounds) for bounds in shards(min(most, limit or most), limit)]
    assert found["half"].images + found["fine"].images == pytest.approx(
        sum(bill_flops(pricer.cost(job.spec)) for job in jobs), rel=1e-12
    )
    assert found["half"].images > 0


def test_what_no_compute_makes_is_kept_without_listing_its_shards(tmp_path: Path) -> None:
    ask = f"allocate check {{ {TERMS} compute = 1e24 FLOP generator = fine }}"
    fine = BASE["fine"].replace("images = 100k", "")
    plan = plan_of(study(tmp_path, fits=FIT, ask=ask, fine=fine, budget="budget { devices = 2 of cpu }"))
    assert plan.budget["reserved_flops"] > 1e24


def test_competing_generators_pay_for_their_images(objectives: list[Plan]) -> None:
    last = objectives[-1]
    train = last.job(allocated(last, "joint").job or "")
    assert isinstance(train.spec, TrainSpec)
    tests = sum(
        bill_flops(j.cost) for j in last.jobs if j.facts.allocation == "joint" and j.kind == "evaluate"
    )
    assert bill_of(last, "joint") - tests - train.cost.evaluation_flops <= 100e9
    assert train.facts.images <= 100_000


OWN = "generator own {{ sampler = {} denoiser = unet(images = 10k) images = 100k fid = 0.067 features = pixels }}"


def first_answered(folder: Path, sampler: str, terms: str, **parts: str) -> Plan:
    ask = f"allocate check {{ {TERMS} {terms} generator in [own] }}"
    budget = "budget { devices = 2 of cpu }"
    plans = asked(folder, ask, **{"own": OWN.format(sampler), "budget": budget, **parts})
    return next(plan for plan in plans if allocated(plan).status in ("answered", "wide"))


@pytest.mark.parametrize("kind", ["edm", "dg"])
def test_a_generator_that_only_an_allocation_draws_from_pays_for_its_networks(
    tmp_path: Path, kind: str
) -> None:
    """And for the images that its judge learns from; by the clock too. Where a grid draws from it they are there."""
    sampler = f"{kind}(steps = 20)"
    plan = first_answered(tmp_path, sampler, "compute = 20 TFLOP")
    made = [job for job in alone_for(plan, "check") if job.facts.allocation is None]
    networks = {"edm": {"denoiser"}, "dg": {"denoiser", "discriminator"}}[kind]
    assert {job.kind for job in made} == {*networks, "generate"}
    extra = sum(bill_flops(job.cost) for job in made)
    said = f"{flop_text(extra)} of images, and of the networks that make them, are made for it alone"
    assert said in allocated(plan).notes
    train = plan.job(allocated(plan).job or "")
    assert 19e12 < train.cost.flops + extra <= 20e12
    # By the clock: network by network, then its own images on both cores, then the training and its test.
    plan = first_answered(tmp_path, sampler, "time = 1 h")
    took = next(note for note in allocated(plan).notes if note.startswith("takes "))
    assert "from its first network to its last test" in took
    seconds = [(job, job.cost.seconds.mid) for job in alone_for(plan, "check") if job.cost.seconds]
    own = [s for job, s in seconds if job.kind == "generate" and job.spec.sampler["kind"] == kind]
    each = sum(s for _, s in seconds) - sum(own) + max(sum(own) / 2, *own)
    assert float(took.split()[1]) * 60 == pytest.approx(each, rel=0.01)
    assert took.split()[2] == "min"
    grid = BASE["grid"].replace("[coarse, fine]", "[coarse, fine, own]")
    plan = first_answered(tmp_path, sampler, "compute = 20 TFLOP", grid=grid)
    assert not any("networks that make them" in note for note in allocated(plan).notes)


@pytest.mark.parametrize(
    "terms",
    [
        "compute = 100 GFLOP generator = fine",
        "compute = 100 GFLOP generator = fine overhead <= 50%",
        "compute = 100 GFLOP generator in [coarse, fine]",
    ],
)
def test_what_is_kept_holds_whatever_the_law_says(tmp_path: Path, terms: str) -> None:
    plans = asked(tmp_path, f"allocate check {{ {TERMS} {terms} }}")
    kept = {plan.budget["reserved_flops"] for plan in plans}
    assert len(kept) == 1, "the same before and after runs finish"
    assert 0 < bill_of(plans[-1]) <= kept.pop()


def test_a_time_is_held_to_what_the_budget_leaves(tmp_path: Path) -> None:
    """Hours on two cores, and hardly more compute than the cells take."""
    ask = f"allocate check {{ {TERMS} time = 5 h generator = fine }}"
    cells = study(tmp_path, fits=FIT, budget=BUDGET)
    plain = compile_study(cells, (), BUILT_IN["cpu"])[0]
    assert plain is not None
    needed = plain.budget["used_flops"]
    budget = f"budget {{ compute = {needed + 1e11:.0f} FLOP devices = 2 of cpu choose = all }}"
    last = run_to_fixed_point(study(tmp_path, fits=FIT, ask=ask, budget=budget))[0][-1]
    assert allocated(last).status == "answered"
    assert 0.8e11 < bill_of(last) <= 1e11


def test_an_open_end_keeps_half_of_what_is_there(tmp_path: Path) -> None:
    ask = f"allocate check {{ {TERMS} accuracy = 80% generator = fine }}"
    chosen = compile_study(study(tmp_path, fits=FIT, ask=ask, budget=BUDGET), (), BUILT_IN["cpu"])[0]
    assert chosen is not None
    assert chosen.budget["reserved_flops"] == pytest.approx(OPEN_SHARE * 5e12)
    assert any("the budget has up to" in note for note in allocated(chosen).notes)
    everything = study(tmp_path, fits=FIT, ask=ask, budget=BUDGET.replace("cheapest", "all"))
    plan = compile_study(everything, (), BUILT_IN["cpu"])[0]
    assert plan is not None
    assert plan.budget["reserved_flops"] == 0
    left = 5e12 - plan.budget["used_flops"]
    assert any(flop_text(left) in note for note in allocated(plan).notes)


def test_a_named_family_is_built_though_no_grid_has_it(tmp_path: Path) -> None:
    plans = asked(tmp_path, f"allocate check {{ {TERMS} compute = 2 TFLOP generator = fine family = wrn }}")
    job = plans[-1].job(allocated(plans[-1]).job or "")
    assert isinstance(job.spec, TrainSpec)
    assert job.spec.model["kind"] == "wrn"
    assert any("no run of family `wrn`" in note for note in allocated(plans[-1]).notes)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("accuracy = 99.9% generator in [coarse, fine]", "is beyond its law, which comes to"),
        ("time = 2 s generator = fine", "even one image through the smallest network"),
        ("compute = 100 kFLOP generator = fine", "one image through the smallest network costs"),
        ("compute = 3 MFLOP generator = fine", "and one step takes"),
    ],
)
def test_what_can_not_be_had_is_said_with_its_numbers(tmp_path: Path, terms: str, said: str) -> None:
    last = asked(tmp_path, f"allocate check {{ {TERMS} {terms} }}")[-1]
    warned = [w for w in last.warnings if w.code == "B113"]
    assert len(warned) == 1
    assert said in warned[0].message
    assert warned[0].help
    assert allocated(last).status == "not determined"
    assert not [j for j in last.jobs if j.facts.allocation]


def test_a_law_of_the_envelope_answers_at_a_compute_only(tmp_path: Path) -> None:
    fit = "fit law { law = approach1 to = runs per = generator resamples = 20 }"

    def base(terms: str) -> list[Plan]:
        ask = f"allocate check {{ {TERMS} {terms} }}"
        return run_to_fixed_point(study(tmp_path, fits=fit, ask=ask, budget=BUDGET))[0]

    assert any("nearest to N*" in n for n in allocated(base("compute = 50 GFLOP generator = fine")[-1]).notes)
    last = base("accuracy = 80% generator = fine")[-1]
    assert any("predicts no single run" in note for note in allocated(last).notes)


def test_what_waits_is_what_allocations_without_a_run_keep(tmp_path: Path) -> None:
    """One law is known, the other's runs are not done: a gate still counts what the second will train."""
    small = study(
        tmp_path,
        fits=FIT,
        more="grid more { model in [cnn(1), cnn(2)] generator = fine images in [2k, 4k] recipe = trades }",
        later="fit later { law = chinchilla to = more resamples = 40 }",
        first="allocate first { law = law compute = 100 GFLOP generator = fine evaluate = [robust] }",
        second="allocate second { law = later compute = 50 GFLOP generator = fine evaluate = [robust] }",
        budget=BUDGET.replace("cheapest", "all"),
    )
    nothing = compile_study(small, (), BUILT_IN["cpu"])[0]
    assert nothing is not None
    assert nothing.budget["waiting_flops"] == nothing.budget["reserved_flops"] > 0
    done = [job.id for job in nothing.jobs if not job.name.startswith("more/")]
    one = compile_study(small, observe(nothing, only=done), BUILT_IN["cpu"])[0]
    assert one is not None
    assert allocated(one, "first").job is not None
    assert allocated(one, "second").job is None
    alone = {"first": "", "more": "", "later": "", "second": ""}
    second = "allocate second { law = law compute = 50 GFLOP generator = fine evaluate = [robust] }"
    kept = compile_study(
        study(tmp_path, fits=FIT, budget=BUDGET, **{**alone, "second": second}), (), BUILT_IN["cpu"]
    )[0]
    assert kept is not None
    assert 0 < one.budget["waiting_flops"] < one.budget["reserved_flops"]
    assert one.budget["waiting_flops"] <= kept.budget["reserved_flops"]
    last = run_to_fixed_point(small)[0][-1]
    assert last.budget["waiting_flops"] == 0


OTHERS = {
    "gentle": "recipe gentle { loss = trades(beta = 3) attack = pgd(eps = 0.15, steps = 10) batch = 32 lr = 0.1 }",
    "clean": "evaluate clean { attack = none }",
}
ASKED = {"compute": "= 100 GFLOP", "generator": "= fine", "recipe": "= trades", "evaluate": "= [robust]"}
TRAINED, TESTED, NOTHING = {"train", "evaluate"}, {"evaluate"}, set[str]()
EDITS = {
    "compute": ({"compute": "= 200 GFLOP"}, TRAINED),
    "generator": ({"generator": "= coarse"}, TRAINED),
    "recipe": ({"recipe": "= gentle"}, TRAINED),
    "overhead": ({"overhead": "<= 100%"}, TRAINED),
    "seed": ({"seed": "= 3"}, TRAINED),
    "evaluate": ({"evaluate": "= [clean]"}, TESTED),
    "family": ({"family": "= cnn"}, NOTHING),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[Observation]:
    """Results of the small study's grid."""
    plan = compile_study(study(tmp_path_factory.mktemp("known"), fits=FIT, **OTHERS), (), BUILT_IN["cpu"])[0]
    assert plan is not None
    return observe(plan)


def planned(folder: Path, known: list[Observation], **changed: str) -> tuple[dict[str, str], set[str]]:
    """Ids of the allocated jobs by kind, and of all other trainings and tests."""
    terms = " ".join(f"{name} {value}" for name, value in {**ASKED, **changed}.items())
    asking = study(folder, fits=FIT, ask=f"allocate check {{ law = law {terms} }}", budget=BUDGET, **OTHERS)
    plan, problems = compile_study(asking, known, BUILT_IN["cpu"])
    assert plan is not None, problems
    mine = {job.kind: job.id for job in plan.jobs if job.facts.allocation == "check"}
    return mine, {j.id for j in plan.jobs if j.kind in TRAINED and j.facts.allocation is None}


@pytest.mark.parametrize("setting", EDITS)
def test_an_edit_of_an_allocation_changes_exactly_its_own_jobs(
    tmp_path: Path, known: list[Observation], setting: str
) -> None:
    changed, touches = EDITS[setting]
    before, others = planned(tmp_path, known)
    after, the_same = planned(tmp_path, known, **changed)
    assert set(before) == set(after) == TRAINED
    assert {kind for kind in before if before[kind] != after[kind]} == touches
    assert others == the_same
