"""docs/quality.md works as shown, and says what the code does."""

from __future__ import annotations

from pathlib import Path

from doc_commands import run_markdown

from isoloss.compiler.facts.features import FEATURES, IMAGES_PER_FEATURE
from isoloss.compiler.facts.shards import FIRST
from isoloss.compiler.plan import frechet_metric
from isoloss.dsl.vocabulary import terms
from isoloss.runtime.quality.frechet import GROUPS
from isoloss.runtime.quality.measures import PAIRWISE

PAGE = Path(__file__).parents[2] / "docs" / "quality.md"


def test_every_command_of_the_quality_page_runs(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    study = text.split("```study\n", 1)[1].split("```", 1)[0]
    (tmp_path / "cifar.study").write_text(study, encoding="utf-8")
    ran = run_markdown(PAGE, tmp_path)
    assert len(ran) == 4
    assert not any("Traceback" in one.err + one.out for one in ran)
    assert "features" in ran[1].out


def test_it_names_every_space_and_its_distance() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for term in terms("feature space"):
        assert f"| `{term.name}` | `{frechet_metric(term.name)}`" in text


def test_its_numbers_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"its first {FIRST:,} images" in text
    assert f"jackknife over {GROUPS} groups" in text
    assert f"the first {PAIRWISE:,} and no more real ones" in text
    assert IMAGES_PER_FEATURE == 2
    flops = [FEATURES[name].forward_flops / 1e9 for name in ("resnet18", "inception")]
    assert "{:.1f} GFLOP an image in\n`resnet18`, {:.1f} in `inception`".format(*flops) in text
