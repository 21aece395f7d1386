"""What commands leave: output files whole, `status --verify`, no escape on a screen, no traceback at Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoloss import cli
from isoloss.dsl.diagnostics.collector import with_source
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span
from isoloss.dsl.diagnostics.plain_text import painted, plain_document
from isoloss.runtime import disk
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import generate_job
from tests.runtime.test_store import put

STUDY = Path(__file__).parents[2] / "examples" / "quickstart.study"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "out.json"
    place.write_text("old")
    place.chmod(0o600)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", full)
        assert cli.main(["plan", str(STUDY), "-o", str(place)]) == 1
    assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    link = tmp_path / "link.json"
    link.symlink_to(place)
    assert cli.main(["plan", str(STUDY), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert place.read_text() != "old"
    assert place.stat().st_mode & 0o777 == 0o600


def test_verify_sets_aside_and_says_what_runs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    for job in (generate_job(1), generate_job(2)):
        put(store, job)
    assert cli.main(["status", str(store.path), "--verify"]) == 0
    assert "nothing is damaged" in capsys.readouterr().out
    flipped = store.path / generate_job(1).id / "images.npy"
    flipped.write_bytes(b"pixelt")
    with (store.path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"event": "plan"}\n[]\n')
    (store.path / "plans" / "x.json").write_text("[]")
    assert cli.main(["status", str(store.path)]) == 0
    assert "2 done" in capsys.readouterr().out
    assert cli.main(["status", str(store.path), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "R107: the result of" in said
    assert f"runs again: {generate_job(1).id}" in said
    assert "R111: 2 lines of `journal.jsonl`" in said
    assert "R111: `plans/x.json` is no plan" in said
    assert not store.has(generate_job(1).id)
    assert store.has(generate_job(2).id)


def test_what_acts_on_a_terminal_is_a_picture() -> None:
    assert (
        painted("\x1b[1mbold\x1b[0m \x1b[2J\x1b]0;x\x07\x9b1m\u202e") == "\x1b[1mbold\x1b[0m ␛[2J␛]0;x␇�1m�"
    )
    assert plain_document("a\tb\nc\x1b[1m") == "a\tb\nc␛[1m"


def test_only_lines_of_studies_are_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret\n")
    (tmp_path / "linked.study").symlink_to(tmp_path / "secret")
    (tmp_path / "a.study").write_text("study a {}\n")
    for name, line in (("secret", None), ("linked.study", None), ("a.study", "study a {}")):
        place = Span(str(tmp_path / name), 1, 1, 1, 2)
        assert with_source([Diagnostic("P111", "x", place)])[0].source_line == line


@pytest.mark.parametrize("pause", [0.03, 0.06, 0.1, 0.2])
def test_ctrl_c_while_a_command_loads(pause: float) -> None:
    """Before Python has read our first line nothing of ours can answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); from isoloss.__main__ import main; raise SystemExit(main())",
         "plan", str(STUDY)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said
