"""`recipe b extends a { … }`: setting by setting, after every layer, no circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Recipe

BASE = """
  recipe base {{ loss = trades(beta = 5)  attack = pgd(eps = 0.15, steps = 3)  batch = 64  lr = 0.1 }}
  {more}
  generator real_images {{ from = real }}
  grid runs {{ model = cnn(1)  generator = real_images  images = 4k  recipe = base }}
"""


def recipes(tmp_path: Path, more: str, *overrides: str, **options: str) -> dict[str, Recipe]:
    path = tmp_path / "tiny.study"
    path.write_text(f"study tiny {{ dataset digits {BASE.format(more=more)} }}")
    study, found = load_study(path, overrides=overrides, profile=options.get("profile"))
    assert study is not None, [d.headline for d in found]
    return {recipe.name: recipe for recipe in study.recipes}


def codes(tmp_path: Path, more: str) -> list[str]:
    path = tmp_path / "tiny.study"
    path.write_text(f"study tiny {{ dataset digits {BASE.format(more=more)} }}")
    return [d.code for d in load_study(path)[1]]


def test_what_it_does_not_say_is_as_its_base_says(tmp_path: Path) -> None:
    found = recipes(tmp_path, "recipe heir extends base { lr = 0.2 }")
    base, heir = found["base"], found["heir"]
    assert heir.lr != base.lr
    assert (heir.loss, heir.attack, heir.batch) == (base.loss, base.attack, base.batch)


def test_defaults_follow_the_own_loss(tmp_path: Path) -> None:
    """An attack that the base gives climbs what the heir's own loss asks for, as if it were written there."""
    found = recipes(tmp_path, "recipe heir extends base { loss = pgd_at() }")
    assert found["base"].attack.get("loss") == "kl"
    assert found["heir"].attack.get("loss") == "ce"


def test_the_order_of_declarations_makes_no_difference(tmp_path: Path) -> None:
    first = recipes(tmp_path, "recipe b extends a { lr = 0.2 } recipe a extends base { batch = 32 }")
    last = recipes(tmp_path, "recipe a extends base { batch = 32 } recipe b extends a { lr = 0.2 }")
    assert first["b"] == last["b"]
    assert first["b"].batch == first["a"].batch


def test_later_layers_reach_it(tmp_path: Path) -> None:
    more = "recipe heir extends base { lr = 0.2 } profile other { recipe.base.batch = 32 recipe.heir.attack.steps = 7 }"
    found = recipes(tmp_path, more, "recipe.base.attack.eps=0.3", profile="other")
    assert found["heir"].batch == found["base"].batch
    assert (found["base"].attack.get("steps"), found["heir"].attack.get("steps")) == (3, 7)
    assert found["heir"].attack.get("eps") == found["base"].attack.get("eps")


def test_a_profile_that_declares_it_again_replaces_it(tmp_path: Path) -> None:
    more = "recipe heir extends base { lr = 0.2 } profile other { recipe heir extends base { batch = 32 } }"
    found = recipes(tmp_path, more, profile="other")
    assert found["heir"].lr == found["base"].lr


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("recipe a extends b { lr = 0.2 } recipe b extends a { lr = 0.3 }", "N114"),
        ("recipe a extends a { lr = 0.2 }", "N114"),
        ("recipe a extends bsae { lr = 0.2 }", "N104"),
        ("evaluate a extends base { attack = none }", "S106"),
        ("recipe a extends base { lr = 0.2 } recipe.a.attack.stesp = 7", "N108"),
    ],
)
def test_what_it_refuses(tmp_path: Path, more: str, code: str) -> None:
    assert code in codes(tmp_path, more)
