"""Every code's wrong example gives exactly that code; its right example gives none of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from isoloss import cli
from isoloss.compiler.cells.expand import expand
from isoloss.dsl import vocabulary
from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.load import load_study
from isoloss.dsl.vocabulary import Slot, Term

ROWS = [row for row in codes().values() if row.code[0] in "SNUVG"]
STUDY_ROWS = [row for row in ROWS if not row.wrong.startswith("$ ")]
SHELL_ROWS = [row for row in ROWS if row.wrong.startswith("$ ")]

#: What another package might register with the language alone (G107, G108).
THIRD_PARTY = (
    Term("resnet", "model", "", "resnet(18)", (Slot("depth", "integer", "", "18"),)),
    Term("faces", "dataset", "", "faces"),
)


def _codes_of(text: str, folder: Path) -> set[str]:
    path = folder / "example.study"
    path.write_text(text, encoding="utf-8")
    study, diagnostics = load_study(path)
    assert (study is None) == any(d.severity == "error" for d in diagnostics)
    if study is not None and study.grids:
        diagnostics += expand(study)[1]
    return {d.code for d in diagnostics}


@pytest.mark.parametrize("row", STUDY_ROWS, ids=lambda row: row.code)
def test_study_examples(row: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "third_party", lambda: THIRD_PARTY)
    assert _codes_of(row.wrong, tmp_path) == {row.code}
    assert _codes_of(row.right, tmp_path) == set()


def _shell(text: str, folder: Path, output: Callable[[], str]) -> tuple[int, str]:
    """Run the lines of an example; `isoloss` in this process, the rest in a shell."""
    status, printed = 0, ""
    for line in text.split("\n"):
        command = line.removeprefix("$ ")
        if command.startswith("isoloss "):
            status = cli.main(shlex.split(command)[1:])
            printed += output()
        else:
            path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
            done = subprocess.run(
                ["/bin/bash", "-c", command], cwd=folder, env={"PATH": path}, capture_output=True, text=True
            )
            status, printed = done.returncode, printed + done.stdout + done.stderr
    return status, printed


@pytest.mark.parametrize("row", SHELL_ROWS, ids=lambda row: row.code)
def test_command_line_examples(
    row: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def output() -> str:
        captured = capsys.readouterr()
        return captured.out + captured.err

    status, printed = _shell(row.wrong, tmp_path, output)
    assert status in (1, 2)
    found = {word[: word.index("]")] for word in printed.split("[")[1:] if "]" in word}
    assert row.code in found
    assert "Traceback" not in printed
    assert found & set(codes()) == {row.code}
    status, printed = _shell(row.right, tmp_path, output)
    assert status == 0, printed
    assert row.code not in printed or row.right.startswith("$ isoloss help")


def test_titles_and_stories_are_sentences_for_people() -> None:
    for row in ROWS:
        assert row.title[0].islower(), row.code
        assert row.title[-1] != ".", row.code
        assert row.story.endswith("."), row.code
        assert " you " not in row.story.lower(), row.code
