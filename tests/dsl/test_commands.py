"""check, fmt and help as a shell sees them; what checking may import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoloss.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "robustness_limits.study"


def test_check_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLE)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{EXAMPLE}: fine; 232 cells in 1 grid, 3 fits, 1 forecast, 1 allocation\n"
    assert printed.err == ""


def test_check_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.study"
    bad.write_text("study t { dataset digtis }")
    assert main(["check", str(EXAMPLE), str(bad), "--format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [s["fine"] for s in data["studies"]] == [True, False]
    assert data["studies"][0]["cells"] == 232
    (found,) = data["diagnostics"]
    assert found["code"] == "N103"
    assert found["span"] == {"file": str(bad), "line": 1, "column": 19, "end_line": 1, "end_column": 25}


def test_check_shows_all_mistakes_and_where_in_the_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gap.study"
    path.write_text(
        "study t {\n  dataset digits\n  generator g { sampler = edm(steps = 5) }\n"
        "  recipe r { loss = natural() batch = 64 if images <= 4k lr = 0.1 }\n"
        "  grid runs { model = cnn(1) generator = g images in [4k, 8k] }\n}\n"
    )
    assert main(["check", str(path)]) == 1
    printed = capsys.readouterr().err
    assert "error[G103]" in printed
    assert "grid runs {" in printed
    assert "8,000" in printed


def test_fmt_writes_whole_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.study"
    path.write_text("study t {dataset digits}  # why")
    path.chmod(0o640)
    assert main(["fmt", "--check", str(path)]) == 1
    assert path.read_text() == "study t {dataset digits}  # why"
    assert main(["fmt", str(path)]) == 0
    assert path.read_text() == "study t {\n  dataset digits\n}  # why\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert main(["fmt", "--check", str(path)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.study"]
    path.write_text("study t { dataset")
    assert main(["fmt", str(path)]) == 1
    assert path.read_text() == "study t { dataset"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert main(["help", "pgd"]) == 0
    assert main(["help", "u102"]) == 0
    printed = capsys.readouterr().out
    for words in ("eps / 4", "U102: a wrong unit", "Wrong:", "Right:"):
        assert words in printed


@pytest.mark.parametrize("command", ["check", "fmt", "help"])
def test_help_of_commands_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"  isoloss {command}" in capsys.readouterr().out


def test_checking_imports_nothing_heavy() -> None:
    """What makes `check` quick: not its time, which the machine decides, but what it loads."""
    program = (
        "import sys; from isoloss.cli import main; main(['check', sys.argv[1]]);"
        "print([m for m in ('torch', 'mlflow', 'deepspeed', 'numpy', 'scipy', 'pydantic', 'networkx')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(EXAMPLE)],
        capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
