"""isoloss report: a store -> one HTML file of figures and tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from isoloss.errors import FINE, fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "store",
        nargs="?",
        default="isoloss-store",
        metavar="STORE",
        help="the store's folder (./isoloss-store)",
    )
    parser.add_argument(
        "-o", "--out", metavar="OUT.html", help="the file to write (default: report.html in the store)"
    )
    parser.add_argument("--json", action="store_true", help="print the path as JSON")
    parser.epilog = "example:\n  isoloss report isoloss-store -o report.html"


def run(arguments: argparse.Namespace) -> int:
    # The report draws: numpy and the laws load here, not with the command line.
    from isoloss.report import write_report
    from isoloss.runtime.errors import JobError

    try:
        path = write_report(Path(arguments.store), Path(arguments.out) if arguments.out else None)
    except JobError as error:
        raise fault(error.code, error.message, *error.help) from error
    except OSError as error:
        place = arguments.out or arguments.store
        reason = error.strerror or str(error)
        raise fault(
            "R104", f"the report can't be written to `{place}`: {reason}", "name another file: `-o OUT.html`"
        ) from error
    if arguments.json:
        import orjson

        print(orjson.dumps({"report": str(path)}).decode())
    else:
        print(path)
    return FINE
