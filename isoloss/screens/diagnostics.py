"""Diagnostics -> the terminal, or JSON where a command was asked for it. Every command ends here with its mistakes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from isoloss.dsl.diagnostics.diagnostic import Diagnostic, as_data, render


def show_diagnostics(diagnostics: Sequence[Diagnostic], parsed: argparse.Namespace) -> None:
    """Print diagnostics to stderr, or as JSON to stdout when the command was asked for JSON."""
    if wants_json(parsed):
        import orjson

        payload = {"diagnostics": [as_data(d) for d in diagnostics]}
        sys.stdout.write(orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print_diagnostics(diagnostics)


def wants_json(parsed: argparse.Namespace) -> bool:
    """Was the command asked for JSON on standard output?"""
    return getattr(parsed, "json", False) or getattr(parsed, "format", None) == "json"


def print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """Print diagnostics to stderr, whatever a command prints."""
    if diagnostics:
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        print(render(diagnostics, colour=colour), file=sys.stderr)
