"""`isoloss verify`: recompute a paper's printed numbers and say which hold."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from isoloss.errors import fault

EXAMPLE = """
examples:
  isoloss verify bartoldson2024
  isoloss verify bartoldson2024 -o docs/verify_bartoldson2024.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("paper", choices=("bartoldson2024",), help="the paper")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output", metavar="OUT.md", help="write the whole comparison as Markdown")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0: a paper's number that differs is a result, not a failure."""
    from isoloss.compiler.claims.bartoldson2024 import verify
    from isoloss.compiler.claims.tables import optimum_rows
    from isoloss.runtime.disk import write_whole
    from isoloss.screens.claims_screen import markdown, screen

    claims, rows = verify(), tuple(optimum_rows())
    if arguments.output:
        try:
            write_whole(Path(arguments.output), markdown(claims, rows).encode())
        except OSError as error:
            raise fault("L214", f"`{arguments.output}` can't be written: {error.strerror}") from None
    if arguments.json:
        import orjson

        data = {
            "paper": arguments.paper,
            "counts": dict(Counter(c.verdict for c in claims)),
            "claims": [c.to_json() for c in claims],
            "optima": rows,
        }
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        return 0
    print(screen(claims))
    if arguments.output:
        print(f"\nwritten: {arguments.output}")
    return 0
