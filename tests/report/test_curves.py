"""The report's figures follow what the study varies: radius, settings, size; none where nothing varies."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.cli import main
from isoloss.report.page import write_report

STUDY = """study tiny {{ dataset digits
recipe pgd_at {{ loss = pgd_at() attack = pgd(eps = 0.1, steps = 2) batch = 64 lr = 0.1 }}
recipe trades extends pgd_at {{ loss = trades(beta = 5) }}
evaluate robust {{ attack = pgd(eps = 0.1, steps = 3) images = 200 {radii} }}
evaluate clean {{ attack = none images = 200 }}
grid runs {{ model {models} images = 1k recipe {recipes} {more} }} }}"""


def report(tmp_path: Path, **parts: str) -> str:
    given = {"radii": "", "models": "= cnn(1)", "recipes": "= pgd_at", "more": "", **parts}
    (tmp_path / "tiny.study").write_text(STUDY.format(**given))
    store = tmp_path / "store"
    assert main(["run", str(tmp_path / "tiny.study"), "--store", str(store), "--no-tracking"]) == 0
    return write_report(store).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("parts", "titles"),
    [
        ({"radii": "attack.eps in [0.05, 0.1]"}, ["accuracy against the radius of pgd"]),
        ({"models": "in [cnn(1), cnn(2)]"}, ["accuracy against params", "robust against clean accuracy"]),
        (
            {"more": "recipe.attack.eps in [0.05, 0.2]"},
            ["accuracy against recipe.attack.eps", "robust against clean accuracy"],
        ),
        ({"recipes": "in [pgd_at, trades]"}, ["robust against clean accuracy"]),
        ({}, []),
    ],
)
def test_figures_are_of_what_varies(tmp_path: Path, parts: dict[str, str], titles: list[str]) -> None:
    page = report(tmp_path, **parts)
    kinds = (
        "accuracy against the radius",
        "accuracy against params",
        "accuracy against recipe",
        "robust against clean",
    )
    for kind in kinds:
        assert (kind in page) == any(title.startswith(kind) for title in titles)
    assert all(title in page for title in titles)
    assert ('id="curves"' in page) == bool(titles)
