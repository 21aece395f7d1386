"""Generators with networks: which jobs a plan makes for them, what they share, need and cost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from studies import example, plan_of, study, study_of_text, text

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost.architectures.unet import count_unet, network_of
from isoloss.compiler.cost.job_memory import need
from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.shards import LARGEST, shards
from isoloss.compiler.jobs.generator_networks import unguided
from isoloss.compiler.plan import DenoiserSpec, DiscriminatorSpec, Job, Plan, job_id
from isoloss.compiler.plans.explain_job import explain
from isoloss.compiler.plans.plan_file import parse_plan
from isoloss.compiler.plans.totals import bill_flops
from isoloss.drawings.dag_picture import draw
from isoloss.drawings.gantt import gantt
from isoloss.dsl.study.study import Call
from isoloss.errors import UserError
from isoloss.plans.planning import compile_loaded
from isoloss.screens.plan_screen import screen

NET = "unet(images = 10k)"


def generators(folder: Path, *lines: str, **parts: str) -> Plan:
    """The plan of a study with these generators in place of the base's."""
    names = [line.split()[1] for line in lines]
    grid = f"grid runs {{ model = cnn(1) generator in [{', '.join(names)}] images = 4k recipe = trades }}"
    return plan_of(study(folder, coarse="\n".join(lines), fine="", grid=grid, **parts))


def kinds(plan: Plan, kind: str) -> list[Job]:
    return [job for job in plan.jobs if job.kind == kind]


def test_generators_share_a_network_that_is_trained_alike(tmp_path: Path) -> None:
    plan = generators(
        tmp_path,
        f"generator five {{ sampler = edm(steps = 5) denoiser = {NET} }}",
        f"generator nine {{ sampler = edm(steps = 9) denoiser = {NET} }}",
        "generator twin { sampler = edm(steps = 9) denoiser = unet(images = 10k, lr = 2e-3) }",
    )
    first, second = kinds(plan, "denoiser")
    needs = [job.needs for job in kinds(plan, "generate")]
    assert sorted(needs) == sorted([(first.id,), (first.id,), (second.id,)])
    assert first.name == "five/denoiser"
    assert first.reason == "a network for 2 jobs"
    assert isinstance(first.spec, DenoiserSpec)
    assert first.spec.train_steps == round(10_000 / 128)
    assert not need(first.spec).shared  # type: ignore[union-attr]  # its training is one process
    assert first.facts.params == count_unet(first.spec.network, first.spec.dataset).params == 188_945


def test_a_sampler_decides_what_its_network_is_trained_under(tmp_path: Path) -> None:
    plan = generators(
        tmp_path,
        f"generator plain {{ sampler = edm(steps = 5) denoiser = {NET} }}",
        f"generator tailed {{ sampler = pfgmpp(steps = 5, dimension = 64) denoiser = {NET} }}",
    )
    found = [job.spec.kernel for job in kinds(plan, "denoiser")]  # type: ignore[union-attr]
    assert found == [{"kind": "edm"}, {"kind": "pfgmpp", "dimension": 64}]


def test_a_network_s_number_format_is_its_own(tmp_path: Path) -> None:
    """fp32 is what it was before there were others: the same id. Images are made in fp32 all the same."""
    lines = [
        f"generator {name} {{ sampler = edm(steps = 5) denoiser = unet(images = 10k{more}) }}"
        for name, more in (("plain", ""), ("full", ", precision = fp32"), ("half", ", precision = bf16"))
    ]
    plan = generators(tmp_path, *lines, budget="budget { devices = 1 of h100 choose = all }")
    full, half = kinds(plan, "denoiser")
    assert "precision" not in full.spec.recipe  # type: ignore[union-attr]
    assert full.spec.numerics == {"dtype": "fp32", "tf32": False, "deterministic": True}  # type: ignore[union-attr]
    assert half.spec.numerics["dtype"] == "bf16"  # type: ignore[union-attr]
    assert "90 % lie at" in screen(plan)
    assert "denoiser@bf16: assumed: published times" in screen(plan)
    assert explain(plan, half).speed.startswith("h100, denoiser@bf16: ")


def test_a_network_in_a_format_that_the_device_lacks_is_refused(tmp_path: Path) -> None:
    line = "generator half { sampler = edm(steps = 5) denoiser = unet(images = 10k, precision = bf16) }"
    with pytest.raises(UserError) as caught:
        compile_loaded(
            study(
                tmp_path,
                coarse=line,
                fine="",
                grid="grid runs { model = cnn(1) generator = half images = 4k recipe = trades }",
                budget="budget { devices = 1 of v100 choose = all }",
            ),
            (),
        )
    assert [d.code for d in caught.value.diagnostics] == ["B115"]


@pytest.mark.parametrize("denoiser", [NET, "mixture(components = 2)"])
def test_guidance_learns_from_the_unguided_sampler(denoiser: str, tmp_path: Path) -> None:
    plan = generators(
        tmp_path,
        f"generator guided {{ sampler = dg(steps = 5) denoiser = {denoiser} images = 20k }}",
        f"generator plain {{ sampler = edm(steps = 5) denoiser = {denoiser} images = 20k }}",
    )
    (judge,) = kinds(plan, "discriminator")
    assert isinstance(judge.spec, DiscriminatorSpec)
    plain = next(job for job in kinds(plan, "generate") if job.spec.sampler["kind"] == "edm")  # type: ignore[union-attr]
    assert judge.needs == judge.spec.generated == (plain.id,), "the plain generator's first shard is the one"
    guided = next(job for job in kinds(plan, "generate") if job.spec.sampler["kind"] == "dg")  # type: ignore[union-attr]
    assert judge.id in guided.needs
    assert guided.spec.sampler["discriminator"]["job"] == judge.id  # type: ignore[union-attr]
    assert set(plain.needs) <= set(guided.needs)
    order = [job.id for job in plan.jobs]
    assert order.index(plain.id) < order.index(judge.id) < order.index(guided.id)


def test_a_guided_generator_of_its_own_brings_what_it_needs(tmp_path: Path) -> None:
    plan = generators(tmp_path, f"generator guided {{ sampler = dg(steps = 5) denoiser = {NET} }}")
    assert {kind: len(kinds(plan, kind)) for kind in ("denoiser", "discriminator", "generate")} == {
        "denoiser": 1, "discriminator": 1, "generate": 2,
    }  # fmt: skip
    assert "guided/unguided" in {job.name for job in plan.jobs}
    assert all(job.origin.line for job in plan.jobs)


def test_a_discriminator_learns_from_no_more_images_than_its_generator_has(tmp_path: Path) -> None:
    plan = generators(
        tmp_path,
        f"generator guided {{ sampler = dg(steps = 5) denoiser = {NET} images = 4k }}",
        f"generator plain {{ sampler = edm(steps = 5) denoiser = {NET} images = 4k }}",
    )
    (judge,) = kinds(plan, "discriminator")
    assert judge.spec.images == 4000  # type: ignore[union-attr]
    assert len(kinds(plan, "generate")) == 2, "the plain generator's shard is what it learns from"


def test_the_unguided_sampler_is_what_the_language_calls_edm(tmp_path: Path) -> None:
    """Else the two would never share images."""
    lines = (
        "sampler = dg(steps = 7, sigma_max = 12, rho = 5)",
        "sampler = edm(steps = 7, sigma_max = 12, rho = 5)",
    )
    calls = [study(tmp_path, fine=f"generator fine {{ {line} }}").generators[1].sampler for line in lines]
    assert unguided(component(calls[0])) == component(calls[1])


# What it costs.


def test_every_job_of_a_known_denoiser_has_a_price(tmp_path: Path) -> None:
    file = 'pretrained(file = "edm.pt", channels = 8, multipliers = [1, 2], blocks = 1, attention = [4])'
    plan = generators(
        tmp_path,
        f"generator a {{ sampler = edm(steps = 5, churn = 3) denoiser = {NET} }}",
        f"generator b {{ sampler = pfgmpp(steps = 5) denoiser = {NET} }}",
        f"generator c {{ sampler = dg(steps = 5) denoiser = {NET} }}",
        "generator e { sampler = dg(steps = 5) denoiser = mixture() }",
        f"generator f {{ sampler = dg(steps = 5) denoiser = {file} }}",
    )
    assert not plan.totals["all"].unknown
    assert all(job.cost.flops and job.cost.seconds and job.cost.storage_bytes for job in plan.jobs)
    for job in plan.jobs:
        bill = sum(part.flops or 0.0 for part in cost.parts(job.spec))
        assert bill == pytest.approx(bill_flops(job.cost))


def test_costs_are_the_rules(tmp_path: Path) -> None:
    plan = generators(tmp_path, f"generator g {{ sampler = dg(steps = 5) denoiser = {NET} }}")
    (trained,), (judge,) = kinds(plan, "denoiser"), kinds(plan, "discriminator")
    assert isinstance(trained.spec, DenoiserSpec)
    assert isinstance(judge.spec, DiscriminatorSpec)
    forward = count_unet(trained.spec.network, trained.spec.dataset).forward_flops
    judging = count_unet(judge.spec.network, judge.spec.dataset).forward_flops
    tests = 10 * 1024
    assert trained.cost.flops == forward * (3 * trained.spec.train_steps * 128 + tests)
    assert judge.cost.flops == judging * (3 * judge.spec.train_steps * 128 + tests)
    guided = next(job for job in kinds(plan, "generate") if job.spec.sampler["kind"] == "dg")  # type: ignore[union-attr]
    # 2n - 1 evaluations of the denoiser; forward and backward to the image of the discriminator at each step.
    assert guided.cost.flops == 10_000 * (9 * forward + 5 * 2 * judging)


def test_a_mixture_under_the_heavy_tailed_kernel_pays_for_its_quadrature() -> None:
    from isoloss.runtime.generators.pfgmpp import default_nodes

    for dimension in (8, 512, 513, 2048):
        assert cost.quadrature_nodes({"kind": "pfgmpp", "dimension": dimension}) == default_nodes(dimension)


def test_the_budget_pays_for_the_networks_too(tmp_path: Path) -> None:
    line = f"generator g {{ sampler = edm(steps = 5) denoiser = {NET} }}"
    plan = generators(tmp_path, line, budget="budget { compute = 5 TFLOP choose = all }")
    needed = plan.budget["used_flops"]
    grid = "grid runs { model = cnn(1) generator = g images = 4k recipe = trades }"
    small = study(
        tmp_path,
        coarse=line,
        fine="",
        grid=grid,
        budget=f"budget {{ compute = {0.9 * needed:.0f} FLOP choose = all }}",
    )
    from isoloss.compiler.compile import compile_study
    from isoloss.compiler.cost.devices import BUILT_IN

    found, problems = compile_study(small, (), BUILT_IN["cpu"])
    assert found is None
    assert [problem.code for problem in problems] == ["B102"]


# Shards.


def test_a_hundred_million_images_are_about_a_hundred_jobs() -> None:
    parts = list(shards(100_000_000, None))
    assert 95 < len(parts) < 115
    assert parts[:4] == [(0, 10_000), (10_000, 20_000), (20_000, 40_000), (40_000, 80_000)]
    assert all(start == stop for (_, stop), (start, _) in pairwise(parts))
    assert max(stop - start for start, stop in parts) == LARGEST
    # What a shorter run made, a longer one reuses.
    assert list(shards(3_000_000, None)) == parts[: len(list(shards(3_000_000, None)))]


# What makes a network another one.


@pytest.mark.parametrize(
    ("old", "new", "trained"),
    [
        ("lr = 1e-3", "lr = 2e-3", True),
        ("images = 10k", "images = 20k", True),
        ("channels = 16", "channels = 8", True),
        ("multipliers = [1, 2]", "multipliers = [2, 2]", True),
        ("blocks = 1", "blocks = 2", True),
        ("attention = [4]", "attention = none", True),
        ("dropout = 0%", "dropout = 10%", True),
        ("form = ddpmpp", "form = ncsnpp", True),
        ("batch = 128", "batch = 64", True),
        ("warmup = 10k", "warmup = 20k", True),
        ("ema = 10k", "ema = 20k", True),
        ("ramp = 5%", "ramp = none", True),
        ("augment = 0%", "augment = 12%", True),
        ("sigma_mean = -1.2", "sigma_mean = -1", True),
        ("sigma_spread = 1.2", "sigma_spread = 1", True),
        ("seed = 0)", "seed = 1)", True),
        ("edm(steps = 5", "pfgmpp(steps = 5", True),
        ("steps = 5", "steps = 6", False),
        ("churn = 0", "churn = 3", False),
        ("generator g", "generator other", None),
        ("10k", "10000", None),
    ],
)
def test_a_change_of_a_network_makes_its_images_again(
    old: str, new: str, trained: bool | None, tmp_path: Path
) -> None:
    """True: trained again; False: only its images; None: nothing."""
    line = (
        "generator g { sampler = edm(steps = 5, churn = 0) denoiser = unet(channels = 16, multipliers = [1, 2], "
        "blocks = 1, attention = [4], dropout = 0%, form = ddpmpp, images = 10k, batch = 128, lr = 1e-3, "
        "warmup = 10k, ema = 10k, ramp = 5%, augment = 0%, sigma_mean = -1.2, sigma_spread = 1.2, seed = 0) }"
    )
    assert old in line
    after = line.replace(old, new).replace("pfgmpp(steps = 5, churn = 0)", "pfgmpp(steps = 5)")
    changed = changes(generators(tmp_path, line), generators(tmp_path, after))
    after_images = {"generate", "fid", "train", "evaluate"}
    assert changed == (
        {"denoiser", *after_images} if trained else after_images if trained is False else set()
    )


@pytest.mark.parametrize(
    ("old", "new", "judged"),
    [
        ("lr = 3e-4", "lr = 1e-3", True),
        ("weight_decay = 1e-7", "weight_decay = 0", True),
        ("channels = 16", "channels = 8", True),
        ("images = 10k", "images = 20k", True),
        ("steps = 5", "steps = 6", True),
        ("weight = 1,", "weight = 2,", False),
        ("churn_every = 5", "churn_every = none", False),
    ],
)
def test_a_change_of_guidance_makes_its_images_again(
    old: str, new: str, judged: bool, tmp_path: Path
) -> None:
    line = (
        "generator g { sampler = dg(steps = 5, weight = 1, churn_every = 5, discriminator = encoder(channels = 16, "
        "images = 10k, lr = 3e-4, weight_decay = 1e-7)) denoiser = mixture() }"
    )
    changed = changes(generators(tmp_path, line), generators(tmp_path, line.replace(old, new)))
    assert changed == {"generate", "fid", "train", "evaluate", *(["discriminator"] if judged else [])}


def changes(before: Plan, after: Plan) -> set[str]:
    """Kinds of the jobs that only the second has."""
    known = {job.id for job in before.jobs}
    return {job.kind for job in after.jobs if job.id not in known}


def test_the_example_names_every_job_by_its_meaning() -> None:
    for job in plan_of(example("generators")).jobs:
        assert job.id == job_id(job.spec)


# How it is shown.


def test_a_plan_with_networks_is_explained_drawn_and_read_back(tmp_path: Path) -> None:
    from isoloss.compiler.plans.plan_json import plan_to_json

    plan = generators(tmp_path, f"generator g {{ sampler = dg(steps = 5) denoiser = {NET} }}")
    read, problem = parse_plan(plan_to_json(plan), "PLAN.json")
    assert problem is None
    assert read == plan or plan_to_json(read) == plan_to_json(plan)  # type: ignore[arg-type]
    told = explain(plan, kinds(plan, "denoiser")[0])
    assert told.identity["network.multipliers"] == "1, 2"
    assert told.identity["kernel"] == "edm"
    guided = next(job for job in kinds(plan, "generate") if job.name.startswith("g/0"))
    assert {name.split("/")[1] for _, name in explain(plan, guided).needs} == {"denoiser", "discriminator"}
    assert "train denoisers" in (gantt(plan) or "")
    assert "denoiser" in draw(plan)


def test_published_images_need_no_network(tmp_path: Path) -> None:
    """The paper's `dg` names images that exist: nothing is trained for them."""
    plan = plan_of(example("robustness_limits"))
    assert not kinds(plan, "denoiser")
    assert not kinds(plan, "discriminator")
    assert {job.spec.denoiser["kind"] for job in kinds(plan, "generate")} == {"none"}  # type: ignore[union-attr]


def test_networks_that_images_do_not_allow_are_told_once(tmp_path: Path) -> None:
    from isoloss.compiler.cells.expand import expand

    line = "denoiser = unet(multipliers = [1, 1, 1, 1, 1]) }"
    both = study_of_text(
        tmp_path, text(coarse=f"generator coarse {{ sampler = edm(steps = 3) {line}",
                       fine=f"generator fine {{ sampler = edm(steps = 9) {line}"),
    )  # fmt: skip
    _, problems = expand(both)
    assert [problem.code for problem in problems] == ["G111"]
    assert "8x8" in problems[0].headline
    odd = network_of(
        {**component(both.generators[0].denoiser), "multipliers": [1, 5], "channels": 28}, "unet", 0
    )  # type: ignore[arg-type, dict-item]
    with pytest.raises(ValueError, match="channels"):
        count_unet(odd, {"kind": "digits"})


def test_a_let_names_a_network_for_all(tmp_path: Path) -> None:
    source = text(
        dataset="dataset digits\n  let net = unet(images = 10k)",
        coarse="generator coarse { sampler = edm(steps = 3) denoiser = net }",
        fine="generator fine { sampler = edm(steps = 9) denoiser = net }",
    )
    found = study_of_text(tmp_path, source)
    assert found.generators[0].denoiser == found.generators[1].denoiser
    assert isinstance(found.generators[0].denoiser, Call)
    assert len(kinds(plan_of(found), "denoiser")) == 1
