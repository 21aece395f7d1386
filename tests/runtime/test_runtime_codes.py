"""Every R code that is raised has its row, and every row's code is raised somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isoloss import cli
from isoloss.dsl.diagnostics.codes import codes

ROOT = Path(__file__).parents[2]
ROWS = {code: row for code, row in codes().items() if code.startswith("R")}


def raised() -> set[str]:
    places = [*(ROOT / "runtime").rglob("*.py"), *(ROOT / "isoloss").glob("*.py")]
    folders = [p for p in (ROOT / "isoloss").iterdir() if p.is_dir() and not p.is_symlink()]
    places += [path for folder in folders for path in folder.rglob("*.py")]
    text = "\n".join(path.read_text() for path in places)
    return set(re.findall(r"\bR[1-9]\d\d\b", "\n".join(re.findall(r'f?"[^"\n]*"', text))))


def test_codes_and_rows_are_the_same() -> None:
    assert raised() == set(ROWS)


def test_every_row_tells_something() -> None:
    for row in ROWS.values():
        assert row.title[0].islower() or row.title.split()[0].isupper() or row.title.startswith("AutoAttack")
        assert not row.title.endswith(".")
        assert row.story.endswith(".")
        assert row.wrong.startswith("$ ")
        assert row.right.startswith("$ ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "--store", "nowhere"], "R101"),
        (["status", "--store", "thesis"], "R102"),
        (["run", "s.study", "--store", "thesis"], "R102"),
        (["run", "s.study", "--executor", "simulate"], "R210"),
        (["run", "s.study", "--truth", "bartoldson2024.approach3"], "R210"),
        (
            [
                "run",
                "s.study",
                "--executor",
                "simulate",
                "--truth",
                "bartoldson2024.approach3",
                "--noise",
                "x",
            ],
            "R210",
        ),
        (["run", "PLAN.json", "--profile", "laptop"], "R109"),
    ],
)
def test_the_command_line_says_it(
    arguments: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("text")
    (tmp_path / "s.study").write_text((ROOT / "examples" / "quickstart.study").read_text())
    assert cli.main(arguments) in (1, 2)
    said = capsys.readouterr()
    assert f"error[{code}]" in said.err
    assert "Traceback" not in said.err + said.out
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]
