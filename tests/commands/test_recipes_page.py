"""docs/recipes.md: every block is a study's part that checks, says what its table says, and can be priced."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.facts.components import component
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Recipe
from isoloss.runtime import attacks
from isoloss.runtime.training import losses

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


@cache
def _recipes(folder: Path) -> dict[str, Recipe]:
    blocks = re.findall(r"```study\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = folder / "page.study"
    path.write_text("study page { dataset cifar10\n" + "\n".join(blocks) + "}\n", encoding="utf-8")
    study, diagnostics = load_study(path)
    assert study is not None, diagnostics
    assert not [d for d in diagnostics if d.severity == "error"]
    return {recipe.name: recipe for recipe in study.recipes}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    return _recipes(tmp_path_factory.mktemp("page"))


TABLE = {
    # start, mode, eps, step, steps, beta, smoothing, spared, passes
    "zhang": ("normal", "eval", Fraction("0.031"), Fraction("0.007"), 10, 6.0, 0.0, "nothing", 27),
    "core": ("normal", "eval", Fraction(8, 255), Fraction(2, 255), 10, 5.0, 0.0, "batchnorm", 27),
    "bartoldson": ("uniform", "train", Fraction(8, 255), Fraction(2, 255), 10, 5.0, 0.1, "batchnorm", 27),
    "trades_awp": ("normal", "eval", Fraction(8, 255), Fraction(2, 255), 10, 6.0, 0.0, "nothing", 32.7),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_variants_are_what_the_table_says(recipes: dict[str, Recipe], name: str) -> None:
    r = recipes[name]
    found = (
        *(r.attack.get("start"), r.batchnorm.get("attack"), r.attack.get("eps"), r.attack.get("step")),
        *(
            r.attack.get("steps"),
            r.loss.get("beta"),
            r.loss.get("label_smoothing"),
            r.optimizer.get("exclude"),
        ),
    )
    assert found == TABLE[name][:-1]
    assert r.attack.get("loss") == "kl"
    assert r.loss.get("detach") is False
    passes = cost_rule.passes(component(r.loss), component(r.attack), component(r.perturb))
    assert passes == pytest.approx(TABLE[name][-1])


def test_mart_and_one_step_recipes(recipes: dict[str, Recipe]) -> None:
    mart = recipes["mart"]
    assert (mart.attack.get("loss"), mart.attack.get("start")) == ("ce", "normal")
    assert mart.batchnorm.get("attack") == "eval"
    assert recipes["rfgsm"].attack.get("alpha") == Fraction(4, 255)
    assert recipes["noisy"].attack.kind == recipes["entropy"].attack.kind == "none"
    assert recipes["both"].loss.get("weight") == 0.3


def test_the_runtime_has_every_part(recipes: dict[str, Recipe]) -> None:
    assert len(recipes) == 15
    for recipe in recipes.values():
        losses.build(component(recipe.loss))
        attacks.build(component(recipe.attack))
