"""docs/generators.md works as shown, and says what the code does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest
from doc_commands import run_commands, run_markdown

from isoloss.compiler.facts.shards import shards
from isoloss.dsl.vocabulary import terms

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "generators.md"


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


@pytest.mark.parametrize(("profile", "dataset"), [("", "digits"), ("--profile fashion", "fashion_mnist")])
def test_the_example_is_priced_whole_on_both_its_datasets(profile: str, dataset: str, tmp_path: Path) -> None:
    """Whether Fashion-MNIST is there or not."""
    [ran] = run_commands([f"isoloss plan {ROOT}/examples/generators.study {profile} --json"], tmp_path)
    assert ran.code == 0, ran.err
    plan = orjson.loads(ran.out)
    assert {job["spec"]["dataset"]["kind"] for job in plan["jobs"]} == {dataset}
    assert all(job["cost"]["flops"] for job in plan["jobs"])
    kinds = Counter(job["kind"] for job in plan["jobs"])
    assert (kinds["denoiser"], kinds["discriminator"], kinds["fid"]) == (2, 1, 7)
    # What the discriminator learns from is made anyway.
    assert not any(job["name"].endswith("/unguided") for job in plan["jobs"])
