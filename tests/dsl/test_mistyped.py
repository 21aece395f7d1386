"""What people type from habit: one message, at the right line, with the right fix first, which parses."""

from __future__ import annotations

import pytest

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax.parse import parse_study

#: (what is typed as line 3 of a study, code, what the first help says to write in its place).
MISTAKES = (
    ("let n = 8K", "U106", "8k"),
    ("budget { images = 5m }", "U106", "5M"),
    ("budget { time = 10m }", "U106", "10 min"),
    ("let a = 0,1", "S102", "0.1"),
    ("let a = 5,000", "S102", "5_000"),
    ("let a = 50,000,000", "S102", "50_000_000"),
    ("let a = 5'000", "S101", "5_000"),
    ("let a = 5’000", "S101", "5_000"),
    ("grid g { images in 1k,2k }", "S102", "in [1k, 2k]"),
    ("grid g { images in 1k, 2k, 4k }", "S102", "in [1k, 2k, 4k]"),
    ("budget { money = $500 }", "S101", "500 USD"),
    ("device gpu { price = $2.5/h }", "S101", "2.5 USD/h"),
    ("budget { time = 24:00:00 }", "S101", "24 h"),
    ("budget { time = 1:30:00 }", "S101", "90 min"),
    ("budget { time = 0:00:45 }", "S101", "45 s"),
    ("let a = 0x10", "S102", "16"),
    ("let a = 1 // one", "S101", "# one"),
    ("// a comment", "S101", "# a comment"),
    ('// "8K" and 5,000', "S101", '# "8K" and 5,000'),
    ("/* a comment */", "S102", "# a comment"),
    ("recipe r { batch: 32 }", "S101", "="),
    ("recipe r { batch := 32 }", "S101", "="),
    ("recipe r { batch == 32 }", "S102", "="),
    ("let a = .5", "S102", "0.5"),
    ("let a = 5.", "S102", "5.0"),
    ("grid g { where images <= 2k && seed == 1 }", "S101", "and"),
    ("grid g { where images <= 2k || seed == 1 }", "S101", "or"),
    ("fit f { law = table('runs.csv') }", "S101", '"runs.csv"'),
    ("fit f { law = table(“runs.csv”) }", "S101", '"runs.csv"'),
)


def _text(line: str) -> str:
    return f"study tiny {{\n  dataset digits\n  {line}\n  recipe other {{ batch = 32 }}\n}}\n"


def _found(text: str) -> list[tuple[str, int, str]]:
    report = Report()
    parse_study(text, "t.study", report)
    return [(d.code, d.span.line if d.span else 0, d.help[0] if d.help else "") for d in report.diagnostics()]


@pytest.mark.parametrize(("line", "code", "instead"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_habit_names_its_fix(line: str, code: str, instead: str) -> None:
    assert _found(_text(line)) == [(code, 3, f"write `{instead}`")]


@pytest.mark.parametrize(
    "line", ["let a = 1,", "let a = 1;", "let a\u00a0= 1", "let a = 3 × 4", "let a = 3 − 4"]
)
def test_a_stray_sign_is_named(line: str) -> None:
    [(code, at, help)] = _found(_text(line))
    assert (code in ("S101", "S102"), at) == (True, 3)
    assert help


@pytest.mark.parametrize("name", ["s", "h", "min", "true"])
def test_a_reserved_name_of_the_study_hides_nothing(name: str) -> None:
    text = _text("let a = 8K").replace("study tiny", f"study {name}")
    assert [row[:2] for row in _found(text)] == [("S109", 1), ("U106", 3)]
