"""Cells: images really drawn, rules with gaps, limits, filters that wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from studies import BASE, example, study

from isoloss.compiler.cells.expand import expand, steps_for
from isoloss.dsl.study.study import Conditional, Const, Operation, Quantity


@pytest.mark.parametrize(
    ("images", "batch", "drawn"),
    [
        (5_000_000, 1024, 5_017_600),
        (10_000_000, 1024, 10_035_200),
        (30_000_000, 2048, 30_720_000),
        (70_000_000, 2048, 71_680_000),
        (100_000_000, 2048, 102_400_000),
        (300_000_000, 2048, 307_200_000),
        (341_000_000, 2048, 349_184_000),
        (500_000_000, 2048, 512_000_000),
    ],
)
def test_images_drawn_are_those_of_the_published_runs(images: int, batch: int, drawn: int) -> None:
    steps, per_epoch = steps_for(images, batch, 50_000)
    assert steps * batch == drawn
    assert per_epoch == -(-50_000 // batch)


def test_the_papers_design_has_232_cells() -> None:
    cells, problems = expand(example("robustness_limits"))
    assert not problems
    assert len(cells) == 232
    for cell in cells:
        assert 0 <= cell.drawn / cell.images - 1 < 0.025
        assert cell.batch == (1024 if cell.images <= 10_000_000 else 2048)
        assert cell.lr == (0.3 if cell.images <= 10_000_000 else 0.2)
    # 27 passes at the published counts: the whole grid.
    assert sum(cell.flops for cell in cells) == pytest.approx(7.56e21 * 1.024, rel=0.01)


def test_a_gap_names_the_uncovered_range(tmp_path: Path) -> None:
    recipe = BASE["recipe"].replace("32 if images <= 8k else 64", "32 if images <= 4k")
    cells, problems = expand(study(tmp_path, recipe=recipe))
    assert [p.code for p in problems] == ["G103"]
    assert "images from 8,000 to 16,000" in problems[0].help[0]
    assert len(cells) == 12


def test_a_gap_outside_the_filter_is_none(tmp_path: Path) -> None:
    recipe = BASE["recipe"].replace("32 if images <= 8k else 64", "32 if images <= 4k")
    grid = BASE["grid"].replace("seed in [0, 1]", "where images <= 4k")
    cells, problems = expand(study(tmp_path, recipe=recipe, grid=grid))
    assert not problems
    assert len(cells) == 6


def test_a_generators_limit_is_enforced(tmp_path: Path) -> None:
    fine = BASE["fine"].replace("100k", "10k")
    cells, problems = expand(study(tmp_path, fine=fine))
    assert [p.code for p in problems] == ["G104"]
    assert "`fine`" in problems[0].headline
    assert all(c.images <= 10_000 for c in cells if c.generator == "fine")


def test_duplicates_run_once(tmp_path: Path) -> None:
    grid = BASE["grid"].replace("[4k, 8k, 16k]", "[4k, 4000, 8k]")
    cells, problems = expand(study(tmp_path, grid=grid))
    assert [(p.code, p.severity) for p in problems] == [("G102", "warning")]
    assert len(cells) == len({(c.model, c.generator, c.images, c.seed) for c in cells}) == 24


def test_images_of_the_same_whole_batches_run_once(tmp_path: Path) -> None:
    """329 and 330 images in batches of 64 are five of them."""
    grid = BASE["grid"].replace("[4k, 8k, 16k]", "[200, 329, 330]")
    cells, problems = expand(study(tmp_path, grid=grid))
    assert [p.code for p in problems] == ["G102"]
    assert {c.images for c in cells} == {200, 329}


def test_cells_wait_for_an_unmeasured_fid(tmp_path: Path) -> None:
    grid = BASE["grid"].replace("seed in [0, 1]", "where fid < 1")
    waiting, problems = expand(study(tmp_path, grid=grid))
    assert not problems
    assert all(cell.provisional and cell.fid is None for cell in waiting)
    known, _ = expand(study(tmp_path, grid=grid), {"coarse": 1.7, "fine": 0.07})
    assert {cell.generator for cell in known} == {"fine"}
    assert not any(cell.provisional for cell in known)


def test_a_stated_fid_wins_over_a_measured_one(tmp_path: Path) -> None:
    fine = BASE["fine"].replace("images", "fid = 0.5 images")
    cells, _ = expand(study(tmp_path, fine=fine), {"fine": 0.07, "coarse": 1.7})
    assert {c.fid for c in cells if c.generator == "fine"} == {0.5}


def test_a_filter_sees_nominal_images(tmp_path: Path) -> None:
    """4,000 at batch 32 draws 4,096: `images <= 4k` keeps it, as the paper's filters do."""
    grid = BASE["grid"].replace("seed in [0, 1]", "where images <= 4k")
    cells, _ = expand(study(tmp_path, grid=grid))
    assert {(c.images, c.drawn) for c in cells} == {(4000, 4096)}


def test_impossible_batches_are_refused(tmp_path: Path) -> None:
    base = study(tmp_path)
    rule = Conditional(
        Operation("<=", (Quantity("images"), Const(8000))),
        Operation("/", (Quantity("images"), Const(3000))),
        Const(64),
    )
    recipes = (replace(base.recipes[0], batch=rule),)
    _, problems = expand(replace(base, recipes=recipes))
    assert {p.code for p in problems} == {"G106"}


def test_runs_of_one_grid_have_different_names(tmp_path: Path) -> None:
    from isoloss.compiler.compile import compile_study
    from isoloss.compiler.cost.devices import BUILT_IN
    from isoloss.dsl.load import load_study

    text = """
    study names {
      dataset digits
      generator good { sampler = edm(steps = 4)   denoiser = mixture()   images = 100k }
      recipe one { loss = natural()   batch = 32   lr = 0.1 }
      recipe two { loss = pgd_at()   attack = pgd(eps = 0.1)   batch = 64   lr = 0.1 }
      grid runs {
        model in [cnn(1)]   generator in [good]   images in [1k]
        recipe in [one, two]   lr in [0.1, 0.2]   seed in 1..2
      }
    }
    """
    file = tmp_path / "names.study"
    file.write_text(text)
    named, _ = load_study(file)
    assert named is not None
    plan, _ = compile_study(named, [], BUILT_IN["cpu"])
    assert plan is not None
    names = [job.name for job in plan.jobs if job.kind == "train"]
    assert len(names) == 8 == len(set(names))
    assert "runs/cnn(1)/good/1k/two/lr 0.2/seed 2" in names
