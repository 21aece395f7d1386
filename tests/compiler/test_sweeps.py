"""Axes over a recipe's settings, over `let`s, over an attack's settings, and `compute` in place of `images`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import plan_of, study_of_text

from isoloss.compiler.cells.expand import Cell, expand
from isoloss.compiler.plan import EvaluateSpec, Job, Plan, TrainSpec
from isoloss.dsl.load import load_study

HEAD = "study small { dataset digits let eps = 0.1\n"
RECIPES = """
recipe trades { loss = trades(beta = 5) attack = pgd(eps = eps, steps = 2) batch = 64 lr = 0.1 }
recipe mart extends trades { loss = mart(beta = 4) }
evaluate robust { attack = pgd(eps = eps, steps = 3) }
"""
SIZE = "model = cnn(1) images = 4k"


def grid(axes: str) -> str:
    return f"{HEAD}{RECIPES} grid runs {{ {SIZE} {axes} }} }}"


def cells(tmp_path: Path, text: str) -> list[Cell]:
    found, problems = expand(study_of_text(tmp_path, text))
    assert not problems
    return found


def trainings(plan: Plan) -> list[Job]:
    return [job for job in plan.jobs if isinstance(job.spec, TrainSpec)]


def codes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "wrong.study"
    path.write_text(text)
    return [d.code for d in load_study(path)[1]]


def test_the_product_of_all_axes(tmp_path: Path) -> None:
    found = cells(
        tmp_path,
        grid("recipe in [trades, mart] recipe.loss.beta in [1, 3] eps in [0.1, 0.2, 0.3] seed in 0..1"),
    )
    assert len(found) == 2 * 2 * 3 * 2
    for cell in found:
        settings = {s.path: s.value for s in cell.variant.settings}
        recipe = cell.variant.recipe
        assert recipe.loss.get("beta") == settings["recipe.loss.beta"]
        assert recipe.attack.get("eps") == settings["eps"] == cell.variant.evaluations[0].attack.get("eps")
        # A default that hangs on ε follows it.
        assert recipe.attack.get("step") == Fraction(settings["eps"]) / 4  # type: ignore[arg-type]


def test_a_swept_value_is_the_job_of_a_recipe_that_says_it(tmp_path: Path) -> None:
    """An axis is a shorter way to write blocks: what is trained and tested bears the same ids."""
    swept = plan_of(study_of_text(tmp_path, grid("recipe = trades recipe.loss.beta in [1, 3]")))
    written = plan_of(
        study_of_text(
            tmp_path,
            grid("recipe in [one, three]").replace(
                " grid ", "recipe one extends trades { loss = trades(beta = 1) }\n"
                "recipe three extends trades { loss = trades(beta = 3) } grid ",
            ),
        )
    )  # fmt: skip
    assert {job.id for job in swept.jobs} == {job.id for job in written.jobs}
    assert len({job.name for job in swept.jobs}) == len(swept.jobs)


def test_settings_reach_the_facts_of_every_job(tmp_path: Path) -> None:
    plan = plan_of(
        study_of_text(tmp_path, grid("recipe = trades recipe.loss.beta = 2 eps in [8/255, 48/255]"))
    )
    for job in plan.jobs:
        # What has one value for all runs tells nothing apart.
        assert set(job.facts.settings) == {"eps"}
    names = {job.name for job in trainings(plan)}
    assert names == {"runs/cnn(1)/real/4k/eps 8/255", "runs/cnn(1)/real/4k/eps 48/255"}


def test_conditions_read_what_is_swept(tmp_path: Path) -> None:
    axes = "recipe in [trades, mart] recipe.loss.beta in [1, 3] eps in [0.1, 0.2] recipe.precision in [fp32, bf16]"
    where = "where recipe.loss.beta < 2 or eps == 0.2  where recipe.precision == bf16"
    found = cells(tmp_path, grid(f"{axes} {where}"))
    assert len(found) == 2 * 3
    for cell in found:
        settings = {s.path: s.value for s in cell.variant.settings}
        assert settings["recipe.loss.beta"] == 1 or settings["eps"] == Fraction(1, 5)
        assert cell.variant.recipe.precision == "bf16"


def test_zips_move_swept_settings_with_the_grids_own(tmp_path: Path) -> None:
    found = cells(tmp_path, grid("recipe = trades zip (recipe.attack.steps, batch) in [(1, 32), (7, 64)]"))
    assert [(c.variant.recipe.attack.get("steps"), c.batch) for c in found] == [(1, 32), (7, 64)]
    paired = cells(tmp_path, grid("zip (recipe, recipe.loss.beta) in [(trades, 6), (mart, 3)]"))
    assert [(c.recipe, c.variant.recipe.loss.get("beta")) for c in paired] == [("trades", 6), ("mart", 3)]


def test_an_axis_of_lr_needs_no_rule(tmp_path: Path) -> None:
    recipe = "recipe r { loss = natural() batch = 64 }"
    text = f"{HEAD}{recipe} evaluate e {{ attack = none }} grid runs {{ {SIZE} lr in [0.1, 0.2] }} }}"
    assert [cell.lr for cell in cells(tmp_path, text)] == [0.1, 0.2]
    assert codes(tmp_path, text.replace("lr in [0.1, 0.2]", "")) == ["V103"]


def test_a_grid_without_a_generator_draws_the_datasets_own_images(tmp_path: Path) -> None:
    plan = plan_of(study_of_text(tmp_path, grid("recipe = trades")))
    (job,) = trainings(plan)
    assert isinstance(job.spec, TrainSpec)
    assert job.spec.data["kind"] == "real"
    assert job.facts.fid == 0


@given(
    compute=st.lists(st.integers(200, 4000), min_size=1, max_size=3, unique=True),
    widths=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3, unique=True),
    batch=st.sampled_from([16, 64, 128]),
)
def test_equal_compute_costs_the_same(
    tmp_path_factory: pytest.TempPathFactory, compute: list[int], widths: list[int], batch: int
) -> None:
    """Whatever the network and the passes of the recipe: within the batches that are whole."""
    models, budgets = ", ".join(f"cnn({w})" for w in widths), ", ".join(f"{c} MFLOP" for c in compute)
    text = (
        f"{HEAD}{RECIPES} recipe plain extends trades {{ loss = natural() attack = none }}\n"
        f"grid runs {{ model in [{models}] compute in [{budgets}] recipe in [trades, mart, plain] batch = {batch} }} }}"
    )
    study = study_of_text(tmp_path_factory.mktemp("equal"), text)
    found, _ = expand(study)
    wanted = [mflop * 1e6 for _ in widths for mflop in compute for _ in range(3)]
    if len(found) < len(wanted):
        return  # two budgets bought the same whole batches
    for cell, flops in zip(found, wanted, strict=True):
        # Steps round by half of one, and an epoch is whole batches: 1,000 images are 16 of 64.
        epoch = -(-1000 // batch) * batch / 1000
        assert abs(cell.flops / epoch - flops) <= cell.flops_per_image * (batch / epoch / 2 + 1)


def test_a_curve_is_an_evaluation_for_each_value(tmp_path: Path) -> None:
    curve = "evaluate curve { attack = pgd(eps = 0.1, steps = 3) attack.eps in [0, 0.1, 0.2] attack.steps in [2, 4] }"
    text = grid("recipe = trades").replace("grid runs", f"{curve} grid runs")
    specs = [
        job.spec for job in plan_of(study_of_text(tmp_path, text)).jobs if isinstance(job.spec, EvaluateSpec)
    ]
    attacks = [(s.attack["kind"], s.attack.get("eps"), s.attack.get("steps")) for s in specs]
    # `robust` is the curve's point at 0.1 but for its steps; without a radius nothing is attacked, once.
    assert sorted(attacks, key=str) == sorted(
        [
            ("none", None, None),
            *(("pgd", eps, n) for eps in ("1/10", "1/5") for n in (2, 4)),
            ("pgd", "1/10", 3),
        ],
        key=str,
    )


@pytest.mark.parametrize(
    ("axes", "code"),
    [
        ("recipe = trades recipe.loss.betta in [1, 3]", "N108"),
        ("recipe = trades recipe.los.beta in [1, 3]", "N108"),
        ("recipe in [trades, plain] recipe.loss.beta in [1, 3]", "N108"),
        ("recipe = trades recipe.lr in [0.1]", "N102"),
        ("recipe = trades recipe.loss.beta in [-1, 3]", "V101"),
        ("recipe = trades recipe.attack.eps in [1 h]", "U102"),
        ("recipe = trades recipe.loss.beta in 3", "U101"),
        ("recipe = trades recipe.loss.beta in []", "V108"),
        ("recipe = trades width in [1, 2]", "N102"),
        ("recipe = trades compute in [1 GFLOP]", "V105"),
        ("recipe = trades zip (recipe.loss.beta, eps) in [(1, 0.1, 2)]", "U101"),
    ],
)
def test_what_an_axis_can_not_be(tmp_path: Path, axes: str, code: str) -> None:
    more = "recipe plain { loss = natural() batch = 64 lr = 0.1 } grid runs"
    assert codes(tmp_path, grid(axes).replace("grid runs", more)) == [code]


def test_a_let_of_all_cells_is_not_swept(tmp_path: Path) -> None:
    other = "generator g { sampler = edm(steps = 7) fid = eps } grid runs"
    assert "V116" in codes(
        tmp_path, grid("recipe = trades generator = g eps in [0.1, 0.2]").replace("grid runs", other)
    )


def test_a_fit_over_a_swept_let_fixes_its_evaluation(tmp_path: Path) -> None:
    """Losses under attacks of different ε are no points of one law."""
    text = grid("recipe = trades eps in [0.1, 0.2]").replace(
        "} }", "} fit law { law = powerlaw x = images evaluate = robust } }"
    )
    assert codes(tmp_path, text) == ["V119"]
    fixed = text.replace("attack = pgd(eps = eps, steps = 3)", "attack = pgd(eps = 0.1, steps = 3)")
    assert codes(tmp_path, fixed) == []


@pytest.mark.parametrize("option", ["--set", "profile"])
def test_profiles_and_overrides_address_the_same_axis(tmp_path: Path, option: str) -> None:
    text = grid("recipe = trades recipe.loss.beta in [1, 3] eps in [0.1]")
    paths = ["grid.runs.recipe.loss.beta = [2]", "grid.runs.eps = [0.3]"]
    path = tmp_path / "small.study"
    if option == "profile":
        body = " ".join(each.replace(" = ", " in ") for each in paths)
        path.write_text(text[: text.rindex("}")] + f" profile other {{ {body} }} }}")
        study, found = load_study(path, profile="other")
    else:
        path.write_text(text)
        study, found = load_study(path, overrides=[each.replace(" = ", "=") for each in paths])
    assert study is not None, found
    (cell,) = expand(study)[0]
    assert {s.path: s.value for s in cell.variant.settings} == {"recipe.loss.beta": 2, "eps": Fraction(3, 10)}
