"""docs/laws.md, data.md and plans.md work as shown; docs/verify_bartoldson2024.md is what the command writes today."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from doc_commands import commands_of, console_blocks, run_commands, run_markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_every_command_of_the_laws_page_runs(tmp_path: Path) -> None:
    ran = run_markdown(DOCS / "laws.md", tmp_path)
    assert len(ran) >= 10
    assert not any("Traceback" in one.err + one.out for one in ran)
    assert (tmp_path / "fit2.json").exists()


def test_every_command_of_the_plans_page_runs(tmp_path: Path) -> None:
    """A calibration and the first study's trainings among them."""
    shutil.copytree(DOCS.parent / "examples", tmp_path / "examples")
    ran = run_markdown(DOCS / "plans.md", tmp_path)
    assert len(ran) >= 13
    calibrated = next(one for one in ran if "--store measured" in one.command and "plan" in one.command)
    assert "measured by `isoloss calibrate`" in " ".join(calibrated.out.split())
    [compared] = [one for one in ran if "isoloss diff" in one.command]
    assert "compute -" in compared.out
    assert (tmp_path / "results" / "report.html").exists()


def test_the_sweeps_page_shows_its_example_and_runs(tmp_path: Path) -> None:
    """Twelve real trainings at equal compute, each tested at four radii."""
    page = (DOCS / "sweeps.md").read_text(encoding="utf-8")
    study = (DOCS.parent / "examples" / "sweep.study").read_text(encoding="utf-8")
    assert f"```\n{study}```" in page
    shutil.copytree(DOCS.parent / "examples", tmp_path / "examples")
    _, run, results = run_markdown(DOCS / "sweeps.md", tmp_path)
    assert "60 of 60 have a result" in run.out
    lines = results.out.splitlines()
    assert "recipe.attack.eps" in lines[0]
    assert len(lines) == 1 + 2 * 2 * 4 * 2


def test_every_command_of_the_results_page_runs(tmp_path: Path) -> None:
    """Nine real trainings; the table names the trained recipes before the plain one."""
    shutil.copytree(DOCS.parent / "examples", tmp_path / "examples")
    ran = run_markdown(DOCS / "results.md", tmp_path)
    assert len(ran) == 6
    table = ran[1].out
    assert "means of 3 seeds" in table
    assert table.index("plain") > max(table.index("trades"), table.index("pgd_at"))
    assert "plain: +" in table
    assert "told apart" in table
    assert ran[3].out.splitlines()[0].startswith("recipe,")
    assert (tmp_path / "recipes.html").exists()


def test_the_verify_page_is_current(tmp_path: Path) -> None:
    [ran] = run_commands(["isoloss verify bartoldson2024 -o page.md"], tmp_path)
    assert ran.code == 0
    written = (tmp_path / "page.md").read_text(encoding="utf-8")
    help = "run `isoloss verify bartoldson2024 -o docs/verify_bartoldson2024.md`"
    assert (DOCS / "verify_bartoldson2024.md").read_text(encoding="utf-8") == written, help


def test_the_helper_reads_blocks_and_continuations() -> None:
    page = "```console\n$ printf 'a\nb' > c\noutput\n$ one \\\n  two\n```\n```\n$ not this\n```\n"
    [block] = console_blocks(page)
    assert commands_of(block) == ["printf 'a\nb' > c", "one two"]


def test_the_helper_notices_failure(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ isoloss fit nowhere.csv --law chinchilla\n```\n")
    with pytest.raises(AssertionError, match="exits with 1"):
        run_markdown(page, tmp_path)


def test_every_command_of_the_data_page_runs(tmp_path: Path) -> None:
    ran = run_markdown(DOCS / "data.md", tmp_path)
    assert len(ran) >= 6
    assert "import" in ran[1].out + ran[-1].out + ran[-2].err
    assert (tmp_path / "mixed" / "report.html").exists()


def test_the_data_page_has_the_counts_of_the_table() -> None:
    from isoloss.compiler.facts.datasets import SHAPES

    text = (DOCS / "data.md").read_text(encoding="utf-8")
    for name, shape in SHAPES.items():
        [row] = [line for line in text.splitlines() if line.startswith("|") and f"`{name}" in line]
        counts = [shape.train_images, shape.validation_images, shape.test_images]
        assert all(f"{count:,}" in row for count in counts if count is not None), name
