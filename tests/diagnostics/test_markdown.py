"""The Markdown files here are tests: prose, a study, and on each line what is wrong with it.

`# error: [CODE] words` expects that code on that line, and the words in its message. A block that doesn't
begin with `study` stands inside a study on digits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.load import load_study

HERE = Path(__file__).parent
BLOCK = re.compile(r"```study\n(.*?)```", re.DOTALL)
EXPECTED = re.compile(r"# (error|warning): \[([A-Z]\d+)\] ?(.*)$")


@dataclass(frozen=True)
class Example:
    file: str
    number: int
    text: str


def _examples() -> list[Example]:
    return [
        Example(path.name, number, text)
        for path in sorted(HERE.glob("*.md"))
        for number, text in enumerate(BLOCK.findall(path.read_text(encoding="utf-8")), start=1)
    ]


def _message(d: Diagnostic) -> str:
    return " ".join([d.headline, d.label, *d.help])


@pytest.mark.parametrize("example", _examples(), ids=lambda e: f"{e.file}-{e.number}")
def test_example(example: Example, tmp_path: Path) -> None:
    whole = example.text.startswith(("study ", "import "))
    text = example.text if whole else f"study test {{ dataset digits\n{example.text}}}"
    path = tmp_path / "test.study"
    path.write_text(text, encoding="utf-8")
    study, diagnostics = load_study(path)

    expected = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if found := EXPECTED.search(line):
            expected[number] = found.groups()
    found = [(d.span.line if d.span else 0, d.severity, d.code) for d in diagnostics]
    assert found == [(line, severity, code) for line, (severity, code, _) in expected.items()]
    for d, (_, _, words) in zip(diagnostics, expected.values(), strict=True):
        assert words in _message(d)
    assert (study is None) == any(d.severity == "error" for d in diagnostics)


def test_there_are_examples() -> None:
    assert len(_examples()) > 25
