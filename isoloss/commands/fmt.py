"""`isoloss fmt`: lay studies out canonically; comments stay."""

from __future__ import annotations

import argparse
from pathlib import Path

from isoloss.errors import FINE, WRONG_INPUT, UserError, fault

EPILOG = """examples:
  isoloss fmt examples/robustness_limits.study
  isoloss fmt --check studies/*.study"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="a .study file")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not canonical")


def run(arguments: argparse.Namespace) -> int:
    """Format every file that can be read; what can't is left alone, and said."""
    from isoloss.dsl.diagnostics.collector import Report
    from isoloss.dsl.files import read_text
    from isoloss.dsl.syntax.format import format_text
    from isoloss.screens.diagnostics import show_diagnostics

    wrong = False
    for file in arguments.files:
        report = Report()
        text = read_text(file, report)
        formatted = None if text is None else format_text(text, str(file), report)
        if formatted is None:
            show_diagnostics(report.diagnostics(), arguments)
            wrong = True
        elif formatted.encode() != file.read_bytes():
            wrong = wrong or arguments.check
            print(f"{file}: {'not canonical' if arguments.check else 'formatted'}")
            if not arguments.check:
                _write(file, formatted)
    return WRONG_INPUT if wrong else FINE


def _write(file: Path, text: str) -> None:
    """All or nothing: a new file takes the old one's place. A link is followed, permissions stay."""
    from isoloss.runtime.disk import write_whole

    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise _unwritable(file, error) from None


def _unwritable(file: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return fault("S115", f"`{file}` can't be written: {reason}", "the file is as it was")
