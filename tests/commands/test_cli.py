"""The dispatcher: exit codes, and no traceback for anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss import cli


def test_a_bug_of_ours_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import isoloss.commands.check as check

    def broken(arguments: object) -> int:
        raise ZeroDivisionError("three over none")

    monkeypatch.setattr(check, "run", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert cli.main(["check", "x.study"]) == 1
    told = capsys.readouterr().err
    assert "error[R299]: internal error: ZeroDivisionError: three over none" in told
    assert "Traceback" not in told
    [file] = tmp_path.glob("isoloss-*.traceback.txt")
    assert str(file) in told
    assert "three over none" in file.read_text()


def test_an_interrupt_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import isoloss.commands.check as check

    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupted)
    assert cli.main(["check", "x.study"]) == 130


def test_a_wrong_command_line_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["chekc"])
    assert ended.value.code == 2
    assert "no command `chekc`: `check` is close" in capsys.readouterr().err


def test_help_knows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["help", "plan"])
    assert ended.value.code == 0
    assert "isoloss plan examples/quickstart.study" in capsys.readouterr().out


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_shows_an_example_of_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"\n  isoloss {command}" in capsys.readouterr().out


def test_help_before_a_command_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help", "check"])
    told = capsys.readouterr().out.split("\n")
    assert {line.split()[0] for line in told if line.startswith("    ") and line[4] != " "} == set(
        cli.COMMANDS
    )
