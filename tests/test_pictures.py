"""The pictures of the README show what the commands print and draw today."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from isoloss.drawings import pictures

ROOT = Path(__file__).resolve().parents[1]


def test_pictures_are_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = pictures.pictures()
    assert set(made) == {*pictures.SCREENS, *pictures.DRAWINGS}
    for name, text in made.items():
        ElementTree.fromstring(text)
        kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert kept == text, f"docs/{name} is stale: make docs"
        assert f"docs/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_line_longer_than_the_terminal_is_folded_and_keeps_its_colour() -> None:
    drawn = pictures.terminal_svg("isoloss plan", "\033[33m" + "word " * 60 + "\033[0m")
    root = ElementTree.fromstring(drawn)
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    coloured = [text for text in texts if text.get("fill") == "#e3b341"]
    assert len(coloured) >= 3
    assert all(len(text.text or "") <= pictures.COLUMNS for text in texts)
