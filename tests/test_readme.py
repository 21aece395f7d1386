"""The README tells the truth: its study is the example, its commands work as shown."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from doc_commands import run_markdown

ROOT = Path(__file__).parent.parent


def test_every_command_shown_works(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    ran = run_markdown(ROOT / "README.md", tmp_path)
    assert len(ran) >= 10
    assert (tmp_path / "first.svg").read_text().startswith("<svg")


def test_the_study_shown_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"<!-- study: examples/first.study -->\n```\n(.*?)```", readme, re.DOTALL)
    assert shown == (ROOT / "examples" / "first.study").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{page} links to {target}"
