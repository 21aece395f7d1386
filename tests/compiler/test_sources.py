"""Sources of images and splits: limits, specs, prices, and laws that take one split for another never."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import observe
from studies import BASE, plan_of, study

from isoloss.compiler.cells.expand import expand
from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.facts.datasets import SHAPES, shape
from isoloss.compiler.facts.sources import Supply, supply
from isoloss.compiler.plan import EvaluateSpec, FidSpec, ImportSpec, Plan, TrainSpec
from isoloss.dsl.study.study import Call, Generator

FILES = 'generator files { from = "made/*.npz" images = 10k }'
ALL = {"coarse": FILES, "fine": "", "budget": "budget { choose = all }"}


def generator(name: str, source: Call | None, images: int | None, passes: int | None = 1) -> Generator:
    return Generator(name, None, None, source, None, Call("pixels"), images, passes, None)


@given(st.integers(1, 10**9), st.integers(1, 50), st.fractions(Fraction(1, 100), Fraction(99, 100)))
def test_a_mix_gives_what_its_generator_has(images: int, passes: int, real: Fraction) -> None:
    """The most images of a mix draw no image of its generator more often than allowed, and one more would."""
    base = generator("g", None, images, passes)
    mix = generator("m", Call("mix", (("generator", "g"), ("real", real))), None)
    found = supply(mix, {"g": base}, SHAPES["cifar10"])
    assert found.passes == passes
    assert found.unique is not None
    assert -(-found.unique * (1 - real) // 1) <= images
    assert -(-(found.unique + 1) * (1 - real) // 1) > images


def test_real_images_are_those_to_train_on() -> None:
    real = Call("real")
    assert supply(generator("r", real, None, None), {}, SHAPES["cifar10"]) == Supply(48_976, None)
    assert supply(generator("r", real, 500, 3), {}, SHAPES["digits"]) == Supply(500, 3)
    assert supply(generator("r", real, 500, 3), {}, SHAPES["digits"]).drawn == 1500
    assert supply(generator("r", real, None, None), {}, SHAPES["squiggles"]) == Supply(None, None)


@pytest.mark.parametrize(
    ("source", "images", "code"),
    [
        (FILES, "[4k, 10k]", None),
        (FILES, "[4k, 16k]", "G104"),
        (FILES.replace("10k", "10k passes = 2"), "[4k, 16k]", None),
        (FILES.replace("10k", "10k passes = 2"), "[4k, 32k]", "G104"),
        (FILES.replace("10k", "10k passes = unlimited"), "[4k, 32k]", None),
        (FILES.replace("images = 10k", ""), "[4k, 32k]", None),
        ("generator files { from = real }", "[4k, 200k]", None),
        ("generator files { from = real images = 500 passes = 8 }", "[4k]", None),
        ("generator files { from = real images = 500 passes = 8 }", "[5k]", "G104"),
        ("generator files { from = real images = 801 }", "[4k]", "G109"),
    ],
)
def test_limits_are_kept(tmp_path: Path, source: str, images: str, code: str | None) -> None:
    grid = BASE["grid"].replace("[coarse, fine]", "[files]").replace("[4k, 8k, 16k]", images)
    _, problems = expand(study(tmp_path, **ALL | {"coarse": source, "grid": grid}))
    assert [p.code for p in problems] == ([code] if code else [])
    if code == "G104" and "passes = 2" in source:
        assert "in 2 passes" in problems[0].headline


def test_a_mix_is_limited_by_its_generators_share(tmp_path: Path) -> None:
    """7/8 of 11,428 images are the 10,000 there are."""
    for images, codes in (("11428", []), ("11429", ["G104"])):
        grid = BASE["grid"].replace("[coarse, fine]", "[mixed]").replace("[4k, 8k, 16k]", f"[{images}]")
        parts = ALL | {"mix": "mix mixed { generator = files real = 1/8 }", "grid": grid}
        assert [p.code for p in expand(study(tmp_path, **parts))[1]] == codes


def of_kind(plan: Plan, kind: str) -> list[object]:
    return [job.spec for job in plan.jobs if job.kind == kind]


def test_specs_say_where_images_come_from(tmp_path: Path) -> None:
    grid = BASE["grid"].replace("[coarse, fine]", "[files, own, mixed]").replace("[4k, 8k, 16k]", "[8k]")
    parts = ALL | {
        "fine": "generator own { from = real }",
        "mix": "mix mixed { generator = files real = 12.5% }",
        "grid": grid,
    }
    plan = plan_of(study(tmp_path, **parts))
    [imported] = of_kind(plan, "import")
    assert imported == ImportSpec({"kind": "digits"}, "made/*.npz", (), 10_000, 0)
    [files] = [job for job in plan.jobs if job.kind == "import"]
    data = {}
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec):
            data[job.facts.generator] = (job.spec.data, job.needs, job.facts.fid)
    assert data["own"] == ({"kind": "real", "images": None}, (), 0.0)
    generated = {"kind": "generated", "shards": [files.id], "images": 7168}
    drawn = data["mixed"][0]  # 8,192 images
    assert drawn["fraction"] == "7/8"
    assert drawn["generated"] == generated
    assert data["mixed"][1] == data["files"][1] == (files.id,)
    # Real images are 0 by convention; the others are measured, the mix in its ratio, as far as real ones go.
    measured = [s for s in of_kind(plan, "fid") if isinstance(s, FidSpec)]
    assert sorted((s.images, s.real) for s in measured) == [(5600, 800), (10_000, 0)]
    assert files.cost.flops == 0
    assert files.cost.storage_bytes == 10_000 * shape({"kind": "digits"}).image_bytes
    assert files.cost.seconds is not None


def test_an_import_without_a_count_is_not_estimated(tmp_path: Path) -> None:
    grid = BASE["grid"].replace("[coarse, fine]", "[files]").replace("[4k, 8k, 16k]", "[8k]")
    plan = plan_of(study(tmp_path, **ALL | {"coarse": FILES.replace("images = 10k", ""), "grid": grid}))
    [files] = [job for job in plan.jobs if job.kind == "import"]
    assert files.cost.seconds is None
    assert files.cost.storage_bytes is None
    assert "how many `images`" in files.cost.unknown[0]


def test_curves_are_made_in_shards_of_their_own(tmp_path: Path) -> None:
    grid = "grid runs { model in [cnn(1)] generator in [own] images in [4k, 40k] recipe = trades }"
    source = "generator own { from = real }"
    parts = ALL | {"dataset": "dataset squiggles(variant = taylor, resolution = 28)", "coarse": source}
    plan = plan_of(study(tmp_path, **parts | {"grid": grid}))
    bounds = sorted((s.start, s.stop, s.sampler["kind"]) for s in of_kind(plan, "generate"))  # type: ignore[attr-defined]
    # An epoch of 32,768 makes 40,000 images whole batches.
    assert bounds == [(0, 10_000, "real"), (10_000, 20_000, "real"), (20_000, 40_000, "real")]
    assert not of_kind(plan, "fid")
    assert plan.totals["generate"].storage_bytes == 40_000 * (28 * 28 + 8)
    [row] = {s.dataset["resolution"] for s in of_kind(plan, "train")}  # type: ignore[attr-defined]
    assert (row, shape({"kind": "squiggles", "resolution": row}).height) == (28, 28)


# Splits.

WATCH = "evaluate watch { attack = pgd(eps = 0.15, steps = 5, loss = cw) split = validation }"
WATCHED = BASE["recipe"].replace("robust at", "watch at").replace("50%", "25%")
FIT = "fit law { law = chinchilla to = (runs where generator == fine) }"


def test_what_is_watched_on_validation_is_tested_on_the_test_set(tmp_path: Path) -> None:
    plan = plan_of(study(tmp_path, watch=WATCH, recipe=WATCHED))
    tests: dict[str, set[str]] = {}
    for job in plan.jobs:
        if isinstance(job.spec, EvaluateSpec):
            tests.setdefault(job.spec.network, set()).add(f"{job.facts.evaluation} {job.spec.split}")
    assert set(map(frozenset, tests.values())) == {frozenset({"watch validation", "robust test"})}
    inside = {job.spec.evaluation["split"] for job in plan.jobs if isinstance(job.spec, TrainSpec)}  # type: ignore[index]
    assert inside == {"validation"}
    metrics = {job.facts.metric for job in plan.jobs if job.kind == "train"}
    assert metrics == {"trades(5) @ pgd(5, cw, linf, 3/20) on validation"}


def test_a_law_never_mixes_the_splits(tmp_path: Path) -> None:
    second = WATCHED.replace("recipe trades", "recipe other")
    watch = BASE["robust"].replace("robust", "watch").replace("loss = cw)", "loss = cw) split = validation")
    grid = BASE["grid"].replace("recipe = trades", "recipe in [trades, other]")
    parts = {"watch": watch, "second": second, "grid": grid}
    with pytest.raises(AssertionError, match="V115"):
        study(tmp_path, **parts, fit="fit law { law = chinchilla }")
    some = study(tmp_path, **parts, fit="fit law { law = chinchilla evaluate = robust }")
    plan = plan_of(some)
    seen = observe(plan)
    others = {job.id for job in plan.jobs if job.facts.evaluation == "watch"}
    moved = [replace(o, value=10 * o.value) if o.job in others else o for o in seen]
    first, second_plan = (compile_study(some, each, BUILT_IN["cpu"])[0] for each in (seen, moved))
    assert first is not None
    assert second_plan is not None
    assert others
    assert first.laws == second_plan.laws, "what another evaluation measured is no point of this law"


@pytest.mark.parametrize("split", ["test", "validation"])
def test_choosing_on_the_test_set_is_said(tmp_path: Path, split: str) -> None:
    """Runs whose last loss is 5 % above their best: said where that was chosen on the test set."""
    recipe = BASE["recipe"] if split == "test" else WATCHED
    recipe = recipe.replace("every 50%", "every 25%")
    some = study(tmp_path, watch=WATCH, recipe=recipe, fit=FIT)
    plan = plan_of(some)
    seen = observe(plan)
    worse = [
        replace(o, value=1.3 * o.value) if o.kind == "evaluate" and o.metric.startswith("loss") else o
        for o in seen
    ]
    fitted, problems = compile_study(some, worse, BUILT_IN["cpu"])
    assert fitted is not None, problems
    notes = " ".join(fitted.answers[0].notes)
    assert ("chosen on the test set" in notes) == (split == "test")
    plain, _ = compile_study(some, seen, BUILT_IN["cpu"])
    assert plain is not None
    assert "chosen on the test set" not in " ".join(plain.answers[0].notes)


def test_a_fit_names_the_points_that_raised_an_alarm(tmp_path: Path) -> None:
    some = study(tmp_path, fit=FIT)
    plan = plan_of(some)
    seen = observe(plan)
    alarmed = next(job.id for job in plan.jobs if job.facts.evaluation and job.facts.generator == "fine")
    flagged = [replace(o, flags=("alarm: one step beats many",)) if o.job == alarmed else o for o in seen]
    first, second = (compile_study(some, each, BUILT_IN["cpu"])[0] for each in (seen, flagged))
    assert first is not None
    assert second is not None
    assert not any("alarm" in note for note in first.answers[0].notes)
    [note] = [note for note in second.answers[0].notes if "alarm" in note]
    name = next(job.name for job in plan.jobs if job.id == alarmed).rpartition("/")[0]
    assert note == f"alarm of points: one step beats many: {name}"
    assert first.laws == second.laws, "it is named, not left out"
