"""Run the commands that documentation shows: ```console blocks, lines beginning with `$ `.

Used by the tests of README and docs/: what a page shows must work as shown, in an empty folder. `isoloss`
lines run in this process (a hundred of them would otherwise spend a minute starting Python); other lines,
which make the files they read, run in bash."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isoloss.cli import main


@dataclass(frozen=True)
class Ran:
    """One command and what came of it. `code` is the exit status."""

    command: str
    code: int
    out: str
    err: str


def console_blocks(markdown: str) -> list[list[str]]:
    """The lines of each ```console block, fences left out."""
    blocks: list[list[str]] = []
    inside = False
    for line in markdown.splitlines():
        if line.strip() == "```console":
            inside = True
            blocks.append([])
        elif line.startswith("```"):
            inside = False
        elif inside:
            blocks[-1].append(line)
    return blocks


def commands_of(lines: list[str]) -> list[str]:
    """Commands of one block: `$ ` lines, with the lines that a trailing backslash or an open quote joins to
    them. The other lines are output."""
    found: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(line[2:])
        elif found and found[-1].endswith("\\"):
            found[-1] = f"{found[-1][:-1].rstrip()} {line.strip()}"
        elif found and _open_quote(found[-1]):
            found[-1] += "\n" + line
    return found


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def run_commands(commands: list[str], folder: Path) -> list[Ran]:
    """Run commands one after the other in `folder`; nothing is asserted here."""
    with _inside(folder):
        return [_run(command) for command in commands]


def run_markdown(page: Path, folder: Path) -> list[Ran]:
    """Every command of a page, in order, in one folder. Raises AssertionError at the first that fails."""
    ran: list[Ran] = []
    for block in console_blocks(page.read_text(encoding="utf-8")):
        for command in commands_of(block):
            [one] = run_commands([command], folder)
            assert one.code == 0, f"{page.name}: `{command}` exits with {one.code}\n{one.out}\n{one.err}"
            ran.append(one)
    return ran


def _run(command: str) -> Ran:
    if not command.startswith("isoloss ") or any(
        sign in shlex.split(command) for sign in ("|", ">", "&&", ";")
    ):
        done = subprocess.run(
            ["bash", "-ec", command], capture_output=True, text=True, timeout=120, check=False
        )
        return Ran(command, done.returncode, done.stdout, done.stderr)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(shlex.split(command)[1:])
        except SystemExit as exit:  # argparse: wrong usage, --help
            code = exit.code if isinstance(exit.code, int) else 2
    return Ran(command, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
