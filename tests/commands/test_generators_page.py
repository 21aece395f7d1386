"""docs/generators.md works as shown, and says what the code does."""

from __future__ import annotations

from pathlib import Path

from doc_commands import run_markdown

from isoloss.compiler.shards import shards
from isoloss.dsl.vocabulary import terms

PAGE = Path(__file__).parents[2] / "docs" / "generators.md"


def test_every_command_of_the_generators_page_runs(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    study = text.split("```study\n", 1)[1].split("```", 1)[0]
    (tmp_path / "tiny.study").write_text(study, encoding="utf-8")
    ran = run_markdown(PAGE, tmp_path)
    assert len(ran) >= 4
    assert not any("Traceback" in one.err + one.out for one in ran)
    assert "not estimated" not in ran[0].out
    assert "discriminator" in ran[1].out


def test_it_names_every_sampler_and_denoiser() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for family in ("sampler", "denoiser"):
        for term in terms(family):
            assert f"| `{term.name}(" in text


def test_its_numbers_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"100 M images are {len(list(shards(100_000_000, None)))} jobs" in text
